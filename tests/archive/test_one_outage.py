"""One outage is one line of the log, and one when it is over: dependent collectors follow it."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.repository.session import Session
from tests.history.test_file import held
from tests.support.poller_harness import WITH_NAMES, PollerHarness
from tests.support.source import Source

EVERY = (*WITH_NAMES, "assets", "background_jobs", "logins", "views")
EVERY_TABLE = "SELECT ON ALL TABLES IN SCHEMA public"


@pytest.fixture
def whole(source: Source, tmp_path: Path) -> PollerHarness:
    """Return a poller with every collector, which has polled."""
    harness = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=EVERY)
    source.requests(1, 10)
    harness.polled()
    return harness


def lines(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the events of the log above debug."""
    return [(line["log_level"], line["event"]) for line in logs if line["log_level"] != "debug"]


def causes(harness: PollerHarness) -> dict[str, tuple[str, ...]]:
    """Return the outage that each failed collector followed."""
    collectors = harness.store.summary(harness.now, "").collectors
    return {collector.name: collector.causes for collector in collectors if not collector.success}


LOST: Mapping[str, tuple[str, str]] = {
    "tables": (f"REVOKE {EVERY_TABLE} FROM readonly", f"GRANT {EVERY_TABLE} TO readonly"),
    "schema": ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "GRANT USAGE ON SCHEMA public TO PUBLIC"),
    "login": ("ALTER ROLE readonly NOLOGIN", "ALTER ROLE readonly LOGIN"),
}


@pytest.mark.parametrize("name", LOST)
def test_rights_that_are_lost_for_all(source: Source, whole: PollerHarness, name: str) -> None:
    """Who may read nothing has no repository: one line, which no later poll repeats, and one at the end."""
    lose, give = LOST[name]
    with capture_logs() as logs:
        source.run(lose)
        try:
            for _ in range(3):
                assert not whole.poll()
            assert causes(whole) == dict.fromkeys(EVERY, ("repository",))
            assert not whole.up()
        finally:
            source.run(give)
        whole.polled()
    assert lines(logs) == [("error", "the repository is down"), ("info", "the repository is up")]


def test_rights_that_are_lost_during_a_poll(
    source: Source, whole: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that goes between the catalog and the statements is the same outage."""
    look = Session.load_catalog

    def looked(session: Session, relations: set[str]) -> Any:  # noqa: ANN401 - as it is
        catalog = look(session, relations)
        monkeypatch.setattr(Session, "load_catalog", look)
        source.run(LOST["tables"][0])
        return catalog

    monkeypatch.setattr(Session, "load_catalog", looked)
    with capture_logs() as logs:
        assert not whole.poll()
        assert not whole.poll()
    assert lines(logs) == [("error", "the repository is down")]
    assert causes(whole) == dict.fromkeys(EVERY, ("repository",))


def test_a_database_without_tableau(source: Source, tmp_path: Path) -> None:
    """Another database of the same server is one line that names repository.database."""
    harness = PollerHarness({**source.readonly, "dbname": "postgres"}, tmp_path / "other.duckdb", collectors=EVERY)
    with capture_logs() as logs:
        assert not harness.poll()
    (line,) = [line for line in logs if line["log_level"] != "debug"]
    assert "none of Tableau's tables is there: check repository.database" in line["error"]


def test_a_history_that_is_held(source: Source, whole: PollerHarness) -> None:
    """A file that another program holds is one line, and one when it is written again; the status names the cause."""
    source.requests(11, 20)
    with capture_logs() as logs:
        with held(whole.file.path):
            for _ in range(3):
                assert not whole.poll()
            assert "Could not set lock" in (whole.store.summary(whole.now, "").history_error or "")
            following = causes(whole)
        whole.polled()
    assert following == {
        **dict.fromkeys(("http_requests", "background_jobs", "logins"), ("history",)),
        **dict.fromkeys(("active_users", "views"), ("history",)),
    }
    assert lines(logs) == [
        ("warning", "the history was not written; rows wait at their source until it is"),
        ("info", "the history is written again"),
    ]
    assert whole.store.summary(whole.now, "").history_error is None


def test_collectors_that_fail_for_one_reason(source: Source, whole: PollerHarness) -> None:
    """They are one line, and one when they recover; the metrics of requests follow these."""
    with capture_logs() as logs:
        source.run("ALTER TABLE users RENAME TO elsewhere")
        source.run("ALTER VIEW _users RENAME TO _elsewhere")
        for _ in range(2):
            whole.poll()
        failed = [line for line in logs if line["event"] == "collectors failed"]
        assert [line["collectors"] for line in failed if line["error"].startswith("users: no such table")] == [
            "users, logins"
        ]
        source.run("ALTER TABLE elsewhere RENAME TO users")
        source.run("ALTER VIEW _elsewhere RENAME TO _users")
        whole.polled()
    recovered = [line["collectors"].split(", ") for line in logs if line["event"] == "collectors recovered"]
    assert len(recovered) == 1
    assert set(recovered[0]) >= {"users", "logins"}


@pytest.mark.parametrize("down", [False, True], ids=["alone", "with an outage between"])
def test_a_collector_that_fails_by_itself(source: Source, whole: PollerHarness, down: bool) -> None:
    """Its line is not repeated after an outage of its source, and its end is logged."""
    with capture_logs() as logs:
        source.run("ALTER TABLE background_jobs RENAME COLUMN finish_code TO elsewhere")
        whole.poll()
        if down:
            source.run(LOST["login"][0])
            whole.poll()
            source.run(LOST["login"][1])
            whole.poll()
        source.run("ALTER TABLE background_jobs RENAME COLUMN elsewhere TO finish_code")
        whole.polled()
    about = [(line["event"], line["collectors"]) for line in logs if "collectors" in line]
    assert about == [("collectors failed", "background_jobs"), ("collectors recovered", "background_jobs")]
