"""A database of a repository: its superuser's session, and fixtures with a fresh copy of a small company's.

The database itself can write down every committed version of a request, for tests to compare with.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

import pytest

from exporter.demo import workgroup
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.workgroup import quoted
from exporter.repository.connection import APPLICATION_NAME, Connection, connect
from tests.support.postgres import PASSWORD, PASSWORDS

NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - the repository's times have no zone
# A relation this large is no longer small: it is read fast between the exact readings.
FAST_BYTES = 64_000_000
# The agent's sessions.
OURS = f"usename = 'readonly' AND application_name = '{APPLICATION_NAME}' AND datname = current_database()"
# pg_terminate_backend waits until the session has gone.
CUT = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {OURS}"

# Every version of a row that a transaction committed, written by that transaction.
TRUTH = """
    CREATE SCHEMA truth;
    CREATE TABLE truth.versions AS SELECT r.*, 0::bigint AS written FROM public.http_requests AS r WHERE false;
    CREATE SEQUENCE truth.clock;
    CREATE FUNCTION truth.tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO truth.versions SELECT NEW.*, nextval('truth.clock');
            RETURN NULL;
        END $$;
    CREATE TRIGGER truth AFTER INSERT OR UPDATE ON public.http_requests
        FOR EACH ROW EXECUTE FUNCTION truth.tell();
"""


class Source:
    """A repository's database, seen by its superuser."""

    def __init__(self, parameters: Mapping[str, str | int]) -> None:
        self.parameters = dict(parameters)
        self.readonly = {**parameters, "user": "readonly", "password": PASSWORD}
        self._connection: Connection[Any] | None = None

    def __enter__(self) -> Self:
        self._connection = connect(self.parameters)
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> "Connection[Any]":
        """The superuser's session."""
        assert self._connection is not None
        return self._connection

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def other(self) -> "Iterator[Connection[Any]]":
        """Open one more session; its open transaction is rolled back."""
        connection = connect(self.parameters)
        try:
            yield connection
        finally:
            connection.close()

    def tell_the_truth(self) -> None:
        """Let the database write down every committed version of a request."""
        self.run(TRUTH)

    def request(self, number: int | None = None, **values: object) -> int:
        """Insert one completed request, with some columns given; return its id."""
        row = {
            "controller": "vizql",
            "action": "view",
            "http_request_uri": "/vizql/w/Sales/v/Overview/bootstrap",
            "created_at": "2025-11-19 10:00:00",
            "completed_at": "2025-11-19 10:00:01",
            "status": 200,
            "site_id": 1,
            "user_id": 1,
            **values,
        }
        if number is not None:
            row["id"] = number
        names = ", ".join(quoted(name) for name in row)
        places = ", ".join(["%s"] * len(row))
        statement = f"INSERT INTO http_requests ({names}) VALUES ({places}) RETURNING id"
        return int(self.run(statement, *row.values())[0][0])

    def requests(self, first: int, last: int, created_at: str = "2025-11-19 10:00:00") -> None:
        """Insert completed requests with these ids, a second apart."""
        self.run(
            "INSERT INTO http_requests (id, controller, action, created_at, completed_at, status, site_id, user_id)"
            " SELECT n, 'vizql', 'view', %s::timestamp + n * interval '1 s', %s::timestamp + (n + 1) * interval '1 s',"
            " 200, 1, 1 FROM generate_series(%s::bigint, %s::bigint) AS n",
            created_at,
            created_at,
            first,
            last,
        )

    def make_large(self) -> None:
        """Make the table so large on disk that it is not read exactly at every poll; no row is left in it."""
        self.run("ALTER TABLE http_requests SET (autovacuum_enabled = false)")
        self.run("ALTER TABLE http_requests ALTER COLUMN http_referer SET STORAGE PLAIN")
        self.run(
            "INSERT INTO http_requests (id, created_at, http_referer)"
            " SELECT -n, now(), repeat('x', 7900) FROM generate_series(1, %s::bigint) AS n",
            FAST_BYTES // 8192 + 100,
        )
        self.run("DELETE FROM http_requests")


def create_repository(connection: Connection) -> None:
    """Create the newest version's tables and roles in a database."""
    readonly, tableau = PASSWORDS["readonly"], PASSWORDS["tableau"]
    workgroup.create(connection, workgroup.VERSIONS[-1], readonly_password=readonly, tableau_password=tableau)


@pytest.fixture(scope="session")
def template() -> Callable[[Postgres], str]:
    """Name, for a server, the database that the others are copies of: a small company without requests."""
    made: dict[int, str] = {}

    def make(server: Postgres) -> str:
        if server.port not in made:
            name = made[server.port] = f"company_{secrets.token_hex(6)}"
            with connect(server.admin()) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            with connect(server.admin(name)) as connection:
                create_repository(connection)
                Company.build(1, NOW, SMALL).insert(connection, workgroup.VERSIONS[-1])
        return made[server.port]

    return make


@pytest.fixture
def source(postgres: Postgres, template: Callable[[Postgres], str]) -> Iterator[Source]:
    """The company's repository without requests, and its superuser's session."""
    name = f"archive_{secrets.token_hex(6)}"
    copied = template(postgres)
    with connect(postgres.admin()) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {copied}".encode())
    with Source(postgres.admin(name)) as opened:
        yield opened
    with connect(postgres.admin()) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
