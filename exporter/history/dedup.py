"""Deduplication of arriving rows: an anti-join by key with the stored rows, over as little as can match."""

from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Elsewhere, Events
from exporter.history.arrow import registered


def mark_new(
    connection: duckdb.DuckDBPyConnection, events: Events, rows: pa.Table, pruned_before: datetime | None
) -> tuple[pa.Table, int]:
    """Mark each row as fresh or known; return with it how many new ones have an id that stood for another row."""
    fresh = np.ones(rows.num_rows, dtype=np.bool_)
    numbered = rows.append_column("row_number", pa.array(np.arange(rows.num_rows)))
    names = {*events.key, *([events.alias] if events.alias else []), "row_number"}
    names |= set(events.elsewhere.columns if events.elsewhere else ())
    reused = 0
    with registered(connection, keys=numbered.select(sorted(names))):
        known = _known(connection, events, rows)
        if known is not None:
            fresh[known["row_number"][np.asarray(known["final"], dtype=np.bool_)]] = False
            reused = 0 if events.sql else int(np.count_nonzero(np.asarray(known["reused"], dtype=np.bool_)))
        if _repeats(rows.column(events.key[0])):
            fresh[_again(connection, events)] = False
        if events.alias is not None:
            fresh[_by_alias(connection, events, events.alias)] = False
        if events.elsewhere is not None:
            fresh[_elsewhere(connection, events.elsewhere)] = False
    if pruned_before is not None:
        recent = pc.greater_equal(rows.column(events.key[1]), pa.scalar(pruned_before, pa.timestamp("us")))
        fresh &= pc.fill_null(recent, fill_value=True).to_numpy()
    return numbered.append_column("fresh", pa.array(fresh)), reused


def _known(connection: duckdb.DuckDBPyConnection, events: Events, rows: pa.Table) -> dict[str, npt.NDArray[Any]] | None:
    """Return the rows whose first key is stored already: whether the second is the same, or the first used again.

    Only row groups whose ids (or, for what is seen again and again, times) can match are read; what is newer than
    everything stored is compared with nothing. None when there are no such rows. An open request that is read once
    more has its id still, not again.
    """
    first, second = events.key
    ranged = second if events.sql else first
    bounds = pc.min_max(rows.column(ranged))
    limits = (_text if events.sql else _value)(bounds)
    stored = f'SELECT {first}, {second}, true AS final FROM "{events.table}" WHERE {ranged} BETWEEN $1 AND $2'
    if events.keeps_open:
        stored += (
            f' UNION ALL SELECT {first}, {second}, false FROM "{events.table}_open" WHERE {ranged} BETWEEN $1 AND $2'
        )
    if not connection.execute(f"SELECT EXISTS ({stored})", limits).fetchall()[0][0]:
        return None
    same = f"stored.{second} IS NOT DISTINCT FROM keys.{second}"
    return connection.execute(
        f"SELECT keys.row_number, bool_or({same} AND stored.final) AS final, NOT bool_or({same}) AS reused"
        f" FROM keys JOIN ({stored}) AS stored ON stored.{first} = keys.{first} GROUP BY keys.row_number",
        limits,
    ).fetchnumpy()


def _again(connection: duckdb.DuckDBPyConnection, events: Events) -> npt.NDArray[np.int64]:
    """Return the rows whose key stands before them in the same batch."""
    first, second = events.key
    found: npt.NDArray[np.int64] = connection.execute(
        "SELECT row_number FROM keys"
        f" QUALIFY row_number() OVER (PARTITION BY {first}, {second} ORDER BY row_number) > 1"
    ).fetchnumpy()["row_number"]
    return found


def _by_alias(connection: duckdb.DuckDBPyConnection, events: Events, alias: str) -> npt.NDArray[np.int64]:
    """Return the rows that another source has brought under another key, or that stand twice in the same batch.

    Two sources write the time of a row with another precision; a day is more than any of them differ.
    """
    at = events.key[1]
    ((first, last),) = connection.execute(
        f"SELECT (min({at}) - INTERVAL 1 DAY)::VARCHAR, (max({at}) + INTERVAL 1 DAY)::VARCHAR"
        f" FROM keys WHERE isfinite({at}) AND {alias} IS NOT NULL"
    ).fetchall()
    if first is None:
        return np.array([], dtype=np.int64)
    found: npt.NDArray[np.int64] = connection.execute(
        f"""
        SELECT row_number FROM keys
        WHERE {alias} IN (
            SELECT {alias} FROM "{events.table}" WHERE {at} BETWEEN $1::TIMESTAMP AND $2::TIMESTAMP
        )
        UNION
        SELECT row_number FROM keys
        WHERE {alias} IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY {alias} ORDER BY row_number) > 1
        """,
        [first, last],
    ).fetchnumpy()["row_number"]
    return found


def _elsewhere(connection: duckdb.DuckDBPyConnection, elsewhere: Elsewhere) -> npt.NDArray[np.int64]:
    """Return the rows that stand in another table."""
    found: npt.NDArray[np.int64] = connection.execute(
        f"SELECT row_number FROM keys SEMI JOIN {elsewhere.join}"
    ).fetchnumpy()["row_number"]
    return found


def _repeats(ids: pa.ChunkedArray) -> bool:
    """Whether an id may stand twice; ids in order, as they are read from much, need no counting."""
    values = ids.to_numpy()
    return not bool(np.all(values[1:] > values[:-1])) and len(np.unique(values)) < len(values)


def _value(bounds: pa.Scalar) -> list[object]:
    return [bounds["min"].as_py(), bounds["max"].as_py()]


def _text(bounds: pa.Scalar) -> list[object]:
    return [str(value) for value in _value(bounds)]
