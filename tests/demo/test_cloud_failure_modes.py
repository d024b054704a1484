"""Each switch of the simulated Tableau Cloud Manager and of its object store, as a client meets it."""

import hashlib
import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.demo.company import Company
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import REQUESTS, ActivityStory, Place
from exporter.demo.tableau.cloud_failure_modes import CloudFailureModes
from exporter.demo.tableau.cloud_manager import HOSTILE, SESSION_SECONDS, CloudManager
from tests.demo.activity_log import Client, Clock, Record, any_file, everything


@pytest.fixture(scope="module")
def clock(now: datetime) -> Clock:
    """The clock of the manager; who moves it puts it back."""
    return Clock(now)


@pytest.fixture(scope="module")
def running(company: Company, clock: Clock, now: datetime) -> Iterator[CloudManager]:
    """A manager with a day of the log of two sites."""
    story = ActivityStory(company, sites=2, requests_per_day=700)
    with CloudManager(ActivityFiles(story, now.replace(minute=0) - timedelta(days=1), clock)) as started:
        yield started


@pytest.fixture
def manager(running: CloudManager, clock: Clock, now: datetime) -> Iterator[CloudManager]:
    """The same with all its switches off, and no session."""
    running.failure_modes.reset()
    running.end_sessions()
    running.requests.clear()
    running.seen.clear()
    running.store.requests.clear()
    yield running
    running.failure_modes.reset()
    clock.at = now


@pytest.fixture
def client(manager: CloudManager) -> Client:
    """A client that is signed in."""
    return Client(manager)


@pytest.fixture(scope="module")
def chosen(running: CloudManager) -> tuple[Place, str]:
    """A site and the path of a file with requests."""
    return any_file(running.files, REQUESTS)


Chosen = tuple[Place, str]


def listing(client: Client, site: Place) -> httpx.Response:
    """List the last day of a site."""
    return client.get(f"/sites/{site.luid}/activitylog")


def address(client: Client, chosen: Chosen) -> str:
    """Return a presigned address of the file."""
    site, path = chosen
    return str(client.sign(site, [path]).json()["files"][0]["url"])


@pytest.mark.parametrize("status", [502, 503, 504])
def test_calls_fail_for_a_while(manager: CloudManager, client: Client, chosen: Chosen, status: int) -> None:
    """So many calls are answered with a status and a page, with its Retry-After, and the next one is well."""
    manager.failure_modes.fail_next, manager.failure_modes.fail_status, manager.failure_modes.retry_after = (
        2,
        status,
        "7",
    )
    answers = [client.get("/sites") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers["Retry-After"] == "7"
    manager.failure_modes.fail_next = 1
    manager.failure_modes.affected = {"download"}
    url = address(client, chosen)
    assert [httpx.get(url).status_code for _ in range(2)] == [status, 200]


def test_calls_are_throttled(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """A 429 has a message, a code and the Retry-After; the store has one too, in XML."""
    manager.failure_modes.throttle_next, manager.failure_modes.retry_after = 1, "3"
    answer = client.get("/sites")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json().keys() == {"message", "errorCode"}
    url = address(client, chosen)
    manager.failure_modes.throttle_next = 1
    answer = httpx.get(url)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert "<Code>SlowDown</Code>" in answer.text


def test_the_switches_spare_the_login_unless_it_is_named(manager: CloudManager) -> None:
    """A login fails only where ``affected`` names it."""
    manager.failure_modes.fail_next = 1
    assert Client(manager).signed_in.status_code == 200
    manager.failure_modes.affected = {"login"}
    assert Client(manager).signed_in.status_code == 503


def test_a_session_ends(manager: CloudManager, client: Client, clock: Clock) -> None:
    """An ended session is refused with 401 from then on; another login helps, and its session ends by its age."""
    manager.failure_modes.expire_next = 1
    assert [client.get("/sites").status_code for _ in range(2)] == [401, 401]
    assert client.get("/sites").json().keys() == {"message", "errorCode"}
    client = Client(manager)
    assert client.get("/sites").status_code == 200
    clock.at += timedelta(seconds=SESSION_SECONDS)
    assert client.get("/sites").status_code == 401


def test_a_token_is_refused(manager: CloudManager) -> None:
    """A wrong token, and the right one after it has expired, are refused with 401."""
    assert Client(manager, token="wrong").signed_in.status_code == 401
    manager.failure_modes.token_expired = True
    assert Client(manager).signed_in.status_code == 401


def test_an_edition_has_no_log(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """Lists and addresses are forbidden, or lists are empty, on the sites that are named alone."""
    manager.failure_modes.edition = "forbidden"
    site, path = chosen
    assert [listing(client, site).status_code, client.sign(site, [path]).status_code] == [403, 403]
    assert client.get("/sites").status_code == 200
    manager.failure_modes.edition, manager.failure_modes.only_sites = "empty", {site.url}
    other = next(place for place in manager.files.sites if place != site)
    assert listing(client, site).json() == {"files": []}
    assert listing(client, other).json()["files"]


@pytest.mark.parametrize(
    ("failure_mode", "begins"),
    [("html_login_page", b"<html"), ("garbage", b"\x00"), ("nulls", b"null"), ("missing_keys", b"{}")],
)
@pytest.mark.parametrize("kind", ["login", "sites", "list", "sign"])
def test_an_answer_is_something_else(
    manager: CloudManager, client: Client, chosen: Chosen, failure_mode: str, begins: bytes, kind: str
) -> None:
    """A call of the kind is answered 200 with a page, bytes, null or an empty object; other kinds are not."""
    setattr(manager.failure_modes, failure_mode, {kind})
    site, path = chosen
    calls: dict[str, Callable[[], httpx.Response]] = {
        "login": lambda: Client(manager).signed_in,
        "sites": lambda: client.get("/sites"),
        "list": lambda: listing(client, site),
        "sign": lambda: client.sign(site, [path]),
    }
    if kind == "login":
        body = json.dumps({"token": manager.token}).encode()
        answer = httpx.post(f"{manager.url}/api/v1/pat/login", content=body)
    else:
        answer = calls[kind]()
    assert answer.status_code == 200
    assert answer.content.startswith(begins)
    assert all(call().json() for other, call in calls.items() if other not in {kind, "login"})


def test_the_past_is_refused(manager: CloudManager, client: Client, chosen: Chosen, now: datetime) -> None:
    """A window that begins before the retention is refused with 400, one that begins with it is not."""
    manager.failure_modes.past_refused = True
    site, _ = chosen
    kept = now - manager.files.retention
    statuses = [client.files(site, begin, kept).status_code for begin in (kept - timedelta(hours=1), kept)]
    assert statuses == [400, 200]


def test_pages_have_no_end(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """Each page of a list leads to itself."""
    manager.failure_modes.endless_pages = True
    site, _ = chosen
    first = listing(client, site).json()
    second = client.get(f"/sites/{site.luid}/activitylog", pageToken=first["pageToken"]).json()
    assert second["pageToken"]
    assert second["files"] == first["files"]


def test_paths_lead_out_of_the_folder(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """A list begins with absolute paths and with such as have two dots; no address is signed for them."""
    manager.failure_modes.hostile_paths = True
    site, _ = chosen
    paths = [file["path"] for file in listing(client, site).json()["files"]]
    assert paths[: len(HOSTILE)] == [*HOSTILE]
    assert client.sign(site, HOSTILE).json() == {"files": []}


def test_some_paths_are_not_signed(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """An answer lacks every second path; the next one has all."""
    manager.failure_modes.unsigned_next = 1
    site, _ = chosen
    paths = [file["path"] for file in listing(client, site).json()["files"]][:10]
    assert [len(client.sign(site, paths).json()["files"]) for _ in range(2)] == [5, 10]


def test_an_address_expires(manager: CloudManager, client: Client, chosen: Chosen, clock: Clock) -> None:
    """An address is refused with 403 after its seconds, and once before them; a new one is not."""
    url = address(client, chosen)
    manager.failure_modes.links_expired_next = 1
    answers = [httpx.get(url) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [403, 200]
    assert "<Message>Request has expired</Message>" in answers[0].text
    clock.at += timedelta(seconds=manager.failure_modes.link_seconds)
    assert httpx.get(url).status_code == 403
    assert httpx.get(address(client, chosen)).status_code == 200


def test_an_object_is_missing(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """A download finds no object, once."""
    manager.failure_modes.missing_next = 1
    url = address(client, chosen)
    assert [httpx.get(url).status_code for _ in range(2)] == [404, 200]


def test_a_download_is_redirected(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """A download leads elsewhere, where no event is."""
    manager.failure_modes.redirect_next = 1
    url = address(client, chosen)
    assert httpx.get(url).status_code == 302
    manager.failure_modes.redirect_next = 1
    assert httpx.get(url, follow_redirects=True).json() == {"redirected": True}


def test_a_download_is_torn(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """The connection is closed in the middle of a body, or before an answer."""
    url = address(client, chosen)
    manager.failure_modes.affected = {"download"}
    manager.failure_modes.cut_next = manager.failure_modes.close_next = 1
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    assert httpx.get(url).status_code == 200


def test_a_list_is_torn(manager: CloudManager, client: Client) -> None:
    """Answers of the manager may be cut too, or not come at all."""
    manager.failure_modes.cut_next = manager.failure_modes.close_next = 1
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/sites")
    assert client.get("/sites").status_code == 200
    assert [call.status for call in manager.seen if call.kind == "sites"] == [0, 200, 200]


def test_a_body_is_truncated(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """The body stops in the middle of a record under a Content-Length that agrees; the ETag is of the whole file."""
    url = address(client, chosen)
    whole = httpx.get(url)
    manager.failure_modes.truncated_next = 1
    part = httpx.get(url)
    assert len(part.content) == int(part.headers["Content-Length"]) < len(whole.content)
    assert whole.content.startswith(part.content)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(part.content.splitlines()[-1])
    assert part.headers["ETag"] == whole.headers["ETag"] == f'"{md5(whole.content)}"'


def test_a_length_is_wrong(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """A Content-Length that is too small cuts the body without an error; what follows is no answer."""
    url = httpx.URL(address(client, chosen))
    whole = httpx.get(url).content
    manager.failure_modes.short_length_next = 1
    connection = http.client.HTTPConnection(url.host, url.port or 0, timeout=30)
    connection.request("GET", url.raw_path.decode())
    assert len(connection.getresponse().read()) < len(whole)
    connection.request("GET", url.raw_path.decode())
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def md5(body: bytes) -> str:
    """Return S3's ETag."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def test_some_lines_are_no_events(manager: CloudManager, client: Client, chosen: Chosen) -> None:
    """So many lines are no JSON objects, at the same places each time; the records beside them are all there."""
    site, path = chosen
    before = client.download(site, path).content.splitlines()
    manager.failure_modes.no_events = 8
    after = client.download(site, path).content.splitlines()
    assert after == client.download(site, path).content.splitlines()
    assert Counter(before) < Counter(after)
    added = Counter(after) - Counter(before)
    assert sum(added.values()) == len(added) == 8
    assert not any(is_record(line) for line in added)
    assert {type(parsed(line)) for line in added} >= {list, str, int, type(None), Exception}


def parsed(line: bytes) -> object:
    """Return the event of a line, or None."""
    try:
        return json.loads(line)
    except ValueError:
        return Exception()


def is_record(line: bytes) -> bool:
    """Return whether a line is a JSON object."""
    return isinstance(parsed(line), dict)


def test_records_are_repeated(manager: CloudManager) -> None:
    """Records of the day before come again in later files, the same but for the time when they were processed."""
    before = [known(row) for file in everything(manager).values() for row in file]
    manager.failure_modes.repeats = True
    after = Counter(known(row) for file in everything(manager).values() for row in file)
    assert after.total() > len(before)
    assert after.keys() == set(before)
    assert max(after.values()) == 2


def known(record: Record) -> str:
    """Return the identity of a record in any file."""
    return json.dumps({name: value for name, value in record.items() if name != "eventProcessedTime"})


@pytest.mark.parametrize("kind", ["list", "download"])
def test_an_answer_is_slow(manager: CloudManager, client: Client, chosen: Chosen, kind: str) -> None:
    """The first byte does not come in time, or the body comes byte by byte without an end."""
    manager.failure_modes.affected = {kind}
    site, _ = chosen
    url = f"{client.tenant}/sites/{site.luid}/activitylog" if kind == "list" else address(client, chosen)
    manager.failure_modes.slow_seconds = 30
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(url, headers=client.headers if kind == "list" else {}, timeout=httpx.Timeout(30, read=0.05))
    manager.failure_modes.slow_seconds, manager.failure_modes.trickle_seconds = 0, 0.001
    with httpx.stream("GET", url, headers=client.headers if kind == "list" else {}, timeout=30) as answer:
        assert "Content-Length" not in answer.headers
        assert len(next(answer.iter_raw(50))) == 50


def test_it_speaks_https(company: Company, clock: Clock, now: datetime, tmp_path: Path) -> None:
    """With a certificate both servers use https, and a client that trusts another authority refuses them."""
    authority = trustme.CA()
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    private_key.write_bytes(issued.private_key_pem.bytes())
    files = ActivityFiles(ActivityStory(company, sites=1), now.replace(minute=0) - timedelta(hours=3), clock)
    with CloudManager(files, certificate=certificate, key=private_key) as manager:
        for url in (manager.url, manager.store.url):
            assert url.startswith("https://")
            with pytest.raises(httpx.ConnectError):
                httpx.get(url)


def test_everything_is_off_again(manager: CloudManager) -> None:
    """A reset turns off every switch."""
    for entry in fields(CloudFailureModes):
        setattr(manager.failure_modes, entry.name, "changed")
    manager.failure_modes.reset()
    assert manager.failure_modes == CloudFailureModes()


def test_every_switch_is_shown_here() -> None:
    """A switch that no test turns on is a switch that may do nothing."""
    text = Path(__file__).read_text(encoding="utf-8")
    named = {entry.name for entry in fields(CloudFailureModes)}
    assert [name for name in sorted(named) if f".{name}" not in text and f'"{name}"' not in text] == []
