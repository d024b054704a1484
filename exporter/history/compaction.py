"""Compaction: writes the file anew after pruning, and replaces it while nobody can write.

DuckDB uses the room of removed rows again, but gives it back to the disk only at the end of the file.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb

from exporter.errors import HistoryError, HistoryUnwritable
from exporter.history.duckdb_errors import first_line
from exporter.history.file import STORAGE_VERSION, HistoryFile, settings
from exporter.history.locking import Reserve, exclusive, file_identity, fsync, is_held, retry
from exporter.history.opening import LOGS, Settings, confine, refuse_foreign_sql, text

# Below this share of free blocks a rewriting is not worth its time.
FREE_SHARE = 0.25
ANEW = ".compact"
LOCK = ".prune"


def free_share(file: HistoryFile) -> float:
    """Return how much of the file is room for what comes."""
    with file.open() as connection:
        connection.execute("CHECKPOINT")
        return share_of_free_blocks(connection)


def share_of_free_blocks(connection: duckdb.DuckDBPyConnection) -> float:
    """Return how much of an open file is free, as of its last checkpoint."""
    total, free = connection.execute("SELECT total_blocks, free_blocks FROM pragma_database_size()").fetchall()[0]
    return float(free) / total if total else 0.0


def sweep(file: HistoryFile) -> None:
    """Remove what a compaction that was killed has left; raises HistoryLocked while one is at work."""
    with _alone(file):
        pass


def compact(file: HistoryFile) -> None:
    """Write the file anew. The agent waits meanwhile, and goes on with the new one. Raises HistoryError."""
    Reserve().use()
    config: Settings = {**settings(file), "temp_directory": f"{file.path}.tmp", "enable_external_access": True}
    with _alone(file), _closed_to_others(), duckdb.connect(config=config) as connection:
        try:
            confine(connection, file.path, _anew(file))
            _rewrite(connection, file)
        except (duckdb.Error, OSError) as error:
            message = f"{file.path}: {first_line(error)}; it was not written anew, and is as it was"
            raise HistoryUnwritable(message) from None


@contextlib.contextmanager
def _alone(file: HistoryFile) -> Iterator[None]:
    """Keep out others who write the file anew: the last to finish would put back what it read first."""
    with exclusive(file.path.with_name(file.path.name + LOCK), "another prune is at work"):
        _clear(file)
        try:
            yield
        finally:
            _clear(file)


def _clear(file: HistoryFile) -> None:
    anew = _anew(file)
    for left in (anew, *(anew.with_name(anew.name + suffix) for suffix in LOGS)):
        left.unlink(missing_ok=True)


def _anew(file: HistoryFile) -> Path:
    return file.path.with_name(file.path.name + ANEW)


@contextlib.contextmanager
def _closed_to_others() -> Iterator[None]:
    """Let nobody else read what is made here: DuckDB makes files that everybody may read."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


def _attach(connection: duckdb.DuckDBPyConnection, file: HistoryFile) -> None:
    """Attach the file for reading: from here on no writer has it. Raises HistoryBusy."""
    wait = retry(file.path, file.limits.patience_seconds, file.sleep, file.clock)
    while True:
        try:
            connection.execute(f"ATTACH {text(str(file.path))} AS source (READ_ONLY)")
        except duckdb.IOException as error:
            if not is_held(error):
                raise
            wait(first_line(error))
        else:
            return


def _rewrite(connection: duckdb.DuckDBPyConnection, file: HistoryFile) -> None:
    old, anew = file_identity(file.path), _anew(file)
    _attach(connection, file)
    refuse_foreign_sql(connection, file.path)
    _check_space(connection, file)
    if any(file.path.with_name(file.path.name + suffix).exists() for suffix in LOGS):
        message = f"{file.path}: somebody has written it meanwhile; try again"
        raise HistoryError(message)
    connection.execute(f"ATTACH {text(str(anew))} AS target (STORAGE_VERSION '{STORAGE_VERSION}')")
    new = file_identity(anew)
    connection.execute("COPY FROM DATABASE source TO target")
    if (before := _counts(connection, "source")) != (after := _counts(connection, "target")):
        message = f"{file.path}: {before} rows became {after}; it is as it was"
        raise HistoryError(message)
    connection.execute("DETACH target")
    found = file.path.stat()
    with contextlib.suppress(PermissionError):
        os.chown(anew, found.st_uid, found.st_gid)
    shutil.copymode(file.path, anew)
    fsync(anew)
    if (file_identity(file.path), file_identity(anew)) != (old, new):
        message = f"{file.path}: another file was put in its place meanwhile; it was not written anew"
        raise HistoryError(message)
    # A process that waits for the old file finds that it was replaced, and opens the new one.
    anew.replace(file.path)
    fsync(file.path.parent)


def _check_space(connection: duckdb.DuckDBPyConnection, file: HistoryFile) -> None:
    """Raise HistoryUnwritable where what is in use of the attached file does not fit a second time."""
    ((used,),) = connection.execute(
        "SELECT block_size * used_blocks FROM pragma_database_size() WHERE database_name = 'source'"
    ).fetchall()
    if shutil.disk_usage(file.path.parent).free < used + file.limits.free_bytes:
        message = f"{file.path.parent}: no room to write the history a second time; make some, or leave --compact out"
        raise HistoryUnwritable(message)


def _counts(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, int]:
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [database]).fetchall()
    return {
        name: int(connection.execute(f'SELECT count(*) FROM {database}."{name}"').fetchall()[0][0])
        for (name,) in sorted(tables)
    }
