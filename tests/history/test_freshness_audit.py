"""Rows of an asset's freshness are written when it changes and once a day, at instants that never go back."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from exporter.collectors.assets.status import SCHEMA
from exporter.history.file import HistoryFile
from exporter.history.freshness_audit import COMPARED
from exporter.history.history import History
from exporter.history.pruning import newest_request, prune_in_steps
from exporter.history.schema import STEPS, _audits, prepare
from exporter.history.tables import AUDIT, table_columns
from exporter.history.verification import verify
from tests.history.synthetic_history import EVENTS, SyntheticHistory
from tests.history.test_pruning import assert_verified

NOON = datetime(2025, 11, 19, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
AT = NOON.replace(tzinfo=None)

Row = dict[str, Any]


@pytest.fixture
def synthetic(tmp_path: Path) -> SyntheticHistory:
    """An empty history."""
    return SyntheticHistory(tmp_path / "history.duckdb")


def judged(*rows: Mapping[str, Any]) -> pa.Table:
    """Return judged rows; fields not given are those of a healthy workbook."""
    base = {
        "asset_type": "workbook",
        "asset_id": "luid-1",
        "asset_name": "Sales",
        "owner_id": "luid-9",
        "project_name": "Finance",
        "last_refresh_utc": AT - HOUR,
        "hours_since_refresh": 1.0,
        "status": "Healthy",
        "audit_timestamp": AT,
        "site": "default",
        "connection": "extract",
        "sla_hours": 24.0,
        "freshness_source": "metadata",
    }
    return pa.Table.from_pylist([{**base, **row} for row in rows], schema=SCHEMA)


def audit(synthetic: SyntheticHistory, now: datetime, *rows: Mapping[str, Any]) -> int:
    """Audit as a poll does; return how many rows that wrote."""
    with synthetic.history.transaction(now) as transaction:
        return transaction.audit(judged(*rows))


def again(synthetic: SyntheticHistory) -> SyntheticHistory:
    """Return the same history after a restart."""
    return SyntheticHistory(synthetic.file.path)


def stored(synthetic: SyntheticHistory) -> list[Row]:
    """Return the table as it stands."""
    with duckdb.connect(str(synthetic.file.path), read_only=True) as connection:
        found: list[Row] = connection.sql(f"FROM {AUDIT}").to_arrow_table().to_pylist()
    return found


def stamps(synthetic: SyntheticHistory) -> list[datetime]:
    """Return the instants of the audits, each once, in the order of the table."""
    return list(dict.fromkeys(row["audit_timestamp"] for row in stored(synthetic)))


def test_the_table_has_the_columns_of_the_rows(synthetic: SyntheticHistory) -> None:
    """Judged rows are stored unchanged, under the same names in the same order."""
    audit(synthetic, NOON, {}, {"asset_id": "luid-2", "status": "Unknown", "last_refresh_utc": None, "sla_hours": None})
    assert (
        stored(synthetic)
        == judged(
            {}, {"asset_id": "luid-2", "status": "Unknown", "last_refresh_utc": None, "sla_hours": None}
        ).to_pylist()
    )
    assert list(stored(synthetic)[0]) == SCHEMA.names


def test_what_does_not_change_is_not_written(synthetic: SyntheticHistory) -> None:
    """Hours go on by themselves; an asset's row stands for a day, also across a restart."""
    assert audit(synthetic, NOON, {}) == 1
    assert audit(synthetic, NOON + MINUTE, {"hours_since_refresh": 1.02}) == 0
    assert audit(again(synthetic), NOON + DAY - MINUTE, {"hours_since_refresh": 25.0}) == 0
    assert len(stored(synthetic)) == 1


def test_at_least_a_row_a_day(synthetic: SyntheticHistory) -> None:
    """A row that is 24 hours old is written again, once, also across a restart."""
    for day in range(3):
        assert audit(synthetic, NOON + day * DAY, {}) == 1
        assert audit(synthetic, NOON + day * DAY + MINUTE, {}) == 0
    assert audit(again(synthetic), NOON + 3 * DAY, {}) == 1
    assert stamps(synthetic) == [AT + day * DAY for day in range(4)]


CHANGES: dict[str, object] = {
    "status": "Warning",
    "last_refresh_utc": AT,
    "asset_name": "Turnover",
    "project_name": "Finance/EMEA",
    "owner_id": "luid-8",
    "connection": "mixed",
    "sla_hours": 4.0,
    "freshness_source": "job",
}


@pytest.mark.parametrize("column", COMPARED)
@pytest.mark.parametrize("restarted", [False, True])
def test_each_change_is_written(synthetic: SyntheticHistory, column: str, restarted: bool) -> None:
    """A change, a value that became known, and one that is unknown: one row each, and no other asset's."""
    other = {"asset_id": "luid-2"}
    audit(synthetic, NOON, {}, other)
    for number, value in enumerate((CHANGES[column], None, CHANGES[column]), start=1):
        if restarted:
            synthetic = again(synthetic)
        assert audit(synthetic, NOON + number * MINUTE, {column: value}, other) == 1
        assert stored(synthetic)[-1][column] == value
    assert audit(synthetic, NOON + HOUR, {column: CHANGES[column]}, other) == 0
    assert [row["asset_id"] for row in stored(synthetic)] == ["luid-1", "luid-2", "luid-1", "luid-1", "luid-1"]


def test_assets_are_told_apart_by_site_type_and_luid(synthetic: SyntheticHistory) -> None:
    """The same name on another site, or a flow of the same LUID, is another asset; without a LUID it is the name."""
    rows: list[Row] = [
        {},
        {"site": "marketing"},
        {"asset_type": "flow"},
        {"asset_id": None},
        {"asset_id": None, "asset_name": "Other"},
        {"site": None},
    ]
    assert audit(synthetic, NOON, *rows) == 6
    assert audit(synthetic, NOON + MINUTE, *rows) == 0
    assert audit(again(synthetic), NOON + MINUTE, *reversed(rows)) == 0


def test_one_row_an_asset_and_poll(synthetic: SyntheticHistory) -> None:
    """A row given twice for the same asset is written once: the first counts."""
    assert audit(synthetic, NOON, {}, {"status": "Critical"}, {"asset_id": "luid-2"}) == 2
    assert audit(synthetic, NOON + MINUTE, {}, {"status": "Critical"}, {"asset_id": "luid-2"}) == 0


def test_what_is_gone_gets_no_row(synthetic: SyntheticHistory) -> None:
    """An asset that is missing for a while has no row meanwhile; one that comes back unchanged has none for that."""
    other = {"asset_id": "luid-2"}
    audit(synthetic, NOON, {}, other)
    assert audit(synthetic, NOON + HOUR) == 0
    assert audit(synthetic, NOON + 2 * HOUR, {**other, "status": "Warning"}) == 1
    assert audit(synthetic, NOON + 3 * HOUR, {}, {**other, "status": "Warning"}) == 0
    assert audit(synthetic, NOON + 30 * DAY, {**other, "status": "Warning"}) == 1
    assert audit(synthetic, NOON + 31 * DAY, {}) == 1


def test_a_clock_that_goes_back(synthetic: SyntheticHistory) -> None:
    """Every audit's instant is greater than all before it, with any clock, also across a restart."""
    times = [NOON, NOON, NOON - DAY, NOON + MINUTE, NOON - 1000 * DAY, NOON + 2 * MINUTE]
    for number, now in enumerate(times):
        synthetic = again(synthetic) if number % 2 else synthetic
        assert audit(synthetic, now, {"status": f"{number}"}) == 1
    found = stamps(synthetic)
    micro = timedelta(microseconds=1)
    assert found == [AT, AT + micro, AT + 2 * micro, AT + MINUTE, AT + MINUTE + micro, AT + 2 * MINUTE]
    assert_verified(synthetic)


def test_a_clock_that_was_ahead(synthetic: SyntheticHistory) -> None:
    """A row of the far future stands for a day from when the clock was set right, not for years, and not for a poll."""
    audit(synthetic, NOON + 5000 * DAY, {})
    assert audit(synthetic, NOON, {}) == 0
    assert audit(synthetic, NOON + DAY - MINUTE, {}) == 0
    assert audit(synthetic, NOON + DAY, {}) == 1
    assert audit(synthetic, NOON + DAY + MINUTE, {}) == 0
    assert audit(again(synthetic), NOON + DAY + 2 * MINUTE, {}) == 0
    assert stamps(synthetic) == sorted(stamps(synthetic))


def test_a_transaction_that_came_to_nothing(synthetic: SyntheticHistory) -> None:
    """Rows that were rolled back are written by the next poll."""
    audit(synthetic, NOON, {})

    def fail() -> None:
        with synthetic.history.transaction(NOON + MINUTE) as transaction:
            transaction.audit(judged({"status": "Critical"}))
            raise OSError(5, "failed")

    with pytest.raises(OSError, match="failed"):
        fail()
    assert len(stored(synthetic)) == 1
    assert audit(synthetic, NOON + 2 * MINUTE, {"status": "Critical"}) == 1


def test_a_file_that_was_put_back(synthetic: SyntheticHistory) -> None:
    """An agent whose file is replaced by a backup continues from that file."""
    audit(synthetic, NOON, {})
    backup = synthetic.file.path.read_bytes()
    audit(synthetic, NOON + MINUTE, {"status": "Critical"})
    synthetic.file.path.write_bytes(backup)
    assert audit(synthetic, NOON + 2 * MINUTE, {"status": "Critical"}) == 1
    assert [row["status"] for row in stored(synthetic)] == ["Healthy", "Critical"]


def test_rows_are_counted(synthetic: SyntheticHistory) -> None:
    """The rows of the audit are among those that the history counts, and contradict nothing."""
    audit(synthetic, NOON, {}, {"asset_id": "luid-2"})
    audit(synthetic, NOON + MINUTE, {})
    assert synthetic.history.totals.counter("tableau_history_rows_total", AUDIT) == 2
    assert_verified(synthetic)


def test_a_row_that_nobody_audited_is_found(synthetic: SyntheticHistory) -> None:
    """A row later than the last audit is not the agent's: an export would read it, and leave out the next ones."""
    audit(synthetic, NOON, {})
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(f"UPDATE {AUDIT} SET audit_timestamp = audit_timestamp + INTERVAL 1 DAY")
    file = HistoryFile(synthetic.file.path, read_only=True)
    assert [verdict.subject for verdict in verify(file, EVENTS) if verdict.ok is False] == [AUDIT]


def test_an_older_file_gets_the_table(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history from before the audits accepts them."""
    monkeypatch.setattr("exporter.history.schema.STEPS", STEPS[: STEPS.index(_audits)])
    with duckdb.connect(str(synthetic.file.path)) as connection:
        prepare(connection, {})
        assert table_columns(connection, AUDIT) == {}
    monkeypatch.undo()
    assert audit(again(synthetic), NOON, {}) == 1


def test_the_truth_of_many_polls(synthetic: SyntheticHistory) -> None:
    """At every poll of a long run the latest row of each asset is its state, and no row repeats it."""
    chance = random.Random(11)
    truth: dict[str, tuple[str, datetime]] = {}
    expected = 0
    now = NOON
    for _ in range(60):
        now += timedelta(minutes=chance.choice([1, 60, 600]))
        found = {f"luid-{number}": chance.choices(["Healthy", "Critical"], [9, 1])[0] for number in range(12)}
        there = [asset for asset in found if chance.random() < 0.9]
        for asset in there:
            before = truth.get(asset)
            if before is None or before[0] != found[asset] or now - before[1] >= DAY:
                truth[asset] = (found[asset], now)
                expected += 1
        if chance.random() < 0.1:
            synthetic = again(synthetic)
        audit(synthetic, now, *({"asset_id": asset, "status": found[asset]} for asset in there))
    rows = stored(synthetic)
    assert len(rows) == expected
    assert {row["asset_id"]: (row["status"], row["audit_timestamp"]) for row in rows} == {
        asset: (status, at.replace(tzinfo=None)) for asset, (status, at) in truth.items()
    }
    keys = [(row["asset_id"], row["audit_timestamp"]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_a_poll_reads_no_history(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first poll earlier rows are not read again: the cost does not grow with them."""
    audit(synthetic, NOON, {})
    monkeypatch.setattr("exporter.history.freshness_audit._read_last", lambda *_: pytest.fail("read again"))
    assert audit(synthetic, NOON + MINUTE, {"status": "Critical"}) == 1
    assert audit(synthetic, NOON + DAY + HOUR, {"status": "Critical"}) == 1


def test_what_is_old_goes(tmp_path: Path) -> None:
    """The retention holds, without any request in the history, and the last row of a listed asset stays."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb", retention=timedelta(days=10))
    for day in range(24):
        audit(synthetic, NOON + day * DAY, {})
        audit(synthetic, NOON + day * DAY + 2 * HOUR, {})
    assert stamps(synthetic) == [AT + day * DAY for day in range(14, 24)]
    assert_verified(synthetic)


def test_a_clock_far_ahead_empties_nothing(tmp_path: Path) -> None:
    """An agent whose clock jumps ahead removes a day's audits an hour, not all of them at once."""
    synthetic = SyntheticHistory(tmp_path / "history.duckdb", retention=timedelta(days=30))
    for day in range(20):
        audit(synthetic, NOON + day * DAY, {})
    for minute in range(10):
        audit(synthetic, NOON + 5000 * DAY + minute * MINUTE, {})
    assert len(stamps(synthetic)) == 20


def test_pruning_by_command(synthetic: SyntheticHistory) -> None:
    """Rows older than the instant go, by the newest audit where there are no requests."""
    for day in range(5):
        audit(synthetic, NOON + day * DAY, {}, {"asset_id": "luid-2"})
    assert newest_request(synthetic.file) == AT + 4 * DAY
    steps = list(prune_in_steps(synthetic.file, EVENTS, AT + 2 * DAY))
    assert [dict(step.rows) for step in steps] == [{AUDIT: 4}]
    assert stamps(synthetic) == [AT + day * DAY for day in (2, 3, 4)]
    assert audit(synthetic, NOON + 4 * DAY + HOUR, {}) == 0
    assert_verified(synthetic)


def test_a_history_without_audits_has_no_row(synthetic: SyntheticHistory) -> None:
    """A poll that found no assets writes nothing."""
    assert audit(synthetic, NOON) == 0
    history: History = synthetic.history
    assert "audited" not in history.totals.marks
