"""Annotations of an alert about an asset while a freshness source of its site is down."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.annotations import Annotator, AssetContext
from exporter.alerting.owners import Owners
from exporter.alerting.rules import RULES, Rule
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import ASSET, MetricSnapshot, SourceStates
from exporter.collectors.assets import metrics as assets
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.metrics import Block, Family, Labels
from exporter.pagedata.undelivered import Undelivered
from tests.support.notifier_harness import NOW

HOUR = 3600.0
USED = "It was opened by 37 users this week, usually next {}."
# 2023-11-14 22:13 UTC is now.
METADATA = "The Metadata API of the site default has not been read completely since 2023-11-14 17:13 UTC:"
JOBS = "The list of refresh jobs of the site default has not been read completely since 2023-11-14 16:13 UTC:"
FLOW_RUNS = "The list of flow runs of the site default has not been read completely since 2023-11-14 18:13 UTC:"
BUT = "the data may be fresher than this."
HOURS = {"metadata": 5.0, "job": 6.0, "flow_run": 4.0, "task": 9.0}
AGEING = [rule for rule in RULES if "{silent}" in rule.description]


def known(
    silent_hours: Mapping[str, float], asset_type: str = "workbook", freshness_source: str = "metadata"
) -> AssetContext:
    """Return the snapshot of one asset of the site default whose sources were read so many hours ago."""
    labels = ("default", "Finance", asset_type, "luid-1", "Month End", "priya", "extract", freshness_source)
    sites = ["default"] * len(silent_hours) + ["marketing"] * len(HOURS)
    hours = [*silent_hours.values(), *HOURS.values()]
    blocks = [
        Block(assets.INFO, Labels(assets.INFO.labels, [[label] for label in labels]), [1]),
        Block(
            families.FRESHNESS_SOURCE_LAST_SUCCESS,
            Labels(("site", "source"), [sites, [*silent_hours, *HOURS]]),
            [NOW - ago * HOUR for ago in hours],
        ),
    ]
    view = MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())
    return AssetContext(view.assets, silent=conditions.silent_sources(view))


def described(rule: Rule, known: AssetContext, asset_type: str = "workbook") -> str:
    """Return the description of an alert about the asset."""
    of = dict(zip(ASSET, ("default", "Finance", asset_type, "luid-1", "Month End", "priya"), strict=True))
    labels = of | {"alertname": rule.alert, "severity": rule.severity}
    return Annotator(known).annotations(rule, tuple(labels.items()), 60.0)["description"]


def test_alerts_that_speak_of_age() -> None:
    """Each alert of an asset that depends on a refresh being seen names the silent sources; no other does."""
    assert {rule.alert for rule in AGEING} == {
        "TableauAssetStale",
        "TableauAssetStaleBeforeUse",
        "TableauAssetRefreshLate",
        "TableauAssetRefreshUnusuallyLate",
        "TableauAssetRefreshChangedNothing",
    }


@pytest.mark.parametrize("rule", AGEING, ids=lambda rule: rule.name)
def test_a_silent_source_is_named(rule: Rule) -> None:
    """With its site and since when, in the midst of the description; one that was read in time is not."""
    text = described(rule, known({"metadata": 5.0, "job": 2.9}))
    assert f". {METADATA} {BUT} " in text
    assert "refresh jobs" not in text
    assert described(rule, known({"metadata": 0.1, "job": 0.1})) == text.replace(f" {METADATA} {BUT}", "")


@pytest.mark.parametrize(
    ("asset_type", "named"),
    [
        ("workbook", f" {JOBS} {BUT} {METADATA} {BUT} "),
        ("datasource", f" {JOBS} {BUT} {METADATA} {BUT} "),
        ("flow", f" {FLOW_RUNS} {BUT} "),
        ("another", " "),
    ],
)
def test_sources_that_know_the_age(asset_type: str, named: str) -> None:
    """Only those are named that know how old the data of this type of asset is, in their order."""
    text = described(AGEING[0], known(HOURS, asset_type), asset_type)
    assert f"no hours (warning).{named}The refresh fails" in text


def test_an_age_from_the_repository() -> None:
    """The age from the repository does not depend on a source that is down."""
    assert BUT not in described(AGEING[0], known(HOURS, freshness_source="repository"))
    assert BUT in described(AGEING[0], known(HOURS, freshness_source="job"))


def test_an_asset_that_is_not_listed_any_more() -> None:
    """Its alert, which stays as it is, names the silent sources too."""
    assert METADATA in described(AGEING[0], AssetContext(silent=known(HOURS).silent))


UNDELIVERED = [rule for rule in RULES if rule.undelivered]


def recipients(rule: Rule, rows: Sequence[Undelivered], project: str = "Finance") -> str | None:
    """Return the users whom an alert about deliveries of a project names."""
    labels = {"alertname": rule.alert, "severity": rule.severity, "site": "default", "project": project}
    known = AssetContext(undelivered=lambda: rows)
    return Annotator(known).annotations(rule, tuple(labels.items()), 3.0).get("recipients")


def a_delivery(rule: Rule, name: str, recipient: str = "Priya Shah", project: str = "Finance") -> Undelivered:
    """Return a delivery that the rule is about."""
    assert rule.undelivered
    kind, state = rule.undelivered
    return Undelivered(kind, "default", project, name, "Sales", state, 3, NOW, recipient)


@pytest.mark.parametrize("rule", UNDELIVERED, ids=lambda rule: rule.name)
def test_an_alert_names_who_waits(rule: Rule) -> None:
    """The deliveries of its kind, state, site and project, with their users, on one line; the first twenty of them."""
    others = [a_delivery(other, "Other") for other in UNDELIVERED if other.undelivered != rule.undelivered]
    rows = [
        *others,
        a_delivery(rule, "Daily\nsales"),
        a_delivery(rule, "Weekly"),
        a_delivery(rule, "Web", project="Web"),
    ]
    assert recipients(rule, rows) == "Daily sales: Priya Shah; Weekly: Priya Shah"
    most = [a_delivery(rule, "x") for _ in range(23)]
    assert recipients(rule, most) == "; ".join(["x: Priya Shah"] * 20 + ["and 3 more"])


@pytest.mark.parametrize("rule", UNDELIVERED, ids=lambda rule: rule.name)
def test_an_alert_names_nobody_who_is_not_known(rule: Rule) -> None:
    """Under privacy.users: none there are no names, and no annotation."""
    assert recipients(rule, [a_delivery(rule, "Daily", recipient="")]) is None
    assert recipients(rule, []) is None


def test_alerts_about_deliveries() -> None:
    """These name their recipients."""
    assert [rule.name for rule in UNDELIVERED] == [
        "TableauSubscriptionFailing warning",
        "TableauSubscriptionSuspended warning",
        "TableauDataAlertSuspended warning",
    ]


@pytest.mark.parametrize("alert", ["TableauAssetStale", "TableauAssetStaleBeforeUse", "TableauAssetShrank"])
@pytest.mark.parametrize(
    ("values", "zone", "text"),
    [
        ({assets.USERS: 37, assets.NEXT_USE: NOW + HOUR}, None, USED),
        ({assets.USERS: 37, assets.NEXT_USE: NOW + HOUR}, "Asia/Kolkata", USED),
        ({assets.USERS: 1}, None, "It was opened by 1 user this week."),
        ({assets.NEXT_USE: NOW + HOUR}, None, "It is usually opened next {}."),
        ({}, None, ""),
    ],
)
def test_the_use_of_an_asset_is_in_the_description(
    alert: str, values: Mapping[Family, float], zone: str | None, text: str
) -> None:
    """As far as it is known, in the time zone of the site, else in the configured one."""
    labels = ("default", "Finance", "workbook", "luid-1", "Month End", "priya", "extract", "repository")
    of = Labels(assets.LABELS, [[label] for label in labels[:5]])
    blocks = [
        Block(assets.INFO, Labels(assets.INFO.labels, [[label] for label in labels]), [1]),
        *(Block(family, of, [value]) for family, value in values.items()),
    ]
    row = dict.fromkeys(ARROW_SCHEMA.names) | {"site": "default", "asset_type": "workbook", "asset_id": "luid-1"}
    owners = Owners(pa.Table.from_pylist([row | {"time_zone": zone}], schema=ARROW_SCHEMA))
    view = MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())
    described_by = Annotator(AssetContext(view.assets, owners, now=NOW), timezone="Europe/Berlin")
    (rule, *_) = [rule for rule in RULES if rule.alert == alert]
    alert_labels = (*zip(ASSET, labels[:6], strict=True), ("alertname", alert), ("severity", rule.severity))
    description = described_by.annotations(rule, alert_labels, 60.0)["description"]
    local = datetime.fromtimestamp(NOW + HOUR, ZoneInfo(zone or "Europe/Berlin"))
    is_today = datetime.fromtimestamp(NOW, local.tzinfo).date() == local.date()
    assert ("It was" in description or "It is" in description) == bool(text)
    assert text.format(f"at {local:%H:%M}" if is_today else f"{local:%A %H:%M}") in description
