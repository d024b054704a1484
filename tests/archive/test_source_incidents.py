"""Incidents of a repository (removals, restores, rewrites, other columns): no row is lost, none doubled."""

import subprocess
from collections.abc import Mapping

import pytest

from exporter.demo.postgres import Postgres
from exporter.repository.connection import connect
from tests.support.poller_harness import PollerHarness
from tests.support.source import CUT, Source

LATER = "2025-11-19 11:00:00"
LOST = "tableau_history_possibly_lost_requests_total"
# A session reports its inserts to the statistics at once; else they may be some seconds late.
REPORT = "SELECT pg_stat_force_next_flush()"


@pytest.fixture
def archived(source: Source, harness: PollerHarness) -> PollerHarness:
    """A history with the requests 1 to 100."""
    source.requests(1, 100)
    source.run(REPORT)
    harness.polled()
    assert harness.ids() == list(range(1, 101))
    return harness


@pytest.mark.fault(11)
def test_truncate(source: Source, archived: PollerHarness) -> None:
    """Rows archived before TRUNCATE stay, later ones are archived, and the incident is counted once."""
    source.run(REPORT)
    archived.polled(exact=True)
    source.run("TRUNCATE http_requests")
    source.requests(103, 110)
    archived.polled()
    archived.polled(exact=True)
    assert archived.ids() == [*range(1, 101), *range(103, 111)]
    assert archived.incidents() == {"truncated": 1}
    assert archived.counter(LOST) == 2
    archived.assert_once()


@pytest.mark.fault(10, 13)
@pytest.mark.parametrize("poll_between", [False, True])
def test_truncate_and_restarted_ids(source: Source, archived: PollerHarness, poll_between: bool) -> None:
    """The ids start again and stand for other requests: both generations are retained."""
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    if poll_between:
        archived.polled()
    assert source.request() == 1
    source.requests(2, 50, LATER)
    archived.polled()
    archived.polled(exact=True)
    assert archived.ids() == sorted([*range(1, 101), *range(1, 51)])
    assert archived.incidents()["truncated"] == 1
    assert archived.incidents()["id_reuse"] == 1
    archived.assert_once()


@pytest.mark.fault(13)
@pytest.mark.usefixtures("fast")
def test_fast_readings_after_restarted_ids(source: Source, harness: PollerHarness) -> None:
    """After the ids have started again they are read fast from where they are now, not from where they were."""
    source.requests(100_000, 100_100)
    harness.polled(exact=True)
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    harness.polled()
    source.requests(1, 10, LATER)
    harness.polled(exact=True)
    source.requests(11, 20, LATER)
    harness.polled()
    assert harness.mode() == "fast"
    assert harness.ids() == [*range(1, 21), *range(100_000, 100_101)]
    harness.assert_once()


@pytest.mark.fault(11, 13)
@pytest.mark.parametrize("polls_between", [0, 1])
@pytest.mark.parametrize("reported_late", [False, True])
@pytest.mark.parametrize("removed", [3, 300])
def test_what_is_lost_before_the_ids_start_again(
    source: Source, archived: PollerHarness, removed: int, polls_between: int, reported_late: bool
) -> None:
    """Requests that were made and truncated unseen are possibly lost, although their ids are reused."""
    source.run(REPORT)
    archived.polled(exact=True)
    source.requests(101, 100 + removed)
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    if not reported_late:
        source.run(REPORT)
    for _ in range(polls_between):
        archived.polled()
    source.requests(1, 120, LATER)
    archived.polled(exact=True)
    source.run(REPORT)
    archived.polled(exact=True)
    archived.polled(exact=True)
    assert archived.counter(LOST) == removed
    source.requests(121, 130, LATER)
    source.run("TRUNCATE http_requests")
    source.requests(131, 140, LATER)
    source.run(REPORT)
    archived.polled()
    assert archived.counter(LOST) == removed + 10
    archived.assert_once()


@pytest.mark.fault(13)
def test_what_is_lost_before_a_reading_that_breaks_off(
    source: Source, archived: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that were truncated unseen are possibly lost, also when the reading after it has to be begun again."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 20)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 20)
    monkeypatch.setattr("exporter.poller.archiver.TRANSACTION_ROWS", 1)
    source.requests(101, 110)
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    source.requests(1, 1000, LATER)
    source.run(REPORT)
    writing, parts = archived.history.transaction, []

    def cutting(*arguments: object) -> object:
        parts.append(1)
        if len(parts) == 3:
            source.run(CUT)
        return writing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archived.history, "transaction", cutting)
    assert not archived.poll() or archived.errors()
    assert 100 < len(archived.ids()) < 1100
    archived.polled()
    assert len(archived.ids()) == 1100
    assert archived.counter(LOST) >= 10
    archived.assert_once()


@pytest.mark.fault(11)
def test_what_is_lost_before_old_rows_are_put_back(source: Source, archived: PollerHarness) -> None:
    """Requests that were truncated unseen are possibly lost, also when the table then holds the same rows."""
    source.run("CREATE TABLE truth AS SELECT * FROM http_requests")
    source.requests(101, 110)
    source.run("TRUNCATE http_requests")
    source.run("INSERT INTO http_requests SELECT * FROM truth")
    source.run(REPORT)
    archived.polled()
    assert archived.ids() == list(range(1, 101))
    assert archived.counter(LOST) >= 10
    archived.assert_once()


@pytest.mark.fault(12)
def test_truncate_within_one_poll(source: Source, archived: PollerHarness) -> None:
    """A TRUNCATE that waits for the reading, and one that the reading waits for, both leave the archive whole."""
    source.request(200, created_at=LATER)
    with source.other() as other:
        other.execute("BEGIN")
        other.execute("TRUNCATE http_requests")
        other.execute("INSERT INTO http_requests (id, created_at, completed_at) VALUES (1, now(), now())")
        archived.poll()
        assert "http_requests" in archived.errors()
        other.execute("ROLLBACK")
    archived.polled()
    assert archived.ids() == [*range(1, 101), 200]
    assert archived.incidents() == {}
    archived.assert_once()


@pytest.mark.fault(14)
def test_deletes_in_batches(source: Source, archived: PollerHarness) -> None:
    """Tableau's own cleanup removes nothing here and is no incident."""
    for first in range(1, 101, 25):
        source.run("DELETE FROM http_requests WHERE id BETWEEN %s AND %s", first, first + 24)
        source.requests(200 + first, 200 + first + 4)
        archived.polled()
    assert archived.ids()[:100] == list(range(1, 101))
    assert len(archived.ids()) == 120
    assert archived.incidents() == {}
    archived.assert_once()


def test_old_rows_are_put_back(source: Source, archived: PollerHarness) -> None:
    """Rows that were dumped, deleted and restored are the same requests as before."""
    source.run("CREATE TABLE truth AS SELECT * FROM http_requests WHERE id <= 60")
    source.run("DELETE FROM http_requests WHERE id <= 60")
    archived.polled()
    source.run("INSERT INTO http_requests SELECT * FROM truth")
    archived.polled()
    archived.polled(exact=True)
    assert archived.ids() == list(range(1, 101))
    archived.assert_once()


@pytest.mark.fault(17)
def test_a_dump_is_restored_with_clean(source: Source, archived: PollerHarness, postgres: Postgres) -> None:
    """pg_restore --clean makes other tables of the same names: restored is counted, the rows are known."""
    source.run("DROP VIEW _http_requests")
    dump = _program(postgres, source.parameters, "pg_dump", "--format=custom", "--table=public.http_requests")
    source.requests(101, 120)
    archived.polled()
    _program(postgres, source.parameters, "pg_restore", "--clean", "--no-owner", stdin=dump)
    source.requests(101, 105, LATER)
    archived.polled()
    archived.polled(exact=True)
    assert archived.ids() == sorted([*range(1, 121), *range(101, 106)])
    assert archived.incidents() == {"restored": 1, "id_reuse": 1}
    assert archived.counter(LOST) == 0
    archived.assert_once()


def _program(
    server: Postgres, parameters: Mapping[str, str | int], name: str, *options: str, stdin: bytes = b""
) -> bytes:
    environment = {
        "PGHOST": str(parameters["host"]),
        "PGPORT": str(parameters["port"]),
        "PGUSER": str(parameters["user"]),
        "PGPASSWORD": str(parameters["password"]),
    }
    database = f"--dbname={parameters['dbname']}"
    command = [str(server._bin_dir / name), *options, database]
    return subprocess.run(command, env=environment, input=stdin, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.fault(18)
def test_another_table_in_its_place(source: Source, archived: PollerHarness) -> None:
    """A table that was dropped and created again, empty, is another one; so is its first row."""
    source.run("CREATE TABLE other (LIKE http_requests INCLUDING ALL)")
    source.run("DROP TABLE http_requests CASCADE")
    source.run("ALTER TABLE other RENAME TO http_requests")
    source.run("GRANT SELECT ON http_requests TO readonly")
    archived.polled()
    source.request(1, created_at=LATER)
    archived.polled()
    assert archived.ids() == [1, *range(1, 101)]
    assert archived.incidents() == {"restored": 1, "id_reuse": 1}
    archived.assert_once()


@pytest.mark.fault(18)
@pytest.mark.parametrize("reported_late", [False, True])
def test_what_is_lost_in_another_table(source: Source, archived: PollerHarness, reported_late: bool) -> None:
    """Requests that were made and truncated unseen in a table put in the place of the first are possibly lost."""
    source.run("CREATE TABLE other (LIKE http_requests INCLUDING ALL)")
    source.run("DROP TABLE http_requests CASCADE")
    source.run("ALTER TABLE other RENAME TO http_requests")
    source.run("GRANT SELECT ON http_requests TO readonly")
    source.requests(1, 40, LATER)
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    if not reported_late:
        source.run(REPORT)
    source.requests(1, 10, "2025-11-19 12:00:00")
    archived.polled()
    source.run(REPORT)
    archived.polled(exact=True)
    archived.polled(exact=True)
    assert archived.counter(LOST) == 40
    source.requests(11, 15, "2025-11-19 12:00:00")
    source.run("TRUNCATE http_requests RESTART IDENTITY")
    source.requests(1, 20, "2025-11-19 13:00:00")
    source.run(REPORT)
    archived.polled()
    assert archived.counter(LOST) == 45
    archived.assert_once()


@pytest.mark.fault(18)
def test_another_database_of_the_same_name(source: Source, archived: PollerHarness, postgres: Postgres) -> None:
    """A database that was dropped and created from a copy is read whole and adds nothing twice."""
    name = str(source.parameters["dbname"])
    source.connection.close()
    with connect(postgres.admin()) as connection:
        connection.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}".encode())
    with Source(source.parameters) as again:
        again.requests(101, 103)
        archived.polled()
    assert archived.ids() == list(range(1, 104))
    assert archived.incidents() == {"restored": 1}
    archived.assert_once()


@pytest.mark.fault(16)
@pytest.mark.parametrize("statement", ["VACUUM FULL http_requests", "CLUSTER http_requests USING http_requests_pkey"])
def test_a_rewrite(source: Source, archived: PollerHarness, statement: str) -> None:
    """A table that was rewritten is read whole and adds nothing twice."""
    source.run(statement)
    source.requests(101, 103)
    archived.polled()
    archived.polled()
    assert archived.ids() == list(range(1, 104))
    assert archived.incidents() == {"rewritten": 1}
    archived.assert_once()


@pytest.mark.parametrize(
    "statement", ["VACUUM FREEZE http_requests", "ANALYZE http_requests", "REINDEX TABLE http_requests"]
)
def test_housekeeping(source: Source, archived: PollerHarness, statement: str) -> None:
    """Housekeeping that leaves the rows where they are is no incident."""
    source.run(statement)
    source.requests(101, 103)
    archived.polled()
    assert archived.ids() == list(range(1, 104))
    assert archived.incidents() == {}
    archived.assert_once()


SCHEMA_CHANGES = {
    "added": ("ADD COLUMN tenant text DEFAULT 'none'", "tenant", {"schema_changed": 1}),
    "added_and_filled": (
        "ADD COLUMN tenant text DEFAULT clock_timestamp()::text",
        "tenant",
        {"schema_changed": 1, "rewritten": 1},
    ),
    "dropped": ("DROP COLUMN vizql_session", None, {"schema_changed": 1}),
    "renamed": ("RENAME COLUMN worker TO process", "process", {"schema_changed": 1}),
    "widened": ("ALTER COLUMN port TYPE bigint", None, {"schema_changed": 1, "rewritten": 1}),
    "retyped": ("ALTER COLUMN status TYPE text", None, {"schema_changed": 1, "rewritten": 1}),
    "retyped_user": ("ALTER COLUMN user_id TYPE text", None, {"schema_changed": 1, "rewritten": 1}),
    "retyped_site": ("ALTER COLUMN site_id TYPE numeric", None, {"schema_changed": 1, "rewritten": 1}),
    "retyped_uri": ("ALTER COLUMN http_request_uri TYPE varchar(4000)", None, {"schema_changed": 1, "rewritten": 1}),
    "zoned": ("ALTER COLUMN created_at TYPE timestamptz", None, {"schema_changed": 1}),
    "timed_as_text": ("ALTER COLUMN completed_at TYPE text", None, {"schema_changed": 1, "rewritten": 1}),
    "numbered_as_text": ("ALTER COLUMN id TYPE numeric", None, {"schema_changed": 1, "rewritten": 1}),
    "odd": ('ADD COLUMN "Status; DROP ""x" text', 'Status; DROP "x', {"schema_changed": 1}),
    "same_letters": ('ADD COLUMN "Status" text', "Status_", {"schema_changed": 1}),
    "ours": ("ADD COLUMN workbook text", "workbook_", {"schema_changed": 1}),
    "ours_too": (
        "ADD COLUMN first_seen_at text, ADD COLUMN site text, ADD COLUMN fresh int",
        "fresh_",
        {"schema_changed": 1},
    ),
}


FAULTS = {
    "added": 27,
    "added_and_filled": 27,
    "odd": 27,
    "same_letters": 27,
    "ours": 27,
    "ours_too": 27,
    "dropped": 28,
    "renamed": 29,
}


@pytest.mark.parametrize(
    "change", [pytest.param(change, marks=pytest.mark.fault(FAULTS.get(change, 30))) for change in SCHEMA_CHANGES]
)
def test_the_columns_change(source: Source, archived: PollerHarness, change: str) -> None:
    """Columns that are added, dropped or change their type cost no row, double none, and are reported."""
    statement, column, incidents = SCHEMA_CHANGES[change]
    source.run("DROP VIEW IF EXISTS _http_requests CASCADE")
    source.run(f"ALTER TABLE http_requests {statement}")
    source.requests(101, 103)
    source.run("INSERT INTO http_requests (id, created_at) VALUES (104, now())")
    archived.polled()
    source.run("UPDATE http_requests SET completed_at = now(), status = '500' WHERE id = 104")
    archived.polled()
    archived.polled(exact=True)
    assert archived.ids() == list(range(1, 105))
    assert archived.incidents() == incidents
    assert archived.query("SELECT id FROM http_requests WHERE status::VARCHAR = '500'") == [(104,)]
    assert ("2025-11-19 10:01:42",) in archived.query("SELECT completed_at::VARCHAR FROM http_requests WHERE id = 101")
    if column:
        name = column.replace('"', '""')
        assert archived.query(f'SELECT count("{name}") FROM http_requests')[0][0] in {0, 1, 4}
    archived.assert_once()


@pytest.mark.fault(30)
def test_a_number_becomes_words(source: Source, archived: PollerHarness) -> None:
    """A column that changes from numbers to text is text here too, and retains its values."""
    source.run("DROP VIEW IF EXISTS _http_requests CASCADE")
    source.run("ALTER TABLE http_requests ALTER COLUMN status TYPE text")
    source.request(101, status="none at all")
    archived.polled()
    assert archived.query("SELECT status FROM http_requests WHERE id >= 100 ORDER BY id") == [
        ("200",),
        ("none at all",),
    ]
    archived.assert_once()


@pytest.mark.fault(31)
def test_a_revoked_right(source: Source, naming_harness: PollerHarness) -> None:
    """A table that may not be read any more is one line, the other collectors go on, and no row is lost."""
    source.requests(1, 100)
    naming_harness.polled()
    source.run("REVOKE SELECT ON http_requests FROM readonly")
    source.requests(101, 103)
    naming_harness.poll()
    assert "may not be read" in naming_harness.errors()["http_requests"]
    assert set(naming_harness.errors()) == {"http_requests", "active_users"}
    source.run("GRANT SELECT ON http_requests TO readonly")
    source.requests(104, 110)
    naming_harness.polled()
    assert naming_harness.ids() == list(range(1, 111))
    naming_harness.assert_once()


def test_a_right_granted_later(source: Source, naming_harness: PollerHarness) -> None:
    """Rows archived through the view are not archived again from the table, and counted twice: it is refused."""
    source.run("REVOKE SELECT ON http_requests FROM readonly")
    source.requests(1, 100)
    naming_harness.polled()
    assert naming_harness.requests_counted() == 100
    source.run("GRANT SELECT ON http_requests TO readonly")
    for _ in range(2):
        naming_harness.poll()
        assert "archived through _http_requests" in naming_harness.errors()["http_requests"]
    assert naming_harness.requests_counted() == 100


@pytest.mark.fault(12)
def test_a_large_table_changes_while_it_is_read(
    source: Source, harness: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is truncated between two ranges of its reading is read again at the next poll."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 100)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 100)
    source.requests(1, 500)
    writing = harness.history.transaction
    done: list[int] = []

    def truncating(*arguments: object) -> object:
        if not done:
            done.append(1)
            source.run("TRUNCATE http_requests RESTART IDENTITY")
            source.requests(1, 300, LATER)
        return writing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.history, "transaction", truncating)
    harness.poll()
    harness.polled()
    assert set(harness.ids()) >= set(range(1, 301))
    assert len(harness.query(f"SELECT id FROM http_requests WHERE created_at >= '{LATER}'")) == 300
    harness.assert_once()


@pytest.mark.fault(11, 12)
def test_what_is_lost_while_it_is_read(
    source: Source, archived: PollerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows truncated before their range was read are possibly lost, although the read had planned for them."""
    monkeypatch.setattr("exporter.poller.batching.estimated_batch_rows", lambda _snapshot: 50)
    monkeypatch.setattr("exporter.poller.batching.batch_rows", lambda _rows: 50)
    source.run(REPORT)
    archived.polled(exact=True)
    source.requests(101, 1000)
    source.run(REPORT)
    source.run("VACUUM FULL http_requests")
    writing = archived.history.transaction
    done: list[int] = []

    def truncating(*arguments: object) -> object:
        if not done:
            done.append(1)
            source.run("TRUNCATE http_requests")
            # Of ids within the planned ranges: they must not pass for what the ranges had.
            source.requests(200, 900, LATER)
            source.run(REPORT)
        return writing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archived.history, "transaction", truncating)
    archived.poll()
    archived.polled()
    archived.polled(exact=True)
    kept = archived.query(f"SELECT id FROM http_requests WHERE created_at < '{LATER}'")
    lost = set(range(1, 1001)) - {number for (number,) in kept}
    assert len(lost) > 500
    assert len(archived.query(f"SELECT id FROM http_requests WHERE created_at >= '{LATER}'")) == 701
    assert archived.counter(LOST) == len(lost)
    archived.assert_once()
