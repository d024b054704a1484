"""How far each source table has been archived: moved only in the transaction that stores the rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb

from exporter.errors import HistoryReplaced


@dataclass(frozen=True)
class Position:
    """A position: rows whose xmin is older than ``horizon`` are all in the history; ``version`` counts its moves."""

    source: str
    horizon: int | None = None
    xmax: int = 0
    max_id: int | None = None
    identity: Mapping[str, str | int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    truncated: bool = False
    """The table was emptied, and no row has been seen in it since."""
    accounted: int | None = None
    """How many of the rows ever inserted were seen, came to nothing, or were counted as possibly lost."""
    settling: bool = False
    """The table was, or may have been, emptied before the last reading: sessions may yet report what they inserted."""
    version: int = 0
    polled_at: datetime | None = None


def read_positions(connection: duckdb.DuckDBPyConnection) -> dict[str, Position]:
    """Return each source table's position."""
    rows = connection.execute(
        "SELECT source, horizon, xmax, max_id, identity, columns, truncated, accounted, settling,"
        " version, polled_at FROM positions"
    ).fetchall()
    return {
        row[0]: Position(row[0], row[1], row[2], row[3], json.loads(row[4]), json.loads(row[5]), *row[6:])
        for row in rows
    }


def move(connection: duckdb.DuckDBPyConnection, old: Position, new: Position) -> None:
    """Replace a position; raises HistoryReplaced when the file's is not the one that the rows were read from."""
    there = connection.execute("SELECT version FROM positions WHERE source = ?", [old.source]).fetchall()
    version = int(there[0][0]) if there else 0
    if version != old.version:
        message = (
            f"the position of {old.source} in the history is not the agent's:"
            " the file was replaced, or another agent writes it"
        )
        raise HistoryReplaced(message)
    connection.execute("DELETE FROM positions WHERE source = ?", [old.source])
    connection.execute(
        "INSERT INTO positions BY NAME SELECT ? AS source, ? AS horizon, ? AS xmax, ? AS max_id, ? AS identity,"
        " ? AS columns, ? AS truncated, ? AS accounted, ? AS settling, ? AS version, ? AS polled_at",
        [
            new.source,
            new.horizon,
            new.xmax,
            new.max_id,
            json.dumps(dict(new.identity)),
            json.dumps(dict(new.columns)),
            new.truncated,
            new.accounted,
            new.settling,
            old.version + 1,
            new.polled_at,
        ],
    )
