"""The agent's alerts and those of alerts/tableau.rules.yml are the same alerts."""

import re
from typing import Any
from urllib.parse import quote_plus

import pytest

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.annotations import ASSET_SOURCES, Annotator, AssetContext
from exporter.alerting.notification import OF_ALERTS
from exporter.alerting.rules import MINUTE, RULES, Rule
from exporter.alerting.snapshot import ASSET
from exporter.collectors.background_jobs import BRIDGE_SEEN
from exporter.history.alert_store import OWNER_EMAIL
from tests.alerts.shipped_rules import ALERTS, EVERY, seconds

SHIPPED = {(rule["alert"], rule["labels"]["severity"]): rule for rule in ALERTS}
# What needs the past of many counters is for Prometheus, which keeps it; so are processes and disks, some of which do.
OF_PROMETHEUS = {
    "TableauExporterDown",
    "TableauSeriesDropped",
    "TableauHistoryGrowingFast",
    "TableauJobQueueSlow",
    "TableauJobsStandStill",
    "TableauJobsFailing",
    "TableauJobsSlow",
    "TableauRequestErrors",
    "TableauViewsSlow",
    "TableauTrafficLow",
    "TableauServerProcessDown",
    "TableauServerNodeGone",
    "TableauServerDegraded",
    "TableauServerUnlicensed",
    "TableauServerDiskSpaceLow",
    "TableauServerDiskFullSoon",
}
THRESHOLDS = {
    "use_seconds": conditions.USE_SECONDS,
    "use_least_users": conditions.USE_LEAST_USERS,
    "shrank_ratio": conditions.SHRANK_RATIO,
    "grew_ratio": conditions.GREW_RATIO,
    "refresh_failures": conditions.REFRESH_FAILURES,
    "habit_intervals": conditions.USUAL_INTERVALS,
    "habit_least_seconds": conditions.USUAL_LEAST_SECONDS,
    "collision_count": conditions.COLLISION_COUNT,
    "file_busy_count": conditions.FILE_BUSY_COUNT,
    "freshness_source_seconds": conditions.FRESHNESS_SOURCE_SECONDS,
    "certificate_seconds": conditions.CERTIFICATE_SECONDS,
    "export_seconds": conditions.EXPORT_SECONDS,
    "archive_lag_seconds": conditions.ARCHIVE_LAG_SECONDS,
    "purge_risk_ratio": conditions.PURGE_RISK_RATIO,
    "clock_ahead_seconds": conditions.CLOCK_AHEAD_SECONDS,
    "activity_log_lag_seconds": conditions.ACTIVITY_LOG_LAG_SECONDS,
    "activity_log_retention_seconds": conditions.ACTIVITY_LOG_RETENTION_SECONDS,
    "insights_age_seconds": conditions.INSIGHTS_AGE_SECONDS,
    "bridge_silent_seconds": conditions.BRIDGE_SILENT_SECONDS,
    "subscription_failures": conditions.SUBSCRIPTION_FAILURES,
    "token_expiry_seconds": conditions.TOKEN_EXPIRY_SECONDS,
    "purge_risk_least_seconds": conditions.PURGE_RISK_LEAST_SECONDS,
}
# What the rules write as queries and conditions, and the agent as one place in its text.
QUERIES = {
    r"{{ with printf .max\(tableau_asset_users.*?UTC{{ end }}\.{{ end }}": "{used}",
    r"{{ with printf .max\(tableau:asset_usual_size.*?{{ end }}B": "{usual}",
    r"{{ \$value \| humanize }}B": "{bytes}",
    r"{{ range printf .tableau:freshness_source_silent.*?{{ end }}": "{silent}",
    r"{{ with printf [^}]*critical.*?no{{ end }} hours \(warning\)": "{sla}",
    r"{{ with \$labels.content_owner }}.*?{{ end }}": "{owner}",
    r"{{ printf .%.1f. \$value }}": "{hours}",
    r"{{ \$value }}": "{count}",
}


def plain(text: str) -> str:
    """Return a text of the rules as the agent writes it: labels and values in braces."""
    text = re.sub(r"{{ with \$labels.project }}.*?{{ end }}", "{of_project}", text)
    text = re.sub(r"{{ \$labels\.(\w+) }}", r"{\1}", text)
    return re.sub(r"{{ \$value \| humanizeDuration }}", "{span}", text)


def identified(rule: Rule) -> str:
    """Name a rule in the list of tests."""
    return rule.name


def test_each_alert_is_raised_by_the_agent_or_needs_a_past() -> None:
    """No alert is forgotten, and none is raised that Prometheus would not raise."""
    assert {(rule.alert, rule.severity) for rule in RULES} == {
        (name, severity) for name, severity in SHIPPED if name not in OF_PROMETHEUS
    }


@pytest.mark.parametrize("rule", RULES, ids=identified)
def test_the_same_times(rule: Rule) -> None:
    """An alert fires after the same time, and is retained for the same time."""
    shipped = SHIPPED[rule.alert, rule.severity]
    assert rule.for_seconds == seconds(shipped["for"])
    assert rule.keep_firing_for_seconds == seconds(shipped.get("keep_firing_for", "0s"))


@pytest.mark.parametrize("rule", RULES, ids=identified)
def test_the_same_words(rule: Rule) -> None:
    """The summary is the same; so is every description of an asset, and every other that does without a number."""
    annotations: dict[str, Any] = SHIPPED[rule.alert, rule.severity]["annotations"]
    assert rule.summary == plain(annotations["summary"])
    description = plain(annotations["description"])
    for query, place in QUERIES.items():
        description = re.sub(query, place, description)
    if rule.about_asset or ("query" not in description and "{{" not in description):
        assert rule.description == description


def test_the_same_sources_of_freshness() -> None:
    """Both name the same sources in the alert of an asset, by the same names."""
    shipped = [rule["labels"] for rule in EVERY if rule.get("record") == "tableau:asset_source:info"]
    assert [(of["asset_type"], of["source"], of["called"]) for of in shipped] == [
        (asset_type, source, called) for asset_type, of in ASSET_SOURCES.items() for source, called in of.items()
    ]


@pytest.mark.parametrize("name", ["TableauRepositoryUnreachable", "TableauRestUnreachable"])
def test_what_inhibits_is_kept_until_both_see_again(name: str) -> None:
    """After an outage Prometheus waits with assets, and the agent keeps them: until then no notification is sent."""
    waited = max(seconds(rule["for"]) for key, rule in SHIPPED.items() if key[0] == "TableauAssetStale")
    kept = seconds(SHIPPED[name, "critical"]["keep_firing_for"])
    assert kept >= waited + 5 * MINUTE


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_what_inhibits_a_silent_source_outlasts_it(severity: str) -> None:
    """After an outage the first poll reads the sources again: no notification precedes the end of their alerts."""
    kept = seconds(SHIPPED["TableauFreshnessSourceSilent", "warning"]["keep_firing_for"])
    assert seconds(SHIPPED["TableauRestUnreachable", severity]["keep_firing_for"]) >= kept + 5 * MINUTE


@pytest.mark.parametrize("rule", RULES, ids=identified)
def test_the_same_dashboard(rule: Rule) -> None:
    """An alert leads to the same dashboard, with the same variables, from Prometheus and from the agent."""
    address: str = SHIPPED[rule.alert, rule.severity]["annotations"]["dashboard_url"]
    labels = {"alertname": rule.alert, "severity": rule.severity, "site": "a b&c", "asset_id": "b6bf/9"}
    describer = Annotator(AssetContext(), dashboard_url="https://grafana.example")
    expanded = re.sub(r"{{ \$labels\.(\w+) \| urlquery }}", lambda match: quote_plus(labels[match[1]]), address)
    assert describer.annotations(rule, tuple(labels.items()), 1.0)["dashboard_url"] == expanded
    silent = Annotator(AssetContext()).annotations(rule, tuple(labels.items()), 1.0)
    assert "dashboard_url" not in silent


def test_labels_that_alerts_have_are_not_configured() -> None:
    """A label that identifies alerts cannot be set on all of them."""
    of = (families.UP, families.COLLECTOR_SUCCESS, families.COLLECTOR_MISSING, families.INCIDENTS)
    others = (families.NOTIFICATIONS_FAILED, families.FRESHNESS_SOURCE_LAST_SUCCESS, families.EXPORT_FAILURES)
    pools = set(BRIDGE_SEEN.labels) - {"client"}
    by_alert = {name for family in (*of, *others) for name in family.labels} | pools
    assert by_alert | {*ASSET, "alertname", "severity", OWNER_EMAIL, "rule"} == OF_ALERTS


def test_the_same_thresholds() -> None:
    """Each threshold that the agent uses is that of the rules."""
    shipped = {
        rule["labels"]["of"]: float(rule["expr"].removeprefix("vector(").removesuffix(")"))
        for rule in EVERY
        if rule.get("record") == "tableau:threshold"
    }
    assert {name: shipped[name] for name in THRESHOLDS} == THRESHOLDS
