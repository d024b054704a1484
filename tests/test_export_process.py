"""An export in its own process: its result, its end, and its cleanup."""

import os
import threading
import time
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from exporter import export_process
from exporter.child_process import spawn
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from exporter.export_process import ExportOrder, Result, Stopped, run
from exporter.exports import DAILY_TEXT_FILES
from tests.history.synthetic_history import SyntheticHistory
from tests.rest.test_publishing import FACTS, TOKENS, VALUE
from tests.support.components import require

RUNNING = threading.Event()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of two days."""
    path = tmp_path_factory.mktemp("history") / "history.duckdb"
    SyntheticHistory(path).live(2)
    return path


@pytest.fixture
def order(history: Path, tmp_path: Path) -> ExportOrder:
    """The requests of a history, to a folder."""
    return ExportOrder(str(history), "64MB", 1, "parquet", "http_requests", str(tmp_path))


def of(order: ExportOrder, **changes: object) -> ExportOrder:
    """Return an order with some changes."""
    return ExportOrder(**{**vars(order), **changes})


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that is exported to by processes in which something goes wrong."""
    monkeypatch.setattr(export_process, "_MODULE", "tests.support.failing_export")
    return tmp_path


def test_an_export_is_that_of_the_command(order: ExportOrder) -> None:
    """New rows are written, with their number; a second export of the same writes nothing."""
    (first,) = run(order, RUNNING)
    (second,) = run(order, RUNNING)
    count = ds.dataset(order.target, partitioning="hive", exclude_invalid_files=True).count_rows()
    assert (first.ok, first.table, first.rows, second.rows) == (True, "http_requests", count, 0)
    assert count > 0
    assert "rows appended to" in first.message


def test_a_file_is_published(order: ExportOrder, tmp_path: Path) -> None:
    """As configured, by the token that the process reads by itself; a refusal is a failure of the table."""
    require("hyperd")
    token = tmp_path / "token"
    token.write_text(VALUE + "\n")
    publish = {"site": "default", "project": "Finance", "name": "Requests", "token_name": "publisher"}
    with TableauServer(Estate.still(FACTS), tokens=TOKENS) as server:
        publication = {
            "publish": {**publish, "token_value_file": str(token)},
            "url": server.url,
            "ca_file": None,
            "timeout": 20.0,
        }
        hyper = of(order, format="hyper", publication=publication)
        (result,) = run(hyper, RUNNING)
        assert result.ok, result
        (found,) = server.rest.publishing.published.values()
        assert found.content == (tmp_path / "http_requests.hyper").read_bytes()
        server.failure_modes.forbidden = {"publish"}
        exported, refused = run(hyper, RUNNING)
        empty = of(hyper, table="freshness_audit")
        assert [result.ok for result in run(empty, RUNNING)] == [True]
    assert (exported.ok, refused.ok, refused.table) == (True, False, "http_requests")
    assert "not published: rest http://127.0.0.1:" in refused.message
    assert VALUE not in repr((hyper, exported, refused))


def test_every_file_of_text_has_a_result(order: ExportOrder, tmp_path: Path) -> None:
    """Also those that the history lacks something for; bounds and form reach the export as they are configured."""
    form = {"delimiter": ";", "timezone": "Asia/Kolkata"}
    text = of(order, format="text", table=None, since="2999-01-01T00:00:00", form=form)
    found = {result.table: result for result in run(text, RUNNING)}
    assert set(found) == set(DAILY_TEXT_FILES)
    assert (found["http_requests"].ok, found["http_requests"].rows) == (True, 0)
    assert (tmp_path / "http_requests.txt").read_text().count(";") > 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"history": "/nowhere/history.duckdb"}, "/nowhere/history.duckdb: no such file; check history.path"),
        ({"target": "s3://me:hunter2@lake/x"}, "credentials come from the environment variables"),
    ],
)
def test_a_fault_is_a_result(order: ExportOrder, changes: dict[str, object], reason: str) -> None:
    """In one line, without a secret."""
    (result,) = run(of(order, **changes), RUNNING)
    assert not result.ok
    assert reason in result.message
    assert "\n" not in result.message
    assert "hunter2" not in result.message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dies", "the process of the export ended by SIGKILL: most likely for want of memory"),
        ("stumbles", "unexpected error (bug): ZeroDivisionError in export_from, line "),
    ],
)
def test_an_odd_end_is_a_failure(order: ExportOrder, odd: Path, table: str, message: str) -> None:
    """Of this export alone; an exception's message has no credentials."""
    (result,) = run(of(order, table=table, target=str(odd)), RUNNING)
    assert (result.ok, result.table, result.rows) == (False, None, 0)
    assert result.message.startswith(message)
    assert "hunter2" not in result.message


def test_a_hanging_export_is_ended(order: ExportOrder, odd: Path) -> None:
    """It keeps the others from their turn no longer than a lock is heeded."""
    (result,) = run(of(order, table="hangs", target=str(odd)), RUNNING, stuck_seconds=0.5)
    assert result == Result(ok=False, message="made no progress for 500 ms, and was ended")


def stopped_at_work(order: ExportOrder, folder: Path) -> None:
    """Stop an export as soon as it has begun."""
    stopped = threading.Event()

    def stop() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.01)
        stopped.set()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Stopped):
        list(run(order, stopped))


def test_a_stop_ends_an_export_in_order(order: ExportOrder, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent waits until the lock is released."""
    monkeypatch.setattr(export_process, "GRACE_SECONDS", 60.0)
    stopped_at_work(of(order, table="hangs", target=str(odd)), odd)
    assert (odd / "released").exists()


def test_a_stop_kills_an_export_that_does_not_heed_it(
    order: ExportOrder, odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that waits for a store without an end hears no signal."""
    monkeypatch.setattr(export_process, "GRACE_SECONDS", 0.1)
    stopped_at_work(of(order, table="is deaf", target=str(odd)), odd)
    with pytest.raises(ProcessLookupError):
        os.kill(int((odd / "begun").read_text()), 0)


def test_an_export_ends_with_its_agent(order: ExportOrder, odd: Path) -> None:
    """However the agent ended: the pipe between the two is closed then."""
    with spawn("tests.support.failing_export", vars(of(order, table="hangs", target=str(odd)))) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"{}\n"
        while not (odd / "begun").exists():
            time.sleep(0.01)
        process.stdin.close()
        assert process.wait(60) == 1
    assert (odd / "released").exists()


def test_the_environment_of_an_export(order: ExportOrder, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the variables of the object stores, and none of the agent's configuration: they hold secrets."""
    monkeypatch.setenv("TABLEAU_EXPORTER_REPOSITORY__PASSWORD", "hunter2")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    (result,) = run(of(order, table="environment", target=str(odd)), RUNNING)
    printed = set(result.message.split())
    assert printed >= {"AWS_ACCESS_KEY_ID", "AWS_REGION"}
    assert not [name for name in printed if name.startswith("TABLEAU")]
    assert result.rows == 3
