"""Whoever plays Tableau: sessions that write requests, and what the database itself knows to be true of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from exporter.demo.workgroup import quoted
from exporter.repository.connection import Connection, connect

PASSWORD = "only here"
# A relation this large is no longer small: it is read fast between the exact readings.
FAST_BYTES = 64_000_000

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
        """Open one more session; what it leaves open is rolled back."""
        connection = connect(self.parameters)
        try:
            yield connection
        finally:
            connection.close()

    def tell_the_truth(self) -> None:
        """Let the database write down every committed version of a request."""
        self.run(TRUTH)

    def request(self, number: int | None = None, **values: object) -> int:
        """Insert one completed request, some of its columns as told; return its id."""
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
