"""When the agent's own exports run: by a clock that the tests turn."""

import itertools
import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.config import load
from exporter.export_process import ExportOrder, Result, Stopped
from exporter.export_schedule import ExportJob, Exports, jobs
from exporter.status import ExportStatus
from exporter.texts import WITHHELD

HOUR = 3600.0
BROKEN = Result(ok=False, message="s3://lake/x: no such bucket")


def job(target: str = "/lake", every: float = HOUR, table: str | None = "logins", format_: str = "csv") -> ExportJob:
    """Return an export."""
    return ExportJob(ExportOrder("history.duckdb", "256MB", 1, format_, table, target), every)


@dataclass
class Clock:
    """Exports whose clock is turned, and whose processes are answers that a test gives."""

    now: float = 1000.0
    takes: float = 0.0
    answers: dict[str, list[Result]] = field(default_factory=dict)
    began: list[tuple[float, str]] = field(default_factory=list)
    published: list[ExportStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without jobs."""
        self.exports = Exports(
            self._publish,
            self._run,
            lambda: self.now,
            lambda: 1_700_000_000.0 + self.now,
            random.Random(1),
        )

    def _publish(self, statuses: Iterable[ExportStatus]) -> None:
        self.published = list(statuses)

    def _run(self, order: ExportOrder, _stopped: threading.Event) -> Iterator[Result]:
        self.began.append((self.now - 1000.0, order.target))
        self.now += self.takes
        yield from self.answers.get(order.target, [Result(ok=True, message="", table=order.table, rows=7)])

    def run(self, seconds: float) -> list[tuple[float, str]]:
        """Let time pass; return the exports that began, and when."""
        self.began, end = [], self.now + seconds
        while (wait := self.exports.run_due()) is not None and self.now + wait < end:
            self.now += wait
        self.now = max(self.now, end)
        return self.began


def test_an_export_is_due_at_the_start_and_then_after_its_interval() -> None:
    """The interval is from start to start, with any duration."""
    clock = Clock(takes=60.0)
    clock.exports.replace([job("/a")])
    assert clock.run(2.5 * HOUR) == [(0.0, "/a"), (HOUR, "/a"), (2 * HOUR, "/a")]
    (status,) = clock.published
    assert status == ExportStatus("logins", "csv", "/a", 21, 0, 1_700_001_000.0 + 2 * HOUR + 60.0)


def test_what_has_been_due_for_longest_comes_first() -> None:
    """One that is due all the time keeps no other from its turn."""
    clock = Clock(takes=10.0)
    clock.exports.replace([job("/often", 1.0), job("/rarely", 30.0)])
    assert [target for _, target in clock.run(100.0)].count("/rarely") == 3


def test_an_agent_without_exports_waits() -> None:
    """Without exports no check is due before a reload."""
    clock = Clock()
    assert clock.exports.run_due() is None
    assert clock.published == []


@pytest.mark.parametrize("every", [1.0, HOUR, 24 * HOUR])
def test_a_failed_export_is_tried_again_soon(every: float) -> None:
    """After a minute at first, then some four at the most, and never longer than its interval."""
    clock = Clock(answers={"/a": [BROKEN]})
    clock.exports.replace([job("/a", every)])
    began = [at for at, _ in clock.run(min(30 * every, HOUR))]
    waits = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert len(waits) >= 14
    assert max(waits) <= min(every, 240.0)
    assert min(waits[1:]) >= min(every, 60.0) / 2
    (status,) = clock.published
    assert (status.failures, status.rows, status.succeeded_at) == (len(began), 0, None)
    assert status.error == BROKEN.message


def test_a_failure_is_no_other_exports() -> None:
    """A failing export, or a bug in it, is counted for itself; the others go on as before."""
    clock = Clock(answers={"/broken": [BROKEN]})
    clock.exports.replace([job("/broken"), job("/well")])
    clock.run(2 * HOUR)
    broken, well = clock.published
    assert (well.failures, well.rows, well.error) == (0, 14, None)
    assert broken.failures > 1


def test_a_bug_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is a failure, with its traceback in the log."""
    clock = Clock()

    def fail(_order: ExportOrder, _stopped: threading.Event) -> Iterator[Result]:
        raise ZeroDivisionError

    monkeypatch.setattr(clock.exports, "run_job", fail)
    clock.exports.replace([job()])
    with capture_logs() as lines:
        clock.run(30.0)
    assert clock.published[0].error == "unexpected error (bug): ZeroDivisionError"
    assert [line["log_level"] for line in lines] == ["error", "error"]


def test_each_file_of_text_has_its_status() -> None:
    """A file without a result failed for the reason that ended the whole export."""
    clock = Clock(answers={"/a": [Result(ok=True, message="", table="logins", rows=2), BROKEN]})
    clock.exports.replace([job("/a", table=None, format_="text")])
    clock.run(1.0)
    found = {status.table: status for status in clock.published}
    assert len(found) == 7
    assert (found["logins"].rows, found["logins"].failures) == (2, 0)
    assert (found["users"].rows, found["users"].failures, found["users"].error) == (0, 1, BROKEN.message)


def test_a_failure_is_logged_once_until_it_changes() -> None:
    """Another reason is another line, and the end of it one more."""
    clock = Clock(answers={"/a": [BROKEN]})
    clock.exports.replace([job("/a")])
    with capture_logs() as lines:
        clock.run(HOUR)
        clock.answers["/a"] = [replace(BROKEN, message="denied")]
        clock.run(HOUR)
        del clock.answers["/a"]
        clock.run(2 * HOUR)
    reported = [(line["log_level"], line.get("error")) for line in lines if line["log_level"] != "debug"]
    assert reported == [("error", BROKEN.message), ("error", "denied"), ("info", None)]
    assert lines[0]["destination"] == "/a"


def test_a_secret_that_a_server_quotes_is_masked() -> None:
    """In the log and on the status page, escaped or not: the process of an export has only its own token."""
    clock = Clock(answers={"/a": [Result(ok=False, message='401: agent/token&"')]})
    clock.exports.replace([job("/a")], ['agent/token&"'])
    with capture_logs() as logs:
        clock.run(1.0)
        assert clock.published[0].error == "401: <secret>"
        clock.answers = {"/a": [Result(ok=False, message="401: agent/token&amp;&quot;")]}
        clock.run(HOUR)
    assert clock.published[0].error == WITHHELD
    assert not any("agent/token" in str(log) for log in logs)


def test_a_reload_keeps_what_is_known() -> None:
    """An export that stays retains its counters and its turn; a shorter interval is in force at once."""
    clock = Clock()
    clock.exports.replace([job("/a"), job("/b")])
    clock.run(600.0)
    clock.exports.replace([job("/a", 700.0), job("/c")])
    assert [(status.destination, status.rows) for status in clock.published] == [("/a", 7), ("/c", 0)]
    assert clock.run(701.0) == [(600.0, "/c"), (1300.0, "/a")]
    clock.exports.replace([])
    assert clock.published == []


def test_a_reload_tries_again_what_failed() -> None:
    """A change of the configuration may have fixed the failure."""
    clock = Clock(answers={"/a": [BROKEN]})
    clock.exports.replace([job("/a")])
    clock.run(1.0)
    del clock.answers["/a"]
    clock.exports.replace([job("/a")])
    assert clock.run(1.0) == [(1.0, "/a")]
    assert clock.published[0].error is None


def test_an_export_that_a_reload_removed_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export removed while it ran has no series any more."""
    clock = Clock()

    def reload_within(order: ExportOrder, _stopped: threading.Event) -> Iterator[Result]:
        clock.exports.replace([job("/b")] if order.target == "/a" else [])
        yield Result(ok=True, message="", table="logins", rows=1)

    monkeypatch.setattr(clock.exports, "run_job", reload_within)
    clock.exports.replace([job("/a")])
    clock.exports.run_due()
    assert [(status.destination, status.rows) for status in clock.published] == [("/b", 0)]


def test_an_export_that_was_stopped_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent that ends has ended it."""
    clock = Clock()

    def stop(_order: ExportOrder, stopped: threading.Event) -> Iterator[Result]:
        clock.exports.stop()
        assert stopped.is_set()
        raise Stopped

    monkeypatch.setattr(clock.exports, "run_job", stop)
    clock.exports.replace([job()])
    clock.exports.run(lambda: True)
    assert clock.published[0] == ExportStatus("logins", "csv", "/lake")


def test_nothing_is_exported_before_the_first_polls_have_ended() -> None:
    """There may be no history yet."""
    clock, looked = Clock(), [False, False, True]
    clock.exports.stopped.wait = lambda _seconds=None: False  # type: ignore[method-assign, assignment]
    clock.exports.replace([job()])

    def ready() -> bool:
        assert clock.began == []
        return looked.pop(0)

    def stop_after(_statuses: Iterable[ExportStatus]) -> None:
        clock.exports.stop()

    clock.exports.publish = stop_after
    clock.exports.run(ready)
    assert (looked, len(clock.began)) == ([], 1)


def test_each_output_is_a_job_of_its_own(tmp_path: Path) -> None:
    """Each status has its export's configuration, without the credentials of a URI."""
    path = tmp_path / "tableau-exporter.yml"
    path.write_text(
        "repository: {hosts: [db]}\nhistory: {path: /data/h.duckdb, memory_limit: 64MB, threads: 2}\nexports:\n"
        "- {format: text, output: [/a, /b], every: 1d, since: 2025-01-01, timezone: Europe/Berlin}\n"
        "- {format: delta, table: usage, output: 's3://lake/usage', every: 1h}\n"
    )
    first, second, third = jobs(load(path, {}, (), explicit=True))
    form = {"timezone": "Europe/Berlin"}
    assert first == ExportJob(
        ExportOrder("/data/h.duckdb", "64MB", 2, "text", None, "/a", "2025-01-01T00:00:00", form), 86_400.0
    )
    assert second == replace(first, order=replace(first.order, target="/b"))
    assert third == ExportJob(ExportOrder("/data/h.duckdb", "64MB", 2, "delta", "usage", "s3://lake/usage"), HOUR)
    assert replace(third, order=replace(third.order, target="s3://me:x@lake/usage")).destination == "s3://lake/usage"


def test_a_file_is_published_once(tmp_path: Path) -> None:
    """Of several outputs the first; the process gets no other secret, and none of them is in its repr."""
    path, ca_file = tmp_path / "tableau-exporter.yml", tmp_path / "ca.pem"
    ca_file.touch()
    path.write_text(
        f"rest: {{url: 'https://tableau', token_name: a, token_value: agents, ca_file: {ca_file}, timeout: 20s}}\n"
        "exports:\n"
        "- {format: hyper, table: usage, output: [/a, /b], every: 1d,"
        " publish: {project: Finance, name: Usage, token_name: p, token_value: publishers}}\n"
    )
    path.chmod(0o600)
    first, second = jobs(load(path, {}, (), explicit=True))
    assert first.order.publication == {
        "publish": {
            "site": "default",
            "project": "Finance",
            "name": "Usage",
            "token_name": "p",
            "token_value": "publishers",
        },
        "url": "https://tableau",
        "ca_file": str(ca_file),
        "timeout": 20.0,
    }
    assert second.order.publication is None
    assert "publishers" not in repr(first)
