"""One site of several is not read for hours: the fate of its alerts, and the alert that names it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import MetricSnapshot, RuleResult, source_states
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from exporter.exposition.state_store import TimedBlocks
from exporter.metrics import Block, Labels
from tests.support.fake_alertmanager import FakeAlertmanager
from tests.support.notifier_harness import NotifierHarness
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, harnesses, seconds

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the company's times have no zone
FAILING = "marketing"
HOUR = 3600.0
COLLECTOR = {"alertname": "TableauCollectorFailing", "severity": "warning", "collector": "assets"}
SOURCE = {"alertname": "TableauFreshnessSourceSilent", "severity": "warning", "site": FAILING, "source": "metadata"}


@pytest.fixture
def polled(tmp_path: Path) -> Iterator[RestPollerHarness]:
    """An agent's REST half on a company with several sites."""
    with TableauServer(Estate.of(Company.build(1, NOW, SMALL))) as server:
        yield from harnesses(server, tmp_path / "polled.duckdb", seconds(NOW))


@pytest.fixture
def alertmanager() -> Iterator[FakeAlertmanager]:
    """Who is notified."""
    with FakeAlertmanager() as receiver:
        yield receiver


@pytest.fixture
def alerting(polled: RestPollerHarness, alertmanager: FakeAlertmanager, tmp_path: Path) -> NotifierHarness:
    """The notifying half of the same agent."""
    harness = NotifierHarness(tmp_path / "alerting.duckdb", [alertmanager.url])
    harness.blocks = polled.store.blocks
    harness.sources = lambda: source_states(polled.store.status, polled.collectors)
    alertmanager.clock = lambda: harness.now
    return harness


def publish_sources(polled: RestPollerHarness, read_at: Mapping[str, float]) -> None:
    """Publish when the Metadata API of each site was last read completely (Unix seconds)."""
    labels = Labels(("site", "source"), [list(read_at), ["metadata"] * len(read_at)])
    block = Block(families.FRESHNESS_SOURCE_LAST_SUCCESS, labels, list(read_at.values()))
    polled.store.set_state("freshness_sources", TimedBlocks((block,), polled.now))


def go(polled: RestPollerHarness, alerting: NotifierHarness, read_at: dict[str, float], hours: float) -> None:
    """Poll and evaluate for so long; ``read_at`` is when each site was last read."""
    until = polled.now + hours * HOUR
    while polled.now < until:
        polled.poll(after=2 * INTERVAL)
        failing = polled.server.failure_modes.sites_failing
        read_at |= {str(site): polled.now for site in polled.sites_shown() if site not in failing}
        publish_sources(polled, read_at)
        alerting.now = polled.now
        alerting.step()
        # A poll's rows are published for three intervals: only every other evaluation needs a poll of its own.
        alerting.now = polled.now = polled.now + 2 * INTERVAL
        alerting.step()


def stale(alertmanager: FakeAlertmanager, now: float, *, failing: bool) -> set[tuple[tuple[str, str], ...]]:
    """Return the open alerts about stale assets of the failing site, or of the others."""
    return {
        labels
        for labels in alertmanager.open_at(now)
        if dict(labels)["alertname"] == "TableauAssetStale" and (dict(labels)["site"] == FAILING) == failing
    }


def found(polled: RestPollerHarness, alerting: NotifierHarness) -> RuleResult:
    """Return the critically stale assets as the agent sees them now."""
    return conditions.stale_critical(
        MetricSnapshot(polled.store.blocks(polled.now), polled.now, SampleWindow(), alerting.sources())
    )


def test_a_site_of_several_is_not_read(
    polled: RestPollerHarness, alerting: NotifierHarness, alertmanager: FakeAlertmanager
) -> None:
    """Its assets vanish, two alerts fire, of which one names it, and the alerts of the other sites go on.

    What the agent itself sent about its assets stays as it is: its end is unknown.
    """
    read_at: dict[str, float] = {}
    go(polled, alerting, read_at, 0.5)
    before, others = (stale(alertmanager, polled.now, failing=failing) for failing in (True, False))
    assert before
    assert others
    polled.server.failure_modes.sites_failing = {FAILING}
    go(polled, alerting, read_at, 0.75)
    # No rule of Prometheus has an asset of the site to speak of any more.
    assert FAILING not in polled.sites_shown()
    now_found = found(polled, alerting)
    assert {dict(pairs)["site"] for pairs in now_found.firing_series} == {dict(labels)["site"] for labels in others}
    assert all(now_found.unknown(dict(labels)) for labels in before)
    assert FAILING in (polled.status().error or "")
    opened = [dict(labels) for labels in alertmanager.open_at(polled.now)]
    assert COLLECTOR in opened
    assert SOURCE not in opened
    go(polled, alerting, read_at, 2.75)
    opened = [dict(labels) for labels in alertmanager.open_at(polled.now)]
    assert COLLECTOR in opened
    assert [of for of in opened if of["alertname"] == SOURCE["alertname"]] == [SOURCE]
    assert stale(alertmanager, polled.now, failing=True) == before
    assert stale(alertmanager, polled.now, failing=False) >= others
    polled.server.failure_modes.sites_failing = set()
    go(polled, alerting, read_at, 0.5)
    assert {of["alertname"] for of in map(dict, alertmanager.open_at(polled.now))} & {
        COLLECTOR["alertname"],
        SOURCE["alertname"],
    } == set()
    assert stale(alertmanager, polled.now, failing=True) >= before


def test_the_alert_of_an_asset_names_the_silent_source(
    polled: RestPollerHarness, alerting: NotifierHarness, alertmanager: FakeAlertmanager
) -> None:
    """Where the site is read and its Metadata API is not, the alerts of its assets stay, and name it; no other does."""
    go(polled, alerting, {}, 0.5)
    before = stale(alertmanager, polled.now, failing=True)
    polled.now += 4 * HOUR
    polled.poll()
    publish_sources(polled, {FAILING: seconds(NOW), "default": polled.now})
    alerting.now = polled.now
    alerting.step()
    notified = [
        one for one in alertmanager.notified if one.notified_at == polled.now and one.name == "TableauAssetStale"
    ]
    named = {
        one.labels for one in notified if "Metadata API of the site marketing has not been read" in str(one.annotations)
    }
    assert {dict(labels)["site"] for labels in named} == {FAILING}
    assert before <= {one.labels for one in notified if not one.is_end}
    assert {dict(labels)["asset_type"] for labels in named} <= {"workbook", "datasource"}
