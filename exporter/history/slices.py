"""A table of the history read for an export: slice by slice, each in an opening of its own.

Between two slices nobody holds the file, however slowly they are taken, and no more than one is in memory.
"""

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa

from exporter.errors import HistoryError
from exporter.history.file import HistoryFile
from exporter.history.shortening import refuse_other_versions

SLICE_ROWS = 100_000
BATCH_ROWS = 20_000


class Slices:
    """The rows of one table up to the newest of now; ``at`` is its column of instants, which never go back."""

    def __init__(self, file: HistoryFile, table: str, at: str) -> None:
        """Look at the file. Raises HistoryError where its tables are not this program's."""
        self._file, self._table, self._at = file, table, at
        with file.open() as connection:
            refuse_other_versions(connection, file.path)
            self._schema: pa.Schema = connection.sql(f"SELECT * FROM {table} LIMIT 0").to_arrow_table().schema
            newest = connection.execute(f"SELECT max({at}) FROM {table}").fetchall()[0][0]
            begun = connection.execute("SELECT marked_at FROM marks WHERE name = 'begun'").fetchall()
        self._newest: datetime | None = newest
        if not begun:
            message = f"{file.path}: it does not say when it was begun; it was changed by hand"
            raise HistoryError(message)
        self.history: str = begun[0][0].isoformat()
        """What tells this history from every other."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no row."""
        return self._newest is None

    @property
    def newest(self) -> datetime:
        """The last instant; only where there are rows."""
        return self._newest or datetime.min  # noqa: DTZ901 - naive, as in the history

    def after(self, instant: datetime | None) -> pa.RecordBatchReader:
        """Return the rows after an instant, all for None, as they are asked for."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches(instant))

    def _batches(self, instant: datetime | None) -> Iterator[pa.RecordBatch]:
        for end in self._ends(instant):
            condition, parameters = self._between(instant, end)
            with self._file.open() as connection:
                rows = connection.sql(
                    f"SELECT * FROM {self._table} WHERE {condition}", params=parameters
                ).to_arrow_table()
            # A column that came in between waits for the next export.
            yield from rows.select(self._schema.names).cast(self._schema).to_batches(max_chunksize=BATCH_ROWS)
            instant = end

    def _ends(self, instant: datetime | None) -> list[datetime]:
        """Return the last instant of each slice; all rows of an instant are in one."""
        condition, parameters = self._between(instant, self.newest)
        with self._file.open() as connection:
            found = connection.execute(
                f"""
                SELECT max(instant)
                FROM (
                    SELECT instant, sum(count) OVER (ORDER BY instant) AS upto
                    FROM (
                        SELECT {self._at} AS instant, count(*) AS count
                        FROM {self._table}
                        WHERE {condition}
                        GROUP BY instant
                    )
                )
                GROUP BY upto // {SLICE_ROWS}
                ORDER BY ALL
                """,
                parameters,
            ).fetchall()
        return [end for (end,) in found]

    def _between(self, instant: datetime | None, end: datetime) -> tuple[str, list[datetime]]:
        if instant is None:
            return f"{self._at} <= ?", [end]
        return f"{self._at} > ? AND {self._at} <= ?", [instant, end]
