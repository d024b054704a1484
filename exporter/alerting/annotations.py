"""Annotations of alerts: summary, description, runbook and dashboard.

Of assets also their page in Tableau, the owner, the owners of workbooks downstream, and Tableau's error message of the
failed refresh; of subscriptions and data alerts the users who wait for them.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import urlencode

import numpy as np

from exporter.alerting.notification import Pairs, bounded_annotations
from exporter.alerting.owners import AssetKey, Owners
from exporter.alerting.rules import Rule
from exporter.alerting.snapshot import Assets
from exporter.collectors.assets.rows import page_url
from exporter.collectors.assets.usage import local_time, usage_text
from exporter.pagedata.undelivered import Undelivered
from exporter.texts import one_line, span

MAX_ERROR = 1000
MAX_RECIPIENTS = 20
OF_EXTRACTS = {"job": "list of refresh jobs", "metadata": "Metadata API"}
ASSET_SOURCES: Mapping[str, Mapping[str, str]] = {
    "workbook": OF_EXTRACTS,
    "datasource": OF_EXTRACTS,
    "flow": {"flow_run": "list of flow runs"},
}
"""The freshness sources of each type of asset, in their order, and their names in texts."""
STALE = ("TableauAssetStale", "TableauAssetStaleBeforeUse")
_PREFIXES = ("", "k", "M", "G", "T", "P")
_PLACE = re.compile(r"{(\w+)[^{}]*}")


@dataclass(frozen=True)
class AssetContext:
    """The assets at one instant: as the rules have them, and their owners.

    ``silent`` are the freshness sources that were not read for too long, and since when; ``now`` is the instant (Unix
    seconds). ``undelivered`` returns the deliveries that fail; it is called once, for the first alert about one.
    """

    assets: Assets | None = None
    owners: Owners = field(default_factory=Owners)
    silent: Mapping[Pairs, float] = field(default_factory=dict)
    now: float = 0.0
    undelivered: Callable[[], Sequence[Undelivered]] = lambda: ()

    def recipients(self, rule: Rule, labels: Mapping[str, str]) -> str:
        """Return the deliveries that an alert is about with the users who wait for them, the first of them."""
        if rule.undelivered is None:
            return ""
        key = *rule.undelivered, labels.get("site", ""), labels.get("project", "")
        found = self._waiting.get(key, ())
        more = f"; and {len(found) - MAX_RECIPIENTS} more" if len(found) > MAX_RECIPIENTS else ""
        return "; ".join(one_line(text) for text in found[:MAX_RECIPIENTS]) + more

    @cached_property
    def _waiting(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        """The deliveries whose recipients are known, by kind, state, site and project."""
        found: dict[tuple[str, ...], list[str]] = {}
        for row in self.undelivered():
            if row.recipient:
                key = row.kind, row.state, row.site, row.project
                found.setdefault(key, []).append(f"{row.name}: {row.recipient}")
        return found

    @cached_property
    def _seen(self) -> Mapping[AssetKey, int]:
        if self.assets is None:
            return {}
        site, _, asset_type, asset_id, *_ = self.assets.labels
        return {key: row for row, key in enumerate(zip(site, asset_type, asset_id, strict=True))}

    def sla(self, key: AssetKey) -> dict[str, float]:
        """Return the SLA of an asset in hours, by severity."""
        row = self._seen.get(key)
        if row is None or self.assets is None:
            return {}
        tiers = {"critical": self.assets.critical[row], "warning": self.assets.warning[row]}
        return {severity: float(hours) for severity, hours in tiers.items() if not np.isnan(hours)}

    def value(self, name: str, key: AssetKey) -> float | None:
        """Return a column of an asset; None where it is unknown."""
        row = self._seen.get(key)
        if row is None or self.assets is None or np.isnan(self.assets.columns[name][row]):
            return None
        return float(self.assets.columns[name][row])

    def usage_text(self, key: AssetKey, timezone: str) -> str:
        """Return how many users opened an asset and when it is usually opened next; empty where that is unknown."""
        at = self.value("next_use", key)
        local = None if at is None else local_time(at, self.owners.time_zone(key), timezone, self.now)
        return usage_text(self.value("users", key), local)

    def silent_sources(self, key: AssetKey) -> Iterator[tuple[str, float]]:
        """Yield name and last success of the silent sources that an asset's age depends on.

        None where the repository has the age.
        """
        row = self._seen.get(key)
        if row is not None and self.assets is not None and self.assets.freshness_sources[row] == "repository":
            return
        site, asset_type, _ = key
        for source, called in ASSET_SOURCES.get(asset_type, {}).items():
            if (at := self.silent.get((("site", site), ("source", source)))) is not None:
                yield called, at


@dataclass(frozen=True)
class Annotator:
    """Makes annotations; ``errors`` are Tableau's messages of failed refreshes.

    ``runbook_url`` is the address of the runbooks, ``dashboard_url`` that of Grafana, ``tableau_url`` that of Tableau,
    where configured. ``timezone`` is that of sites without one.
    """

    known: AssetContext
    errors: Mapping[AssetKey, str] = field(default_factory=dict)
    runbook_url: str | None = None
    dashboard_url: str | None = None
    tableau_url: str | None = None
    timezone: str = "UTC"

    def annotations(self, rule: Rule, labels: Pairs, value: float) -> dict[str, str]:
        """Return the annotations of an alert."""
        of = dict(labels)
        of_asset = self._of_asset(of, value) if rule.about_asset else {}
        words = _Placeholders(
            of | _figures(value) | {"owner": of_asset.get("owner") or of.get("content_owner", "unknown")},
            {
                "of_project": lambda: f"the project {of['project']}" if of.get("project") else "an unknown project",
                "sla": lambda: _sla_text(self.known.sla(asset_key(of))),
                "used": lambda: self._used(asset_key(of)),
                "usual": lambda: _bytes(self.known.value("usual_bytes", asset_key(of))),
                "silent": lambda: _silent(of.get("site", ""), self.known.silent_sources(asset_key(of))),
            },
        )
        runbook = {"runbook_url": runbook_of(self.runbook_url, rule.alert)}
        dashboard = {"dashboard_url": f"{self.dashboard_url}{_dashboard(rule, of)}"} if self.dashboard_url else {}
        texts = {"summary": rule.summary.format_map(words), "description": rule.description.format_map(words)}
        recipients = {"recipients": self.known.recipients(rule, of)}
        return bounded_annotations(texts | of_asset | recipients | runbook | dashboard)

    def _used(self, key: AssetKey) -> str:
        """Return a sentence about the users of an asset and its next use, with a space before it."""
        text = self.known.usage_text(key, self.timezone)
        return f" It {'was' if text.startswith('opened') else 'is'} {text}." if text else ""

    def _of_asset(self, labels: Mapping[str, str], value: float) -> dict[str, str]:
        key, known = asset_key(labels), self.known
        owner = known.owners.owner(key)
        of_asset = {"owner": str(owner), "owner_email": owner.email, "error": self.errors.get(key, "")}
        if labels["alertname"] in STALE:
            tiers = known.sla(key)
            sla = tiers.get(labels["severity"], tiers.get("warning"))
            of_asset |= {"hours": f"{value:.1f}", "promised": "" if sla is None else f"{sla:g}"}
        site, asset_type, _ = key
        of_asset["asset_url"] = page_url(self.tableau_url, site, asset_type, known.owners.url_id(key))
        of_asset["downstream"], of_asset["downstream_owners"] = known.owners.users(key)
        return {name: text for name, text in of_asset.items() if text}


def runbook_of(runbook_url: str | None, alert: str) -> str:
    """Return the address of an alert's runbook; empty where none is configured."""
    return f"{runbook_url}/{alert}.md" if runbook_url else ""


def _dashboard(rule: Rule, labels: Mapping[str, str]) -> str:
    """Return the path of the dashboard of an alert, as in the Prometheus rules."""
    name, variables = rule.dashboard
    query = urlencode({f"var-{variable}": labels.get(variable, "") for variable in variables})
    return f"/d/tableau-{name}?{query}" if query else f"/d/tableau-{name}"


def summary_alone(rule: Rule, labels: Pairs) -> dict[str, str]:
    """Return the summary alone, which cannot fail."""
    of = dict(labels)
    return bounded_annotations({"summary": _PLACE.sub(lambda found: of.get(found[1], ""), rule.summary)})


def asset_key(labels: Mapping[str, str]) -> AssetKey:
    """Return the key of an asset."""
    return labels.get("site", ""), labels.get("asset_type", ""), labels.get("asset_id", "")


def error_text(notes: str) -> str:
    """Return Tableau's error message in one line of bounded length."""
    return one_line(notes)[:MAX_ERROR]


class _Placeholders(dict[str, str]):
    """Values of placeholders in a text; unknown ones are empty, expensive ones are computed when used."""

    def __init__(self, words: Mapping[str, str], costly: Mapping[str, Callable[[], str]]) -> None:
        super().__init__(words)
        self._costly = costly

    def __missing__(self, name: str) -> str:
        return self._costly[name]() if name in self._costly else ""


def _figures(value: float) -> dict[str, str]:
    return {"hours": f"{value:.1f}", "count": f"{value:.0f}", "span": span(value), "bytes": _bytes(value)}


def _bytes(value: float | None) -> str:
    """Return a size as Prometheus' templates have it: ``46.21MB``."""
    if value is None:
        return ""
    power = min(max(int(math.log10(max(value, 1.0)) // 3), 0), len(_PREFIXES) - 1)
    return f"{value / 1000**power:.4g}{_PREFIXES[power]}B"


def _sla_text(sla: Mapping[str, float]) -> str:
    hours = {severity: f"{sla[severity]:g}" if severity in sla else "no" for severity in ("critical", "warning")}
    return f"{hours['critical']} hours (critical) and {hours['warning']} hours (warning)"


def _silent(site: str, sources: Iterator[tuple[str, float]]) -> str:
    """Return a sentence for each source that is down, with a space before it."""
    return "".join(
        f" The {called} of the site {site} has not been read completely since"
        f" {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC: the data may be fresher than this."
        for called, at in sources
    )
