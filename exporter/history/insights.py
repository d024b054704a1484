"""Events of Admin Insights: which of those that arrive are known under another number.

A source that is provisioned anew numbers its events anew. Days arrive whole: what is stored of a day, and did not
arrive under its number, is what arrived under a new one.
"""

from collections.abc import Sequence
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events, columns_of
from exporter.history.arrow import registered
from exporter.history.positions import Position

TABLE = "insights_events"
SOURCE = "admin_insights"
COUNTED_FROM, COUNTED_UNTIL = "counted_from", "counted_until"
QUERIES = "queries"
"""The mode of the lines of the poll log that count queries."""

_CONTENT = "event_date, event_name, actor_user_id, item_type, item_luid"


def without_renumbered(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, site: int, first: datetime, end: datetime
) -> pa.Table:
    """Return the events of whole days (from ``first``, before ``end``) that are not stored under another number.

    Events of one content are as many as before, or more.
    """
    with registered(connection, arriving=rows):
        found = connection.execute(
            f"""
            WITH
                stored AS (
                    SELECT id, {_CONTENT}
                    FROM {TABLE}
                    WHERE site_id = $1 AND event_date >= $2 AND event_date < $3
                ),
                unknown AS (
                    SELECT id, {_CONTENT}, row_number() OVER (PARTITION BY {_CONTENT} ORDER BY event_id) AS nth
                    FROM arriving
                    ANTI JOIN stored USING (id, event_date)
                ),
                gone AS (
                    SELECT {_CONTENT}, row_number() OVER (PARTITION BY {_CONTENT}) AS nth
                    FROM stored
                    ANTI JOIN arriving USING (id, event_date)
                )
            SELECT unknown.id
            FROM unknown
            JOIN gone
                ON gone.event_date = unknown.event_date
                AND gone.event_name IS NOT DISTINCT FROM unknown.event_name
                AND gone.actor_user_id IS NOT DISTINCT FROM unknown.actor_user_id
                AND gone.item_type IS NOT DISTINCT FROM unknown.item_type
                AND gone.item_luid IS NOT DISTINCT FROM unknown.item_luid
                AND gone.nth = unknown.nth
            """,
            [site, first, end],
        ).fetchall()
    known = pa.array([number for (number,) in found], pa.int64())
    return rows.filter(pc.invert(pc.is_in(rows.column("id"), known))) if found else rows


def rows_for(connection: duckdb.DuckDBPyConnection, events: Events, rows: pa.Table) -> pa.Table:
    """Return the rows that a collector makes of events (``insights`` in its SQL)."""
    assert events.row is not None  # noqa: S101 - its rows are declared
    columns = ", ".join(
        f'"{column.name}"::{column.type.duckdb} AS "{column.name}"' for column in columns_of(events.row)
    )
    with registered(connection, insights=rows):
        return connection.sql(f"SELECT {columns} FROM ({events.sql})").to_arrow_table()


def position_name(luid: str) -> str:
    """Return the name of a site's position."""
    return f"{SOURCE}:{luid}"


def counted_span(position: Position | None) -> tuple[datetime, datetime] | None:
    """Return from when until when (UTC, naive) usage of a site was counted from here; None where it never was."""
    identity = position.identity if position else {}
    if COUNTED_UNTIL not in identity:
        return None
    begin, end = (datetime.fromisoformat(str(identity[name])) for name in (COUNTED_FROM, COUNTED_UNTIL))
    return begin, end


def longer_span(position: Position | None, begin: datetime, end: datetime) -> dict[str, str]:
    """Return what a position keeps of the span once usage of another one is counted too."""
    known = counted_span(position) or (begin, end)
    return {COUNTED_FROM: min(begin, known[0]).isoformat(), COUNTED_UNTIL: max(end, known[1]).isoformat()}


def queries_since(connection: duckdb.DuckDBPyConnection, since: datetime) -> Sequence[tuple[float, int]]:
    """Return when queries were sent (Unix seconds), and how many, as the poll log has them."""
    rows = connection.execute(
        "SELECT epoch(started_at), rows_read FROM poll_log WHERE source = ? AND mode = ? AND started_at >= ?",
        [SOURCE, QUERIES, since],
    ).fetchall()
    return [(at, int(count)) for at, count in rows]
