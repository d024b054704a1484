"""Several sites of Tableau Cloud with one token: each has a sign-in of its own, which counts as no loss."""

from collections.abc import Iterator

import pytest

from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.rest.client import RestClient, SiteResult
from exporter.rest.credentials import ConnectedApp, RestOptions, Token
from tests.rest.conftest import NOTHING_KNOWN, RestHarness
from tests.rest.tableau import Answer, at, error

SITES = ("default", "site1", "site2")
NAME, VALUE = next(iter(TOKENS.items()))
APP = App("client", "secret id", "a secret that is long enough to sign with")
CONNECTED = ConnectedApp(APP.client_id, APP.secret_id, APP.secret_value, "person0")
POLLS = 4
# The first poll signs in at each of the three, every later one at the two where the session is not.
SIGN_INS = 3 + (POLLS - 1) * 2


@pytest.fixture(scope="module")
def estate() -> Estate:
    """Three sites with 190 assets."""
    return Estate.large(120, 40, flows=30)


@pytest.fixture
def cloud(estate: Estate) -> Iterator[TableauServer]:
    """A Tableau Cloud that is well at first."""
    with TableauServer(estate, apps=(APP,), cloud=True) as server:
        yield server


@pytest.fixture
def rest(cloud: TableauServer) -> Iterator[RestClient]:
    """An agent's source, for all three sites."""
    made = RestClient(RestOptions(cloud.url, SITES, lambda: Token(NAME, VALUE)), sleep=lambda _: None)
    yield made
    made.close()


def poll(rest: RestClient) -> dict[str, SiteResult]:
    """Poll once."""
    return {result.site: result for result in rest.poll(NOTHING_KNOWN, 0)}


def assets(results: dict[str, SiteResult]) -> set[str]:
    """Return the LUIDs of the assets of all sites, each of which must have been read."""
    assert {site: result.error for site, result in results.items()} == dict.fromkeys(SITES)
    found = [
        luid
        for result in results.values()
        if result.inventory
        for luid in result.inventory.content.column("asset_id").to_pylist()
    ]
    assert len(set(found)) == len(found)
    return set(found)


def there(estate: Estate) -> set[str]:
    """Return the LUIDs of all that there is."""
    return {item.luid for site in estate.facts() for item in (*site.workbooks, *site.datasources, *site.flows)}


def counts(rest: RestClient) -> tuple[int, int, int]:
    """Return how many sign-ins, lost sessions and collisions were counted."""
    return rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions


@pytest.mark.parametrize("switching", [None, "refused", "ignored"])
def test_three_sites_of_one_token(
    cloud: TableauServer, rest: RestClient, estate: Estate, switching: str | None
) -> None:
    """All assets at every poll; a switch is tried once, and a poll begins with the site where the last one ended."""
    cloud.failure_modes.switching = switching
    for _ in range(POLLS):
        assert assets(poll(rest)) == there(estate)
    assert counts(rest) == (SIGN_INS, 0, 0)
    assert cloud.signed_in == ["", "site1", "site2", "", "site1", "", "site2", "", "site1"]
    assert cloud.requests["switchsite"] == 1


@pytest.mark.parametrize(
    "refusal",
    [
        error(403, "403070"),
        error(401, "401003"),
        error(401, "401002"),
        error(404, "404000"),
        error(405, "405000"),
        error(400, "400000"),
    ],
)
def test_however_a_switch_is_refused(three: RestHarness, refusal: Answer) -> None:
    """Each refusal leads to a sign-in at the site, and none to a lost session."""
    rest = three.rest("default", "marketing", "Finance")
    with three.tableau.doing(at("/auth/switchSite", refusal)):
        for _ in range(POLLS):
            assert [result.error for result in three.poll(rest).values()] == [None] * 3
    assert counts(rest) == (SIGN_INS, 0, 0)
    assert three.tableau.count("/auth/switchSite") <= 2


def test_a_switch_is_tried_again_after_a_day(three: RestHarness) -> None:
    """A refusal was perhaps that of a server in trouble."""
    rest = three.rest("default", "marketing", "Finance")
    with three.tableau.doing(at("/auth/switchSite", error(404, "404000"))):
        three.poll(rest)
    three.poll(rest)
    assert three.tableau.count("/auth/switchSite") == 1
    three.now += 86_400
    signed_in = rest.token_stats.sign_ins
    assert [result.error for result in three.poll(rest).values()] == [None] * 3
    assert rest.token_stats.sign_ins == signed_in
    assert three.tableau.count("/auth/switchSite") == 4


@pytest.mark.parametrize("order", [SITES, ("site1", "default", "site2"), ("site2", "default", "site1")])
def test_a_site_that_the_user_does_not_belong_to(cloud: TableauServer, order: tuple[str, ...]) -> None:
    """The others are read at every poll; its line names it and the remedy, and the token is valid."""
    cloud.sessions.rights = {NAME: {"", "site2"}}
    rest = RestClient(RestOptions(cloud.url, order, lambda: Token(NAME, VALUE)))
    for _ in range(POLLS):
        results = poll(rest)
        whole = {site: result.inventory is not None for site, result in results.items()}
        assert whole == {"default": True, "site1": False, "site2": True}
        assert "site site1" in (results["site1"].error or "")
        assert "401001" in (results["site1"].error or "")
        assert rest.token_stats.accepted is True
    assert rest.token_stats.lost == rest.token_stats.collisions == 0
    rest.close()


def test_a_connected_app_leaves_no_session_behind(cloud: TableauServer, estate: Estate) -> None:
    """Its sessions do not end each other: the one of the site that was left is signed out."""
    rest = RestClient(RestOptions(cloud.url, SITES, lambda: CONNECTED))
    for _ in range(POLLS):
        assert assets(poll(rest)) == there(estate)
        assert len(cloud.sessions._sessions) == 1
    assert counts(rest) == (SIGN_INS, 0, 0)
    rest.close()
    assert not cloud.sessions._sessions


def test_another_user_of_the_token_is_still_known(cloud: TableauServer, rest: RestClient, estate: Estate) -> None:
    """A second loss in a poll is a collision; the third session of a day that is lost between polls is one too."""
    cloud.failure_modes.rival_every = 7
    assert any("give each program a token of its own" in (result.error or "") for result in poll(rest).values())
    assert (rest.token_stats.lost, rest.token_stats.collisions) == (2, 1)
    cloud.failure_modes.reset()
    poll(rest)
    cloud.collide()
    assert assets(poll(rest)) == there(estate)
    assert (rest.token_stats.lost, rest.token_stats.collisions) == (3, 2)


def test_nobody_lists_the_sites_of_cloud(cloud: TableauServer) -> None:
    """Without configured sites the token's own is read, with a note."""
    rest = RestClient(RestOptions(cloud.url, (), lambda: Token(NAME, VALUE)))
    (result,) = poll(rest).values()
    assert result.inventory is not None
    assert "only the site default is read, sites may not be listed" in result.inventory.notes[0]
    assert "403069" in result.inventory.notes[0]
    rest.close()


def test_a_sign_in_that_gets_no_answer_ends_the_session(three: RestHarness) -> None:
    """It may have happened: the next site begins with a new session, and the next poll is whole."""
    rest = three.rest("default", "marketing", "Finance")
    refused = at("/auth/switchSite", error(403, "403070"))
    with three.tableau.doing(refused):
        three.poll(rest)
        with three.tableau.doing(at("/auth/signin", Answer("", 503), times=1)):
            results = three.poll(rest)
        assert [result.inventory is not None for result in results.values()] == [True, False, True]
        assert all(result.inventory for result in three.poll(rest).values())
    assert rest.token_stats.lost == 0
