"""Each failure mode of the simulated Tableau, switched on once, as tableauserverclient meets it."""

import http.client
import json
import zlib
from contextlib import nullcontext
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import tableauserverclient as tsc
import trustme
from tableauserverclient.server.endpoint.exceptions import InternalServerError, NonXMLResponseError

from exporter.demo.company import Company
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.tableau.http_responses import BOMB_ELEMENTS
from exporter.demo.tableau.server import TableauServer
from tests.demo.tableau import NAME, VALUE, by_url, client, signed_in

QUERY = "{ workbooks { luid } }"


def page(server: Any, path: str = "workbooks") -> httpx.Response:  # noqa: ANN401 - see there
    """Get a page without the client that explains it."""
    return httpx.get(
        f"{server.baseurl}/sites/{server.site_id}/{path}", headers={"X-Tableau-Auth": server.auth_token}, timeout=30
    )


def test_a_login_page_is_taken_for_an_empty_list(tableau: TableauServer) -> None:
    """A well-formed HTML page with status 200 parses as no items, and only its missing total reveals it."""
    tableau.failure_modes.html_login_page = {"workbooks"}
    with signed_in(tableau) as server:
        items, pagination = server.workbooks.get()
        assert (items, pagination.total_available) == ([], None)
        assert page(server).headers["Content-Type"].startswith("text/html")
        assert server.datasources.get()[0]


def test_a_login_page_may_stand_everywhere(tableau: TableauServer) -> None:
    """A star is every kind of call, the sign-in too."""
    tableau.failure_modes.html_login_page = {"*"}
    server = client(tableau)
    with pytest.raises(AttributeError):
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))
    server.close()


def test_a_truncated_page_is_no_xml(tableau: TableauServer) -> None:
    """The body ends in the middle, with the full Content-Length."""
    tableau.failure_modes.truncated = {"workbooks"}
    with signed_in(tableau) as server, pytest.raises(SyntaxError):
        server.workbooks.get()


def test_a_short_page_has_less_than_it_promises(tableau: TableauServer) -> None:
    """The total counts absent items."""
    tableau.failure_modes.short_page = {"workbooks"}
    with signed_in(tableau) as server:
        items, pagination = server.workbooks.get()
    assert len(items) == pagination.total_available - 1 == len(by_url(tableau).workbooks) - 1


def test_a_list_without_a_total_seems_complete(tableau: TableauServer) -> None:
    """A Pager reads the first page as the whole list."""
    tableau.failure_modes.no_total = {"workbooks"}
    with signed_in(tableau) as server:
        assert len(list(tsc.Pager(server.workbooks, tsc.RequestOptions(pagesize=5)))) == 5


def test_an_emptied_list_says_so(tableau: TableauServer) -> None:
    """A total of 0 and no items, on the site that is named alone."""
    tableau.failure_modes.emptied = {"workbooks"}
    tableau.failure_modes.only_sites = {"emea"}
    with signed_in(tableau, "emea") as server:
        assert server.workbooks.get()[1].total_available == 0
        assert server.datasources.get()[0]
    with signed_in(tableau) as server:
        assert server.workbooks.get()[0]


EVERY_KIND = (
    *("workbooks", "datasources", "flows", "projects", "users", "jobs", "tasks", "flow_tasks", "linked_tasks"),
    *("flow_runs", "schedules", "views", "virtual_connections", "sites", "metadata"),
)
PATHS = {
    "tasks": "tasks/extractRefreshes",
    "flow_tasks": "tasks/runFlow",
    "linked_tasks": "tasks/linked",
    "flow_runs": "flows/runs",
    "virtual_connections": "virtualConnections",
}


def fetched(tableau: TableauServer, server: Any, kind: str) -> httpx.Response:  # noqa: ANN401 - see there
    """Get the answer of a kind as it comes over the wire."""
    headers = {"X-Tableau-Auth": server.auth_token}
    if kind == "metadata":
        return httpx.post(f"{tableau.url}/api/metadata/graphql", json={"query": QUERY}, headers=headers)
    site = "" if kind in {"schedules", "sites"} else f"/sites/{server.site_id}"
    return httpx.get(f"{server.baseurl}{site}/{PATHS.get(kind, kind)}", headers=headers)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    ("failure_mode", "status", "inside"),
    [
        ("missing", 404, b"404"),
        ("failing", 500, b"<html>"),
        ("nulls", 200, b"null"),
        ("garbage", 200, b"\x00\xff"),
        ("empty_element", 200, b""),
    ],
)
def test_a_kind_is_broken(tableau: TableauServer, failure_mode: str, status: int, inside: bytes, kind: str) -> None:
    """Every kind can be missing, fail, or return an invalid answer, on the named site alone."""
    setattr(tableau.failure_modes, failure_mode, {kind})
    tableau.failure_modes.only_sites = {"emea"}
    with signed_in(tableau, "emea") as server:
        broken = fetched(tableau, server, kind)
        well = fetched(tableau, server, "users" if kind != "users" else "projects")
    with signed_in(tableau) as server:
        elsewhere = fetched(tableau, server, kind)
    assert broken.status_code == status
    assert inside in broken.content
    assert (well.status_code, elsewhere.status_code) == (200, 200)
    assert broken.content != elsewhere.content
    if failure_mode == "missing" and kind != "metadata":
        assert b'<error code="404000">' in broken.content
    if failure_mode == "empty_element":
        assert b"pagination" not in broken.content
        assert broken.content.count(b"<") <= 4


@pytest.mark.parametrize("kind", ["users", "workbooks", "jobs", "sites"])
def test_a_total_is_one_too_high_at_every_reading(tableau: TableauServer, kind: str) -> None:
    """Counted items never come, however often they are requested."""
    tableau.estate.oddities = replace(tableau.estate.oddities, promised=frozenset())
    with signed_in(tableau) as server:
        items, before = getattr(server, kind).get()
        tableau.failure_modes.wrong_count = {kind}
        for _ in range(2):
            same, after = getattr(server, kind).get()
            assert after.total_available == before.total_available + 1
            assert [item.id for item in same] == [item.id for item in items]


@pytest.mark.parametrize(("failure_mode", "change"), [("duplicated", 1), ("skipped", -1)])
def test_items_move_between_pages(tableau: TableauServer, failure_mode: str, change: int) -> None:
    """Items added or removed while the pages are read come twice, or are skipped."""
    setattr(tableau.failure_modes, failure_mode, {"workbooks"})
    with signed_in(tableau) as server:
        first, before = server.workbooks.get(tsc.RequestOptions(pagesize=5))
        second, after = server.workbooks.get(tsc.RequestOptions(pagenumber=2, pagesize=5))
    assert after.total_available == before.total_available + change
    read = [item.id for item in (*first, *second)]
    real = [item.luid for item in by_url(tableau).workbooks]
    if failure_mode == "duplicated":
        assert read == [*real[:5], *real[4:9]]
    else:
        assert read == [*real[:5], *real[6:11]]


@pytest.mark.parametrize("kind", ["jobs", "tasks", "users", "sites", "flow_runs", "metadata"])
def test_some_calls_are_for_administrators(tableau: TableauServer, kind: str) -> None:
    """Content hidden from a token is refused with 403; everything else goes on."""
    tableau.failure_modes.forbidden = {kind}
    with signed_in(tableau) as server:
        with pytest.raises(tsc.ServerResponseError, match="403004"):
            server.metadata.query(QUERY) if kind == "metadata" else getattr(server, kind).get()
        server.workbooks.get()


def test_one_site_fails(tableau: TableauServer) -> None:
    """Every call of the site fails but the sign-in; the others are well."""
    tableau.failure_modes.sites_failing = {"emea"}
    with signed_in(tableau, "emea") as server, pytest.raises(InternalServerError, match="500"):
        server.workbooks.get()
    with signed_in(tableau) as server:
        server.workbooks.get()


def test_a_session_ends_in_mid_run(tableau: TableauServer) -> None:
    """One call finds the session ended; who signs in again goes on."""
    with signed_in(tableau) as server:
        tableau.failure_modes.expire_next = 1
        for _ in range(2):
            with pytest.raises(tsc.FailedSignInError, match="401002"):
                server.workbooks.get()
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))
        server.workbooks.get()


def test_a_token_expires(tableau: TableauServer) -> None:
    """A token that expired can no longer sign in; the session that it opened lives on."""
    with signed_in(tableau) as server:
        tableau.failure_modes.tokens_expired = {NAME}
        server.workbooks.get()
        with pytest.raises(tsc.FailedSignInError, match="401001"):
            server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))


def test_somebody_else_uses_the_same_token(tableau: TableauServer) -> None:
    """Every so many calls the session ends, however often the client signs in again."""
    tableau.failure_modes.rival_every = 2
    with signed_in(tableau) as server:
        server.workbooks.get()
        for _ in range(2):
            with pytest.raises(tsc.FailedSignInError, match="401002"):
                server.workbooks.get()
            server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))
            server.workbooks.get()


@pytest.mark.parametrize("retry_after", ["7", None])
def test_calls_are_throttled(tableau: TableauServer, retry_after: str | None) -> None:
    """So many calls are answered 429, with the time to wait where there is one."""
    tableau.failure_modes.throttle_next, tableau.failure_modes.retry_after = 2, retry_after
    with signed_in(tableau) as server:
        assert page(server).headers.get("Retry-After") == retry_after
        with pytest.raises(tsc.ServerResponseError, match="429000"):
            server.workbooks.get()
        server.workbooks.get()


@pytest.mark.parametrize("status", [500, 503])
def test_calls_fail_for_a_while(tableau: TableauServer, status: int) -> None:
    """So many calls of the kinds that are named are answered with an error page."""
    tableau.failure_modes.fail_next, tableau.failure_modes.fail_status, tableau.failure_modes.affected = (
        2,
        status,
        {"workbooks"},
    )
    with signed_in(tableau) as server:
        server.datasources.get()
        for _ in range(2):
            with pytest.raises(InternalServerError, match=str(status)):
                server.workbooks.get()
        server.workbooks.get()


def test_the_sign_in_fails_only_where_it_is_named(tableau: TableauServer) -> None:
    """Counting failure modes spare sign-ins by default."""
    tableau.failure_modes.fail_next = 1
    with signed_in(tableau) as server:
        assert tableau.failure_modes.fail_next == 1
        tableau.failure_modes.affected = {"signin"}
        with pytest.raises(InternalServerError):
            server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))


def test_a_connection_is_closed(tableau: TableauServer) -> None:
    """Without an answer, or in the middle of one."""
    with signed_in(tableau) as server:
        tableau.failure_modes.close_next = 1
        with pytest.raises(requests.exceptions.ConnectionError):
            server.workbooks.get()
        tableau.failure_modes.cut_next = 1
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
            server.workbooks.get()
        server.workbooks.get()


def test_the_first_byte_is_late(tableau: TableauServer) -> None:
    """Who waits less than that hears nothing."""
    with signed_in(tableau) as server:
        tableau.failure_modes.slow_seconds = 60
        server.add_http_options({"timeout": 0.05})
        with pytest.raises(requests.exceptions.ReadTimeout):
            server.workbooks.get()


def test_an_answer_trickles_for_ever(tableau: TableauServer) -> None:
    """Bytes come, each within any timeout between two of them, and do not end."""
    with signed_in(tableau) as server:
        tableau.failure_modes.trickle_seconds = 0.0001
        with httpx.stream(
            "GET",
            f"{server.baseurl}/sites/{server.site_id}/workbooks?pageSize=1",
            headers={"X-Tableau-Auth": server.auth_token},
        ) as answer:
            read = b""
            for piece in answer.iter_raw():
                read += piece
                if b"</tsResponse>   " in read:
                    break
        assert read.startswith(b"<?xml")


def test_the_metadata_api_is_missing_or_disabled(tableau: TableauServer) -> None:
    """A server without the API answers 404; one where it is off answers with how to enable it."""
    with signed_in(tableau) as server:
        tableau.failure_modes.metadata = "missing"
        with pytest.raises(NonXMLResponseError, match="404"):
            server.metadata.query(QUERY)
        tableau.failure_modes.metadata = "disabled"
        answer = server.metadata.query(QUERY)
    assert "data" not in answer
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FEATURE_DISABLED"]


def test_the_metadata_api_answers_in_part(tableau: TableauServer) -> None:
    """Some assets are missing, with errors beside the data."""
    tableau.failure_modes.metadata_partial = True
    with signed_in(tableau) as server:
        answer = server.metadata.query(QUERY)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BACKFILL_RUNNING"]
    whole = len(by_url(tableau).workbooks)
    assert len(answer["data"]["workbooks"]) == whole - whole // 3


def test_the_metadata_api_has_a_limit_of_nodes(tableau: TableauServer) -> None:
    """What would be more objects than that is cut, with Tableau's own error."""
    tableau.failure_modes.metadata_node_limit = 6
    with signed_in(tableau) as server:
        answer = server.metadata.query(QUERY)
    assert len(answer["data"]["workbooks"]) == 6
    (error,) = answer["errors"]
    assert error["message"].startswith("Showing partial results. The request exceeded the 6 node limit.")
    assert error["extensions"] == {
        "severity": "WARNING",
        "code": "NODE_LIMIT_EXCEEDED",
        "properties": {"nodeLimit": 6},
    }


def test_the_metadata_api_is_absurdly_slow(tableau: TableauServer) -> None:
    """Its queries alone last that long."""
    with signed_in(tableau) as server:
        tableau.failure_modes.metadata_seconds = 60
        server.workbooks.get()
        server.add_http_options({"timeout": 0.05})
        with pytest.raises(requests.exceptions.ReadTimeout):
            server.metadata.query(QUERY)


def test_updated_at_lies(tableau: TableauServer) -> None:
    """Everything was changed just now, however old its data is."""
    began = datetime.now(UTC).replace(microsecond=0)
    tableau.failure_modes.updated_at_lies = True
    with signed_in(tableau) as server:
        items = server.workbooks.get()[0] + server.datasources.get()[0]
    assert all(item.updated_at >= began for item in items)


def test_dates_have_fractions(tableau: TableauServer) -> None:
    """The client reads them as nothing at all."""
    tableau.failure_modes.fractional_dates = True
    with signed_in(tableau) as server:
        assert {item.updated_at for item in server.workbooks.get()[0]} == {None}
        assert ".9" in page(server).text or ".0" in page(server).text


def test_the_server_does_not_say_its_version(tableau: TableauServer) -> None:
    """A client that requests it stays with the oldest known version."""
    tableau.failure_modes.serverinfo_missing = True
    server = client(tableau)
    server.use_server_version()
    assert server.version == "2.4"
    server.close()


def test_an_old_server_speaks_an_old_api(company: Company) -> None:
    """Newer versions of the API than the server's are not found."""
    with TableauServer(Estate.of(company), version="2019.2.5", api_version="3.4") as tableau:
        server = client(tableau)
        server.use_server_version()
        assert server.version == "3.4"
        assert httpx.get(f"{tableau.url}/api/3.5/serverInfo").status_code == 404
        server.close()


def test_a_private_authority_vouches_for_the_server(company: Company, tmp_path: Path) -> None:
    """Over TLS the client needs the certificate of the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, ca = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    certificate.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    with TableauServer(Estate.of(company), certificate=chain, key=key) as tableau:
        assert tableau.url.startswith("https://")
        server = tsc.Server(tableau.url, http_options={"verify": str(ca)})
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))
        server.close()
        untrusted = tsc.Server(tableau.url)
        with pytest.raises(requests.exceptions.SSLError):
            untrusted.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=""))
        untrusted.close()


@pytest.mark.parametrize("switching", ["refused", "ignored"])
def test_a_site_is_not_switched(tableau: TableauServer, switching: str) -> None:
    """Tableau Cloud has no call for it: it is refused, or answered while the session stays where it is."""
    tableau.failure_modes.switching = switching
    with signed_in(tableau) as server:
        target = next(site for site in tsc.Pager(server.sites) if site.content_url == "emea")
        with pytest.raises(tsc.ServerResponseError, match="403069") if switching == "refused" else nullcontext():
            server.auth.switch_site(target)
        assert (server.site_url or "") == ""
        server.workbooks.get()


@pytest.mark.parametrize(("kind", "first"), [("workbooks", b"<"), ("metadata", b"[")])
def test_a_bomb_is_small_on_the_wire(tableau: TableauServer, kind: str, first: bytes) -> None:
    """Less than 300 kB decompress to 60 million elements of XML, or values of JSON."""
    tableau.failure_modes.bombs = {kind}
    with signed_in(tableau) as server:
        method, url = "GET", f"{server.baseurl}/sites/{server.site_id}/{kind}"
        if kind == "metadata":
            method, url = "POST", f"{tableau.url}/api/metadata/graphql"
        with httpx.stream(method, url, headers={"X-Tableau-Auth": server.auth_token}, timeout=60) as answer:
            packed = b"".join(answer.iter_raw())
    assert len(packed) < 300_000
    unpacking, found, rest = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), 0, packed
    while part := unpacking.decompress(rest, 1_000_000):
        found += part.count(first)
        rest = unpacking.unconsumed_tail
    assert found >= BOMB_ELEMENTS


def test_a_body_may_be_too_large(tableau: TableauServer) -> None:
    """A gateway answers with a page of its own; small bodies pass."""
    with signed_in(tableau) as server:
        tableau.failure_modes.largest_body = 1_000_000
        upload = server.fileuploads.initiate()
        with pytest.raises(NonXMLResponseError, match="413"):
            server.fileuploads.append(upload, b"x" * 1_000_001, "multipart/mixed")


def test_every_trap_is_shown_here() -> None:
    """A switch that no test turns on is a switch that may do nothing."""
    here = Path(__file__)
    others = (here.with_name(f"test_{name}.py") for name in ("cluster", "tableau_metadata", "vizql_data_service"))
    text = "".join(path.read_text(encoding="utf-8") for path in (here, *others))
    named = {entry.name for entry in fields(FailureModes)} - {"metadata_page_limit"}
    assert [name for name in sorted(named) if f".{name}" not in text and f'"{name}"' not in text] == []


def test_calls_are_counted_and_remembered(tableau: TableauServer) -> None:
    """The server records the calls, their answers, and the sign-ins."""
    with signed_in(tableau, "emea") as server:
        server.workbooks.get()
        with pytest.raises(tsc.ServerResponseError):
            server.workbooks.get_by_id("nothing")
    assert tableau.requests["workbooks"] == 2
    assert [(seen.site, seen.status) for seen in tableau.seen if seen.kind == "workbooks"] == [
        ("emea", 200),
        ("emea", 404),
    ]
    assert tableau.signed_in == ["emea"]


def test_connections_are_kept(tableau: TableauServer) -> None:
    """Several calls come over one connection, as a benchmark and a real server have it."""
    connection = http.client.HTTPConnection("127.0.0.1", int(tableau.url.rpartition(":")[2]))
    for _ in range(3):
        connection.request("GET", "/api/2.4/serverInfo")
        assert b"restApiVersion" in connection.getresponse().read()
    connection.close()
    assert tableau.requests["serverinfo"] == 3


def test_a_body_of_nonsense_is_refused(tableau: TableauServer) -> None:
    """Invalid XML or JSON is the client's error."""
    answer = httpx.post(f"{tableau.url}/api/3.26/auth/signin", content=b"<")
    assert (answer.status_code, "400000" in answer.text) == (400, True)
    with signed_in(tableau) as server:
        reported = httpx.post(
            f"{tableau.url}/api/metadata/graphql", content=b"[", headers={"X-Tableau-Auth": server.auth_token}
        )
    assert "errors" in json.loads(reported.text)
