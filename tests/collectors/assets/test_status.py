"""Whether an asset meets its SLA."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from exporter.collector import Context
from exporter.collectors.assets import COLLECTOR
from exporter.collectors.assets.status import SCHEMA, STATUSES, judge
from exporter.config.freshness import SlaRule
from exporter.freshness import SlaLookup, sla_lookup
from tests.collectors.assets.test_metrics import NOON, assets
from tests.collectors.repositories import SITES, samples

AT = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the history's times have no zone
SLA: SlaLookup = lambda _: (12.0, 24.0)  # noqa: E731


def judged(*rows: Mapping[str, Any], by: SlaLookup = SLA, now: float = NOON) -> list[dict[str, Any]]:
    """Judge assets at noon, with an SLA of 12 hours (warning) and 24 (critical)."""
    found: list[dict[str, Any]] = judge(assets(*rows), by, now).to_pylist()
    return found


def refreshed(hours: float, **values: object) -> dict[str, object]:
    """Return the columns of an asset whose data was refreshed so many hours before noon."""
    return {"last_refresh_at": AT - timedelta(hours=hours), **values}


def test_the_columns_of_the_notebook_come_first() -> None:
    """Readers of the older table find its nine columns in their order, and new ones behind them."""
    assert SCHEMA.names == [
        "asset_type",
        "asset_id",
        "asset_name",
        "owner_id",
        "project_name",
        "last_refresh_utc",
        "hours_since_refresh",
        "status",
        "audit_timestamp",
        "site",
        "connection",
        "sla_hours",
        "freshness_source",
    ]
    assert judge(assets(refreshed(1)), SLA, NOON).schema == SCHEMA
    assert judge(assets(), SLA, NOON).schema == SCHEMA


def test_all_that_is_known_of_an_asset_is_in_its_row() -> None:
    """Each column from its place, hours to the second, the critical SLA."""
    row = refreshed(30, owner_id="luid-9", site="marketing", freshness_source="metadata", content_owner="jo")
    assert judged(row) == [
        {
            "asset_type": "workbook",
            "asset_id": "luid-1",
            "asset_name": "Sales",
            "owner_id": "luid-9",
            "project_name": "Finance/EMEA",
            "last_refresh_utc": AT - timedelta(hours=30),
            "hours_since_refresh": 30.0,
            "status": "Critical",
            "audit_timestamp": AT,
            "site": "marketing",
            "connection": "extract",
            "sla_hours": 24.0,
            "freshness_source": "metadata",
        }
    ]


@pytest.mark.parametrize(
    ("hours", "status"),
    [
        (-1, "Healthy"),
        (0, "Healthy"),
        (12, "Healthy"),
        (12 + 1e-6, "Warning"),
        (24, "Warning"),
        (24 + 1e-6, "Critical"),
        (10_000, "Critical"),
    ],
)
def test_stale_is_what_is_older_than_the_promise(hours: float, status: str) -> None:
    """Data exactly as old as the SLA meets it; a refresh ahead of our clock is fresh."""
    (row,) = judged(refreshed(hours))
    assert row["status"] == status
    assert row["hours_since_refresh"] == pytest.approx(max(hours, 0), abs=1e-8)


def test_live_content_is_never_stale() -> None:
    """It has neither refresh, hours nor SLA, with any other fields."""
    (row,) = judged(refreshed(10_000, connection="live"))
    assert row["status"] == "Live"
    assert (row["last_refresh_utc"], row["hours_since_refresh"], row["sla_hours"]) == (None, None, None)


def test_what_nobody_knows_is_unknown() -> None:
    """Without a time, or with an invalid one, there are no hours; the SLA stands."""
    endless = pa.array([2**63 - 1], pa.int64()).cast(pa.timestamp("us"))
    table = assets({})
    table = table.set_column(table.column_names.index("last_refresh_at"), "last_refresh_at", endless)
    for (row,) in (judged({}), judge(table, SLA, NOON).to_pylist()):
        assert row["status"] == "Unknown"
        assert (row["last_refresh_utc"], row["hours_since_refresh"], row["sla_hours"]) == (None, None, 24.0)


@pytest.mark.parametrize(
    ("tiers", "status", "sla"),
    [
        ((None, None), "Healthy", None),
        ((12.0, None), "Warning", None),
        ((None, 24.0), "Critical", 24.0),
        ((48.0, 24.0), "Critical", 24.0),
        ((12.0, 48.0), "Warning", 48.0),
    ],
)
def test_never_sets_no_promise(tiers: tuple[float | None, float | None], status: str, sla: float | None) -> None:
    """A tier that is never due cannot be broken; the critical one counts before the warning."""
    (row,) = judged(refreshed(30), by=lambda _: tiers)
    assert (row["status"], row["sla_hours"]) == (status, sla)


def test_the_rules_of_the_configuration_are_obeyed() -> None:
    """First match by site, project, type, name, tag and owner."""
    hour = 3600.0
    rules = sla_lookup(
        [
            SlaRule({"site": ("marketing",), "tag": ("no-sla",)}, None, None),
            SlaRule({"project": ("Finance*",), "name": ("Sales",)}, 2 * hour, 4 * hour),
            SlaRule({"content_owner": ("jo",)}, 40 * hour, 50 * hour),
            SlaRule({}, 12 * hour, 24 * hour),
        ]
    )
    rows = (
        refreshed(5, site="default"),
        refreshed(5, site="marketing", tags="a\x1fno-sla"),
        refreshed(30, asset_name="Other", content_owner="jo"),
        refreshed(30, asset_name="Other"),
    )
    found = judged(*rows, by=rules)
    assert [row["status"] for row in found] == ["Critical", "Healthy", "Healthy", "Critical"]
    assert [row["sla_hours"] for row in found] == [4.0, None, 50.0, 24.0]


def test_the_audit_agrees_with_the_metrics() -> None:
    """Of every asset hours and SLA are those of the samples, and the status follows from these two."""
    chance = random.Random(4)
    rows = [
        {
            "asset_id": f"luid-{number}",
            "site": "default",
            "connection": connection,
            "last_refresh_at": None if connection == "live" else chance.choice([None, AT - timedelta(hours=number)]),
        }
        for number in range(200)
        for connection in [chance.choice(["live", "extract", "mixed"])]
    ]
    (state,) = COLLECTOR.states
    tiers: SlaLookup = lambda asset: (len(asset["name"]) * 5.0, len(asset["name"]) * 10.0)  # noqa: E731
    blocks = list(state.expose(assets(*rows), Context(SITES, tiers)))
    hours = {labels[3]: value for labels, value in samples(blocks, "tableau_asset_hours_since_refresh", NOON).items()}
    sla = {labels[3]: value for labels, value in samples(blocks, "tableau_asset_sla_hours", NOON).items()}
    found = judged(*rows, by=tiers)
    assert {row["status"] for row in found} == set(STATUSES)
    for row in found:
        assert row["hours_since_refresh"] == hours.get(row["asset_id"])
        assert row["sla_hours"] == sla.get(row["asset_id"])
        late = row["hours_since_refresh"] is not None and row["hours_since_refresh"] > row["sla_hours"]
        assert late == (row["status"] == "Critical")


def test_microseconds_are_kept() -> None:
    """The instant of the refresh is the one that was read, not one recomputed from seconds in floating point."""
    at = datetime(2025, 11, 19, 6, 0, 0, 123457)  # noqa: DTZ001
    (row,) = judged({"last_refresh_at": at}, now=NOON + 0.25)
    assert row["last_refresh_utc"] == at
    assert row["audit_timestamp"] == AT + timedelta(microseconds=250_000)
