"""Reads the live repository for the simulated APIs, so that both report the same."""

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from exporter.demo.rows import Row
from exporter.demo.tableau.facts import Facts
from exporter.demo.tableau.repository_facts import COLUMNS, to_facts
from exporter.demo.workgroup import quoted, schema
from exporter.repository.connection import Connection, connect

# Tables that grow are read on from here; the others are small, and read anew.
GROWING = "background_jobs"
PAUSE_SECONDS = 1.0
# Rows are written before their transaction ends: changes shortly before the last read are read again.
OVERLAP = timedelta(minutes=2)


class Reading:
    """Reads the changes, at most once a second, and returns all facts."""

    def __init__(self, parameters: Mapping[str, str | int], version: str) -> None:
        self._parameters = {**parameters, "connect_timeout": 5}
        self._schema = schema(version)
        self._jobs: dict[object, Row] = {}
        self._since = datetime.min  # noqa: DTZ901 - naive, as all instants of the repository
        self._read_at = 0.0
        self._facts: Facts = ()
        self._lock = threading.Lock()

    def facts(self) -> Facts:
        """Return the content of the repository; while it is down, the last content."""
        with self._lock:
            if not self._facts or time.monotonic() >= self._read_at + PAUSE_SECONDS:
                self._read()
                self._read_at = time.monotonic()
            return self._facts

    def _read(self) -> None:
        try:
            with connect(self._parameters) as connection:
                tables = {table: self._rows(connection, table) for table in COLUMNS if table != GROWING}
                self._read_on(connection)
        except Connection.Error:
            if not self._facts:
                raise
            return
        self._facts = to_facts({**tables, GROWING: self._jobs.values()})

    def _read_on(self, connection: Connection) -> None:
        changed = self._rows(connection, GROWING, "WHERE updated_at > %s ORDER BY id", self._since)
        self._jobs |= {row["id"]: row for row in changed}
        instants = [row["updated_at"] for row in changed if isinstance(row["updated_at"], datetime)]
        if instants:
            self._since = max(self._since + OVERLAP, *instants) - OVERLAP

    def _rows(self, connection: Connection, table: str, condition: str = "", *parameters: object) -> list[Row]:
        if table not in self._schema:
            return []
        names = [name for name in COLUMNS[table] if name in self._schema[table]]
        statement = f"SELECT {', '.join(map(quoted, names))} FROM {quoted(table)} {condition or 'ORDER BY 1'}"
        empty = dict.fromkeys(COLUMNS[table])
        found = connection.execute(statement.encode(), list(parameters))
        return [{**empty, **dict(zip(names, row, strict=True))} for row in found]
