"""Polls of the REST API: every asset once, with its true last refresh; faults are logged and never published."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from exporter.rest.client import SiteResult
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, harnesses, seconds

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the company's times have no zone
HOUR = 3600.0
KEPT = 3 * INTERVAL


@pytest.fixture(scope="module")
def company() -> Company:
    """Return a company as it was at noon."""
    return Company.build(1, NOW, SMALL)


@pytest.fixture(scope="module")
def server(company: Company) -> Iterator[TableauServer]:
    """Return a simulated Tableau that has it, and nothing odd that the repository lacks."""
    with TableauServer(Estate.of(company).plain()) as running:
        yield running


@pytest.fixture
def harness(server: TableauServer, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """Return an agent's REST half with an empty history."""
    yield from harnesses(server, tmp_path / "history.duckdb", seconds(NOW))


def expected(company: Company) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of all content that a token may see, by type and LUID."""
    found = {}
    for asset in company.assets:
        if asset.kind not in {"deleted", "archived"}:
            found[asset.table.removesuffix("s"), str(asset.row["luid"])] = {"kind": asset.kind, **asset.row}
    return found


def test_every_asset_once(harness: RestPollerHarness, company: Company) -> None:
    """Every asset is published once, with any type, site and name."""
    assert harness.poll()
    assert harness.assets().keys() == expected(company).keys()
    names = {key: row["asset_name"] for key, row in harness.assets().items()}
    assert names == {key: row["name"] for key, row in expected(company).items()}
    assert (harness.status().success, harness.status().error, harness.up()) == (True, None, True)


def test_hours_are_those_of_the_extract(harness: RestPollerHarness, company: Company) -> None:
    """Hours count from the last refresh of the extract, full or incremental, to a tenth; live content has none."""
    harness.poll()
    hours = {labels[3]: value for labels, value in harness.values("tableau_asset_hours_since_refresh").items()}
    own = {"healthy", "incremental", "failing", "suspended", "disabled", "unscheduled", "private"}
    sites = harness.server.facts()
    virtual = {item.luid for site in sites for item in (*site.workbooks, *site.datasources) if item.virtual}
    judged = 0
    for (asset_type, luid), row in expected(company).items():
        if luid in virtual:
            continue  # as fresh as the tables of its virtual connections
        if row["kind"] == "live":
            assert luid not in hours
        elif asset_type != "flow" and row["kind"] in own:
            refreshed = row["extracts_incremented_at" if row["kind"] == "incremental" else "extracts_refreshed_at"]
            assert hours[luid] == pytest.approx((harness.now - seconds(refreshed)) / HOUR, abs=0.1)
            judged += 1
    assert judged > 40
    assert any(row["kind"] == "live" for row in expected(company).values())


def test_updated_at_is_not_believed(harness: RestPollerHarness, company: Company) -> None:
    """An asset whose updatedAt is now is as stale as its extract."""
    harness.poll()
    honest = harness.values("tableau_asset_last_refresh_timestamp_seconds")
    harness.server.failure_modes.updated_at_lies = True
    harness.poll()
    assert harness.values("tableau_asset_last_refresh_timestamp_seconds") == honest
    assert {row["freshness_source"] for row in harness.assets().values()} <= {"metadata", "created", "job", None}


def test_without_the_metadata_api(harness: RestPollerHarness) -> None:
    """Where the Metadata API is off, jobs are requested, and without a job the freshness is named updated_at."""
    harness.server.failure_modes.metadata = "missing"
    assert harness.poll()
    sources = {row["freshness_source"] for row in harness.assets().values()}
    assert {"job", "updated_at"} <= sources
    assert "metadata" not in sources
    status = harness.status()
    assert status.success
    assert status.note
    assert "Metadata API" in status.note


def test_jobs_are_looked_up_once(harness: RestPollerHarness) -> None:
    """The content of a job is requested once, also over a restart; the jobs are stored in the history."""
    harness.server.failure_modes.metadata = "missing"
    harness.server.requests.clear()
    harness.poll()
    asked = harness.server.requests["job"]
    assert asked > 0
    first = {key: row["last_refresh_at"] for key, row in harness.assets().items()}
    harness.poll()
    harness.rest.close()
    harness.file.unlock()
    harness.restart()
    harness.poll()
    assert harness.server.requests["job"] == asked
    assert {key: row["last_refresh_at"] for key, row in harness.assets().items()} == first
    assert harness.query("SELECT count(DISTINCT job_id) FROM asset_refreshes WHERE job_id IS NOT NULL") == [(asked,)]


def test_look_ups_have_a_budget(server: TableauServer, tmp_path: Path) -> None:
    """No more jobs are requested in a day than allowed; the rest follows."""
    harness = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), look_ups_a_day=5)
    server.failure_modes.metadata = "missing"
    server.requests.clear()
    harness.poll()
    harness.poll()
    assert server.requests["job"] == 5
    harness.poll(after=86_400)
    assert server.requests["job"] == 10
    server.failure_modes.reset()
    harness.rest.close()


FailureMode = Callable[[RestPollerHarness], None]


def failure_mode(name: str, value: object) -> FailureMode:
    """Return a function that switches a failure mode on."""
    return lambda harness: setattr(harness.server.failure_modes, name, value)


NOT_BELIEVED = {
    "a login page": failure_mode("html_login_page", {"workbooks"}),
    "a login page everywhere": failure_mode("html_login_page", {"*"}),
    "a page that was cut": failure_mode("truncated", {"datasources"}),
    "a page that is short": failure_mode("short_page", {"workbooks"}),
    "a list without a total": failure_mode("no_total", {"flows"}),
    "a list that was emptied": failure_mode("emptied", {"workbooks"}),
    "lists that were all emptied": failure_mode("emptied", {"*"}),
    "a server that fails": failure_mode("fail_next", 1000),
    "a connection that is closed": failure_mode("close_next", 1000),
    "a token that is used elsewhere all the time": failure_mode("rival_every", 1),
}


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_what_is_not_believed(harness: RestPollerHarness, name: str) -> None:
    """An incomplete answer is a failure, in one line; the last state is published until too old; then it recovers."""
    harness.poll()
    before = harness.assets()
    NOT_BELIEVED[name](harness)
    harness.poll()
    assert harness.assets() == before
    status = harness.status()
    assert not status.success
    assert status.error
    while harness.now <= seconds(NOW) + INTERVAL + KEPT:
        harness.poll()
    assert harness.assets() == {}
    assert not harness.values("tableau_asset_hours_since_refresh")
    harness.server.failure_modes.reset()
    assert harness.poll()
    assert harness.assets() == before
    assert harness.status().error is None


OVERCOME = {
    "a session that ended": failure_mode("expire_next", 1),
    "a busy server": failure_mode("throttle_next", 1),
    "a failure that passes": failure_mode("fail_next", 1),
    "instants with fractions": failure_mode("fractional_dates", value=True),
    "a Metadata API that leaves something out": failure_mode("metadata_partial", value=True),
}


@pytest.mark.parametrize("name", OVERCOME)
def test_what_is_overcome(harness: RestPollerHarness, name: str) -> None:
    """A passing fault, or a poorer answer, is no failure: every asset is there."""
    harness.poll()
    before = harness.assets()
    OVERCOME[name](harness)
    assert harness.poll()
    assert harness.assets().keys() == before.keys()
    assert (harness.status().success, harness.up()) == (True, True)


def test_one_site_fails(harness: RestPollerHarness) -> None:
    """A site that fails leaves the others' state, and is named."""
    harness.poll()
    sites = harness.sites_shown()
    failing = "marketing"
    assert failing in sites
    harness.server.failure_modes.sites_failing = {failing}
    assert harness.poll(), "one site that fails is no reason to ask the others less often"
    status = harness.status()
    assert not status.success
    assert f"site {failing}" in (status.error or "")
    assert harness.up()
    while harness.now <= seconds(NOW) + INTERVAL + KEPT:
        harness.poll()
    assert harness.sites_shown() == sites - {failing}


def test_an_emptied_inventory_over_a_restart(harness: RestPollerHarness) -> None:
    """An agent that was restarted meanwhile rejects an emptied site too: its history has the assets."""
    harness.poll()
    harness.poll()
    harness.rest.close()
    harness.file.unlock()
    harness.restart()
    harness.server.failure_modes.emptied = {"*"}
    assert not harness.poll()
    assert not harness.status().success
    assert harness.assets() == {}


def test_the_audit_follows(harness: RestPollerHarness) -> None:
    """Each asset has its row, and one more when it is refreshed or a day has passed; of a failure there is none."""
    harness.poll()
    count = len(harness.assets())
    assert harness.query("SELECT count(*), count(DISTINCT asset_id) FROM freshness_audit") == [(count, count)]
    harness.server.failure_modes.emptied = {"*"}
    harness.poll()
    assert harness.query("SELECT count(*) FROM freshness_audit") == [(count,)]
    harness.server.failure_modes.reset()
    harness.poll(after=86_400)
    assert harness.query("SELECT count(*) FROM freshness_audit") == [(2 * count,)]


def test_the_token_is_told_of(harness: RestPollerHarness) -> None:
    """Sign-ins, lost sessions and collisions are counted, and whether the token is accepted."""
    harness.poll()
    assert harness.values("tableau_rest_token_accepted") == {(): 1}
    assert harness.values("tableau_rest_sign_ins_total") == {(): 1}
    harness.server.failure_modes.rival_every = 1
    harness.poll()
    (collisions,) = harness.values("tableau_rest_token_collisions_total").values()
    assert collisions > 0
    assert "same token" in (harness.status().error or "")


def test_a_token_that_expired(harness: RestPollerHarness) -> None:
    """A revoked token is one line that names the remedy, and the source is down."""
    harness.poll()
    harness.server.failure_modes.tokens_expired = {"exporter"}
    harness.server.collide()
    assert not harness.poll()
    assert not harness.up()
    assert harness.values("tableau_rest_token_accepted") == {(): 0}
    assert "token" in (harness.store.status.source("rest").error or "")


def test_refreshes_teach_an_interval(harness: RestPollerHarness, company: Company) -> None:
    """Refreshes reported by the API, poll after poll, become the interval of the asset."""
    harness.server.failure_modes.metadata = "missing"
    harness.poll()
    harness.poll(after=2 * HOUR)
    assert harness.values("tableau_asset_refresh_interval_seconds")


def slowly(harness: RestPollerHarness, seconds: float) -> None:
    """Let every poll take so long."""
    poll = harness.rest.poll

    def slow(*arguments: Any) -> Iterator[SiteResult]:
        yield from poll(*arguments)
        harness.now += seconds

    harness.rest.poll = slow  # type: ignore[assignment,method-assign]


def test_polls_that_take_long(harness: RestPollerHarness) -> None:
    """The state of a long poll is published until the next one can have ended; and its duration is logged."""
    slowly(harness, 4 * INTERVAL)
    with capture_logs() as logs:
        harness.poll()
        harness.poll()
    published = harness.assets()
    assert published
    harness.now += INTERVAL + 4 * INTERVAL
    assert harness.assets() == published
    assert [log["event"] for log in logs if "rest.poll_interval" in log["event"]] != []


def test_the_first_poll_is_logged(harness: RestPollerHarness) -> None:
    """One line has the number of sites and assets of the first poll, and its duration; no later poll has it."""
    slowly(harness, 7.25)
    with capture_logs() as logs:
        harness.poll()
        harness.poll()
    (line,) = [log for log in logs if log["event"] == "first poll finished"]
    found = {"sites": len(harness.sites_shown()), "assets": len(harness.assets()), "seconds": 7.2}
    assert {name: line[name] for name in found} == found
    assert (line["log_level"], line["source"]) == ("info", "rest")


def test_polls_that_take_long_are_one_line(harness: RestPollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long poll is logged once; that polls are short again is."""
    spans = iter((INTERVAL + 1, INTERVAL + 2, INTERVAL + 3, 1.0, 1.0))

    def timed(known: pa.Table, budget: int) -> Iterator[SiteResult]:
        harness.now += next(spans)
        yield from polled(known, budget)

    polled = harness.rest.poll
    monkeypatch.setattr(harness.rest, "poll", timed)
    with capture_logs() as logs:
        for _ in range(5):
            harness.poll()
    logged = [
        (log["log_level"], log["event"].partition(" rest.")[0]) for log in logs if "poll_interval" in log["event"]
    ]
    assert logged == [("warning", "a poll lasts longer than"), ("info", "a poll ends within")]


def warned(logs: list[Any]) -> list[str]:
    """Return the log's events of level warning and above."""
    return [log["event"] for log in logs if log["log_level"] in {"warning", "error"}]


def test_every_site_fails(harness: RestPollerHarness) -> None:
    """Where none of the sites can be read that is one line, and one when they are read again."""
    harness.poll()
    sites = harness.sites_shown()
    with capture_logs() as logs:
        harness.server.failure_modes.sites_failing = {"" if site == "default" else str(site) for site in sites}
        for _ in range(3):
            harness.poll()
        assert warned(logs) == ["no site was read"]
        assert harness.up()
        harness.server.failure_modes.reset()
        harness.poll()
    assert len(warned(logs)) == 1
    assert [log["sites"] for log in logs if log["event"] == "sites are read again"] == [len(sites)]


def test_an_outage_that_begins_in_a_poll(harness: RestPollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of sites because the API went down during a poll are no lines of their own: the outage has one."""
    harness.poll()
    polled = harness.rest.poll

    def cut(known: pa.Table, budget: int) -> Iterator[SiteResult]:
        yield next(results := polled(known, budget))
        harness.server.failure_modes.affected, harness.server.failure_modes.close_next = {"*"}, 1_000
        yield from results

    monkeypatch.setattr(harness.rest, "poll", cut)
    with capture_logs() as logs:
        harness.poll()
        monkeypatch.setattr(harness.rest, "poll", polled)
        for _ in range(2):
            harness.poll()
    assert warned(logs) == ["the REST API is down"]
    assert (harness.up(), harness.status().causes) == (False, ("rest",))


def test_a_part_that_is_always_silent(harness: RestPollerHarness) -> None:
    """Faults of the last site are logged with the second poll that ends so: that is no outage of the API."""
    harness.poll()
    harness.server.failure_modes.affected, harness.server.failure_modes.close_next = (
        {"tasks", "flow_tasks", "linked_tasks"},
        1_000,
    )
    harness.server.failure_modes.affected |= {
        "metadata",
        "jobs",
        "job",
        "flow_runs",
        "schedules",
        "virtual_connections",
        "users",
    }
    with capture_logs() as logs:
        harness.poll()
        first = warned(logs)
        harness.poll()
        harness.poll()
    assert first == []
    assert set(warned(logs)) == {"site read incompletely"}
    assert len(warned(logs)) == len(harness.sites_shown())


def test_a_history_that_is_busy(harness: RestPollerHarness) -> None:
    """Rows that cannot be written are published, logged and counted, and written when that is possible again."""
    harness.poll()
    with harness.held():
        harness.server.failure_modes.reset()
        assert harness.poll()
        assert harness.assets()
        status = harness.status()
        assert not status.success
        assert "history.duckdb" in (status.error or "")
    harness.poll()
    assert harness.status().success
    assert harness.values("tableau_history_incidents_total")[("file_busy",)] == 1
    assert harness.values("tableau_history_file_bytes")


def test_a_defect_of_ours(harness: RestPollerHarness) -> None:
    """A poll that ends with an unexpected error is a failure of all its collectors."""
    harness.poll()
    harness.poller._publish_bug("internal error: KeyError")
    assert harness.status().error == "internal error: KeyError"
    assert not harness.status().success
    assert harness.store.status.all_tried()


def test_look_ups_count_whatever_becomes_of_them(server: TableauServer, tmp_path: Path) -> None:
    """Job requests of a site that fails afterwards are spent, and their answers are not requested again."""
    harness = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), look_ups_a_day=30)
    server.failure_modes.metadata = "missing"
    server.failure_modes.html_login_page = {"tasks"}
    server.requests.clear()
    for _ in range(3):
        harness.poll()
    assert server.requests["job"] <= 30
    server.failure_modes.reset()
    harness.rest.close()


def test_a_session_is_closed(harness: RestPollerHarness) -> None:
    """A stopped poller signs out: an open session counts against its user's."""
    harness.poll()
    harness.server.requests.clear()
    harness.context.stopped.set()
    harness.poller.run(random.Random(1))
    assert harness.server.requests["signout"] == 1


def test_nothing_to_tell(server: TableauServer, tmp_path: Path) -> None:
    """Where all collectors of the API are disabled, it is not polled."""
    harness = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), collectors={})
    server.requests.clear()
    assert harness.poll()
    assert harness.store.status.all_tried()
    assert not server.requests


def test_other_sites_after_a_reload(harness: RestPollerHarness) -> None:
    """The rows of a disabled source are dropped at once where another is read from now on."""
    harness.poll()
    assert harness.assets()
    harness.merged.forget("rest")
    assert harness.assets() == {}
