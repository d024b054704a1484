"""The poller of the Activity Log: nothing lost, nothing doubled, whatever happens on the way."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.activity_log import lines
from exporter.activity_log.client import PARALLEL, ActivityLogClient
from exporter.activity_log.errors import BadRequest
from exporter.activity_log.files import CloudSite, Listing
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.errors import HistoryUnwritable
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.transaction import Transaction
from exporter.poller import activity_archiver
from exporter.poller.activity_archiver import ActivityArchiver, Batch
from exporter.poller.activity_poller import SOURCE, ActivitySchedule
from tests.activity_log.conftest import NOW
from tests.activity_log.harness import ActivityHarness, assert_exactly_once

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# Of the simulated tenant; a first poll lists a year.
RETAINED = timedelta(hours=9)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a first poll list some hours, in windows of four."""
    monkeypatch.setattr("exporter.poller.activity_poller.RETAINED", RETAINED)
    monkeypatch.setattr("exporter.poller.activity_poller.WINDOW", 4 * HOUR)


@pytest.fixture
def two_days(days: ActivityFiles, cloud: CloudManager, monkeypatch: pytest.MonkeyPatch) -> ActivityFiles:
    """Let the tenant have two days, and a first poll list them in windows of one."""
    cloud.files = cloud.store._files = days
    monkeypatch.setattr("exporter.poller.activity_poller.RETAINED", 3 * DAY)
    monkeypatch.setattr("exporter.poller.activity_poller.WINDOW", DAY)
    return days


@pytest.fixture
def harness(cloud: CloudManager, tmp_path: Path) -> Iterator[ActivityHarness]:
    """An agent at the end of the simulated past."""
    harness = ActivityHarness(cloud.url, tmp_path / "history.duckdb", NOW)
    yield harness
    harness.close()


def test_everything_once(harness: ActivityHarness, files: ActivityFiles, cloud: CloudManager) -> None:
    """The first poll archives all that is retained, later polls read no file again, and a restart changes nothing."""
    assert harness.poll()
    assert_exactly_once(harness, files)
    downloads = sum(cloud.store.requests.values())
    assert downloads == len(list(files.all_listed()))
    harness.restart()
    assert harness.poll()
    assert sum(cloud.store.requests.values()) == downloads
    assert_exactly_once(harness, files)
    assert cloud.store.leaks == []


def test_late_files_and_files_of_past_hours(two_days: ActivityFiles, harness: ActivityHarness) -> None:
    """What becomes available later is archived when it does, once, also when it stands in a later file again."""
    two_days.clock = lambda: harness.now
    for hours in (16, 0):
        harness.now = NOW - timedelta(hours=hours)
        assert harness.poll()
        assert_exactly_once(harness, two_days)
    ((older,),) = harness.query("SELECT count(*) FROM activity_files WHERE read_at > hour + INTERVAL 25 HOUR")
    assert older > 0


def test_repeated_events_are_known(two_days: ActivityFiles, cloud: CloudManager, harness: ActivityHarness) -> None:
    """An event that stands in a later file again, with another time of processing, is archived once."""
    cloud.failure_modes.repeats = True
    assert harness.poll()
    ((lines,),) = harness.query("SELECT sum(events) FROM activity_files")
    assert lines > two_days.truth().total()
    assert_exactly_once(harness, two_days)


def test_lines_that_are_no_events(cloud: CloudManager, files: ActivityFiles, harness: ActivityHarness) -> None:
    """They are counted and kept aside; every event around them is archived."""
    cloud.failure_modes.no_events = 3
    assert harness.poll()
    assert_exactly_once(harness, files)
    rejected = 3 * len(list(files.all_listed()))
    assert harness.query("SELECT count(*), count(text) FROM activity_rejects") == [(rejected, rejected)]
    counted = "SELECT sum(value) FROM counters WHERE family = 'tableau_activity_log_rejected_lines_total'"
    assert harness.query(counted) == [(rejected,)]


@pytest.mark.parametrize("interrupted", [False, True], ids=["whole", "interrupted"])
def test_a_large_file_in_parts(
    cloud: CloudManager,
    files: ActivityFiles,
    harness: ActivityHarness,
    monkeypatch: pytest.MonkeyPatch,
    interrupted: bool,
) -> None:
    """A file larger than a transaction is archived in several, in the ledger with the last; events are counted once."""
    monkeypatch.setattr(activity_archiver, "BATCH_BYTES", 10_000)
    for module in (lines, activity_archiver):
        monkeypatch.setattr(module, "PIECE_BYTES", 4_000)
    cloud.failure_modes.no_events = 3
    write, batches = ActivityArchiver.write, list[Batch]()

    def noted(self: ActivityArchiver, transaction: Transaction, site: CloudSite, batch: Batch, *rest: Any) -> None:
        if interrupted and any(batch.is_part for batch in batches):
            raise HistoryUnwritable("the disk is full")
        batches.append(batch)
        write(self, transaction, site, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ActivityArchiver, "write", noted)
        assert harness.poll() is not interrupted
    assert any(batch.is_part for batch in batches)
    assert harness.faults() == []
    assert harness.poll()
    assert_exactly_once(harness, files)
    count = len(list(files.all_listed()))
    assert harness.query("SELECT count(*), sum(rejected) FROM activity_files") == [(count, 3 * count)]
    assert harness.query("SELECT count(*), count(DISTINCT (path, line)) FROM activity_rejects") == [(3 * count,) * 2]


def faulty(**failure_modes: object) -> Callable[[CloudManager], None]:
    """Return what sets failure modes."""

    def set_on(cloud: CloudManager) -> None:
        for name, value in failure_modes.items():
            setattr(cloud.failure_modes, name, value)

    return set_on


FAULTS = {
    "lists that are null": faulty(nulls={"list"}),
    "lists without a list": faulty(missing_keys={"list"}),
    "a login page": faulty(html_login_page={"sites", "list", "sign"}),
    "no addresses": faulty(garbage={"sign"}),
    "files that are always cut": faulty(truncated_next=1000),
    "files that are never there": faulty(missing_next=1000),
    "redirects": faulty(redirect_next=7),
    "a store that is busy": faulty(fail_next=1000, affected={"download"}),
    "one site that fails": faulty(fail_next=1000, only_sites={"marketing"}),
    "pages without an end": faulty(endless_pages=True),
    "another edition": faulty(edition="forbidden"),
    "no log": faulty(edition="empty"),
    "a token that expired": faulty(token_expired=True),
    "paths that lead elsewhere": faulty(hostile_paths=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_costs_nothing(
    cloud: CloudManager, files: ActivityFiles, harness: ActivityHarness, fault: Callable[[CloudManager], None]
) -> None:
    """A poll that could not read everything leaves a history that is whole, and the next one reads the rest."""
    fault(cloud)
    harness.poll()
    assert harness.faults() == []
    cloud.failure_modes.reset()
    assert harness.poll()
    assert_exactly_once(harness, files)


def test_the_position_waits_before_what_failed(
    cloud: CloudManager, files: ActivityFiles, harness: ActivityHarness
) -> None:
    """Files that did not arrive are read by the next poll, also without an overlap; the others are archived at once."""
    harness.poller._schedule = ActivitySchedule(900.0, 0.0)
    # Two files, each fetched three times, or more files once or twice.
    cloud.failure_modes.missing_next = 6 * PARALLEL
    assert not harness.poll()
    assert "HTTP 404" in (harness.collector().error or "")
    ((archived,),) = harness.query("SELECT count(*) FROM activity_files")
    assert 0 < archived < len(list(files.all_listed()))
    cloud.failure_modes.reset()
    assert harness.poll()
    assert_exactly_once(harness, files)
    assert harness.query("SELECT min(identity) FROM positions") == [('{"until": "2025-11-19T10:30:00"}',)]


def test_an_edition_without_a_log(cloud: CloudManager, harness: ActivityHarness) -> None:
    """A refusal and an empty log are reported with their possible causes; the source itself is up."""
    cloud.failure_modes.edition = "forbidden"
    assert not harness.poll()
    assert harness.store.status.source(SOURCE).up
    assert "not in this edition" in (harness.collector().error or "")
    cloud.failure_modes.edition = "empty"
    assert harness.poll()
    assert "not in this edition" in (harness.collector().note or "")


def test_a_token_that_is_refused(cloud: CloudManager, harness: ActivityHarness) -> None:
    """Without a session the source is down, with one line that names the key."""
    cloud.failure_modes.token_expired = True
    assert not harness.poll()
    source = harness.store.status.source(SOURCE)
    assert not source.up
    assert "check activity_log.token_value" in (source.error or "")
    assert harness.store.status.first_polls_done()


def test_ready_after_the_first_slice(
    cloud: CloudManager, harness: ActivityHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the first window is archived its counters are published, and the agent is ready."""
    ready: list[tuple[bool, int]] = []
    files = ActivityLogClient.files

    def listing(self: ActivityLogClient, *arguments: object) -> object:
        ready.append((harness.store.status.first_polls_done(), sum(harness.counters().values())))
        return files(self, *arguments)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(ActivityLogClient, "files", listing)
    harness.history.prepare(NOW)
    assert harness.poll()
    assert not ready[0][0]
    done = [count for is_ready, count in ready if is_ready]
    assert done[0] > 0


def test_a_file_that_cannot_be_written(
    cloud: CloudManager, files: ActivityFiles, harness: ActivityHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history that refuses leaves everything at its source, and the next poll reads it."""

    def full(_self: History, *_arguments: object, **_named: object) -> None:
        raise HistoryUnwritable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(History, "transaction", full)
        assert not harness.poll()
    assert "disk is full" in (harness.collector().error or "")
    assert harness.poll()
    assert_exactly_once(harness, files)
    assert harness.query("SELECT value FROM counters WHERE family = 'tableau_history_incidents_total'") == [(1.0,)]


def test_the_retention(two_days: ActivityFiles, harness: ActivityHarness) -> None:
    """Events, typed rows and the ledger are pruned by age, counters stay, and pruned rows are not read again."""
    harness.retention = DAY
    harness.restart()
    assert harness.poll()
    counted = harness.counters()
    for _ in range(2):
        harness.now += HOUR
        harness.poll()
    ((oldest, newest),) = harness.query("SELECT min(event_time), max(event_time) FROM activity_events")
    assert newest - oldest <= DAY + HOUR
    ((first,),) = harness.query("SELECT min(hour) FROM activity_files")
    assert first >= oldest - HOUR
    assert harness.counters() == counted
    assert harness.faults() == []


@pytest.mark.parametrize(
    "privacy", [Privacy("pseudonym", "truncated"), Privacy("none", "none")], ids=["pseudonym", "none"]
)
def test_names_are_not_stored(cloud: CloudManager, tmp_path: Path, privacy: Privacy) -> None:
    """Under the privacy options no name, address or unknown field of a person is anywhere in the file."""
    cloud.failure_modes.no_events = 2
    harness = ActivityHarness(cloud.url, tmp_path / "history.duckdb", NOW, privacy)
    assert harness.poll()
    columns = ("objOwnerName", "projectOwnerEmail", "notes", "args", "embeddingContext", "clientIp")
    found = harness.query("SELECT DISTINCT unnest(json_keys(details)) FROM activity_events")
    assert not {name for (name,) in found} & set(columns)
    assert harness.query("SELECT count(obj_owner_name), count(notes) FROM cloud_jobs") == [(0, 0)]
    assert harness.query("SELECT count(text) FROM activity_rejects") == [(0,)]
    addresses = harness.query("SELECT DISTINCT user_ip FROM cloud_requests WHERE user_ip IS NOT NULL")
    assert addresses == [] or privacy.addresses == "truncated"
    assert all(address.endswith((".0", "::")) for (address,) in addresses)
    if privacy.users == "none":
        ((people,),) = harness.query(
            "SELECT count(user_id) + count(user_luid) + (SELECT count(actor_user_id) + count(actor_user_luid) +"
            " count(initiating_user_id) FROM activity_events) FROM cloud_requests"
        )
        assert people == 0
    harness.close()


def test_a_clock_that_is_ahead(
    cloud: CloudManager, files: ActivityFiles, harness: ActivityHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of Tableau Cloud Manager decides how far a position moves, so that nothing is hidden afterwards."""
    monkeypatch.setattr(ActivityLogClient, "source_at", property(lambda _: NOW, lambda *_: None), raising=False)
    harness.now = datetime(2031, 1, 1)  # noqa: DTZ001 - naive, as in the history
    assert harness.poll()
    assert harness.query("SELECT max(identity) FROM positions") == [('{"until": "2025-11-19T10:30:00"}',)]
    harness.now = NOW
    assert harness.poll()
    assert_exactly_once(harness, files)


def test_times_before_the_retention_are_refused(
    cloud: CloudManager, days: ActivityFiles, harness: ActivityHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first poll finds the first hour that may be listed, to the hour, and reads all from there."""
    cloud.files = cloud.store._files = days
    monkeypatch.setattr("exporter.poller.activity_poller.RETAINED", 365 * DAY)
    monkeypatch.setattr("exporter.poller.activity_poller.SURELY_RETAINED", 12 * HOUR)
    monkeypatch.setattr("exporter.poller.activity_poller.WINDOW", 7 * DAY)
    edge = NOW - timedelta(hours=30)
    listed: list[datetime] = []
    files = ActivityLogClient.files

    def listing(self: ActivityLogClient, site: CloudSite, begin: datetime, end: datetime) -> Listing:
        if begin < edge:
            raise BadRequest("the time range begins before the retention")
        listed.append(begin)
        return files(self, site, begin, end)

    monkeypatch.setattr(ActivityLogClient, "files", listing)
    assert harness.poll()
    assert min(listed) - edge < HOUR
    ((first,),) = harness.query("SELECT min(hour) FROM activity_files")
    assert first == min(listed)
    assert len(listed) < 40
