"""Staging of the requests of one file before their import: cleaned, and sorted by time beside the history.

Requests that may be the same must be in one slice, wherever they stand in the file. What is staged is what would be
stored: nothing that the cleaner removes reaches the disk.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.errors import HistoryUnwritable
from exporter.history.arrow import registered
from exporter.history.duckdb_errors import first_line
from exporter.history.file import HistoryFile, settings
from exporter.history.locking import Reserve, exclusive
from exporter.history.opening import LOGS, Settings
from exporter.imports import FINGERPRINT, OTHERWISE

SLICE_ROWS = 25_000
# What does not fit waits on the disk, beside the rows themselves. While a slice is archived the history has the room.
_MEMORY = "128MB"
_MEMORY_MEANWHILE = "16MB"
_ENDING = ".import"
_LOCK = ".import.lock"
_SPILLED = ".tmp"
_MADE = {**dict.fromkeys(OTHERWISE.values(), pa.timestamp("us")), FINGERPRINT: pa.binary(16)}


class Stage:
    """The cleaned requests of one file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Stage clean requests."""
        for name, kind in _MADE.items():
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
        with registered(self._connection, arriving=rows):
            if not self.rows:
                self._connection.execute("CREATE OR REPLACE TABLE staged AS FROM arriving LIMIT 0")
            self._connection.execute("INSERT INTO staged BY NAME FROM arriving")
        self.rows += rows.num_rows

    def slices(self) -> Iterator[pa.Table]:
        """Yield the requests in order of their time, each once that stands there again; of one instant in one slice."""
        for condition, parameters in self._conditions():
            self._limit(_MEMORY)
            rows = self._connection.sql(
                f"""
                SELECT * EXCLUDE ({FINGERPRINT})
                FROM staged
                WHERE {condition}
                QUALIFY {FINGERPRINT} IS NULL OR row_number() OVER (PARTITION BY {FINGERPRINT}) = 1
                """,
                params=parameters,
            ).to_arrow_table()
            self._limit(_MEMORY_MEANWHILE)
            yield rows
            del rows  # before the next is read: there is room for one

    def _limit(self, memory: str) -> None:
        """Let go of the blocks in memory that are above a limit."""
        self._connection.execute(f"SET memory_limit = '{memory}'")

    def _conditions(self) -> Iterator[tuple[str, list[object]]]:
        if not self.rows:
            return
        self._connection.execute("CHECKPOINT")
        ends = self._connection.execute(
            f"""
            SELECT created_at::VARCHAR
            FROM (
                SELECT created_at, row_number() OVER (ORDER BY created_at) AS place, count(*) OVER () AS count
                FROM staged
                WHERE created_at IS NOT NULL
            )
            WHERE place % {SLICE_ROWS} = 0 OR place = count
            GROUP BY created_at
            ORDER BY created_at
            """
        ).fetchall()
        begin = None
        for (end,) in ends:
            if begin is None:
                yield "created_at <= ?::TIMESTAMP", [end]
            else:
                yield "created_at > ?::TIMESTAMP AND created_at <= ?::TIMESTAMP", [begin, end]
            begin = end
        if self._connection.execute("SELECT EXISTS (FROM staged WHERE created_at IS NULL)").fetchall()[0][0]:
            yield "created_at IS NULL", []


@contextlib.contextmanager
def staging(file: HistoryFile) -> Iterator[Stage]:
    """Make a stage beside the history, for one import at a time. Raises HistoryLocked, HistoryUnwritable."""
    path = file.path.with_name(file.path.name + _ENDING)
    with exclusive(file.path.with_name(file.path.name + _LOCK), "another import is at work"):
        _clear(path)
        try:
            with _connected(path, file) as connection:
                yield Stage(connection)
        except duckdb.Error as error:
            message = f"{path}: {first_line(error)}; imported requests stay: make room, and run it again"
            raise HistoryUnwritable(message) from None
        finally:
            _clear(path)


@contextlib.contextmanager
def _connected(path: Path, file: HistoryFile) -> Iterator[duckdb.DuckDBPyConnection]:
    Reserve().use()
    config: Settings = {**settings(file), "memory_limit": _MEMORY}
    mask = os.umask(0o077)
    try:
        connection = duckdb.connect(str(path), config=config)
    finally:
        os.umask(mask)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _clear(path: Path) -> None:
    for left in (path, *(path.with_name(path.name + suffix) for suffix in LOGS)):
        left.unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + _SPILLED), ignore_errors=True)
