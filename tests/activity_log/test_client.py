"""The client of Tableau Cloud Manager against the simulated one: everything arrives once, or the reason is known."""

import io
import logging
from collections.abc import Callable

import pytest

from exporter import logs
from exporter.activity_log import object_store
from exporter.activity_log.client import PARALLEL, ActivityLogClient, ActivityLogOptions
from exporter.activity_log.errors import Forbidden
from exporter.activity_log.files import CloudSite, Download, is_plain
from exporter.activity_log.http_client import ATTEMPTS, LONGEST_WAIT_SECONDS, Pace
from exporter.activity_log.probe import probe
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.cloud_manager import TOKEN, CloudManager
from exporter.demo.traffic import HOUR
from exporter.errors import PollInterrupted, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from tests.activity_log.conftest import NOW, Slept

BEGIN = NOW.replace(minute=0) - 5 * HOUR

Set = Callable[[CloudManager], None]


def site(client: ActivityLogClient, name: str = "default") -> CloudSite:
    """Return a site of the tenant."""
    return next(site for site in client.sites().sites if site.name == name)


def contents(downloads: list[Download]) -> dict[str, bytes]:
    """Return the contents of files that arrived, by their paths."""
    found = {}
    for download in downloads:
        assert download.content is not None, download.error
        found[download.file.path] = download.content.read()
        download.content.close()
    return found


def everything(client: ActivityLogClient) -> dict[str, bytes]:
    """Return all files of the default site."""
    default = site(client)
    listing = client.files(default, BEGIN, NOW)
    return contents(list(client.download(default, listing.files)))


def expected(files: ActivityFiles) -> dict[str, bytes]:
    """Return the events in the default site's files."""
    default = next(site for site in files.sites if not site.url)
    return {file.path: files.content(file) for file in files.listed(default, BEGIN, NOW)}


@pytest.mark.parametrize(
    "address",
    ["http://[x", "http://[::1?s=CANARY", "http://x:99999/", "http://x:CANARY/", "http://", "::", "http://\u2100.com/"],
)
def test_an_address_that_cannot_be_parsed(
    client: ActivityLogClient, cloud: CloudManager, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """It costs its file alone, with one line that does not repeat it, and the other files arrive."""
    default = site(client)
    listed = client.files(default, BEGIN, NOW).files
    sign = cloud.store.sign
    monkeypatch.setattr(cloud.store, "sign", lambda path: address if path == listed[0].path else sign(path))
    first, *others = list(client.download(default, listed))
    assert isinstance(first.error, SourceRefused)
    assert str(first.error).endswith("names a file by an address that cannot be parsed")
    assert "CANARY" not in str(first.error)
    assert len(contents(others)) == len(listed) - 1


def test_every_file_arrives(client: ActivityLogClient, cloud: CloudManager, files: ActivityFiles) -> None:
    """Every file that is listed arrives as it is, in the order of hours."""
    assert everything(client) == expected(files)
    assert cloud.requests["login"] == 1
    assert cloud.store.leaks == []


def test_sites_are_named_as_in_labels(client: ActivityLogClient) -> None:
    """The Default site is called so, and one that is suspended is not read, with a note."""
    sites = client.sites()
    assert "default" in {site.name for site in sites.sites}
    assert sites.notes == ["site retired: is suspended"]


def test_a_site_that_is_none(cloud: CloudManager) -> None:
    """A site of the configuration that the tenant has not is noted, and the others are read."""
    client = ActivityLogClient(ActivityLogOptions(cloud.url, lambda: TOKEN, sites=("nowhere", "DEFAULT")))
    sites = client.sites()
    client.close()
    assert [site.name for site in sites.sites] == ["default"]
    assert sites.notes == ["site nowhere: not a site of this tenant; check activity_log.sites"]


def test_one_type_of_events_a_call(cloud: CloudManager) -> None:
    """Types of events are listed one by one."""
    options = ActivityLogOptions(cloud.url, lambda: TOKEN, event_types=("background_job", "login_authentication"))
    client = ActivityLogClient(options)
    types = {file.event_type for file in client.files(site(client), BEGIN, NOW).files}
    client.close()
    assert types == {"background_job", "login_authentication"}
    assert cloud.requests["list"] == 2


PASSING = {
    "too many requests": lambda cloud: set_on(cloud, throttle_next=3, retry_after="7"),
    "a server that is busy": lambda cloud: set_on(cloud, fail_next=3, fail_status=502),
    "connections that are closed": lambda cloud: set_on(cloud, close_next=3),
    "answers that are cut": lambda cloud: set_on(cloud, cut_next=3),
    "a session that ends": lambda cloud: set_on(cloud, expire_next=1),
    "addresses that are missing": lambda cloud: set_on(cloud, unsigned_next=1),
    "addresses that have expired": lambda cloud: set_on(cloud, links_expired_next=2),
    "objects that are not there yet": lambda cloud: set_on(cloud, missing_next=2),
    "files without their ends": lambda cloud: set_on(cloud, truncated_next=2),
    "a length that is too small": lambda cloud: set_on(cloud, short_length_next=2),
}


def set_on(cloud: CloudManager, **failure_modes: object) -> None:
    """Set failure modes."""
    for name, value in failure_modes.items():
        setattr(cloud.failure_modes, name, value)


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_by_itself(
    client: ActivityLogClient, cloud: CloudManager, files: ActivityFiles, fault: Set
) -> None:
    """A fault that passes costs nothing but time."""
    fault(cloud)
    assert everything(client) == expected(files)
    assert cloud.store.leaks == []


def test_retry_after_is_obeyed(client: ActivityLogClient, cloud: CloudManager, slept: Slept) -> None:
    """A 429 is followed by the pause that it wants, in slices that notice the end of the agent."""
    client.sites()
    set_on(cloud, throttle_next=1, retry_after="7")
    client.sites()
    assert sum(slept) == 7
    assert max(slept) <= 0.5


def test_a_pause_that_is_too_long(client: ActivityLogClient, cloud: CloudManager) -> None:
    """A Retry-After beyond reason ends the poll; the next one continues."""
    set_on(cloud, throttle_next=1, retry_after=str(int(LONGEST_WAIT_SECONDS) + 1), affected={"sites"})
    with pytest.raises(SourceUnreachable, match="left alone for 121 s"):
        client.sites()


def test_a_server_that_stays_busy(client: ActivityLogClient, cloud: CloudManager) -> None:
    """After some attempts the answer itself is the error."""
    client.sign_in()
    set_on(cloud, fail_next=100)
    with pytest.raises(SourceRefused, match="HTTP 503"):
        client.sites()
    assert cloud.requests["sites"] == ATTEMPTS


def test_the_agent_ends(cloud: CloudManager) -> None:
    """A pause ends with the agent."""
    ending: list[float] = []
    pace = Pace(stopping=lambda: bool(ending), sleep=ending.append)
    client = ActivityLogClient(ActivityLogOptions(cloud.url, lambda: TOKEN), pace)
    set_on(cloud, throttle_next=1, retry_after="60", affected={"login"})
    with pytest.raises(PollInterrupted):
        client.sites()
    client.close()


REFUSED: dict[str, tuple[Set, type[SourceError], str]] = {
    "a token that expired": (
        lambda cloud: set_on(cloud, token_expired=True),
        SourceRefused,
        "HTTP 401: 401001: The personal access token is invalid or has expired.: check activity_log.token_value",
    ),
    "another edition": (lambda cloud: set_on(cloud, edition="forbidden"), Forbidden, "HTTP 403: 403001"),
    "a login page": (lambda cloud: set_on(cloud, html_login_page={"sites"}), SourceIncomplete, "no JSON"),
    "garbage": (lambda cloud: set_on(cloud, garbage={"list"}), SourceIncomplete, "no JSON"),
    "null for files": (lambda cloud: set_on(cloud, nulls={"list"}), SourceIncomplete, "without a list of files"),
    "no list of files": (lambda cloud: set_on(cloud, missing_keys={"list"}), SourceIncomplete, "without a list"),
    "no addresses": (lambda cloud: set_on(cloud, nulls={"sign"}), SourceIncomplete, "without the addresses"),
    "no session": (lambda cloud: set_on(cloud, missing_keys={"login"}), SourceIncomplete, "without a session"),
    "pages without an end": (lambda cloud: set_on(cloud, endless_pages=True), SourceIncomplete, "does not end"),
}


@pytest.mark.parametrize(("fault", "kind", "text"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_pass(
    client: ActivityLogClient, cloud: CloudManager, fault: Set, kind: type[SourceError], text: str
) -> None:
    """A lasting fault is one line that names Tableau Cloud Manager, and never reads as an empty log."""
    fault(cloud)
    with pytest.raises(kind, match="activity_log http://") as caught:
        everything(client)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_redirects_are_not_followed(client: ActivityLogClient, cloud: CloudManager) -> None:
    """A redirect of the store leaves that file for the next poll, without its path or signature in the error."""
    default = site(client)
    listing = client.files(default, BEGIN, NOW)
    set_on(cloud, redirect_next=1)
    found = list(client.download(default, listing.files))
    errors = [str(download.error) for download in found if download.error]
    assert len(errors) == 1
    assert "redirects to" in errors[0]
    assert "Signature" not in errors[0]
    assert "part-" not in errors[0]
    contents([download for download in found if download.error is None])


def test_hostile_paths_are_refused(client: ActivityLogClient, cloud: CloudManager) -> None:
    """A path that leads out of a folder is counted and never downloaded; the others are read."""
    set_on(cloud, hostile_paths=True)
    listing = client.files(site(client), BEGIN, NOW)
    assert listing.refused == 3
    assert listing.files
    assert all(is_plain(file.path) for file in listing.files)


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../b", "a//b", "./a", "a/b\n", "a\\b", "", "a/?b", "a/b/"])
def test_plain_paths(path: str) -> None:
    """A path is relative, and has no part that is empty, or leads elsewhere."""
    assert not is_plain(path)


def test_a_store_without_md5(
    client: ActivityLogClient, cloud: CloudManager, files: ActivityFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ETags are other than MD5s, a file that comes twice the same way is whole, and ETags mean no more."""
    digest = object_store._digest
    monkeypatch.setattr(object_store, "_digest", lambda content: digest(content)[::-1])
    assert everything(client) == expected(files)
    assert sum(cloud.store.requests.values()) <= len(expected(files)) + PARALLEL


def test_the_proxy_variables_are_read_by_host(client: ActivityLogClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy variables are read for each host, not for each file: that takes as long as a request."""
    reads = list[None]()

    def noted() -> dict[str, str]:
        reads.append(None)
        return {}

    monkeypatch.setattr("exporter.proxies.getproxies_environment", noted)
    assert len(everything(client)) > 4
    assert len(reads) <= 4


def test_nothing_secret_is_logged(client: ActivityLogClient, cloud: CloudManager) -> None:
    """Neither token, session nor signature is in the log, also when everything is logged."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    logs.configure("debug", stream=stream)
    set_on(cloud, truncated_next=1, expire_next=1)
    everything(client)
    root.handlers[:], level = before
    root.setLevel(level)
    assert [secret for secret in secrets_of(cloud) if secret in stream.getvalue()] == []


def secrets_of(cloud: CloudManager) -> list[str]:
    """Return what must not be anywhere."""
    return [TOKEN, *cloud.session_tokens, *cloud.store.signatures]


def test_windows_are_listed_by_hour(client: ActivityLogClient, files: ActivityFiles) -> None:
    """What two windows that follow each other list is what one lists."""
    default = site(client)
    middle = BEGIN + 2 * HOUR
    parts = [*client.files(default, BEGIN, middle).files, *client.files(default, middle, NOW).files]
    assert parts == list(client.files(default, BEGIN, NOW).files)
    assert {file.path for file in parts} == expected(files).keys()


def test_the_probe(client: ActivityLogClient, cloud: CloudManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check tries a sign-in, the list of each site, and one file of the other host."""
    monkeypatch.setattr(ActivityLogClient, "source_at", property(lambda _: NOW, lambda *_: None), raising=False)
    found = list(probe(client))
    assert found[0] == (True, "Tableau Cloud Manager answers, 2 sites are read")
    assert found[1] == (None, "site retired: is suspended")
    assert [ok for ok, _ in found[2:]] == [True, True]
    assert all("files of the last day" in text for _, text in found[2:])
    set_on(cloud, missing_next=100)
    assert [ok for ok, _ in probe(client)][2:] == [False, False]
    cloud.failure_modes.reset()
    cloud.failure_modes.edition = "forbidden"
    assert "not in this edition" in list(probe(client))[-1][1]
    cloud.failure_modes.edition = "empty"
    assert list(probe(client))[-1][0] is None
