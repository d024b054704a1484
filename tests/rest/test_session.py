"""One session of one token: its begin, its loss and recovery, and the messages about it."""

import logging

import jwt
import pytest

from exporter.errors import ConfigurationError, ExporterError, Fault, SourceRefused, SourceUnreachable
from exporter.rest.credentials import LIFE_SECONDS, SCOPES, ConnectedApp, Token
from exporter.rest.token_stats import TokenTracker
from tests.rest.conftest import NOW, RestHarness
from tests.rest.tableau import HTML, WELL_FORMED_HTML, Answer, Override, ReceivedRequest, at, error

APP = ConnectedApp("client", "secret-id", "the value of the secret, long enough to sign", "anna@example.com")


def test_one_session_serves_every_site_and_poll(three: RestHarness) -> None:
    """One sign-in, a switch for each further site, and the session is retained between polls, then signed out."""
    rest = three.rest()
    assert [result.error for result in three.poll(rest).values()] == [None] * 3
    assert three.tableau.count("/auth/signin") == 1
    assert three.tableau.count("/auth/switchSite") == 2
    three.poll(rest)
    assert three.tableau.count("/auth/signin") == 1
    assert len(three.tableau.sessions) == 1
    rest.close()
    assert three.tableau.sessions == {}
    assert rest.token_stats.sign_ins == 1


def test_a_session_lost_between_polls_is_renewed(harness: RestHarness) -> None:
    """A restart of the server costs one sign-in and no poll."""
    rest = harness.rest()
    harness.poll(rest)
    harness.tableau.sign_everybody_out()
    assert harness.inventory(rest).content.num_rows == 3
    assert (rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions) == (2, 1, 0)


@pytest.mark.parametrize("part", ["/workbooks", "/users", "/graphql", "/tasks/extractRefreshes", "/auth/switchSite"])
def test_a_session_lost_in_the_middle_is_renewed(three: RestHarness, part: str) -> None:
    """Whatever request finds the session gone is made again after one sign-in; nothing is lost of any site."""
    rest, lost = three.rest(), [False]

    def end(received: ReceivedRequest) -> None:
        if part in received.path and not lost[0]:
            lost[0] = True
            three.tableau.sign_everybody_out()

    with three.tableau.doing(end):
        results = three.poll(rest)
    assert [result.error for result in results.values()] == [None] * 3
    assert [result.inventory and result.inventory.notes for result in results.values()] == [()] * 3
    assert (rest.token_stats.sign_ins, rest.token_stats.lost) == (2, 1)


def test_a_session_lost_twice_in_a_poll_is_a_collision(three: RestHarness) -> None:
    """The second loss fails the site and all after it: one clear line, counted, and no third sign-in."""
    rest = three.rest("default", "marketing", "Finance")
    # A second program with the same token.
    with three.tableau.doing(_ending(three, "site-marketing/workbooks"), _ending(three, "site-marketing/datasources")):
        results = three.poll(rest)
    assert results["default"].inventory is not None
    for site in ("marketing", "Finance"):
        assert "another program signs in with the same token (agent): give each program a token of its own" in (
            results[site].error or ""
        )
    assert (rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions) == (2, 2, 1)
    assert three.tableau.count("/auth/signin") == 2
    assert [result.error for result in three.poll(rest).values()] == [None] * 3


def _ending(harness: RestHarness, part: str) -> Override:
    done = [False]

    def end(received: ReceivedRequest) -> None:
        if part in received.path and not done[0]:
            done[0] = True
            harness.tableau.sign_everybody_out()

    return end


def test_a_refusal_right_after_signing_in_is_a_collision(harness: RestHarness) -> None:
    """Where the other program is fast, the request that is repeated is refused too, and so is every other."""
    rest = harness.rest()
    with harness.tableau.doing(at("/sites/", error(401, "401002"))):
        assert "lost twice in one poll" in harness.failure(rest)
    assert (rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions) == (2, 2, 1)


def test_sessions_of_an_app_that_end_at_once(harness: RestHarness) -> None:
    """No other program can end them, so none is blamed, and the poll is given up after one sign-in more."""
    rest = harness.rest(credentials=lambda: APP)
    with harness.tableau.doing(at("/sites/", error(401, "401002"))):
        line = harness.failure(rest)
    assert "lost twice in one poll; check that Tableau is not restarting, and the connected app's access level" in line
    assert (rest.token_stats.sign_ins, rest.token_stats.collisions) == (2, 0)


def test_sessions_that_are_lost_again_and_again_are_a_collision(
    harness: RestHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program that signs in between our polls costs us a session each time: it is logged, and counted."""
    caplog.set_level(logging.WARNING)
    rest = harness.rest()
    harness.poll(rest)
    for _ in range(4):
        harness.now += 300
        harness.tableau.sign_everybody_out()
        harness.inventory(rest)
    assert (rest.token_stats.lost, rest.token_stats.collisions) == (4, 2)
    assert "another program seems to sign in with the same token" in caplog.text


def test_a_session_that_was_old_is_no_loss(harness: RestHarness) -> None:
    """Tableau ends sessions after hours by itself."""
    rest = harness.rest()
    harness.poll(rest)
    harness.now += 4 * 3600
    harness.tableau.sign_everybody_out()
    harness.inventory(rest)
    assert (rest.token_stats.sign_ins, rest.token_stats.lost, rest.token_stats.collisions) == (2, 0, 0)


def test_a_refused_token(harness: RestHarness) -> None:
    """A token that never worked is wrong; one that did has expired or was revoked."""
    rest = harness.rest(credentials=lambda: Token("agent", "another"))
    with pytest.raises(
        SourceRefused, match=r"401001.*the token agent is refused: check rest\.token_name and its value, and "
    ):
        harness.poll(rest)
    assert rest.token_stats.accepted is False
    rest = harness.rest()
    harness.poll(rest)
    assert rest.token_stats.accepted is True
    harness.tableau.tokens.clear()
    harness.tableau.sign_everybody_out()
    with pytest.raises(SourceRefused, match="is refused: it has expired or was revoked, make a new one; check also"):
        harness.poll(rest)
    assert rest.token_stats.accepted is False


def test_a_rotated_token_is_picked_up(harness: RestHarness) -> None:
    """The credentials are read at every sign-in."""
    values = ["value of the token"]
    rest = harness.rest(credentials=lambda: Token("agent", values[-1]))
    harness.poll(rest)
    harness.tableau.tokens["agent"] = "rotated"
    values.append("rotated")
    harness.tableau.sign_everybody_out()
    assert harness.inventory(rest).content.num_rows == 3


def test_credentials_that_cannot_be_read(harness: RestHarness) -> None:
    """A secret's file that is gone is a refusal, in its own words."""

    def read() -> Token:
        raise ConfigurationError([Fault("rest.token_value_file", "no such file")])

    with pytest.raises(SourceRefused, match=r"rest\.token_value_file: no such file"):
        harness.poll(harness.rest(credentials=read))


def test_a_connected_app_signs_in(harness: RestHarness) -> None:
    """A token is signed for each sign-in: for its user, with the scopes that reading needs, good for minutes."""
    rest = harness.rest(credentials=lambda: APP)
    harness.poll(rest)
    harness.tableau.sign_everybody_out()
    assert harness.inventory(rest).content.num_rows == 3
    bodies = [received.body.decode() for received in harness.tableau.received if received.path.endswith("/auth/signin")]
    signed = [body.split('jwt="')[1].split('"')[0] for body in bodies]
    assert len(set(signed)) == 2
    headers = jwt.get_unverified_header(signed[0])
    assert (headers["kid"], headers["iss"], headers["alg"]) == ("secret-id", "client", "HS256")
    key = APP.secret_value
    claims = jwt.decode(signed[0], key, algorithms=["HS256"], audience="tableau", options={"verify_exp": False})
    assert (claims["iss"], claims["sub"], claims["scp"]) == ("client", "anna@example.com", list(SCOPES))
    assert claims["exp"] == int(NOW) + LIFE_SECONDS
    assert all(scope.endswith(":read") for scope in SCOPES)


def test_what_lies_outside_the_scopes_is_no_collision(harness: RestHarness) -> None:
    """A connected app whose session lives while a request is refused lacks a scope: that part is left out."""
    rest = harness.rest(credentials=lambda: APP)
    refused = error(401, "401002")
    with harness.tableau.doing(at("/graphql", refused), at("/tasks/", refused)):
        inventory = harness.inventory(rest)
    assert inventory.described is None
    assert inventory.tasks is None
    assert sum("not within the scopes of the connected app" in note for note in inventory.notes) == 4
    assert rest.token_stats.collisions == 0


def test_a_connected_app_that_is_refused(harness: RestHarness) -> None:
    """The line lists the parts of a connected app's credentials."""
    with (
        harness.tableau.doing(at("/auth/signin", error(401, "401001"))),
        pytest.raises(SourceRefused, match="the connected app is refused: check its ids, its secret and its user"),
    ):
        harness.poll(harness.rest(credentials=lambda: APP))


@pytest.mark.parametrize("version", ["2.8", "3.5"])
def test_an_old_server_is_told_so(harness: RestHarness, version: str) -> None:
    """Tokens came with version 3.6 of the API."""
    harness.tableau.version = version
    with pytest.raises(SourceRefused, match=rf"speaks version {version} of the REST API, at least 3\.6"):
        harness.poll(harness.rest())


def test_an_old_server_and_a_connected_app(harness: RestHarness) -> None:
    """Connected apps came later than tokens."""
    harness.tableau.version = "3.10"
    with pytest.raises(SourceRefused, match=r"a connected app needs 3\.17; use a personal access token"):
        harness.poll(harness.rest(credentials=lambda: APP))


def test_the_version_of_the_server_is_spoken(harness: RestHarness) -> None:
    """The first question goes out in the oldest version, all others in the server's own."""
    harness.tableau.version = "3.19"
    rest = harness.rest()
    harness.inventory(rest)
    assert rest.server_version == "2025.3.0"
    assert harness.tableau.received[0].path == "/api/2.4/serverInfo"
    assert {received.path.split("/")[2] for received in harness.tableau.received[1:]} == {"3.19", "metadata"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(HTML),
        Answer(WELL_FORMED_HTML),
        Answer(""),
        Answer("<tsResponse xmlns='http://tableau.com/api'/>"),
        Answer(
            "<tsResponse xmlns='http://tableau.com/api'><serverInfo><restApiVersion>x</restApiVersion></serverInfo></tsResponse>"
        ),
        Answer(HTML, 404),
        Answer("no", 403),
        error(404, "404003"),
        Answer(HTML, 500),
    ],
)
def test_something_else_answers(harness: RestHarness, answer: Answer) -> None:
    """A server other than Tableau is unreachable, with any answer; one line, and no sign-in is sent to it."""
    with harness.tableau.doing(at("/serverInfo", answer)), pytest.raises(SourceUnreachable) as caught:
        harness.poll(harness.rest())
    assert len(str(caught.value).splitlines()) == 1
    assert harness.tableau.count("signin") == 0


@pytest.mark.parametrize(
    "body", [HTML, WELL_FORMED_HTML, b"", b"<tsResponse xmlns='http://tableau.com/api'/>", b"\xff"]
)
@pytest.mark.parametrize("part", ["/auth/signin", "/auth/switchSite"])
def test_a_sign_in_that_is_answered_with_nonsense(three: RestHarness, body: bytes, part: str) -> None:
    """A login page in the place of a session is a fault, not a defect of this program."""
    rest = three.rest("default", "marketing")
    with three.tableau.doing(at(part, Answer(body))):
        try:
            output = [result.error for result in three.poll(rest).values() if result.error]
        except ExporterError as failure:
            output = [str(failure)]
    assert output
    assert all(line and len(line.splitlines()) == 1 for line in output)
    assert [result.error for result in three.poll(rest).values()] == [None, None]


def test_a_connected_app_of_other_sites(three: RestHarness) -> None:
    """A connected app that may not switch signs in; a site other than its own proves nothing of its credentials."""
    rest = three.rest("default", "marketing", "nowhere", credentials=lambda: APP)
    with three.tableau.doing(at("/auth/switchSite", error(403, "403004"))):
        results = three.poll(rest)
    assert [result.inventory is not None for result in results.values()] == [True, True, False]
    assert "check rest.sites" in (results["nowhere"].error or "") or "the site nowhere" in (
        results["nowhere"].error or ""
    )
    assert rest.token_stats.accepted is True


def test_what_a_source_knew_of_the_token_is_passed_on(harness: RestHarness) -> None:
    """A new source continues the counts of the old one, also towards a collision."""
    token = TokenTracker(lambda: harness.now)
    rest = harness.rest(token=token)
    harness.poll(rest)
    for number in range(1, 4):
        old, rest = rest, harness.rest(token=token)
        old.close()
        assert rest.token_stats == old.token_stats
        harness.now += 300
        harness.poll(rest)
        harness.tableau.sign_everybody_out()
        harness.poll(rest)
        assert (rest.token_stats.sign_ins, rest.token_stats.lost) == (1 + 2 * number, number)
    assert rest.token_stats.collisions == 1
    assert len(rest.token_stats.lost_at) == 3


def test_another_token_has_statistics_of_its_own(harness: RestHarness) -> None:
    """Lost sessions of one token are not those of another; the counters go on."""
    harness.tableau.tokens["second"] = "its value"
    token = TokenTracker(lambda: harness.now)
    rest = harness.rest(token=token)
    harness.poll(rest)
    for _ in range(2):
        harness.tableau.sign_everybody_out()
        harness.poll(rest)
    second = harness.rest(credentials=lambda: Token("second", "its value"), token=token)
    harness.poll(second)
    harness.tableau.sign_everybody_out()
    harness.poll(second)
    assert (
        second.token_stats.name,
        second.token_stats.sign_ins,
        second.token_stats.lost,
        second.token_stats.collisions,
    ) == ("second", 5, 3, 0)
    third = harness.rest(credentials=lambda: Token("third", "wrong"), token=token)
    with pytest.raises(SourceRefused, match=r"check rest\.token_name and its value"):
        harness.poll(third)
    assert third.token_stats.accepted is False
