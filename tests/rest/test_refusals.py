"""Refusals to a live session are recognised, and do not cost a sign-in at every poll."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.inventory import Inventory
from exporter.rest.client import RestClient
from exporter.rest.credentials import OLDER_SCOPES, ConnectedApp, RestOptions, Token
from exporter.rest.refusals import KEPT_SECONDS, endpoint_of
from tests.rest.conftest import NOTHING_KNOWN, RestHarness
from tests.rest.tableau import Answer, at, error

SITES = ("default", "site1", "site2")
NAME, VALUE = next(iter(TOKENS.items()))
APP = App("client", "secret id", "a secret that is long enough to sign with")
TOKEN = Token(NAME, VALUE)
CONNECTED = ConnectedApp(APP.client_id, APP.secret_id, APP.secret_value, "person0")
ASSETS, POLLS = 190, 4


@dataclass
class Agent:
    """A source on a simulated server, with a clock that both are given."""

    server: TableauServer
    rest: RestClient
    now: list[float]

    def inventories(self, budget: int = 0) -> list[Inventory]:
        """Poll once, and return the inventories of the sites, which must all be there."""
        results = list(self.rest.poll(NOTHING_KNOWN, budget))
        assert [result.error for result in results] == [None] * len(SITES)
        return [result.inventory for result in results if result.inventory]


@pytest.fixture
def agent() -> Iterator[Callable[[Token | ConnectedApp], Agent]]:
    """Make an agent with these credentials, on a server of three sites with 190 assets."""
    made: list[RestClient] = []
    now = [1_785_146_400.0]
    estate = Estate.large(120, 40, flows=30, jobs=30)
    with TableauServer(estate, apps=(APP,), clock=lambda: now[0], session_seconds=10 * KEPT_SECONDS) as server:

        def make(credentials: Token | ConnectedApp) -> Agent:
            login = RestOptions(server.url, SITES, lambda: credentials)
            made.append(RestClient(login, clock=lambda: now[0], sleep=lambda _: None))
            return Agent(server, made[-1], now)

        yield make
        for rest in made:
            rest.close()


def counts(rest: RestClient) -> tuple[int, int, int]:
    """Return how many sign-ins, lost sessions and collisions were counted."""
    return rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions


@pytest.mark.parametrize("credentials", [TOKEN, CONNECTED])
@pytest.mark.parametrize(
    ("kind", "what", "endpoint"),
    [
        ("flow_tasks", "no flow tasks", "tasks/runFlow"),
        ("metadata", "the Metadata API gave nothing", "metadata/graphql"),
    ],
)
def test_a_permanent_refusal_costs_no_session(
    agent: Callable[[Token | ConnectedApp], Agent],
    credentials: Token | ConnectedApp,
    kind: str,
    what: str,
    endpoint: str,
) -> None:
    """Four polls are one sign-in; the endpoint is requested twice on each site in all, and each poll notes it."""
    one = agent(credentials)
    one.server.sessions.refused = {kind}
    for _ in range(POLLS):
        found = one.inventories()
        assert sum(inventory.content.num_rows for inventory in found) == ASSETS
        for inventory in found:
            (note,) = (note for note in inventory.notes if note.startswith(what))
            assert f"{endpoint} is " in note
            assert "though the session is alive" in note
    assert counts(one.rest) == (1, 0, 0)
    assert one.server.requests[kind] == 2 * len(SITES)


def test_a_refusal_is_remembered_for_a_day(agent: Callable[[Token | ConnectedApp], Agent]) -> None:
    """Then the endpoint is requested again, and its answer is used."""
    one = agent(TOKEN)
    one.server.sessions.refused = {"flow_tasks"}
    one.inventories()
    one.server.sessions.refused = set()
    one.now[0] += KEPT_SECONDS - 1
    assert all(any("no flow tasks" in note for note in inventory.notes) for inventory in one.inventories())
    one.now[0] += 1
    assert not any("no flow tasks" in note for inventory in one.inventories() for note in inventory.notes)
    assert counts(one.rest) == (1, 0, 0)


def test_other_credentials_may_be_allowed_more(harness: RestHarness) -> None:
    """Endpoints refused to the old credentials are requested again with the new ones."""
    credentials = [Token("agent", "value of the token")]
    harness.tableau.tokens["second"] = "its value"
    rest = harness.rest(credentials=lambda: credentials[-1])
    with harness.tableau.doing(at("/tasks/runFlow", error(401, "401002"))):
        assert "tasks/runFlow is refused to this token" in str(harness.inventory(rest).notes)
    assert "tasks/runFlow is refused to this token" in str(harness.inventory(rest).notes)
    credentials.append(Token("second", "its value"))
    harness.tableau.sign_everybody_out()
    assert harness.inventory(rest).notes == ()


def test_one_site_may_be_allowed_what_another_is_not(three: RestHarness) -> None:
    """A refusal is remembered for its site alone."""
    rest = three.rest()
    with three.tableau.doing(at("site-marketing/tasks/runFlow", error(401, "401002"))):
        for _ in range(2):
            notes = {site: result.inventory and result.inventory.notes for site, result in three.poll(rest).items()}
            assert [bool(of) for of in notes.values()] == [False, True, False]
    assert counts(rest) == (1, 0, 0)


@pytest.mark.parametrize("body", [b'{"timestamp":"","status":401,"error":"Unauthorized"}', b"", b"<html>no</html>"])
def test_a_metadata_api_that_refuses_in_its_own_words(harness: RestHarness, body: bytes) -> None:
    """Its 401 needs no XML: it is a refusal, not an API that is off, and a session that is lost is renewed."""
    rest = harness.rest()
    with harness.tableau.doing(at("/graphql", Answer(body, 401))):
        for _ in range(POLLS):
            assert "metadata/graphql is refused to this token" in str(harness.inventory(rest).notes)
    assert counts(rest) == (1, 0, 0)
    other = harness.rest()
    harness.poll(other)
    with harness.tableau.doing(lambda received: _lost(harness, body) if "/graphql" in received.path else None):
        assert harness.inventory(other).described is not None
    assert counts(other) == (2, 1, 0)


def _lost(harness: RestHarness, body: bytes) -> Answer | None:
    """End every session the first time, and let the requests of the new one through."""
    if any(received.path.endswith("/auth/signin") for received in harness.tableau.received[-3:]):
        return None
    harness.tableau.sign_everybody_out()
    return Answer(body, 401)


def test_jobs_that_may_be_listed_and_not_asked_for(agent: Callable[[Token | ConnectedApp], Agent]) -> None:
    """A refusal of one job is of all: no other is requested, and none counts as one without an asset."""
    one = agent(CONNECTED)
    one.server.failure_modes.metadata = "missing"
    one.server.sessions.refused = {"job"}
    for _ in range(POLLS):
        for inventory in one.inventories(budget=30):
            assert any("jobs/* is not within the scopes" in note for note in inventory.notes)
            assert inventory.looked_up is not None
            assert inventory.looked_up.num_rows == 0
    assert one.server.requests["job"] == 2 * len(SITES)
    one.server.sessions.refused = set()
    one.now[0] += KEPT_SECONDS
    assert sum(inventory.looked_up.num_rows for inventory in one.inventories(budget=30) if inventory.looked_up) == 30


def test_a_list_of_assets_is_asked_at_every_poll(three: RestHarness) -> None:
    """It fails its site, which is read as soon as it is allowed again; until then no poll costs a session."""
    rest = three.rest()
    with three.tableau.doing(at("site-marketing/workbooks", error(401, "401002"))):
        for _ in range(2):
            results = three.poll(rest)
            assert [result.inventory is not None for result in results.values()] == [True, False, True]
            assert "workbooks is refused to this token" in (results["marketing"].error or "")
    assert all(result.inventory for result in three.poll(rest).values())
    assert counts(rest) == (1, 0, 0)


def test_what_was_allowed_before_is_worth_one_sign_in(harness: RestHarness) -> None:
    """Perhaps a new session is allowed it again; if not, it is refused, and no session was lost by it."""
    rest = harness.rest()
    harness.poll(rest)
    with harness.tableau.doing(at("/tasks/", error(401, "401002"))):
        for _ in range(POLLS):
            notes = harness.inventory(rest).notes
            assert sum("is refused to this token" in note for note in notes) == 3
    assert counts(rest) == (2, 0, 0)


def test_a_refusal_that_passes_is_none(harness: RestHarness) -> None:
    """A single 401 to a session that is alive costs one more request, and nothing is remembered."""
    rest = harness.rest()
    with harness.tableau.doing(at("/tasks/runFlow", error(401, "401002"), times=1)):
        assert harness.inventory(rest).notes == ()
    assert counts(rest) == (1, 0, 0)


def test_an_older_server_is_asked_with_older_scopes(agent: Callable[[Token | ConnectedApp], Agent]) -> None:
    """Where a scope that it does not know has the sign-in refused, one more without it does, and so do later ones."""
    one = agent(CONNECTED)
    one.server.sessions.known_scopes = frozenset(OLDER_SCOPES)
    for _ in range(POLLS):
        found = one.inventories()
        assert sum(inventory.content.num_rows for inventory in found) == ASSETS
        assert all(any("no flow tasks" in note for note in inventory.notes) for inventory in found)
    one.server.collide()
    one.inventories()
    assert [seen.status for seen in one.server.seen if seen.kind == "signin"] == [401, 200, 200]
    assert counts(one.rest) == (2, 1, 0)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://tableau/api/3.26/sites/7c1a/workbooks?pageSize=1", "workbooks"),
        ("https://tableau/prefix/api/3.26/sites/7c1a/tasks/runFlow", "tasks/runFlow"),
        ("https://tableau/api/3.26/sites/7c1a/jobs/one", "jobs/*"),
        ("https://tableau/api/3.26/sites/7c1a/jobs", "jobs"),
        ("https://tableau/api/3.26/sites/7c1a/flows/6b7179ba-b82b-4f0f-91ed-812074ac5da6/x", "flows/*/x"),
        ("https://tableau/api/3.26/sites/7c1a", "sites/*"),
        ("https://tableau/api/3.26/sites", "sites"),
        ("https://tableau/api/metadata/graphql", "metadata/graphql"),
        ("https://tableau/api/exp/auth/switchSite", "auth/switchSite"),
        ("https://tableau/elsewhere/", "/elsewhere"),
    ],
)
def test_what_a_url_asks(url: str, endpoint: str) -> None:
    """The version, the site and the ids make no other endpoint."""
    assert endpoint_of(url) == endpoint
