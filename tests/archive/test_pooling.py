"""PgBouncer in front of the repository: rows are read as without it, or one line names the pooler."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from exporter.demo.postgres import Postgres
from exporter.errors import SourceRefused, SourceUnreachable
from exporter.repository.binary_copy import Field
from exporter.repository.client import Address
from exporter.repository.connection import APPLICATION_NAME, Connection, connect
from tests.archive.test_silence import reach
from tests.support.pgbouncer import HOST, pgbouncer
from tests.support.poller_harness import PollerHarness
from tests.support.postgres import PASSWORD
from tests.support.source import Source

WORKING_MODES = ("session", "transaction")
SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone", "DateStyle")
NUMBERS = [Field("n", "bigint")]


@pytest.fixture(params=["postgres15", "postgres18"])
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """Each PostgreSQL in turn."""
    server: Postgres = request.getfixturevalue(request.param)
    return server


@contextmanager
def pooled(harness: PollerHarness, postgres: Postgres, mode: str, **settings: str) -> Iterator[int]:
    """Put a PgBouncer between a harness and its repository; yield its port."""
    with pgbouncer(postgres, {"readonly": PASSWORD}, pool_mode=mode, **settings) as port:
        reach(harness, addresses=(Address(HOST, port),))
        yield port


def other_client(source: Source, port: int) -> Connection[Any]:
    """Return the connection of another program that uses the same pool."""
    return connect({**source.readonly, "host": HOST, "port": port})


def settings_of(connection: Connection[Any]) -> list[Any]:
    """Return the settings of a connection's server."""
    rows = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in (*SETTINGS, "transaction_read_only")]
    return [row[0] for row in rows if row]


@pytest.mark.parametrize("mode", WORKING_MODES)
def test_polls_through_a_pooler(
    mode: str, source: Source, harness: PollerHarness, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is archived once, a truncated table is noticed, and nothing else seems to have happened."""
    source.requests(1, 1000)
    with pooled(harness, postgres, mode) as port, other_client(source, port) as other:
        monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1")  # the pooler would refuse it
        harness.polled()
        # Another client holds the server connection of the poll before: the next poll is given another one.
        other.execute(b"BEGIN")
        other.execute(b"SELECT 1")
        source.requests(1001, 2000)
        harness.polled(exact=True)
        assert (harness.mode(), harness.incidents()) == ("exact", {})
        other.execute(b"COMMIT")
        source.run("TRUNCATE http_requests")
        source.requests(2001, 2100)
        harness.polled()
        harness.polled(exact=True)
    assert harness.incidents().keys() == {"truncated"}
    assert harness.ids() == list(range(1, 2101))
    harness.assert_once()


@pytest.mark.parametrize("mode", WORKING_MODES)
def test_settings_hold_in_each_transaction_and_not_beyond_it(
    mode: str, source: Source, harness: PollerHarness, postgres: Postgres
) -> None:
    """A transaction has the agent's settings on any server connection, and leaves none of them to other programs."""
    with pooled(harness, postgres, mode, default_pool_size="1") as port:
        with other_client(source, port) as other:
            before = settings_of(other)
        with harness.repository.session() as session:
            for _ in range(2):
                with session.snapshot("http_requests"):
                    names = [*SETTINGS[1:], "transaction_read_only", "transaction_isolation", "application_name"]
                    columns = ", ".join(f"current_setting('{name}')" for name in names)
                    # The rest of the statement timeout decreases within the transaction.
                    left = "current_setting('statement_timeout')::interval BETWEEN '20 s' AND '30 s'"
                    assert session.first(f"SELECT {left}, {columns}") == (
                        *(True, "2s", "30s", "UTC", "ISO, MDY"),
                        *("on", "repeatable read", APPLICATION_NAME),
                    )
        with other_client(source, port) as other:
            assert settings_of(other) == before
            assert before[-1] == "off"


@pytest.mark.parametrize("mode", WORKING_MODES)
def test_the_lock_of_a_snapshot_is_held_through_a_pooler(
    mode: str, source: Source, harness: PollerHarness, postgres: Postgres
) -> None:
    """An open snapshot blocks TRUNCATE of the table, until it ends."""
    source.requests(1, 10)
    source.run("SET lock_timeout = '1ms'")
    with pooled(harness, postgres, mode), harness.repository.session() as session:
        with session.snapshot("http_requests"):
            with pytest.raises(Connection.OperationalError, match="lock timeout"):
                source.run("TRUNCATE http_requests")
            assert session.first("SELECT count(*) FROM http_requests") == (10,)
        source.run("TRUNCATE http_requests")


@pytest.mark.parametrize("mode", WORKING_MODES)
def test_a_copy_that_is_broken_off_through_a_pooler(mode: str, harness: PollerHarness, postgres: Postgres) -> None:
    """A copy is broken off by a cancel request, which the pooler passes on, and the session reads on."""
    with pooled(harness, postgres, mode), harness.repository.session() as session:
        with session.snapshot("http_requests"):
            rows, whole = session.copy_some("SELECT generate_series(1, 10000000)::bigint AS n", NUMBERS, 1)
        assert not whole
        assert rows.num_rows < 10_000_000
        assert session.page("SELECT 1::bigint AS n", NUMBERS).to_pydict() == {"n": [1]}


def test_statement_pooling(source: Source, harness: PollerHarness, postgres: Postgres) -> None:
    """A pooler without transactions is named, with the setting to change; afterwards everything is read."""
    source.requests(1, 10)
    with pooled(harness, postgres, "statement"):
        assert not harness.poll()
    assert not harness.up()
    (line,) = set(harness.errors().values())
    assert "transaction blocks not allowed in statement pooling mode: a pooler (PgBouncer)" in line
    assert "set pool_mode = transaction or session" in line
    with pooled(harness, postgres, "transaction"):
        harness.polled()
    assert harness.ids() == list(range(1, 11))


def test_a_pool_without_a_free_connection(source: Source, harness: PollerHarness, postgres: Postgres) -> None:
    """A pooler that has no connection left for the agent is named; the repository is unreachable for now."""
    limits = {"default_pool_size": "1", "query_wait_timeout": "1"}
    with pooled(harness, postgres, "transaction", **limits) as port, other_client(source, port) as other:
        other.execute(b"BEGIN")
        other.execute(b"SELECT 1")
        with pytest.raises(SourceUnreachable, match=r"query_wait_timeout: a pooler .* raise default_pool_size"):
            harness.repository.session().__enter__()


def test_a_pooler_that_knows_neither_user_nor_database(
    source: Source, harness: PollerHarness, postgres: Postgres
) -> None:
    """A pooler's own refusals, and those of the server behind it, name the remedy."""
    with pooled(harness, postgres, "transaction"):
        reach(harness, user="stranger")
        with pytest.raises(SourceRefused, match=r"SASL authentication failed: check repository.user and its password"):
            harness.repository.session().__enter__()
        reach(harness, user="readonly", database="elsewhere")
        with pytest.raises(SourceRefused, match=r'"elsewhere" does not exist: check repository.database'):
            harness.repository.session().__enter__()


def test_transactions_of_a_session_on_several_server_connections(
    source: Source, harness: PollerHarness, postgres: Postgres
) -> None:
    """No read of a session depends on the state that an earlier transaction left on another server connection."""
    who = "SELECT pg_backend_pid()::bigint AS n"
    with (
        pooled(harness, postgres, "transaction") as port,
        other_client(source, port) as other,
        harness.repository.session() as session,
    ):
        before = {session.page(who, NUMBERS)["n"][0].as_py() for _ in range(8)}
        other.execute(b"BEGIN")
        other.execute(b"SELECT 1")
        after = {session.page(who, NUMBERS)["n"][0].as_py() for _ in range(3)}
    assert before.isdisjoint(after)
