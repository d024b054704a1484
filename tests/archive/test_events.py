"""Events of the audit log: archived once with the names of their time, through the faults of the archive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.collectors import discover
from exporter.history.file import HistoryFile
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

NAMES = ("content", "users", "events")
TOTAL = "tableau_events_total"
# By joins, as a person would ask the repository.
EXPECTED = """
    SELECT
        e.id, e.created_at, t.name, t.action_type, coalesce(target.site_id, acted.site_id), actor.user_id, actor.name,
        p.name, w.workbook_id, w.name, v.name, d.name
    FROM historical_events AS e
    LEFT JOIN historical_event_types AS t ON t.type_id = e.historical_event_type_id
    LEFT JOIN hist_sites AS target ON target.id = e.hist_target_site_id
    LEFT JOIN hist_sites AS acted ON acted.id = e.hist_actor_site_id
    LEFT JOIN hist_users AS actor ON actor.id = e.hist_actor_user_id
    LEFT JOIN hist_projects AS p ON p.id = e.hist_project_id
    LEFT JOIN hist_workbooks AS w ON w.id = e.hist_workbook_id
    LEFT JOIN hist_views AS v ON v.id = e.hist_view_id
    LEFT JOIN hist_datasources AS d ON d.id = e.hist_datasource_id
    ORDER BY e.id
"""
ARCHIVED = """
    SELECT
        id, created_at, event, action_type, site_id, actor_user_id, actor, project, workbook_id, workbook, view,
        datasource
    FROM events
    ORDER BY id
"""
NEW = "INSERT INTO historical_events (historical_event_type_id, created_at, hist_actor_user_id, hist_actor_site_id)"


@pytest.fixture
def harness(source: Source, tmp_path: Path) -> Iterator[PollerHarness]:
    """A poller that archives events; in the end each stands there once, and is counted once."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=NAMES)
    yield made
    assert_once(made)


def assert_once(harness: PollerHarness) -> None:
    """No event stands twice, and the counters and the file agree."""
    ((rows, different),) = harness.query("SELECT count(*), count(DISTINCT (id, created_at)) FROM events")
    assert rows == different == harness.counter("tableau_history_rows_total", "events") == counted(harness)
    events = [collector.events for collector in discover().values() if collector.events]
    verdicts = verify(HistoryFile(harness.file.path, read_only=True), events)
    assert [verdict for verdict in verdicts if verdict.ok is False] == []


def counted(harness: PollerHarness) -> float:
    """Return how many events the counter has."""
    return sum(value for _, value in harness.history.totals.counters.get(TOTAL, []))


def test_events_have_the_names_of_their_time(source: Source, harness: PollerHarness) -> None:
    """Type, actor and content are those that joins of the repository find."""
    harness.polled()
    expected = source.run(EXPECTED)
    assert len(expected) > 300
    assert harness.query(ARCHIVED) == expected
    source.run("UPDATE hist_workbooks SET name = 'renamed'")
    source.run("DELETE FROM historical_events")
    harness.polled(exact=True)
    assert harness.query(ARCHIVED) == expected


def test_events_are_counted_by_type(source: Source, harness: PollerHarness) -> None:
    """By site, action type and event, in Tableau's words."""
    harness.polled()
    expected = source.run(
        """
        SELECT s.url_namespace, t.action_type, t.name, count(*)::float
        FROM historical_events AS e
        JOIN historical_event_types AS t ON t.type_id = e.historical_event_type_id
        JOIN sites AS s ON s.id = coalesce(e.hist_target_site_id, e.hist_actor_site_id)
        GROUP BY s.url_namespace, t.action_type, t.name
        """
    )
    found = dict(harness.history.totals.counters[TOTAL])
    assert found == {(site or "default", action, event): count for site, action, event, count in expected}


@pytest.mark.parametrize(
    ("privacy", "kept"),
    [
        (Privacy(), {"actor": True, "actor_user_id": True, "details": True}),
        (Privacy("pseudonym"), {"actor": True, "actor_user_id": True, "details": False}),
        (Privacy("none"), {"actor": False, "actor_user_id": False, "details": False}),
    ],
    ids=["name", "pseudonym", "none"],
)
def test_actors_under_the_privacy_options(
    source: Source, tmp_path: Path, privacy: Privacy, kept: dict[str, bool]
) -> None:
    """A name is kept, hashed or left out before it is stored; details are kept with names only, and redacted."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=NAMES, privacy=privacy)
    made.history.lock()
    made.polled()
    names = {name for (name,) in source.run("SELECT name FROM hist_users")}
    for column, there in kept.items():
        ((found,),) = made.query(f"SELECT count({column}) > 0 FROM events")
        assert found is there, column
    stored = {name for (name,) in made.query("SELECT DISTINCT actor FROM events WHERE actor IS NOT NULL")}
    assert (stored <= names) is (privacy.users != "pseudonym")
    assert not stored & names or privacy.users == "name"
    assert made.query("SELECT count(*) FROM events WHERE contains(details, 'CANARY')") == [(0,)]
    assert_once(made)


@pytest.mark.usefixtures("fast")
def test_a_late_commit_of_a_small_id(source: Source, harness: PollerHarness) -> None:
    """An event whose transaction was open during a fast poll is archived by the next exact one."""
    with source.other() as other:
        other.execute("BEGIN")
        other.execute(f"{NEW} VALUES (1, '2025-11-19 10:00', 1, 1)".encode())
        source.run(f"{NEW} SELECT 1, '2025-11-19 10:00:01', 1, 1 FROM generate_series(1, 2000)")
        harness.polled()
        harness.polled(exact=True)
        other.execute("COMMIT")
    harness.polled()
    harness.polled(exact=True)
    assert harness.query("SELECT id FROM events ORDER BY id") == source.run(
        "SELECT id FROM historical_events ORDER BY id"
    )


def test_a_cleanup_and_ids_that_begin_anew(source: Source, harness: PollerHarness) -> None:
    """What Tableau removes stays archived, and an id that is used again is another event."""
    harness.polled()
    before = harness.query("SELECT count(*) FROM events")[0][0]
    source.run("TRUNCATE historical_events RESTART IDENTITY")
    source.run(f"{NEW} SELECT 1, '2025-11-19 11:00', 1, 1 FROM generate_series(1, 50)")
    harness.polled(exact=True)
    assert harness.query("SELECT count(*) FROM events") == [(before + 50,)]


def test_what_may_not_be_read_is_absent(source: Source, tmp_path: Path) -> None:
    """Without the right to read names the events are archived without them, and the columns are reported."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb", collectors=NAMES)
    source.run("REVOKE SELECT ON hist_users, historical_event_types FROM readonly")
    assert made.poll()
    assert made.query("SELECT count(*) > 300, count(actor), count(event), count(workbook) > 0 FROM events") == [
        (True, 0, 0, True)
    ]
    assert set(made.errors()) <= {"events"}
    source.run("GRANT SELECT ON hist_users, historical_event_types TO readonly")
    made.polled(exact=True)
    assert made.query("SELECT count(*) FROM events") == source.run("SELECT count(*) FROM historical_events")


def test_types_that_stand_twice(source: Source, harness: PollerHarness) -> None:
    """A number of a type that Tableau lists twice doubles no event."""
    source.run("INSERT INTO historical_event_types VALUES (1, 'Login', 'Access'), (NULL, 'Nothing', 'Access')")
    harness.polled()
    assert harness.query("SELECT count(*) FROM events") == source.run("SELECT count(*) FROM historical_events")
