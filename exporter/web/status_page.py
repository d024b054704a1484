"""The status page: the health of the agent, assets past their SLA, firing alerts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment

from exporter.collectors.assets.status import CRITICAL, STATUSES, UNKNOWN, WARNING
from exporter.pagedata.builder import PageData
from exporter.status import CollectorStatus, FiringAlert, FreshnessSource, Status
from exporter.web.asset_list import only
from exporter.web.templating import encoded, minute, root_of, source_state

SOURCES_LISTED = 20
"""How many sources of freshness are listed, those that were read longest ago first."""
HISTORY = "history"
EXPORTS = "exports"
_FOLLOW: Mapping[str, Collection[str]] = {
    "repository": (),
    "rest": ("TableauRestTokenRefused", "TableauFreshnessSourceSilent"),
    "activity_log": ("TableauActivityLogLagging",),
    HISTORY: ("TableauHistoryFileBusy", "TableauHistoryIncident", "TableauArchiveLagging"),
    EXPORTS: ("TableauExportFailing",),
}
"""Alerts that only follow from a source that is down, or a history that is not written."""
_SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Sla:
    """How many assets are past their SLA, how many have one, and of how many the age is unknown."""

    critical: int
    warning: int
    unknown: int
    promised: int

    @property
    def past(self) -> int:
        """How many are past their SLA."""
        return self.critical + self.warning

    def kind(self, *, is_healthy: bool) -> str:
        """Return the colour: good only where the agent is healthy and nothing is past its SLA or unknown."""
        if self.past:
            return "bad" if self.critical else "warn"
        return "good" if is_healthy and self.promised and not self.unknown else "idle"


@dataclass(frozen=True)
class AlertGroup:
    """The alerts of one rule that fire: how many, about how many assets, and since when."""

    name: str
    severity: str
    count: int
    assets: int
    since: float
    runbook_url: str
    assets_url: str


class StatusPage:
    """The page."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def render(self, status: Status, pages: PageData) -> bytes:
        """Render the page as UTF-8; unencodable characters become question marks."""
        found = troubles(status, pages.firing or ())
        is_waiting = any(source_state(source) == "waiting" for source in status.sources)
        sla = sla_of(pages, status.now)
        values = {
            "status": status,
            "root": root_of("/"),
            "polls": sorted(status.polls, key=lambda poll: poll.started_at, reverse=True),
            "troubles": found,
            "waiting": is_waiting,
            "sla": sla,
            "sla_kind": "" if sla is None else sla.kind(is_healthy=not found and not is_waiting),
            "counts": dict.fromkeys(STATUSES, 0) if pages.assets is None else pages.assets.at(status.now).counts(),
            "alerts": None if pages.firing is None else grouped(pages.firing),
            "freshness_sources": oldest_first(status.freshness_sources)[:SOURCES_LISTED],
        }
        return encoded(self._environment, "status.html", values)


def troubles(status: Status, firing: Iterable[FiringAlert] = ()) -> list[str]:
    """List every problem of the agent, one phrase each: states first, then alerts with no other cause.

    An alert about an asset is no problem of the agent, and one of severity info is no problem.
    """
    down = [source.name for source in status.sources if source_state(source) == "down"]
    failed = [collector.name for collector in status.collectors if not collector.success]
    stuck = {source.name: minute(source.polling_since or status.now) for source in status.sources if source.stuck}
    found = [f"The source {name} is down" for name in down]
    found += [f"The poll of the source {name} is stuck; it started at {since} UTC" for name, since in stuck.items()]
    found += _failed_by_themselves(status.collectors)
    failing = [export for export in status.exports if export.error is not None]
    found += [f"The export of {export.table} to {export.destination} ({export.format}) failed" for export in failing]
    if status.history_error is not None:
        found.append("The history file cannot be written")
    if status.config_error is not None:
        found.append("The last configuration reload failed")
    broken = [*down, *[HISTORY] * (status.history_error is not None), *[EXPORTS] * bool(failing)]
    follow = {name for cause in broken for name in _FOLLOW.get(cause, ())}
    rules = {
        alert.rule: f"The alert {alert.name} is firing ({alert.severity})"
        for alert in firing
        if not alert.label("asset_type") and alert.severity != "info" and alert.name not in follow
        if alert.label("source") not in (*down, *stuck) and alert.label("collector") not in failed
    }
    return found + list(rules.values())


def _failed_by_themselves(collectors: Iterable[CollectorStatus]) -> list[str]:
    """Name the collectors that did not fail because something else did; those that failed for one reason together."""
    reasons: dict[str, list[str]] = {}
    for collector in collectors:
        if not collector.success and not collector.causes:
            reasons.setdefault(collector.error or collector.name, []).append(collector.name)
    return [
        f"The collector {names[0]} failed" if len(names) == 1 else f"The collectors {', '.join(names)} failed"
        for names in reasons.values()
    ]


def sla_of(pages: PageData, now: float) -> Sla | None:
    """Count the assets that are past their SLA; None where nothing is known of assets."""
    if pages.assets is None:
        return None
    counts = pages.assets.at(now).counts()
    return Sla(counts[CRITICAL], counts[WARNING], counts[UNKNOWN], int(pages.assets.has_sla.sum()))


def grouped(firing: Iterable[FiringAlert]) -> list[AlertGroup]:
    """Return the firing alerts by name and severity, most severe first."""
    rules: dict[tuple[str, str], list[FiringAlert]] = {}
    for alert in firing:
        rules.setdefault((alert.name, alert.severity), []).append(alert)
    return sorted((_group(alerts) for alerts in rules.values()), key=lambda group: (_rank(group.severity), group.name))


def _group(alerts: Sequence[FiringAlert]) -> AlertGroup:
    first = alerts[0]
    about = len({(alert.label("asset_type"), alert.label("asset_id")) for alert in alerts if alert.label("asset_id")})
    since = min(alert.since for alert in alerts)
    listed = only("alert", first.rule)
    return AlertGroup(first.name, first.severity, len(alerts), about, since, first.runbook_url, listed)


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def oldest_first(sources: Iterable[FreshnessSource]) -> list[FreshnessSource]:
    """Return sources of freshness, those that were read longest ago first."""
    return sorted(sources, key=lambda source: (source.read_at, source.site, source.source))
