"""The simulated Tableau, whole: every asset once, with its true refresh, and each failure mode overcome or reported."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import tableauserverclient as tsc

from exporter.demo.tableau import http_responses
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Content, VirtualConnection
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.errors import PollInterrupted, SourceError
from exporter.rest import response_xml
from exporter.rest.client import RestClient, SiteResult
from exporter.rest.credentials import ConnectedApp, RestOptions, Token
from exporter.value_count import ValueCount
from tests.rest.conftest import NOTHING_KNOWN

SITES = ("default", "site1", "site2")
NAME, VALUE = next(iter(TOKENS.items()))
APP = App("client", "secret id", "a secret that is long enough to sign with")


@pytest.fixture(scope="module")
def estate() -> Estate:
    """1,250 workbooks and 400 data sources over three sites, and some flows; odd, but for wrong totals."""
    made = Estate.large(1_250, 400, flows=30, jobs=90)
    made.oddities = replace(Oddities(), promised=frozenset())
    return made


@pytest.fixture
def server(estate: Estate) -> Iterator[TableauServer]:
    """A server that is well at first."""
    with TableauServer(estate, apps=(APP,)) as server:
        yield server


@pytest.fixture
def rest(server: TableauServer) -> Iterator[RestClient]:
    """An agent's source, without pauses."""
    made = RestClient(RestOptions(server.url, (), lambda: Token(NAME, VALUE), timeout=20), sleep=lambda _: None)
    yield made
    made.close()


def poll(rest: RestClient, budget: int = 0) -> dict[str, SiteResult]:
    """Poll once."""
    return {result.site: result for result in rest.poll(NOTHING_KNOWN, budget)}


def truth(estate: Estate) -> dict[str, tuple[Content, str]]:
    """Return every asset and the site it is on, by its LUID."""
    return {
        item.luid: (item, site.url or "default")
        for site in estate.facts()
        for item in (*site.workbooks, *site.datasources, *site.flows)
    }


def rows(results: dict[str, SiteResult], name: str) -> list[dict[str, Any]]:
    """Return a table of all sites as rows, each with its site."""
    found = []
    for site, result in results.items():
        assert result.inventory is not None, result.error
        found += [{**row, "site": site} for row in getattr(result.inventory, name).to_pylist()]
    return found


def test_every_asset_once(server: TableauServer, rest: RestClient, estate: Estate) -> None:
    """Each asset is there once, on its site, named and placed as it is; as many as a plain Pager counts."""
    results = poll(rest)
    found = rows(results, "content")
    expected = truth(estate)
    assert len(found) == len(expected) == 1_680
    for row in found:
        item, site = expected[row["asset_id"]]
        assert (row["asset_type"], row["asset_name"], row["site"]) == (item.kind, item.name, site)
        assert (row["project_id"], row["owner_id"]) == (item.project, item.owner)
        assert sorted((row["tags"] or "").split("\x1f")) == sorted(item.tags or [""])
        assert (row["created_at"], row["updated_at"]) == (item.created_at, item.updated_at)
    rest.close()
    assert Counter(row["asset_type"] for row in found if row["asset_type"] != "flow") == _counted(server.url)
    assert [result.inventory.notes for result in results.values() if result.inventory] == [(), (), ()]


def _counted(url: str) -> Counter[str]:
    """Count in a plain loop."""
    server = tsc.Server(url, use_server_version=True)
    options = tsc.RequestOptions(pagesize=1000)
    found: Counter[str] = Counter()
    with server, server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id="")):
        for number, site in enumerate(tsc.Pager(server.sites)):
            if number:
                server.auth.switch_site(site)
            found["workbook"] += sum(1 for _ in tsc.Pager(server.workbooks, options))
            found["datasource"] += sum(1 for _ in tsc.Pager(server.datasources, options))
    return found


Extract = tuple[bool | None, datetime | None]


def _sources(item: Content, virtual: Mapping[str, VirtualConnection]) -> list[Extract]:
    """Return an asset's sources, from the facts."""
    found: list[Extract] = []
    for source in item.sources:
        if source.published:
            found.append((None, None))  # its own rows have it
            continue
        at = max((at for at in (source.refreshed_at, source.incremented_at) if at), default=None)
        found.append((source.has_extracts, at))
    if item.virtual and item.kind == "datasource":
        found = [extract for extract in found if extract[0]]  # it stands for the virtual connections
    found += [(at is not None, at) for luid in item.virtual for _, at in virtual[luid].tables]
    return sorted(set(found), key=str)


def test_every_refresh_is_true(rest: RestClient, estate: Estate) -> None:
    """The sources of each workbook and data source, and their refreshes, equal the facts; so also with fractions."""
    expected = truth(estate)
    virtual = {one.luid: one for site in estate.facts() for one in site.virtual_connections}
    found: dict[str, list[Extract]] = {}
    for row in rows(poll(rest), "described"):
        found.setdefault(row["asset_id"], []).append((row["has_extracts"], row["refreshed_at"]))
    assert set(found) == {luid for luid, (item, _) in expected.items() if item.kind != "flow"}
    for luid, extracts in found.items():
        assert sorted(set(extracts), key=str) == _sources(expected[luid][0], virtual)


def test_every_use_is_true(rest: RestClient, estate: Estate) -> None:
    """Which published data sources each workbook uses is as it is; nothing else uses one."""
    found = {(row["asset_id"], row["source_id"]) for row in rows(poll(rest), "described") if row["source_id"]}
    assert found == {
        (item.luid, source.published)
        for site in estate.facts()
        for item in site.workbooks
        for source in item.sources
        if source.published
    }
    assert len(found) > 100


def test_fractions_change_nothing(server: TableauServer, rest: RestClient) -> None:
    """Instants with a fraction of a second are instants."""
    plain = poll(rest)
    server.failure_modes.fractional_dates = True
    fine = poll(rest)
    for name in ("content", "described", "tasks"):
        assert [_whole(row) for row in rows(fine, name)] == rows(plain, name)


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.replace(microsecond=0) if isinstance(value, datetime) else value for key, value in row.items()}


def test_owners_projects_and_tasks(rest: RestClient, estate: Estate) -> None:
    """Every owner has a name and an address, every project its parent, every task its asset."""
    results = poll(rest)
    people = {row["owner_id"]: (row["name"], row["full_name"], row["email"]) for row in rows(results, "people")}
    projects = {row["project_id"]: row["parent_id"] for row in rows(results, "projects")}
    tasks = Counter(row["asset_id"] for row in rows(results, "tasks"))
    facts = estate.facts()
    assert people == {
        person.luid: (person.name, person.full_name, person.email) for site in facts for person in site.users
    }
    assert all(address.endswith("@example.com") for _, _, address in people.values())
    assert projects == {project.luid: project.parent for site in facts for project in site.projects}
    refreshes = Counter(task.asset for site in facts for task in site.tasks if task.asset and task.ran_at is None)
    linked = Counter(task.flow for site in facts for task in site.linked_tasks)
    assert tasks == refreshes + linked


def test_jobs_where_the_metadata_api_is_off(server: TableauServer, rest: RestClient, estate: Estate) -> None:
    """Each finished refresh yields its asset, within the budget of the poll, and until that is known."""
    for count, switch in enumerate(("missing", "disabled"), 1):
        server.failure_modes.metadata = switch
        server.requests.clear()
        results = poll(rest, budget=30)
        assert all(result.inventory and result.inventory.described is None for result in results.values())
        looked_up = {row["job_id"]: row["asset_id"] for row in rows(results, "looked_up")}
        jobs = {job.luid: job.asset for site in estate.facts() for job in site.jobs}
        assert rest.looked_up == server.requests["job"] == 30
        assert len(looked_up) == count * 30
        assert looked_up.items() <= jobs.items()


@pytest.mark.parametrize(
    "limit", [{"metadata_node_limit": 300}, {"metadata_page_limit": 100}, {"metadata_node_limit": 2_000}]
)
def test_limits_of_the_metadata_api(
    server: TableauServer, rest: RestClient, estate: Estate, limit: dict[str, int]
) -> None:
    """Whatever its limits, everything is described in the end, and nothing is a part."""
    for name, value in limit.items():
        setattr(server.failure_modes, name, value)
    results = poll(rest)
    assert {row["asset_id"] for row in rows(results, "described")} == {
        luid for luid, (item, _) in truth(estate).items() if item.kind != "flow"
    }
    assert [result.inventory.notes for result in results.values() if result.inventory] == [(), (), ()]


def test_a_partial_metadata_api(server: TableauServer, rest: RestClient) -> None:
    """Received nodes are used, and marked."""
    server.failure_modes.metadata_partial = True
    for result in poll(rest).values():
        assert result.inventory is not None
        assert result.inventory.described is not None
        assert 0 < len(set(result.inventory.described.column("asset_id").to_pylist())) < 551
        assert any("answers in part" in note for note in result.inventory.notes)


LISTS = ("workbooks", "datasources", "flows")


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("failure_mode", ["html_login_page", "truncated", "short_page", "no_total"])
def test_what_is_no_whole_list(server: TableauServer, rest: RestClient, failure_mode: str, kind: str) -> None:
    """It fails its site with one line, leaves the others theirs, and is over when the failure is."""
    poll(rest)
    server.failure_modes.only_sites = {"site1"}
    setattr(server.failure_modes, failure_mode, {kind})
    results = poll(rest)
    assert [result.inventory is not None for result in results.values()] == [True, False, True]
    assert len((results["site1"].error or "").splitlines()) == 1
    server.failure_modes.reset()
    assert all(result.inventory for result in poll(rest).values())


@pytest.mark.parametrize("kind", ["serverinfo", "signin", "sites", "workbooks", "flow_runs", "tasks", "metadata"])
def test_a_bomb_is_not_parsed(
    server: TableauServer, rest: RestClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 million elements in 233 kB: one line names the limit, a few MB are decompressed, and no parser sees any."""
    received, elements = list[int](), Counter[str]()
    add, start = ValueCount.add, response_xml._Reader._start

    def counted(values: ValueCount, chunk: bytes) -> None:
        received.append(len(chunk))
        add(values, chunk)

    def started(reader: response_xml._Reader, name: str, attributes: dict[str, str]) -> None:
        elements[name] += 1
        start(reader, name, attributes)

    monkeypatch.setattr(ValueCount, "add", counted)
    monkeypatch.setattr(response_xml._Reader, "_start", started)
    server.failure_modes.bombs = {kind}
    assert len(http_responses.bomb(kind).body) < 300_000
    (line,) = {line for line in failures(rest) if "values" in line}
    assert line.endswith("an answer of more than 1,000,000 values was not read to its end")
    assert max(received) <= 200_000, "chunks are decompressed one after another"
    assert sum(received) < 60_000_000, "of 240 MB or 180 MB for each bomb"
    assert not elements["a"]


def failures(rest: RestClient) -> list[str]:
    """Poll once, and return the errors and notes of every site, or of Tableau as a whole."""
    try:
        results = poll(rest).values()
    except SourceError as error:
        return [str(error)]
    notes = [note for result in results if result.inventory for note in result.inventory.notes]
    return [*notes, *(result.error for result in results if result.error)]


@pytest.mark.parametrize("kind", ["workbooks", "datasources", "flows"])
def test_an_emptied_list(server: TableauServer, rest: RestClient, kind: str) -> None:
    """An inventory that fell to nothing is an error, not a fact; without a past it is a fact."""
    server.failure_modes.emptied = {kind}
    assert all(result.inventory for result in poll(rest).values())
    server.failure_modes.reset()
    assert all(result.inventory for result in poll(rest).values())
    server.failure_modes.emptied = {kind}
    for result in poll(rest).values():
        assert f"the list of {kind} is empty, there were" in (result.error or "")


@pytest.mark.parametrize("failure_mode", ["duplicated", "skipped"])
def test_a_list_that_changes_while_it_is_read(failure_mode: str) -> None:
    """A list that changes at every read is rejected."""
    with TableauServer(Estate.large(2_500, 10, sites=1)) as server:
        rest = RestClient(RestOptions(server.url, (), lambda: Token(NAME, VALUE)), sleep=lambda _: None)
        setattr(server.failure_modes, failure_mode, {"workbooks"})
        assert "the list of workbooks has" in (poll(rest)["default"].error or "")
        server.failure_modes.reset()
        assert poll(rest)["default"].inventory is not None
        rest.close()


def test_who_is_no_administrator(server: TableauServer, rest: RestClient) -> None:
    """Sites, jobs and tasks are left out with a note each; the assets of the own site are there."""
    server.failure_modes.forbidden = {"sites", "jobs", "tasks", "flow_tasks", "flow_runs", "users"}
    server.failure_modes.metadata = "missing"
    (result,) = poll(rest, budget=100).values()
    assert result.inventory is not None
    assert result.inventory.tasks_read == set()
    assert result.inventory.people is None
    assert result.inventory.looked_up is None
    assert [note.split(":")[0] for note in result.inventory.notes] == [
        "only the site default is read, sites may not be listed",
        "no users",
        "the Metadata API is off",
        "no jobs",
        "no flow runs",
        "no extract refresh tasks",
        "no flow tasks",
    ]


@pytest.mark.parametrize(
    ("failure_mode", "times"),
    [("throttle_next", 3), ("fail_next", 3), ("close_next", 3), ("cut_next", 3), ("expire_next", 1)],
)
def test_what_passes_by(server: TableauServer, rest: RestClient, failure_mode: str, times: int) -> None:
    """A few refusals, faults, cut answers and one lost session cost nothing."""
    poll(rest)
    setattr(server.failure_modes, failure_mode, times)
    results = poll(rest)
    assert [(result.error, result.inventory and result.inventory.notes) for result in results.values()] == [
        (None, ())
    ] * 3
    assert getattr(server.failure_modes, failure_mode) == 0


def test_another_user_of_the_token(server: TableauServer, rest: RestClient) -> None:
    """A second loss in a poll ends it, with a line that names the remedy; the token is not contested."""
    server.failure_modes.rival_every = 7
    results = poll(rest)
    assert any("give each program a token of its own" in (result.error or "") for result in results.values())
    assert len(server.signed_in) == 2
    assert rest.token_stats.collisions >= 1
    server.failure_modes.reset()
    assert all(result.inventory for result in poll(rest).values())


def test_one_site_fails(server: TableauServer, rest: RestClient) -> None:
    """The others have their assets."""
    poll(rest)
    server.failure_modes.sites_failing = {"site1"}
    assert [result.inventory is not None for result in poll(rest).values()] == [True, False, True]


def test_an_unknown_site(server: TableauServer) -> None:
    """It is a fault of its own, costs no session, and is no collision."""
    for order in (("default", "nowhere", "site2"), ("nowhere", "default", "site2")):
        rest = RestClient(RestOptions(server.url, order, lambda: Token(NAME, VALUE)))
        for _ in range(2):
            results = poll(rest)
            assert {site: result.inventory is not None for site, result in results.items()} == {
                "default": True,
                "nowhere": False,
                "site2": True,
            }
            assert "check rest.sites" in (results["nowhere"].error or "") or "site nowhere" in (
                results["nowhere"].error or ""
            )
        assert (rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions) == (1, 0, 0)
        rest.close()


def test_a_token_that_expired(server: TableauServer, rest: RestClient) -> None:
    """It is refused in one line."""
    server.failure_modes.tokens_expired = {NAME}
    with pytest.raises(SourceError, match="the token exporter is refused"):
        poll(rest)


def test_a_connected_app(server: TableauServer) -> None:
    """The signed claims are those that Tableau requires."""
    credentials = ConnectedApp(APP.client_id, APP.secret_id, APP.secret_value, "person0")
    rest = RestClient(RestOptions(server.url, SITES, lambda: credentials))
    assert all(result.inventory for result in poll(rest).values()), poll(rest)
    rest.close()
    wrong = ConnectedApp(APP.client_id, APP.secret_id, "another secret that is as long as it", "person0")
    with pytest.raises(SourceError, match="the connected app is refused"):
        poll(RestClient(RestOptions(server.url, SITES, lambda: wrong)))


def test_tableau_cloud(estate: Estate, tmp_path: Path) -> None:
    """The site is named, the schedules are in the tasks, and suspension is unknown."""
    with TableauServer(estate, cloud=True) as server:
        rest = RestClient(RestOptions(server.url, ("site1",), lambda: Token(NAME, VALUE)))
        results = poll(rest)
        assert list(results) == ["site1"]
        tasks = rows(results, "tasks")
        assert tasks
        assert {row["suspended"] for row in tasks} == {None}
        assert [row["next_run_at"] for row in tasks].count(None) == 1
        rest.close()
        with pytest.raises(SourceError, match=r"Tableau Cloud has no such site: name yours in rest\.sites"):
            poll(RestClient(RestOptions(f"{server.url}/", (), lambda: Token(NAME, "another"))))


@pytest.fixture
def trickling(server: TableauServer) -> TableauServer:
    """A server that announces that it closes the connection, and then sends byte by byte, for ever."""
    server.failure_modes.affected = {"workbooks"}
    server.failure_modes.trickle_seconds = 0.02
    return server


def test_an_answer_on_a_closing_connection_has_a_deadline(trickling: TableauServer) -> None:
    """``Connection: close`` changes nothing: no answer is waited for beyond the deadline."""
    rest = RestClient(
        RestOptions(trickling.url, ("default",), lambda: Token(NAME, VALUE), timeout=0.5), sleep=lambda _: None
    )
    with ended_after(trickling, 120):
        (result,) = poll(rest).values()
    assert "no whole answer within 0.5 s" in (result.error or "")
    assert not trickling.stopped.is_set()
    rest.close()


def test_the_end_of_the_agent_ends_an_answer_on_a_closing_connection(trickling: TableauServer) -> None:
    """``Connection: close`` changes nothing: the agent ends in the middle of such an answer."""
    login = RestOptions(trickling.url, ("default",), lambda: Token(NAME, VALUE), timeout=600)
    rest = RestClient(login, sleep=lambda _: None, stopping=lambda: trickling.requests["workbooks"] > 0)
    with ended_after(trickling, 120), pytest.raises(PollInterrupted):
        poll(rest)
    assert not trickling.stopped.is_set()
    rest.close()


def test_a_poll_that_was_broken_off_is_signed_out(server: TableauServer) -> None:
    """The agent ends in mid-poll, by a stop that stays: exactly one good-bye reaches Tableau."""
    stopped = threading.Event()
    rest = RestClient(RestOptions(server.url, (), lambda: Token(NAME, VALUE)), stopping=stopped.is_set)
    results = rest.poll(NOTHING_KNOWN, 0)
    next(results)
    stopped.set()
    with pytest.raises(PollInterrupted):
        next(results)
    rest.close()
    assert [seen.status for seen in server.seen if seen.kind == "signout"] == [204]
    rest.close()
    assert server.requests["signout"] == 1


@contextlib.contextmanager
def ended_after(server: TableauServer, seconds: float) -> Iterator[None]:
    """End an endless trickle after so many seconds, so that a failing test comes to its end."""
    timer = threading.Timer(seconds, server.stopped.set)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
