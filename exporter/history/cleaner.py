"""Prepares requests for storage before the file is open: redaction, missing columns, and the asset of each request.

This is a step of its own so that it runs beside the writing: rows in, rows out, nothing shared with the history file.
"""

from collections.abc import Sequence
from functools import cached_property

import duckdb
import pyarrow as pa

from exporter.collector import DUCKDB_TYPES
from exporter.history.arrow import Stream, registered
from exporter.history.locking import Reserve
from exporter.history.opening import Settings, confine
from exporter.history.pseudonyms import without_addresses
from exporter.history.redaction import PARSED_COLUMNS, URI_COLUMNS, Privacy, clean_uri, cleaning, parsed, pieces
from exporter.history.tables import REQUEST_COLUMNS

# What an asset is read out of; and what the writing still needs to know who was there, and stores as NULL itself.
_LOOKED_AT = ("currentsheet", "http_request_uri")
COUNTED = "user_id"
# A range of requests fits many times; nothing is written to any disk.
_SETTINGS: Settings = {"memory_limit": "256MB", "temp_directory": "", "threads": 1}


class Cleaner:
    """Cleans requests; one thread at a time."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy
        self._expressions = {name: text for name, text in cleaning(privacy).items() if name != COUNTED}
        self._streams: dict[str, Stream] = {}

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """A database in memory, from the first request on: what never cleans holds no threads."""
        Reserve().use()
        connection = duckdb.connect(config=_SETTINGS)
        confine(connection)
        return connection

    def clean(self, rows: pa.Table) -> pa.Table:
        """Return the same requests in the same order, redacted, with every column of REQUEST_COLUMNS."""
        rows = without_addresses(complete(rows), self._privacy)
        cleaned = self._cleaned(rows.select(dict.fromkeys([*_LOOKED_AT, *self._expressions])))
        if cleaned.num_rows != rows.num_rows:
            message = f"{rows.num_rows} requests became {cleaned.num_rows} when they were cleaned"
            raise ValueError(message)
        for name in cleaned.column_names:
            if name in rows.column_names:
                rows = rows.set_column(rows.column_names.index(name), name, cleaned.column(name))
            else:
                rows = rows.append_column(name, cleaned.column(name))
        return rows

    def clean_texts(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        """Return the same rows with these columns redacted as URIs are."""
        marks = pieces(names)
        made = ", ".join(f"{clean_uri(name, ())} AS {name}" for name in names)
        with registered(self._connection, arriving=rows.select(names)):
            cleaned = self._connection.sql(f"SELECT {made} FROM (SELECT *, {marks} FROM arriving)").to_arrow_table()
        for name in names:
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, cleaned.column(name))
        return rows

    def _cleaned(self, rows: pa.Table) -> pa.Table:
        """Run the statement for rows of these types: planning it costs ten times as much as a poll's few rows."""
        types = str(rows.schema)
        if types not in self._streams:
            number = len(self._streams)
            self._streams[types] = stream = Stream(rows)
            self._connection.register(f"arriving_{number}", stream)
            self._connection.execute(f"PREPARE clean_{number} AS {self._statement(f'arriving_{number}')}")
        self._streams[types].table = rows
        number = list(self._streams).index(types)
        try:
            return self._connection.sql(f"EXECUTE clean_{number}").to_arrow_table()
        finally:
            self._streams[types].table = rows.slice(0, 0)

    def _statement(self, relation: str) -> str:
        made = [f"{text} AS {name}" for name, text in self._expressions.items()]
        return (
            f"SELECT {', '.join([*made, *PARSED_COLUMNS])}"
            f" FROM (SELECT *, {pieces(URI_COLUMNS)} FROM ({parsed(relation)}))"
        )


def complete(rows: pa.Table) -> pa.Table:
    """Add what this source lacks of the columns that others have, as NULL."""
    for name, kind in REQUEST_COLUMNS.items():
        if name not in rows.column_names and name not in PARSED_COLUMNS:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, DUCKDB_TYPES[kind].arrow))
    return rows
