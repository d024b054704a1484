"""Who is signed in at the simulated Tableau, and until when."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import tableauserverclient as tsc

from exporter.demo.company import Company
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.server import TableauServer
from tests.demo.tableau import NAME, VALUE, client, signed_in

APP = App("client", "secret id", "secret value")
KINDS = ("content", "flows", "flow_runs", "flow_tasks", "tasks", "jobs", "users")
ALL_SCOPES = frozenset(f"tableau:{kind}:read" for kind in KINDS)


def test_a_second_sign_in_ends_the_first(tableau: TableauServer) -> None:
    """One personal access token carries one session, for any client."""
    with signed_in(tableau) as first, signed_in(tableau, "emea") as second:
        with pytest.raises(tsc.FailedSignInError, match="401002"):
            first.workbooks.get()
        second.workbooks.get()
    assert tableau.signed_in == ["", "emea"]


def test_to_switch_the_site_ends_the_session_before(tableau: TableauServer) -> None:
    """The site switched to has a session of its own; to the same site there is nothing to switch."""
    with signed_in(tableau) as server:
        before = server.auth_token
        sites = {site.content_url: site for site in tsc.Pager(server.sites)}
        server.auth.switch_site(sites["marketing"])
        assert server.site_url == "marketing"
        assert server.auth_token != before
        server.auth.switch_site(sites["marketing"])
        server.workbooks.get()
        sites["marketing"].content_url = "nowhere"
        with pytest.raises(tsc.FailedSignInError, match="401003"):
            server.auth.switch_site(sites["marketing"])


def test_who_signed_out_is_out(tableau: TableauServer) -> None:
    """The session ends with the sign-out."""
    with signed_in(tableau) as server:
        state = server._auth_state
        server.auth.sign_out()
        server._auth_state = state
        with pytest.raises(tsc.FailedSignInError, match="401002"):
            server.workbooks.get()


@pytest.mark.parametrize(
    ("name", "value", "site"), [(NAME, "wrong", ""), ("nobody", VALUE, ""), (NAME, VALUE, "nowhere")]
)
def test_a_wrong_token_or_site_cannot_sign_in(tableau: TableauServer, name: str, value: str, site: str) -> None:
    """The refusal does not reveal which of them is wrong."""
    server = client(tableau)
    with pytest.raises(tsc.FailedSignInError, match="401001"):
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(name, value, site_id=site))
    server.close()


def test_sessions_end_by_themselves(company: Company) -> None:
    """A session lives as long as Tableau lets it, by the server's clock."""
    now = [1_000.0]
    server = TableauServer(Estate.of(company), clock=lambda: now[0], session_seconds=60)
    with server as tableau, signed_in(tableau) as one:
        now[0] += 59
        one.workbooks.get()
        now[0] += 1
        with pytest.raises(tsc.FailedSignInError, match="401002"):
            one.workbooks.get()


def test_a_token_sees_the_sites_that_it_may_see(company: Company) -> None:
    """A token with rights on some sites lists them alone, and cannot sign in to the others."""
    with TableauServer(Estate.of(company)) as tableau:
        tableau.sessions.rights = {NAME: {"", "emea"}}
        with signed_in(tableau) as server:
            assert [site.content_url for site in tsc.Pager(server.sites)] == ["", "emea"]
        with pytest.raises(tsc.FailedSignInError, match="401001"), signed_in(tableau, "finance"):
            pass


def test_cloud_switches_no_site_and_lists_none(cloud: TableauServer) -> None:
    """Each site is entered by a sign-in, which ends the session before; a switch and the list of sites are refused."""
    with signed_in(cloud) as first:
        with pytest.raises(tsc.ServerResponseError, match="403069"):
            first.sites.get()
        with pytest.raises(tsc.ServerResponseError, match="403069"):
            first.auth.switch_site(SimpleNamespace(content_url="emea"))
        with signed_in(cloud, "emea") as second:
            assert second.site_url == "emea"
            with pytest.raises(tsc.FailedSignInError, match="401002"):
                first.workbooks.get()


@pytest.mark.parametrize("tells", [True, False])
def test_older_servers_do_not_tell_how_long_a_session_lives(tableau: TableauServer, *, tells: bool) -> None:
    """The answer to a sign-in has the time that is left, or has not."""
    sent = f"<tsRequest><credentials personalAccessTokenName='{NAME}' personalAccessTokenSecret='{VALUE}'>"
    body = f"{sent}<site contentUrl=''/></credentials></tsRequest>".encode()
    tableau.sessions.tells_expiry = tells
    try:
        _, answer = tableau.sessions.sign_in(body, tableau.facts())
    finally:
        tableau.sessions.tells_expiry = True
    assert (b"estimatedTimeToExpiration=" in answer) is tells


def test_a_kind_of_call_is_refused_to_a_session_that_lives(company: Company) -> None:
    """A call refused to every user is answered as if the session had ended, and the session goes on."""
    with TableauServer(Estate.of(company)) as tableau, signed_in(tableau) as server:
        tableau.sessions.refused = {"jobs"}
        with pytest.raises(tsc.FailedSignInError, match="401002"):
            server.jobs.get()
        server.workbooks.get()


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("content", "workbooks"),
        ("content", "datasources"),
        ("content", "projects"),
        ("flows", "flows"),
        ("flow_runs", "flows/runs"),
        ("flow_tasks", "tasks/runFlow"),
        ("tasks", "tasks/extractRefreshes"),
        ("jobs", "jobs"),
        ("users", "users"),
    ],
)
def test_each_list_has_its_scope(company: Company, scope: str, path: str) -> None:
    """With it alone a connected app reads the list, and without it nothing of it."""
    with TableauServer(Estate.of(company), apps=(APP,)) as tableau:
        for scopes, allowed in (((f"tableau:{scope}:read",), True), (ALL_SCOPES - {f"tableau:{scope}:read"}, False)):
            server = client(tableau)
            server.auth.sign_in(tsc.JWTAuth(trusted(scopes=tuple(scopes))))
            with nullcontext() if allowed else pytest.raises(tsc.FailedSignInError, match="401002"):
                server.workbooks.get_request(f"{server.baseurl}/sites/{server.site_id}/{path}")
            server.close()


def test_a_server_may_refuse_scopes_that_it_does_not_know(company: Company) -> None:
    """A token with such a scope cannot sign in, one without it can."""
    with TableauServer(Estate.of(company), apps=(APP,)) as tableau:
        tableau.sessions.known_scopes = frozenset({"tableau:content:read"})
        server = client(tableau)
        with pytest.raises(tsc.FailedSignInError, match="401001"):
            server.auth.sign_in(tsc.JWTAuth(trusted(scopes=("tableau:content:read", "tableau:flow_tasks:read"))))
        server.auth.sign_in(tsc.JWTAuth(trusted(scopes=("tableau:content:read",))))
        server.close()


def encoded(part: bytes) -> str:
    """Write a part of a token."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def trusted(secret: str = APP.secret_value, *, seconds: int = 300, scopes: tuple[str, ...] = ()) -> str:
    """Sign a token as a connected app does."""
    head = {"alg": "HS256", "typ": "JWT", "kid": APP.secret_id, "iss": APP.client_id}
    body = {
        "iss": APP.client_id,
        "sub": "jsmith",
        "aud": "tableau",
        "exp": int(time.time()) + seconds,
        "jti": str(uuid.uuid4()),
        "scp": list(scopes),
    }
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{encoded(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def test_a_connected_app_signs_in_for_its_scopes(company: Company) -> None:
    """A token of a connected app opens a session for what its scopes name, once; sessions of apps do not collide."""
    token = trusted(scopes=("tableau:content:read",))
    with TableauServer(Estate.of(company), apps=(APP,)) as tableau, signed_in(tableau) as other:
        server = client(tableau)
        server.auth.sign_in(tsc.JWTAuth(token))
        server.workbooks.get()
        with pytest.raises(tsc.FailedSignInError, match="401002"):
            server.jobs.get()
        other.workbooks.get()
        with pytest.raises(tsc.FailedSignInError, match="401001"):
            server.auth.sign_in(tsc.JWTAuth(token))
        server.close()


@pytest.mark.parametrize(
    "token", [trusted("another secret"), trusted(seconds=-1), trusted(seconds=3600), "no.token", "", "é.é.é"]
)
def test_a_bad_token_of_an_app_cannot_sign_in(company: Company, token: str) -> None:
    """Wrongly signed, too old, too long-lived or no token at all: refused alike."""
    with TableauServer(Estate.of(company), apps=(APP,)) as tableau:
        server = client(tableau)
        with pytest.raises(tsc.FailedSignInError, match="401001"):
            server.auth.sign_in(tsc.JWTAuth(token))
        server.close()
