"""What the repository delivers takes the place of the same requests that were imported without an id.

A file may be imported before the agent has read what the repository still has of its time.
"""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Events
from exporter.history import ledger
from exporter.history.arrow import registered
from exporter.history.identity import identities, pair
from exporter.history.schema import IMPORTED, NOT_COUNTED


def supersede(connection: duckdb.DuckDBPyConnection, events: Events, marked: pa.Table) -> pa.Table:
    """Remove what was imported of the requests that arrive and are marked as fresh: they are archived and counted.

    What was counted when it was imported stays, and the arriving row is marked as known.
    """
    if not connection.execute("SELECT EXISTS (FROM imports)").fetchall()[0][0]:
        return marked
    with registered(connection, arriving=marked):
        bounds = "SELECT min(created_at)::VARCHAR, max(created_at)::VARCHAR FROM arriving WHERE fresh"
        ((first, last),) = connection.execute(bounds).fetchall()
        if first is None:
            return marked
        imported = f"id IS NULL AND created_at BETWEEN TIMESTAMP '{first}' AND TIMESTAMP '{last}' AND {IMPORTED}"
        archived = identities(connection, events.table, "rows.rowid", imported)
        found = pair(identities(connection, "arriving", "row_number", "fresh"), archived) if archived else {}
    return _replaced(connection, events, marked, found) if found else marked


def _replaced(
    connection: duckdb.DuckDBPyConnection, events: Events, marked: pa.Table, found: dict[int, int]
) -> pa.Table:
    with registered(connection, pairs=pa.table({"place": list(found), "imported": list(found.values())})):
        counted = connection.execute(
            f"SELECT place FROM pairs JOIN {events.table} AS rows ON rows.rowid = imported WHERE NOT {NOT_COUNTED}"
        ).fetchall()
        uncounted = f"{events.table} AS rows WHERE rows.rowid IN (SELECT imported FROM pairs) AND {NOT_COUNTED}"
        for source in (events.table, ledger.UNCOUNTED):
            ledger.pruned(connection, source, events.key[1], f"(SELECT rows.* FROM {uncounted})")
        connection.execute(f"DELETE FROM {uncounted}")
    known = pc.is_in(marked.column("row_number"), pa.array([place for (place,) in counted], pa.int64()))
    fresh = pc.and_(marked.column("fresh"), pc.invert(known))
    return marked.set_column(marked.column_names.index("fresh"), "fresh", fresh)
