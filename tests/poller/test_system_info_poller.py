"""systeminfo.xml within the polls of the REST API, on a simulated Tableau Server."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from exporter.collectors import discover
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.cluster import Cluster
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.tableau.server import TableauServer
from tests.support.rest_poller_harness import INTERVAL, RestPollerHarness, seconds

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the repository's times have no zone
UP, STATUS = "tableau_server_process_up", "tableau_server_process_status"
BACKGROUNDER = ("node2", "backgrounder", "8251")
FAILURES: dict[str, tuple[Callable[[FailureModes], None], str]] = {
    "refused": (lambda modes: modes.forbidden.add("systeminfo"), "must be a server administrator"),
    "login page": (lambda modes: modes.html_login_page.add("systeminfo"), "a page of HTML"),
    "cut": (lambda modes: modes.truncated.add("systeminfo"), "no whole answer"),
    "null": (lambda modes: modes.nulls.add("systeminfo"), "no whole answer"),
    "garbage": (lambda modes: modes.garbage.add("systeminfo"), "no whole answer"),
    "bomb": (lambda modes: modes.bombs.add("systeminfo"), "an answer of more than"),
    "missing": (lambda modes: modes.missing.add("systeminfo"), "set rest.system_info to false"),
    "error 500": (lambda modes: modes.failing.add("systeminfo"), "answers with HTTP 500"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[TableauServer]:
    """A simulated Tableau Server with a small company."""
    with TableauServer(Estate.of(Company.build(1, NOW, SMALL))) as running:
        yield running


@pytest.fixture
def harness(server: TableauServer, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """An agent's REST half with assets and processes."""
    server.cluster = Cluster()
    collectors = {name: collector for name, collector in discover().items() if name in {"assets", "processes"}}
    harness = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW), collectors=collectors)
    yield harness
    harness.rest.close()
    server.failure_modes.reset()


def success(harness: RestPollerHarness) -> dict[tuple[str, ...], float]:
    """Return which collectors succeeded."""
    return harness.values("tableau_collector_success")


def test_every_process_is_published(harness: RestPollerHarness) -> None:
    """By the words of Tableau, with the server as a whole and the file stores."""
    assert harness.poll()
    up = harness.values(UP)
    assert (len(up), set(up.values())) == (13, {1})
    assert harness.values(STATUS)["node2", "repository", "8060", "passive"] == 1
    assert harness.values("tableau_server_healthy") == {(): 1}
    assert harness.values("tableau_server_filestore_transfers")["node1", "9345", "pending"] == 3
    assert success(harness) == {("assets",): 1, ("processes",): 1}


def test_the_session_comes_as_a_cookie_and_is_not_renewed(harness: RestPollerHarness, server: TableauServer) -> None:
    """One sign-in serves the lists and systeminfo.xml, which is read once in a poll."""
    server.seen.clear()
    harness.poll()
    harness.poll()
    assert len(server.signed_in) <= 1
    assert [seen.status for seen in server.seen if seen.kind == "systeminfo"] == [200, 200]


def test_a_status_changes_at_the_next_poll(harness: RestPollerHarness, server: TableauServer) -> None:
    """The present status alone is published."""
    harness.poll()
    server.cluster.set_status("Down", port=8251)
    server.cluster.service = "Down"
    harness.poll()
    assert harness.values(UP)[BACKGROUNDER] == 0
    assert [labels[3] for labels in harness.values(STATUS) if labels[:3] == BACKGROUNDER] == ["down"]
    assert harness.values("tableau_server_healthy") == {(): 0}


def test_a_node_that_is_gone_has_no_series(harness: RestPollerHarness, server: TableauServer) -> None:
    """It is absent at the next poll: no source reports its processes as down."""
    harness.poll()
    server.cluster.processes = tuple(each for each in server.cluster.processes if each.node != "node3")
    harness.poll()
    assert {labels[0] for labels in harness.values(UP)} == {"node1", "node2"}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_costs_the_processes_alone(harness: RestPollerHarness, server: TableauServer, name: str) -> None:
    """Assets are read, the last processes stand until they are too old, and nothing is down."""
    harness.poll()
    fail, reason = FAILURES[name]
    fail(server.failure_modes)
    assert harness.poll()
    assert harness.up()
    assert success(harness) == {("assets",): 1, ("processes",): 0}
    assert set(harness.values(UP).values()) == {1}
    (status,) = [each for each in harness.store.summary(harness.now, None).collectors if each.name == "processes"]
    assert reason in (status.error or "")
    assert "\n" not in (status.error or "")
    assert harness.poll(after=3 * INTERVAL + 1)
    assert harness.values(UP) == harness.values(STATUS) == harness.values("tableau_server_healthy") == {}
    assert len(harness.assets()) > 10
    server.failure_modes.reset()
    harness.poll()
    assert success(harness) == {("assets",): 1, ("processes",): 1}


def test_a_silent_gateway_is_unknown(harness: RestPollerHarness, server: TableauServer) -> None:
    """No answer at all: not a process is down."""
    harness.poll()
    server.failure_modes.affected = {"systeminfo"}
    server.failure_modes.close_next = 100
    assert harness.poll()
    assert success(harness) == {("assets",): 1, ("processes",): 0}
    assert 0 not in harness.values(UP).values()


def test_a_throttled_answer_is_not_waited_for(harness: RestPollerHarness, server: TableauServer) -> None:
    """The next poll of the assets would begin late."""
    server.requests.clear()
    server.failure_modes.affected = {"systeminfo"}
    server.failure_modes.throttle_next, server.failure_modes.retry_after = 5, "100"
    assert harness.poll()
    assert server.requests["systeminfo"] == 1
    assert success(harness) == {("assets",): 1, ("processes",): 0}


def test_what_is_odd_is_other_or_worst(harness: RestPollerHarness, server: TableauServer) -> None:
    """An unknown name is a process, an unknown word ``other``; of a process listed twice the worst counts."""
    server.failure_modes.systeminfo_unknown = server.failure_modes.systeminfo_doubled = True
    harness.poll()
    assert harness.values(STATUS)["node3", "quantumserver", "7000", "other"] == 1
    assert ("node3", "quantumserver", "7000") not in harness.values(UP)
    assert not [labels for labels in harness.values(STATUS) if labels[2] == "7001"]
    assert harness.values(UP)["node3", "dataserver", "9700"] == 0


def test_where_the_api_is_down_its_processes_fail_with_it(harness: RestPollerHarness, server: TableauServer) -> None:
    """Systeminfo.xml is not requested, and the source is the cause."""
    server.failure_modes.html_login_page = {"*"}
    harness.poll()
    (status,) = [each for each in harness.store.summary(harness.now, None).collectors if each.name == "processes"]
    assert (status.success, status.causes) == (False, ("rest",))
    assert harness.values(UP) == {}


def test_without_the_collector_it_is_not_asked_for(server: TableauServer, tmp_path: Path) -> None:
    """Who did not switch it on has no request more."""
    server.seen.clear()
    harness = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW))
    harness.poll()
    harness.rest.close()
    assert not [seen for seen in server.seen if seen.kind == "systeminfo"]
