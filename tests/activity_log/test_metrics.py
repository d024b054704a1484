"""The Activity Log in the metrics that users of Server know: they equal SQL on the history."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.collectors import in_unit
from exporter.collectors.active_users import ACTIVE, SERVER_ACTIVE, WINDOWS
from exporter.collectors.background_jobs import BRIDGE_FINISHED, FINISHED
from exporter.collectors.http_requests import DURATION, REQUESTS
from exporter.collectors.logins import LOGINS
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.exposition.history_metrics import archived_blocks
from exporter.metrics import Block, Family
from tests.activity_log import harness as harnesses
from tests.activity_log.conftest import NOW
from tests.activity_log.harness import ActivityHarness

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _days(days: ActivityFiles, cloud: CloudManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tenant have two days, of which the agent reads all at once."""
    cloud.files = cloud.store._files = days
    monkeypatch.setattr("exporter.poller.activity_poller.RETAINED", timedelta(days=3))


@pytest.fixture
def unit() -> float | None:
    """Seconds of the unit of durations: None while the unit is unknown."""
    return None


@pytest.fixture
def harness(
    cloud: CloudManager, tmp_path: Path, unit: float | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ActivityHarness]:
    """An agent at the end of the simulated past."""
    collectors = {name: in_unit(collector, unit) for name, collector in harnesses.COLLECTORS.items()}
    monkeypatch.setattr(harnesses, "COLLECTORS", collectors)
    harness = ActivityHarness(cloud.url, tmp_path / "history.duckdb", NOW)
    yield harness
    harness.close()


def exposed(harness: ActivityHarness, family: Family, now: datetime = NOW) -> dict[tuple[str, ...], float]:
    """Return the samples of a family at an instant."""
    seconds = (now - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 - both are UTC
    blocks = [*archived_blocks(harness.history.totals, harnesses.COLLECTORS, None), *harness.store.blocks(seconds)]
    return {
        labels: value
        for block in blocks
        if isinstance(block, Block) and block.family is family
        for labels, value in zip(block.labels.rows(), block.at(seconds), strict=True)
        if value is not None
    }


SITE = "(SELECT if(url_namespace = '', 'default', url_namespace) FROM latest_sites WHERE id = site_id)"
ENDS = "event_state IN ('JobSuccess', 'JobFailed', 'Failed')"
COUNTED = {
    REQUESTS: f"SELECT {SITE}, 'vizql', action, 'unknown', count(*) FROM cloud_requests GROUP BY ALL",
    LOGINS: f"SELECT {SITE}, count(*) FROM logins GROUP BY ALL",
    FINISHED: f"""
        SELECT {SITE},
            CASE job_type WHEN 'RefreshExtracts' THEN 'refresh_extracts' WHEN 'RunFlow' THEN 'run_flow'
                WHEN 'RefreshExtractsViaBridge' THEN 'refresh_extracts_via_bridge'
                WHEN 'IncrementExtracts' THEN 'increment_extracts' ELSE 'single_subscription_notify' END,
            if(event_state = 'JobSuccess', 'success', 'failure'), count(*)
        FROM cloud_jobs WHERE event_type = 'background_job' AND {ENDS} GROUP BY ALL""",
    BRIDGE_FINISHED: f"""
        SELECT {SITE}, pool_name, if(event_state = 'JobSuccess', 'success', 'failure'), count(*)
        FROM cloud_jobs WHERE event_type = 'bridge_job' AND {ENDS} GROUP BY ALL""",
}


def test_counters_equal_the_history(harness: ActivityHarness) -> None:
    """Requests, logins, jobs and those of Bridge; also after a restart."""
    assert harness.poll()
    for _ in range(2):
        for family, sql in COUNTED.items():
            rows = {tuple(labels): count for *labels, count in harness.query(sql)}
            assert rows, family.name
            assert exposed(harness, family) == rows, family.name
        harness.restart()
        assert harness.poll()
    assert harness.faults() == []
    # A failed login is an event like others, and no login.
    ((every,),) = harness.query("SELECT count(*) FROM activity_events WHERE event_type = 'login_authentication'")
    assert 0 < sum(exposed(harness, LOGINS).values()) < every


def test_active_users_equal_the_history(harness: ActivityHarness) -> None:
    """In every window that is longer than the log's delay; of shorter ones nothing is known."""
    assert harness.poll()
    ((newest,),) = harness.query("SELECT max(event_time) FROM activity_events")
    assert HOUR / 12 < NOW - newest < HOUR
    sites = [
        site for (site,) in harness.query("SELECT if(url_namespace = '', 'default', url_namespace) FROM latest_sites")
    ]
    known = [window for window in WINDOWS if window != "5m"]
    counted = {
        (site, window): harness.query(
            "SELECT count(DISTINCT user_id) FROM cloud_requests JOIN latest_sites AS sites ON sites.id = site_id WHERE"
            f" if(url_namespace = '', 'default', url_namespace) = '{site}'"
            f" AND cloud_requests.created_at > TIMESTAMP '{NOW - timedelta(seconds=WINDOWS[window])}'"
        )[0][0]
        for site in sites
        for window in known
    }
    assert any(counted.values())
    assert exposed(harness, ACTIVE) == counted
    assert exposed(harness, SERVER_ACTIVE) == {
        (window,): sum(counted[site, window] for site in sites) for window in known
    }


def test_a_site_that_is_not_read_has_no_window_of_today(harness: ActivityHarness, cloud: CloudManager) -> None:
    """Its users are unknown since its list was read last, those of others are not; over all sites they are unknown."""
    harness.now = NOW - timedelta(hours=26)
    assert harness.poll()
    harness.now = NOW
    cloud.failure_modes.fail_next, cloud.failure_modes.only_sites = 1000, {"marketing"}
    assert not harness.poll()
    found = exposed(harness, ACTIVE)
    assert {window for site, window in found if site == "default"} == set(WINDOWS) - {"5m"}
    assert {window for site, window in found if site == "marketing"} == {"7d", "30d"}
    assert {window for (window,) in exposed(harness, SERVER_ACTIVE)} == {"7d", "30d"}


def observed(harness: ActivityHarness) -> list[tuple[Any, ...]]:
    """Return how many requests have a duration, and the seconds of all."""
    sql = f"SELECT sum(observations), sum(seconds) FROM histograms WHERE family = '{DURATION.name}' HAVING count(*) > 0"
    return harness.query(sql)


def test_durations_without_a_unit(harness: ActivityHarness) -> None:
    """They are archived, and there is no histogram of them."""
    assert harness.poll()
    assert harness.query("SELECT count(*) > 0 FROM cloud_requests WHERE duration > 0") == [(True,)]
    assert observed(harness) == []


@pytest.mark.parametrize("unit", [0.001])
def test_durations_in_milliseconds(unit: float, harness: ActivityHarness) -> None:
    """They are observed in seconds."""
    assert harness.poll()
    ((count, total),) = harness.query("SELECT count(*), sum(duration) FROM cloud_requests WHERE duration >= 0")
    assert observed(harness) == [(count, pytest.approx(total * unit))]
    assert harness.faults() == []
