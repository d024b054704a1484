"""One session with the repository: short transactions, each a snapshot, rows as Arrow tables."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import Connection
from psycopg.pq import TransactionStatus

from exporter.collector import Relation, columns_of
from exporter.errors import SourceError, SourceRefused
from exporter.repository.binary_copy import Field, arrow_schema, copy_out
from exporter.repository.catalog import Catalog, read_catalog
from exporter.repository.connection import begin, deadline, settings_of
from exporter.repository.errors import ENABLE

# How much longer than its own statement timeout a server may stay silent before its socket is cut.
GRACE_SECONDS = 5.0
# How long a server may take to answer the first statement: the next host should not have to wait for a long statement.
CHECK_SECONDS = 5.0
ANOTHER_WAY = "name PostgreSQL itself in repository.hosts"
STANDBY_MARK = "/standby"
"""Ends the name of a node that is in recovery."""
POSTGRES_12, POSTGRES_13 = 120_000, 130_000

_IDENTITY = """
    SELECT
        d.oid::bigint AS database_oid,
        c.oid::bigint AS table_oid,
        c.relfilenode::bigint AS relfilenode,
        pg_postmaster_start_time()::text AS postmaster_started_at,
        coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '') AS statistics_since,
        coalesce(host(inet_server_addr()), '') || ':' || coalesce(inet_server_port()::text, '') AS node,
        pg_is_in_recovery() AS in_recovery,
        pg_table_size(c.oid) AS bytes,
        c.reltuples::double precision AS rows,
        (now() AT TIME ZONE 'UTC') AS now
    FROM pg_class AS c, pg_database AS d
    WHERE c.oid = to_regclass(%s) AND d.datname = current_database()
"""


# The settings that hold, and two facts on the server.
_FACTS = """
    SELECT
        pg_is_in_recovery() AS in_recovery,
        version() LIKE '%%linux%%' AS on_linux,
        (SELECT json_object_agg(lower(name), setting) FROM pg_settings WHERE lower(name) = ANY(%s)) AS settings
"""
# The lock is held no longer than one statement may take, however many the transaction has.
_REMAINING_TIMEOUT = """
    SELECT set_config(
        'statement_timeout',
        greatest(1, %s - extract(epoch FROM clock_timestamp() - now()) * 1000)::integer::text,
        true
    )
"""


@dataclass(frozen=True)
class TableIdentity:
    """Identifies the table, its database and its server: whether they are those that were read before."""

    system_identifier: str
    database_oid: int
    table_oid: int
    relfilenode: int
    postmaster_started_at: str
    statistics_since: str
    """PostgreSQL begins its statistics anew when it recovers from a crash, also when the postmaster outlived that."""
    node: str


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of one table, taken after its lock."""

    identity: TableIdentity
    xmin: int
    xmax: int
    bytes: int
    rows: float
    """As of the last ANALYZE or VACUUM; zero or less before the first."""
    now: datetime
    columns: Mapping[str, str] = field(default_factory=dict)


class Session:
    """A session: after a transaction that failed the next ones are possible, as long as the server is there."""

    def __init__(
        self,
        connection: Connection[Any],
        address: str,
        statement_timeout: float,
        explain: Callable[[Exception], SourceError],
        moved: Callable[[], None],
    ) -> None:
        self.address = address
        self._explain = explain
        self._moved = moved
        self.catalog = Catalog({})
        self.asked_at: datetime | None = None
        """The source's clock (UTC, naive) when the catalog was read."""
        self.in_recovery = False
        self._connection = connection
        self._milliseconds = int(statement_timeout * 1000)
        self._silence = statement_timeout + GRACE_SECONDS
        self._settings = settings_of(connection.info.server_version, self._milliseconds)
        self._expected = {**self._settings, "transaction_read_only": "on", "transaction_isolation": "repeatable read"}
        self._begin = begin(self._settings)

    @property
    def server_version(self) -> str:
        """PostgreSQL's version, as ``15.4``."""
        version = self._connection.info.server_version
        return f"{version // 10000}.{version % 10000}"

    def check(self) -> None:
        """Check the settings, and whether the server is a standby. Raises SourceRefused where one does not hold."""
        with self._transaction(CHECK_SECONDS), deadline(self._connection, CHECK_SECONDS):
            row = self._connection.execute(_FACTS, [list(self._expected)]).fetchone()
        if row is None:
            message = f"repository {self.address}: answers a query without a row: {ANOTHER_WAY}"
            raise SourceRefused(message)
        self.in_recovery, on_linux, settings = row
        for name, value in self._expected.items():
            if (found := (settings or {}).get(name)) != value:
                message = f"repository {self.address}: {name} is {found!r:.60} after it was set to {value!r}"
                raise SourceRefused(f"{message}: a pooler or proxy drops it; {ANOTHER_WAY}")
        if on_linux and self._connection.info.server_version >= POSTGRES_12:
            # A copy that is not read ends too: statement_timeout does not end a server that waits to send.
            # Elsewhere the server would only log that it cannot.
            self._begin = begin({**self._settings, "tcp_user_timeout": str(self._milliseconds)})

    def close(self) -> None:
        """End the session in any state."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def load_catalog(self, relations: Collection[str]) -> Catalog:
        """Read the catalog of these relations, and keep it for the statements to come.

        Raises SourceRefused when none of them may be read: that is one fault, and not one of each collector.
        """
        with self._transaction(), deadline(self._connection, self._silence):
            self.catalog = read_catalog(self._connection, relations)
            row = self._connection.execute("SELECT now() AT TIME ZONE 'UTC'").fetchone()
        self.asked_at = row[0] if row else None
        if relations and not self.catalog.relations:
            raise SourceRefused(f"repository {self.address}: {self._no_relation()}")
        return self.catalog

    def _no_relation(self) -> str:
        if not self.catalog.forbidden:
            return "none of Tableau's tables is there: check repository.database (Tableau's is workgroup)"
        user = self._connection.info.user
        return (
            f"{user} may read none of the tables: GRANT USAGE ON SCHEMA public TO {user} and GRANT SELECT ON ALL TABLES"
            f" IN SCHEMA public TO {user}, or set repository.user to readonly (on Tableau Server {ENABLE})"
        )

    def inserted(self, table: str) -> int:
        """Return how many rows were ever inserted into a table, as the server's statistics count them.

        TRUNCATE does not set them back. A session reports what it inserted when its transaction has ended, and within
        a second or so; rows counted before a snapshot are therefore either visible in it or were rolled back.
        """
        with self._transaction():
            row = self.first(f"""SELECT pg_stat_get_tuples_inserted(to_regclass('public."{table}"'))""")
        return int(row[0] or 0) if row else 0

    def read(self, row: type, relations: Sequence[Relation], sql: str) -> pa.Table:
        """Run a collector's statement in a transaction of its own and return its rows as columns.

        Raises SourceIncomplete when a relation lacks what the statement cannot do without.
        """
        columns = columns_of(row)
        inline = self._connection.info.server_version >= POSTGRES_12
        casts = ", ".join(f'rows."{column.name}"::{column.type.postgres} AS "{column.name}"' for column in columns)
        query = f"{self.catalog.with_clause(relations, inline=inline)} SELECT {casts} FROM ({sql}) AS rows"
        fields = [Field(column.name, column.type.postgres) for column in columns]
        return self.page(query, fields)

    def page(self, query: str, fields: Sequence[Field]) -> pa.Table:
        """Copy the rows of a query out in a transaction of its own."""
        with self._transaction():
            return self.copy(query, fields)

    @contextlib.contextmanager
    def snapshot(self, table: str) -> Iterator[Snapshot]:
        """Hold ACCESS SHARE on a table and a snapshot taken after it: TRUNCATE is not safe the other way round."""
        with self._transaction():
            with deadline(self._connection, self._silence):
                self._connection.execute(f'LOCK TABLE public."{table}" IN ACCESS SHARE MODE'.encode())
                snapshot = self._identify(table)
                self._limit_to_remaining_time()
            yield snapshot

    def copy(self, query: str, fields: Sequence[Field]) -> pa.Table:
        """Copy the rows of a query out, inside the transaction that is open."""
        rows, _ = self.copy_some(query, fields, None)
        return rows

    def copy_some(self, query: str, fields: Sequence[Field], most_bytes: int | None) -> tuple[pa.Table, bool]:
        """Copy rows out until they are more than so many bytes; return with them whether that was all.

        The copy has what is left of the transaction's time. One that was cancelled has ended the transaction: nothing
        more can be read in it.
        """
        batches: list[pa.RecordBatch] = []
        size, whole = 0, True
        with deadline(self._connection, self._silence):
            self._limit_to_remaining_time()
            if self._connection.info.parameter_status("server_encoding") == "SQL_ASCII":
                # Such a database guarantees no encoding, and the server would refuse to convert its bytes to UTF-8.
                self._connection.execute("SET LOCAL client_encoding = 'SQL_ASCII'")
            with contextlib.closing(copy_out(self._connection, query, fields)) as stream:
                for batch in stream:
                    self._moved()
                    batches.append(batch)
                    size += batch.get_total_buffer_size()
                    if most_bytes is not None and size > most_bytes:
                        whole = False
                        break
        return pa.Table.from_batches(batches, schema=arrow_schema(fields)), whole

    def first(self, query: str) -> tuple[Any, ...] | None:
        """Return the first row of a small query, inside the transaction that is open."""
        with deadline(self._connection, self._silence):
            return self._connection.execute(query.encode()).fetchone()

    @contextlib.contextmanager
    def _transaction(self, silence: float | None = None) -> Iterator[None]:
        connection = self._connection
        silence = self._silence if silence is None else silence
        try:
            with deadline(connection, silence):
                connection.execute(self._begin)
            self._moved()
            yield
            with deadline(connection, silence):
                connection.execute("COMMIT")
        except BaseException as error:
            self._abandon()
            if isinstance(error, psycopg.Error):
                raise self._explain(error) from error
            raise

    def _abandon(self) -> None:
        """Roll back; a connection in the middle of a copy, or cut, is closed instead."""
        with contextlib.suppress(psycopg.Error):
            if self._connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
                with deadline(self._connection, self._silence):
                    self._connection.execute("ROLLBACK")
                return
        self._connection.close()

    def _limit_to_remaining_time(self) -> None:
        """Set the timeout of the next statement to the remaining time of the transaction."""
        self._connection.execute(_REMAINING_TIMEOUT, [self._milliseconds])

    def _identify(self, table: str) -> Snapshot:
        modern = self._connection.info.server_version >= POSTGRES_13
        function = "pg_current_snapshot" if modern else "txid_current_snapshot"
        snapshot = self.first(f"SELECT {function}()::text")
        row = self._connection.execute(_IDENTITY, [f'public."{table}"']).fetchone()
        columns = self._columns(table)
        if snapshot is None or row is None:
            message = f"the table {table} vanished while it was being read"
            raise LookupError(message)
        # The list of running transactions behind the two bounds is wrong on a standby; only the bounds are used.
        xmin, xmax = (int(part) for part in snapshot[0].split(":")[:2])
        database_oid, table_oid, relfilenode, started, since, node, recovering, size, rows, now = row
        identity = TableIdentity(
            self._system_identifier(),
            database_oid,
            table_oid,
            relfilenode,
            started,
            since,
            f"{node}{STANDBY_MARK if recovering else ''}",
        )
        return Snapshot(identity, xmin, xmax, size, rows, now, columns)

    def _columns(self, table: str) -> Mapping[str, str]:
        return read_catalog(self._connection, [table]).relations.get(table, {})

    def _system_identifier(self) -> str:
        allowed = self.first("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
        row = self.first("SELECT system_identifier::text FROM pg_control_system()") if allowed and allowed[0] else None
        return str(row[0]) if row else ""
