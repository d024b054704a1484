"""The REST API is polled: every asset once, with its true last refresh; what goes wrong is said and never believed."""

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
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, rigs, seconds

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
def rig(server: TableauServer, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """Return an agent's REST half with an empty history."""
    yield from rigs(server, tmp_path / "history.duckdb", seconds(NOW))


def expected(company: Company) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of all content that anybody may see, by type and LUID."""
    found = {}
    for asset in company.assets:
        if asset.kind not in {"deleted", "archived"}:
            found[asset.table.removesuffix("s"), str(asset.row["luid"])] = {"kind": asset.kind, **asset.row}
    return found


def test_every_asset_once(rig: RestPollerHarness, company: Company) -> None:
    """Everything that is there is shown once, whatever its type, site and name."""
    assert rig.poll()
    assert rig.assets().keys() == expected(company).keys()
    names = {key: row["asset_name"] for key, row in rig.assets().items()}
    assert names == {key: row["name"] for key, row in expected(company).items()}
    assert (rig.status().success, rig.status().error, rig.up()) == (True, None, True)


def test_hours_are_those_of_the_extract(rig: RestPollerHarness, company: Company) -> None:
    """Hours count from the last refresh of the extract, full or incremental, to a tenth; what is live has none."""
    rig.poll()
    hours = {labels[3]: value for labels, value in rig.values("tableau_asset_hours_since_refresh").items()}
    own = {"healthy", "incremental", "failing", "suspended", "disabled", "unscheduled", "private"}
    sites = rig.server.facts()
    virtual = {item.luid for site in sites for item in (*site.workbooks, *site.datasources) if item.virtual}
    judged = 0
    for (asset_type, luid), row in expected(company).items():
        if luid in virtual:
            continue  # as fresh as the tables of its virtual connections
        if row["kind"] == "live":
            assert luid not in hours
        elif asset_type != "flow" and row["kind"] in own:
            refreshed = row["extracts_incremented_at" if row["kind"] == "incremental" else "extracts_refreshed_at"]
            assert hours[luid] == pytest.approx((rig.now - seconds(refreshed)) / HOUR, abs=0.1)
            judged += 1
    assert judged > 40
    assert any(row["kind"] == "live" for row in expected(company).values())


def test_updated_at_is_not_believed(rig: RestPollerHarness, company: Company) -> None:
    """An asset whose updatedAt is now is as stale as its extract."""
    rig.poll()
    honest = rig.values("tableau_asset_last_refresh_timestamp_seconds")
    rig.server.traps.updated_at_lies = True
    rig.poll()
    assert rig.values("tableau_asset_last_refresh_timestamp_seconds") == honest
    assert {row["freshness_source"] for row in rig.assets().values()} <= {"metadata", "created", "job", None}


def test_without_the_metadata_api(rig: RestPollerHarness) -> None:
    """Where the Metadata API is off, jobs are asked for, and what even they do not tell is named updated_at."""
    rig.server.traps.metadata = "missing"
    assert rig.poll()
    sources = {row["freshness_source"] for row in rig.assets().values()}
    assert {"job", "updated_at"} <= sources
    assert "metadata" not in sources
    status = rig.status()
    assert status.success
    assert status.note
    assert "Metadata API" in status.note


def test_jobs_are_looked_up_once(rig: RestPollerHarness) -> None:
    """What a job was for is asked once, also over a restart; the jobs are remembered in the history."""
    rig.server.traps.metadata = "missing"
    rig.server.requests.clear()
    rig.poll()
    asked = rig.server.requests["job"]
    assert asked > 0
    first = {key: row["last_refresh_at"] for key, row in rig.assets().items()}
    rig.poll()
    rig.rest.close()
    rig.file.unlock()
    rig.restart()
    rig.poll()
    assert rig.server.requests["job"] == asked
    assert {key: row["last_refresh_at"] for key, row in rig.assets().items()} == first
    assert rig.query("SELECT count(DISTINCT job_id) FROM asset_refreshes WHERE job_id IS NOT NULL") == [(asked,)]


def test_look_ups_have_a_budget(server: TableauServer, tmp_path: Path) -> None:
    """No more jobs are looked up in a day than was allowed; the rest follows."""
    rig = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), look_ups_a_day=5)
    server.traps.metadata = "missing"
    server.requests.clear()
    rig.poll()
    rig.poll()
    assert server.requests["job"] == 5
    rig.poll(after=86_400)
    assert server.requests["job"] == 10
    server.traps.reset()
    rig.rest.close()


Trap = Callable[[RestPollerHarness], None]


def trap(name: str, value: object) -> Trap:
    """Return what sets a trap."""
    return lambda rig: setattr(rig.server.traps, name, value)


NOT_BELIEVED = {
    "a login page": trap("html_login_page", {"workbooks"}),
    "a login page everywhere": trap("html_login_page", {"*"}),
    "a page that was cut": trap("truncated", {"datasources"}),
    "a page that is short": trap("short_page", {"workbooks"}),
    "a list without a total": trap("no_total", {"flows"}),
    "a list that was emptied": trap("emptied", {"workbooks"}),
    "lists that were all emptied": trap("emptied", {"*"}),
    "a server that fails": trap("fail_next", 1000),
    "a connection that is closed": trap("close_next", 1000),
    "a token that is used elsewhere all the time": trap("rival_every", 1),
}


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_what_is_not_believed(rig: RestPollerHarness, name: str) -> None:
    """What is no whole answer is a failure, in one line; what was known is shown until too old; then it recovers."""
    rig.poll()
    before = rig.assets()
    NOT_BELIEVED[name](rig)
    rig.poll()
    assert rig.assets() == before
    status = rig.status()
    assert not status.success
    assert status.error
    while rig.now <= seconds(NOW) + INTERVAL + KEPT:
        rig.poll()
    assert rig.assets() == {}
    assert not rig.values("tableau_asset_hours_since_refresh")
    rig.server.traps.reset()
    assert rig.poll()
    assert rig.assets() == before
    assert rig.status().error is None


OVERCOME = {
    "a session that ended": trap("expire_next", 1),
    "a busy server": trap("throttle_next", 1),
    "a failure that passes": trap("fail_next", 1),
    "instants with fractions": trap("fractional_dates", value=True),
    "a Metadata API that leaves something out": trap("metadata_partial", value=True),
}


@pytest.mark.parametrize("name", OVERCOME)
def test_what_is_overcome(rig: RestPollerHarness, name: str) -> None:
    """What passes by itself, or only makes the answer poorer, is no failure: every asset is there."""
    rig.poll()
    before = rig.assets()
    OVERCOME[name](rig)
    assert rig.poll()
    assert rig.assets().keys() == before.keys()
    assert (rig.status().success, rig.up()) == (True, True)


def test_one_site_fails(rig: RestPollerHarness) -> None:
    """A site that fails leaves the others theirs, and is said by its name."""
    rig.poll()
    sites = rig.sites_shown()
    failing = "marketing"
    assert failing in sites
    rig.server.traps.sites_failing = {failing}
    assert rig.poll(), "one site that fails is no reason to ask the others less often"
    status = rig.status()
    assert not status.success
    assert f"site {failing}" in (status.error or "")
    assert rig.up()
    while rig.now <= seconds(NOW) + INTERVAL + KEPT:
        rig.poll()
    assert rig.sites_shown() == sites - {failing}


def test_an_emptied_inventory_over_a_restart(rig: RestPollerHarness) -> None:
    """An agent that was restarted meanwhile does not believe an emptied site either: its history knows better."""
    rig.poll()
    rig.poll()
    rig.rest.close()
    rig.file.unlock()
    rig.restart()
    rig.server.traps.emptied = {"*"}
    assert not rig.poll()
    assert not rig.status().success
    assert rig.assets() == {}


def test_the_audit_follows(rig: RestPollerHarness) -> None:
    """Each asset has its row, and one more when it is refreshed or a day has passed; of a failure there is none."""
    rig.poll()
    count = len(rig.assets())
    assert rig.query("SELECT count(*), count(DISTINCT asset_id) FROM freshness_audit") == [(count, count)]
    rig.server.traps.emptied = {"*"}
    rig.poll()
    assert rig.query("SELECT count(*) FROM freshness_audit") == [(count,)]
    rig.server.traps.reset()
    rig.poll(after=86_400)
    assert rig.query("SELECT count(*) FROM freshness_audit") == [(2 * count,)]


def test_the_token_is_told_of(rig: RestPollerHarness) -> None:
    """Sign-ins, lost sessions and collisions are counted, and whether the token is taken at all."""
    rig.poll()
    assert rig.values("tableau_rest_token_accepted") == {(): 1}
    assert rig.values("tableau_rest_sign_ins_total") == {(): 1}
    rig.server.traps.rival_every = 1
    rig.poll()
    (collisions,) = rig.values("tableau_rest_token_collisions_total").values()
    assert collisions > 0
    assert "same token" in (rig.status().error or "")


def test_a_token_that_expired(rig: RestPollerHarness) -> None:
    """A token that is not taken any more is said in one line that tells what to do, and the source is down."""
    rig.poll()
    rig.server.traps.tokens_expired = {"exporter"}
    rig.server.collide()
    assert not rig.poll()
    assert not rig.up()
    assert rig.values("tableau_rest_token_accepted") == {(): 0}
    assert "token" in (rig.store.status.source("rest").error or "")


def test_refreshes_teach_an_interval(rig: RestPollerHarness, company: Company) -> None:
    """What the API told of refreshes, poll after poll, becomes the interval of the asset."""
    rig.server.traps.metadata = "missing"
    rig.poll()
    rig.poll(after=2 * HOUR)
    assert rig.values("tableau_asset_refresh_interval_seconds")


def slowly(rig: RestPollerHarness, seconds: float) -> None:
    """Let every poll take so long."""
    poll = rig.rest.poll

    def slow(*arguments: Any) -> Iterator[SiteResult]:
        yield from poll(*arguments)
        rig.now += seconds

    rig.rest.poll = slow  # type: ignore[assignment,method-assign]


def test_polls_that_take_long(rig: RestPollerHarness) -> None:
    """However long a poll takes, what it told is shown until the next one can have ended; and it is said."""
    slowly(rig, 4 * INTERVAL)
    with capture_logs() as logs:
        rig.poll()
        rig.poll()
    shown = rig.assets()
    assert shown
    rig.now += INTERVAL + 4 * INTERVAL
    assert rig.assets() == shown
    assert [log["event"] for log in logs if "rest.poll_interval" in log["event"]] != []


def test_the_first_poll_is_logged(rig: RestPollerHarness) -> None:
    """One line says how many sites and assets the first poll found, and in how long; no later poll does."""
    slowly(rig, 7.25)
    with capture_logs() as logs:
        rig.poll()
        rig.poll()
    (line,) = [log for log in logs if log["event"] == "first poll finished"]
    found = {"sites": len(rig.sites_shown()), "assets": len(rig.assets()), "seconds": 7.2}
    assert {name: line[name] for name in found} == found
    assert (line["log_level"], line["source"]) == ("info", "rest")


def test_polls_that_take_long_are_one_line(rig: RestPollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long each takes is no news; that they are short again is."""
    spans = iter((INTERVAL + 1, INTERVAL + 2, INTERVAL + 3, 1.0, 1.0))

    def timed(known: pa.Table, budget: int) -> Iterator[SiteResult]:
        rig.now += next(spans)
        yield from polled(known, budget)

    polled = rig.rest.poll
    monkeypatch.setattr(rig.rest, "poll", timed)
    with capture_logs() as logs:
        for _ in range(5):
            rig.poll()
    said = [(log["log_level"], log["event"].partition(" rest.")[0]) for log in logs if "poll_interval" in log["event"]]
    assert said == [("warning", "a poll lasts longer than"), ("info", "a poll ends within")]


def warned(logs: list[Any]) -> list[str]:
    """Return what was warned of, or worse."""
    return [log["event"] for log in logs if log["log_level"] in {"warning", "error"}]


def test_every_site_fails(rig: RestPollerHarness) -> None:
    """Where none of the sites can be read that is one line, and one when they are read again."""
    rig.poll()
    sites = rig.sites_shown()
    with capture_logs() as logs:
        rig.server.traps.sites_failing = {"" if site == "default" else str(site) for site in sites}
        for _ in range(3):
            rig.poll()
        assert warned(logs) == ["no site was read"]
        assert rig.up()
        rig.server.traps.reset()
        rig.poll()
    assert len(warned(logs)) == 1
    assert [log["sites"] for log in logs if log["event"] == "sites are read again"] == [len(sites)]


def test_an_outage_that_begins_in_a_poll(rig: RestPollerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sites lack because the API fell silent in the midst of a poll is no line of its own: the outage has one."""
    rig.poll()
    polled = rig.rest.poll

    def cut(known: pa.Table, budget: int) -> Iterator[SiteResult]:
        yield next(results := polled(known, budget))
        rig.server.traps.affected, rig.server.traps.close_next = {"*"}, 1_000
        yield from results

    monkeypatch.setattr(rig.rest, "poll", cut)
    with capture_logs() as logs:
        rig.poll()
        monkeypatch.setattr(rig.rest, "poll", polled)
        for _ in range(2):
            rig.poll()
    assert warned(logs) == ["the REST API is down"]
    assert (rig.up(), rig.status().causes) == (False, ("rest",))


def test_a_part_that_is_always_silent(rig: RestPollerHarness) -> None:
    """What the last site lacks is logged with the second poll that ends so: that is no outage of the API."""
    rig.poll()
    rig.server.traps.affected, rig.server.traps.close_next = {"tasks", "flow_tasks", "linked_tasks"}, 1_000
    rig.server.traps.affected |= {"metadata", "jobs", "job", "flow_runs", "schedules", "virtual_connections", "users"}
    with capture_logs() as logs:
        rig.poll()
        first = warned(logs)
        rig.poll()
        rig.poll()
    assert first == []
    assert set(warned(logs)) == {"site read incompletely"}
    assert len(warned(logs)) == len(rig.sites_shown())


def test_a_history_that_is_busy(rig: RestPollerHarness) -> None:
    """What cannot be written is shown all the same, said and counted, and written when that is possible again."""
    rig.poll()
    with rig.held():
        rig.server.traps.reset()
        assert rig.poll()
        assert rig.assets()
        status = rig.status()
        assert not status.success
        assert "history.duckdb" in (status.error or "")
    rig.poll()
    assert rig.status().success
    assert rig.values("tableau_history_incidents_total")[("file_busy",)] == 1
    assert rig.values("tableau_history_file_bytes")


def test_a_defect_of_ours(rig: RestPollerHarness) -> None:
    """A poll that ends for a reason that nobody foresaw is a failure of what it should have told."""
    rig.poll()
    rig.poller._publish_bug("internal error: KeyError")
    assert rig.status().error == "internal error: KeyError"
    assert not rig.status().success
    assert rig.store.status.all_tried()


def test_look_ups_count_whatever_becomes_of_them(server: TableauServer, tmp_path: Path) -> None:
    """Look-ups of a site that fails afterwards are spent, and what they found is not asked for again."""
    rig = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), look_ups_a_day=30)
    server.traps.metadata = "missing"
    server.traps.html_login_page = {"tasks"}
    server.requests.clear()
    for _ in range(3):
        rig.poll()
    assert server.requests["job"] <= 30
    server.traps.reset()
    rig.rest.close()


def test_a_session_is_closed(rig: RestPollerHarness) -> None:
    """Whoever is told to stop signs out: an open session counts against its user's."""
    rig.poll()
    rig.server.requests.clear()
    rig.context.stopped.set()
    rig.poller.run(random.Random(1))
    assert rig.server.requests["signout"] == 1


def test_nothing_to_tell(server: TableauServer, tmp_path: Path) -> None:
    """Where everything that the API could tell is switched off, it is not asked."""
    rig = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), collectors={})
    server.requests.clear()
    assert rig.poll()
    assert rig.store.status.all_tried()
    assert not server.requests


def test_other_sites_after_a_reload(rig: RestPollerHarness) -> None:
    """What a source told is forgotten at once where another is asked from now on."""
    rig.poll()
    assert rig.assets()
    rig.merged.forget("rest")
    assert rig.assets() == {}
