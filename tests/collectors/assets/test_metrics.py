"""The metrics of assets."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from exporter.collector import Context, columns_of
from exporter.collectors.assets import COLLECTOR
from exporter.collectors.assets.metrics import BYTES, NEXT_USE, USERS, USUAL_BYTES
from exporter.collectors.assets.rows import Asset
from exporter.collectors.assets.usage import USAGE
from exporter.history.sizes import SIZES
from exporter.inventory import TAG_SEPARATOR
from exporter.metrics import Block
from tests.collectors.repositories import SITES, Samples, samples

(STATE,) = COLLECTOR.states
REFRESHED = datetime(2025, 11, 19, 6)  # noqa: DTZ001 - the repository's times have no zone
NOON = datetime(2025, 11, 19, 12, tzinfo=UTC).timestamp()
KINDS = {"BIGINT": pa.int64(), "VARCHAR": pa.string_view(), "BOOLEAN": pa.bool_(), "TIMESTAMP": pa.timestamp("us")}
LABELS = ("default", "Finance/EMEA", "workbook", "luid-1", "Sales")


def assets(*rows: Mapping[str, Any]) -> pa.Table:
    """Return assets as they are read; fields not given of the first are NULL."""
    base = {
        "site_id": 1,
        "project": "Finance/EMEA",
        "asset_type": "workbook",
        "asset_id": "luid-1",
        "asset_name": "Sales",
        "connection": "extract",
    }
    schema = pa.schema([(column.name, KINDS[column.type.duckdb]) for column in columns_of(Asset)])
    return pa.Table.from_pylist([{**dict.fromkeys(schema.names), **base, **row} for row in rows], schema=schema)


def blocks(*rows: Mapping[str, Any], context: Context | None = None) -> list[Block]:
    """Return the samples of assets, all with an SLA of 12 and 24 hours."""
    return list(STATE.expose(assets(*rows), context or Context(SITES, lambda _: (12.0, 24.0))))


def published(family: str, *rows: Mapping[str, Any], context: Context | None = None) -> Samples:
    """Return the samples of one family at noon."""
    return samples(blocks(*rows, context=context), f"tableau_asset_{family}", NOON)


def test_hours_follow_the_clock_of_the_rendering() -> None:
    """The same rows give more hours later."""
    hours = next(block for block in blocks({"last_refresh_at": REFRESHED}))
    assert hours.at(NOON) == [6.0]
    assert hours.at(NOON + 1800) == [6.5]


def test_hours_are_never_negative() -> None:
    """The clock of the repository may be ahead of ours."""
    assert published("hours_since_refresh", {"last_refresh_at": datetime(2025, 11, 19, 12, 5)}) == {LABELS: 0.0}  # noqa: DTZ001


def test_the_refresh_is_shown_in_seconds() -> None:
    """UTC, whatever the time zone of this machine is."""
    shows = published("last_refresh_timestamp_seconds", {"last_refresh_at": REFRESHED})
    assert shows == {LABELS: NOON - 6 * 3600}


def test_unknown_is_absent() -> None:
    """An asset of unknown freshness has its SLA and its info, no other sample."""
    families = {block.family.name for block in blocks({}) if any(value is not None for value in block.at(NOON))}
    assert families == {"tableau_asset_sla_hours", "tableau_asset_info"}


def test_infinity_is_not_known() -> None:
    """PostgreSQL's infinity is no instant."""
    table = assets({})
    endless = pa.array([2**63 - 1], pa.int64()).cast(pa.timestamp("us"))
    for name in ("last_refresh_at", "next_refresh_at"):
        table = table.set_column(table.column_names.index(name), name, endless)
    found = list(STATE.expose(table, Context(SITES, lambda _: (None, None))))
    for family in ("hours_since_refresh", "last_refresh_timestamp_seconds", "next_refresh_timestamp_seconds"):
        assert samples(found, f"tableau_asset_{family}", NOON) == {}


def test_promises_are_shown_by_severity() -> None:
    """One series a tier."""
    assert published("sla_hours", {}) == {(*LABELS, "warning"): 12.0, (*LABELS, "critical"): 24.0}


def test_live_content_is_promised_nothing() -> None:
    """It is never stale."""
    assert published("sla_hours", {"connection": "live"}) == {}


def test_a_tier_that_is_never_due_is_absent() -> None:
    """``never`` sets no SLA."""
    shows = published("sla_hours", {}, context=Context(SITES, lambda _: (None, 4.0)))
    assert shows == {(*LABELS, "critical"): 4.0}


def test_a_promise_is_asked_with_all_that_rules_may_match() -> None:
    """Site, project, type, name, tags and owner."""
    asked: list[Mapping[str, Any]] = []

    def promised(asset: Mapping[str, Any]) -> tuple[None, None]:
        asked.append(asset)
        return None, None

    rows = {"content_owner": "jo", "tags": f"no-sla{TAG_SEPARATOR}a, b"}, {"site_id": None, "tags": None}
    blocks(*rows, context=Context(SITES, promised))
    common = {"project": "Finance/EMEA", "asset_type": "workbook", "name": "Sales"}
    assert asked == [
        {**common, "site": "default", "content_owner": "jo", "tags": ["no-sla", "a, b"]},
        {**common, "site": "", "content_owner": "", "tags": []},
    ]


def test_failures_and_suspensions_are_numbers() -> None:
    """Zero is published, unknown is not."""
    row = {"consecutive_failures": 0, "suspended": False}
    assert published("refresh_consecutive_failures", row) == {LABELS: 0}
    assert published("refresh_suspended", row) == {LABELS: 0}
    assert published("refresh_suspended", {"suspended": True}) == {LABELS: 1}


def test_the_rest_stands_on_the_info_family() -> None:
    """Owner, connection and source of the freshness; unknown is empty, which is absent."""
    row = {"content_owner": "jo", "freshness_source": "created"}
    assert published("info", row) == {(*LABELS, "jo", "extract", "created"): 1}
    (text,) = next(block for block in blocks({}) if block.family.name == "tableau_asset_info").labels.text.to_pylist()
    assert text.endswith(',asset_name="Sales",connection="extract"')


def test_what_was_learned_is_shown_of_its_asset() -> None:
    """The answer of the history, by LUID."""
    learned = pa.table({"asset_id": ["luid-2", "luid-1"], "interval_seconds": [60.0, 3600.0]})
    shows = published("refresh_interval_seconds", {}, context=Context(SITES, lambda _: (None, None), learned))
    assert shows == {LABELS: 3600.0}


def test_no_assets_have_no_samples() -> None:
    """An empty repository is no error."""
    assert all(list(block.at(NOON)) == [] and len(block.labels.text) == 0 for block in blocks())


def test_use_and_size_are_exposed_as_far_as_they_are_known() -> None:
    """Users, the first use that is to come, size and usual size; what the history has not learned is absent."""
    rows = assets({"asset_id": "a", "bytes": 40}, {"asset_id": "b"})
    usage = pa.Table.from_pylist(
        [{"asset_type": "workbook", "asset_id": "a", "users_7d": 37, "users_30d": 40, "next_uses": [100.0, 900.0]}],
        USAGE,
    )
    usual = pa.Table.from_pylist([{"asset_type": "workbook", "asset_id": "a", "bytes": 40, "usual_bytes": 90}], SIZES)
    context = Context(SITES, lambda _: (None, None), usage=usage, usual=usual)
    exposed = {block.family: block for block in STATE.expose(rows, context)}
    found = {family: list(exposed[family].at(500.0)) for family in (USERS, NEXT_USE, BYTES, USUAL_BYTES)}
    assert found == {USERS: [37, None], NEXT_USE: [900.0, None], BYTES: [40, None], USUAL_BYTES: [90, None]}
    assert [exposed[NEXT_USE].at(now)[0] for now in (0.0, 99.0, 100.0, 900.0)] == [100.0, 100.0, 900.0, None]
