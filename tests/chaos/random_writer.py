"""A random writer of Tableau's requests, incidents of its table, and the truth of both.

Each version of a request carries a tag of its own in ``session_id``; the database writes down which were committed.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import psycopg

from exporter.repository.connection import Connection, connect
from tests.support.source import Source

Key = tuple[int, datetime | None]

TRUTH = """
    CREATE SCHEMA truth;
    CREATE TABLE truth.pristine (LIKE public.http_requests INCLUDING CONSTRAINTS INCLUDING INDEXES);
    CREATE TABLE truth.versions (tag text, id bigint, created_at timestamp, completed_at timestamp);
    CREATE FUNCTION truth.tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO truth.versions VALUES (NEW.session_id, NEW.id, NEW.created_at, NEW.completed_at);
            RETURN NULL;
        END $$;
"""
TABLE = """
    DROP TABLE IF EXISTS public.http_requests CASCADE;
    CREATE TABLE public.http_requests (LIKE truth.pristine INCLUDING ALL);
    ALTER TABLE public.http_requests SET (autovacuum_enabled = false);
    CREATE SEQUENCE http_requests_id_seq OWNED BY http_requests.id;
    ALTER TABLE http_requests ALTER COLUMN id SET DEFAULT nextval('http_requests_id_seq');
    GRANT SELECT ON public.http_requests TO readonly;
    CREATE TRIGGER truth AFTER INSERT OR UPDATE ON public.http_requests FOR EACH ROW EXECUTE FUNCTION truth.tell();
"""
INSERT = """
    INSERT INTO http_requests (id, controller, action, created_at, completed_at, status, site_id, user_id, session_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
UPDATE = """
    UPDATE http_requests SET completed_at = %s, status = %s, session_id = %s WHERE id = %s
"""
SOME = "SELECT id FROM http_requests WHERE {} ORDER BY md5(id::text || '{}') LIMIT {} FOR UPDATE SKIP LOCKED"
# A session reports its inserts to the statistics at once; else they may be late.
REPORT = "SELECT pg_stat_force_next_flush()"
CHANGES = (
    "ADD COLUMN extra_{} text",
    "ADD COLUMN filled_{} text DEFAULT clock_timestamp()::text",
    "DROP COLUMN IF EXISTS vizql_session",
    "DROP COLUMN IF EXISTS worker",
    "ALTER COLUMN port TYPE bigint",
    "ALTER COLUMN status TYPE text",
)


@dataclass(frozen=True)
class Version:
    """A version of a request: its tag, and when it was completed."""

    tag: str
    completed_at: datetime | None


@dataclass
class RandomWriter:
    """One seeded course of Tableau; every step reports its action."""

    source: Source
    chance: Random
    instant: datetime
    sessions: "list[Connection[Any]]" = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    changes: int = 0
    tags: int = 0

    def make_table(self) -> str:
        """Make the table anew, as another one with the same name."""
        self.settle()
        self.ids.clear()
        self.source.run(TABLE)
        return ""

    def close(self) -> None:
        """End every session without a commit."""
        while self.sessions:
            self.sessions.pop().close()

    def settle(self) -> str:
        """End every open transaction, committed or not."""
        ends = [self.chance.choice(("COMMIT", "COMMIT", "ROLLBACK")) for _ in self.sessions]
        for session, end in zip(self.sessions, ends, strict=True):
            session.execute(REPORT)
            session.execute(end.encode())
            session.close()
        self.sessions.clear()
        return ", ".join(ends)

    # What Tableau writes.

    def write(self) -> str:
        """Commit some requests at once, of one instant or of several."""
        return self._insert(self.source.connection, self.chance.randint(1, 12))

    def open_transaction(self) -> str:
        """Begin a transaction that stays open, with requests in it, some in savepoints."""
        if len(self.sessions) >= 3:
            return self.end_transaction()
        session = connect(self.source.parameters)
        self.sessions.append(session)
        session.execute("BEGIN")
        said = [self._insert(session, self.chance.randint(1, 4))]
        for _ in range(self.chance.randint(0, 2)):
            session.execute("SAVEPOINT one")
            said.append(self._insert(session, self.chance.randint(1, 3)))
            end = self.chance.choice(("RELEASE SAVEPOINT one", "ROLLBACK TO SAVEPOINT one"))
            session.execute(end.encode())
            said.append(end)
        return "; ".join(said)

    def end_transaction(self) -> str:
        """End one of the open transactions."""
        if not self.sessions:
            return self.write()
        session = self.sessions.pop(self.chance.randrange(len(self.sessions)))
        end = self.chance.choice(("COMMIT", "COMMIT", "ROLLBACK"))
        session.execute(REPORT)
        session.execute(end.encode())
        session.close()
        return end

    def complete(self) -> str:
        """Complete some requests, again some of those that were complete, or touch them without completing them."""
        where = self.chance.choice(("completed_at IS NULL", "completed_at IS NULL", "true"))
        ids = self._some(where, self.chance.randint(1, 6))
        done = self.chance.random() < 0.85
        for number in ids:
            values = [self._next() if done else None, self.chance.choice((200, 404, 500, None)), self._tag(), number]
            self.source.run(UPDATE, *values)
        return f"{'completed' if done else 'touched'} {ids}"

    def delete(self) -> str:
        """Remove requests in a batch, as the old cleanup does."""
        ids = self._some("true", self.chance.choice((1, 5, 50)))
        self.source.run("DELETE FROM http_requests WHERE id = ANY(%s)", ids)
        return f"{ids}"

    # Incidents of the table.

    def truncate(self) -> str:
        """Empty the table; the ids go on, or start again."""
        self.settle()
        restart = self.chance.choice(("", " RESTART IDENTITY"))
        if restart:
            self.ids.clear()
        self.source.run("TRUNCATE http_requests" + restart)
        return restart

    def rewrite(self) -> str:
        """Rewrite the table as it is."""
        self.settle()
        self.source.run("VACUUM FULL http_requests")
        return ""

    def change_columns(self) -> str:
        """Add, drop or widen a column."""
        self.settle()
        self.changes += 1
        change = self.chance.choice(CHANGES).format(self.changes)
        self.source.run("ALTER TABLE http_requests " + change)
        return change

    def revoke(self) -> str:
        """Revoke the right to read."""
        self.source.run("REVOKE SELECT ON http_requests FROM readonly")
        return ""

    def grant(self) -> str:
        """Grant the right to read again."""
        self.source.run("GRANT SELECT ON http_requests TO readonly")
        return ""

    # The truth.

    def present(self) -> dict[Key, Version]:
        """Return the committed rows."""
        rows = self.source.run("SELECT id, created_at::timestamp, completed_at, session_id FROM http_requests")
        return {(row[0], row[1]): Version(row[3], row[2]) for row in rows}

    def versions(self) -> dict[str, tuple[Key, Version]]:
        """Return every version that was ever committed, by its tag."""
        rows = self.source.run("SELECT id, created_at, completed_at, tag FROM truth.versions")
        return {row[3]: ((row[0], row[1]), Version(row[3], row[2])) for row in rows}

    # ---

    def _insert(self, session: "Connection[Any]", count: int) -> str:
        written = []
        with suppress(psycopg.errors.UniqueViolation), session.transaction():
            created_at: datetime | None = self._next()
            if self.chance.random() < 0.15:
                created_at = self._next() - timedelta(days=self.chance.choice((1, 2, 4)))
            session.execute(REPORT)
            for _ in range(count):
                if self.chance.random() < 0.2:
                    created_at = self._next()
                if self.chance.random() < 0.02:
                    created_at = None
                number = self._number()
                completed_at = self._next() if self.chance.random() < 0.6 else None
                session.execute(INSERT, [number, *self._labels(), created_at, completed_at, *self._who(), self._tag()])
                written.append(number)
        return f"inserted {written}"

    def _labels(self) -> list[object]:
        return [self.chance.choice(("vizql", "sessions", None)), self.chance.choice(("bootstrap", "view", "", None))]

    def _who(self) -> list[object]:
        chance = self.chance
        return [chance.choice((200, 302, 404, 500, None)), chance.choice((1, 2, None)), chance.choice((1, 2, 3, None))]

    def _number(self) -> int:
        if not self.ids:
            block = "SELECT nextval('public.http_requests_id_seq') FROM generate_series(1, %s)"
            self.ids = [number for (number,) in self.source.run(block, self.chance.randint(1, 15))]
            self.chance.shuffle(self.ids)
        return self.ids.pop()

    def _next(self) -> datetime:
        self.instant += timedelta(milliseconds=self.chance.randint(1, 3000))
        return self.instant

    def _tag(self) -> str:
        self.tags += 1
        return f"v{self.tags}"

    def _some(self, where: str, count: int) -> list[int]:
        """Choose requests that no open transaction holds."""
        return [number for (number,) in self.source.run(SOME.format(where, self.chance.random(), count))]
