"""What is said of an alert beyond its labels: what no metric can carry.

Of assets: whose they are, who must be told besides, what Tableau said of the refresh that failed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import urlencode

import numpy as np

from exporter.alerting.alert import bounded_annotations
from exporter.alerting.owners import AssetKey, Owners
from exporter.alerting.rules import Rule
from exporter.alerting.view import Assets, Pairs
from exporter.texts import one_line, span

LONGEST_ERROR = 1000
OF_EXTRACTS = {"job": "list of refresh jobs", "metadata": "Metadata API"}
ASSET_SOURCES: Mapping[str, Mapping[str, str]] = {
    "workbook": OF_EXTRACTS,
    "datasource": OF_EXTRACTS,
    "flow": {"flow_run": "list of flow runs"},
}
"""Which freshness sources know how old the data of a type of asset is, in their order, and what texts call them."""
_PLACE = re.compile(r"{(\w+)[^{}]*}")


@dataclass(frozen=True)
class Known:
    """What is known of assets at one instant: as the rules see them, and as their sources report them.

    ``silent`` are the freshness sources that have been silent for too long, and since when (Unix seconds).
    """

    assets: Assets | None = None
    owners: Owners = field(default_factory=Owners)
    silent: Mapping[Pairs, float] = field(default_factory=dict)

    @cached_property
    def _seen(self) -> Mapping[AssetKey, int]:
        if self.assets is None:
            return {}
        site, _, asset_type, asset_id, *_ = self.assets.labels
        return {key: row for row, key in enumerate(zip(site, asset_type, asset_id, strict=True))}

    def promised(self, key: AssetKey) -> dict[str, float]:
        """Return the hours that were promised of an asset, by severity."""
        row = self._seen.get(key)
        if row is None or self.assets is None:
            return {}
        tiers = {"critical": self.assets.critical[row], "warning": self.assets.warning[row]}
        return {severity: float(hours) for severity, hours in tiers.items() if not np.isnan(hours)}

    def silent_sources(self, key: AssetKey) -> Iterator[tuple[str, float]]:
        """Yield name and last success of the silent sources that an asset's age depends on.

        None where the repository knows the age.
        """
        row = self._seen.get(key)
        if row is not None and self.assets is not None and self.assets.freshness_sources[row] == "repository":
            return
        site, asset_type, _ = key
        for source, called in ASSET_SOURCES.get(asset_type, {}).items():
            if (at := self.silent.get((("site", site), ("source", source)))) is not None:
                yield called, at


@dataclass(frozen=True)
class Describer:
    """Says it; ``errors`` are what Tableau said of refreshes.

    ``runbook_url`` is where runbooks stand, ``dashboard_url`` where Grafana answers, if at all.
    """

    known: Known
    errors: Mapping[AssetKey, str] = field(default_factory=dict)
    runbook_url: str | None = None
    dashboard_url: str | None = None

    def annotations(self, rule: Rule, labels: Pairs, value: float) -> dict[str, str]:
        """Return what is said of an alert."""
        of = dict(labels)
        said = self._of_asset(of, value) if rule.about_asset else {}
        words = _Words(
            of | _figures(value) | {"owner": said.get("owner") or of.get("content_owner", "unknown")},
            {
                "sla": lambda: _sla(self.known.promised(asset_key(of))),
                "silent": lambda: _silent(of.get("site", ""), self.known.silent_sources(asset_key(of))),
            },
        )
        runbook = {"runbook_url": runbook_of(self.runbook_url, rule.alert)}
        dashboard = {"dashboard_url": f"{self.dashboard_url}{_dashboard(rule, of)}"} if self.dashboard_url else {}
        texts = {"summary": rule.summary.format_map(words), "description": rule.description.format_map(words)}
        return bounded_annotations(texts | said | runbook | dashboard)

    def _of_asset(self, labels: Mapping[str, str], value: float) -> dict[str, str]:
        key, known = asset_key(labels), self.known
        owner = known.owners.owner(key)
        said = {"owner": str(owner), "owner_email": owner.email, "error": self.errors.get(key, "")}
        if labels["alertname"] == "TableauAssetStale":
            promised = known.promised(key).get(labels["severity"])
            said |= {"hours": f"{value:.1f}", "promised": "" if promised is None else f"{promised:g}"}
        said["downstream"], said["downstream_owners"] = known.owners.users(key)
        return {name: text for name, text in said.items() if text}


def runbook_of(runbook_url: str | None, alert: str) -> str:
    """Return the address of an alert's runbook; empty where it is not known where runbooks are."""
    return f"{runbook_url}/{alert}.md" if runbook_url else ""


def _dashboard(rule: Rule, labels: Mapping[str, str]) -> str:
    """Return the path of the dashboard that shows what an alert speaks of, as the rules of Prometheus write it."""
    if not rule.chosen:
        return "/d/tableau-agent"
    return f"/d/tableau-freshness?{urlencode({f'var-{name}': labels.get(name, '') for name in rule.chosen})}"


def bare_annotations(rule: Rule, labels: Pairs) -> dict[str, str]:
    """Return what can be said of any alert of a rule, whatever its description asks for."""
    of = dict(labels)
    return bounded_annotations({"summary": _PLACE.sub(lambda found: of.get(found[1], ""), rule.summary)})


def asset_key(labels: Mapping[str, str]) -> AssetKey:
    """Return what an asset is told by."""
    return labels.get("site", ""), labels.get("asset_type", ""), labels.get("asset_id", "")


def error_text(notes: str) -> str:
    """Return what Tableau said of a refresh, in one line of bounded length."""
    return one_line(notes)[:LONGEST_ERROR]


class _Words(dict[str, str]):
    """What stands in a text; what is not known is left out, and what costs something is found out when asked for."""

    def __init__(self, words: Mapping[str, str], costly: Mapping[str, Callable[[], str]]) -> None:
        super().__init__(words)
        self._costly = costly

    def __missing__(self, name: str) -> str:
        return self._costly[name]() if name in self._costly else ""


def _figures(value: float) -> dict[str, str]:
    return {"hours": f"{value:.1f}", "count": f"{value:.0f}", "span": span(value)}


def _sla(promised: Mapping[str, float]) -> str:
    hours = {
        severity: f"{promised[severity]:g}" if severity in promised else "no" for severity in ("critical", "warning")
    }
    return f"{hours['critical']} hours (critical) and {hours['warning']} hours (warning)"


def _silent(site: str, sources: Iterator[tuple[str, float]]) -> str:
    """Return a sentence for each silent source, with a space before it."""
    return "".join(
        f" The {called} of the site {site} has not been read completely since"
        f" {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC: the data may be fresher than this."
        for called, at in sources
    )
