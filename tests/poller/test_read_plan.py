"""The mode of the next read of a table, and its incident, decided from two sets of signals."""

from dataclasses import asdict, replace
from datetime import datetime

import pytest

from exporter.history.positions import Position
from exporter.poller.read_plan import HORIZON_LIMIT, SMALL_BYTES, Extent, Mode, horizon_xid, plan
from exporter.repository.session import Snapshot, TableIdentity

IDENTITY = TableIdentity("7", 1, 2, 3, "2025-11-01 00:00:00", "2025-10-01 00:00:00", "10.0.0.1:8060")
COLUMNS = {"id": "bigint", "status": "integer"}
SNAPSHOT = Snapshot(IDENTITY, 1000, 1010, SMALL_BYTES + 1, 100.0, datetime(2025, 11, 19), COLUMNS)  # noqa: DTZ001
POSITION = Position("http_requests", 900, 950, 100, asdict(IDENTITY), COLUMNS, version=3)
EXTENT = Extent(50, 120, holds_newest=True)
EMPTY = Extent(None, None, holds_newest=False)


def _with(**changes: object) -> Snapshot:
    return replace(SNAPSHOT, identity=replace(IDENTITY, **changes))  # type: ignore[arg-type]


GONE = Extent(1, 20, holds_newest=False)
CASES: dict[str, tuple[Position | None, Snapshot, Extent, bool, Mode, list[str]]] = {
    "never read": (None, SNAPSHOT, EXTENT, False, "full", []),
    "nothing happened": (POSITION, SNAPSHOT, EXTENT, False, "fast", []),
    "exact is due": (POSITION, SNAPSHOT, EXTENT, True, "exact", []),
    "small": (POSITION, replace(SNAPSHOT, bytes=SMALL_BYTES), EXTENT, False, "exact", []),
    "rewritten": (POSITION, _with(relfilenode=4), EXTENT, False, "full", ["rewritten"]),
    "truncated": (POSITION, _with(relfilenode=4), GONE, False, "full", ["truncated"]),
    "emptied": (POSITION, _with(relfilenode=4), EMPTY, False, "full", ["truncated"]),
    "deleted": (POSITION, SNAPSHOT, EMPTY, False, "fast", []),
    "another table": (POSITION, _with(table_oid=9, relfilenode=9), EXTENT, False, "full", ["restored"]),
    "another database": (POSITION, _with(database_oid=9), EXTENT, False, "full", ["restored"]),
    "another cluster": (POSITION, _with(system_identifier="8"), EXTENT, False, "full", ["restored"]),
    "restarted": (POSITION, _with(postmaster_started_at="later"), EXTENT, False, "full", ["server_changed"]),
    "recovered from a crash": (POSITION, _with(statistics_since="now"), EXTENT, False, "full", ["server_changed"]),
    "failed over": (POSITION, _with(node="10.0.0.2:8060"), EXTENT, False, "full", ["server_changed"]),
    "transactions went back": (POSITION, replace(SNAPSHOT, xmin=940, xmax=949), EXTENT, False, "full", ["restored"]),
    "an older backup": (
        POSITION,
        replace(_with(postmaster_started_at="later", relfilenode=2), xmin=940, xmax=949),
        GONE,
        False,
        "full",
        ["restored"],
    ),
    "a standby that is behind": (
        POSITION,
        replace(_with(node="10.0.0.2:8060/standby", relfilenode=2), xmin=940, xmax=949),
        GONE,
        False,
        "full",
        ["server_changed"],
    ),
    "away too long": (POSITION, replace(SNAPSHOT, xmax=901 + HORIZON_LIMIT), EXTENT, False, "full", []),
    "away almost too long": (
        POSITION,
        replace(SNAPSHOT, xmin=890 + HORIZON_LIMIT, xmax=900 + HORIZON_LIMIT),
        EXTENT,
        True,
        "exact",
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_decisions(name: str) -> None:
    """Each combination of signals is read in one mode and reported as one incident."""
    position, snapshot, extent, exact_due, mode, kinds = CASES[name]
    chosen = plan(position, snapshot, extent, COLUMNS, exact_due=exact_due)
    assert (chosen.mode, [incident.kind for incident in chosen.incidents]) == (mode, kinds)


def test_statistics_of_another_server_are_not_compared() -> None:
    """Inserted rows are compared only on the server and in the table where they were counted before."""
    assert plan(POSITION, _with(relfilenode=4), GONE, COLUMNS, exact_due=True).comparable
    for other in ({"table_oid": 9}, {"node": "10.0.0.2:8060"}, {"postmaster_started_at": "later"}):
        assert not plan(POSITION, _with(relfilenode=4, **other), GONE, COLUMNS, exact_due=True).comparable


def test_statistics_of_another_table_begin_with_it() -> None:
    """The rows of a replaced table are all counted; those of another cluster are unknown."""
    assert plan(POSITION, _with(table_oid=9, relfilenode=9), GONE, COLUMNS, exact_due=True).replaced
    for other in ({}, {"table_oid": 9, "system_identifier": "8"}):
        assert not plan(POSITION, _with(relfilenode=4, **other), GONE, COLUMNS, exact_due=True).replaced


COLUMN_CASES: dict[str, tuple[dict[str, str], Mode, list[str]]] = {
    "the same": (COLUMNS, "fast", []),
    "added": ({**COLUMNS, "new": "text"}, "fast", ["schema_changed"]),
    "dropped": ({"id": "bigint"}, "full", ["schema_changed"]),
    "retyped": ({"id": "bigint", "status": "text"}, "full", ["schema_changed"]),
}


@pytest.mark.parametrize("name", COLUMN_CASES)
def test_columns(name: str) -> None:
    """A column that went or changed its type means reading everything; one that came does not."""
    columns, mode, kinds = COLUMN_CASES[name]
    chosen = plan(POSITION, SNAPSHOT, EXTENT, columns, exact_due=False)
    assert (chosen.mode, [incident.kind for incident in chosen.incidents]) == (mode, kinds)


def test_what_may_be_lost() -> None:
    """Only ids that no read can have seen are counted, and only once."""
    assert plan(POSITION, SNAPSHOT, EXTENT, COLUMNS, exact_due=False).possibly_lost == 0
    assert plan(POSITION, SNAPSHOT, Extent(104, 120, holds_newest=False), COLUMNS, exact_due=False).possibly_lost == 3
    assert plan(POSITION, SNAPSHOT, EMPTY, COLUMNS, exact_due=False).possibly_lost == 0
    emptied = plan(POSITION, _with(relfilenode=4), EMPTY, COLUMNS, exact_due=False)
    assert (emptied.possibly_lost, emptied.truncated) == (0, True)
    filled = plan(
        replace(POSITION, truncated=True), SNAPSHOT, Extent(4, 9, holds_newest=False), COLUMNS, exact_due=False
    )
    assert (filled.possibly_lost, filled.truncated) == (3, False)


@pytest.mark.parametrize(
    ("horizon", "xid"), [(3, 3), (2**32 - 1, 2**32 - 1), (2**32 + 3, 3), (2**32, 2**32 - 3), (2**33 + 2, 2**32 - 1)]
)
def test_the_horizon_as_a_transaction_id(horizon: int, xid: int) -> None:
    """The 64-bit horizon wraps to 32 bits, never to one of the three special ids, never to a later one."""
    assert horizon_xid(horizon) == str(xid)
