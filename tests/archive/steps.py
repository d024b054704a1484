"""A seeded writer in single steps: its writes between two polls are the same for the same seed."""

from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Any, Self

import psycopg

from exporter.repository.connection import Connection, connect
from tests.support.source import Source

BEGUN_AT = datetime(2025, 11, 19, 10)  # noqa: DTZ001 - the repository's times have no zone
# No seed makes as many requests; those of another seed have other times.
INSTANTS = 4_000
MOST_SLOW = 3
INSERT = "INSERT INTO http_requests (id, created_at, completed_at, status, site_id) VALUES (%s, %s, %s, %s, 1)"
COMPLETE = "UPDATE http_requests SET completed_at = %s, status = %s WHERE id = %s AND created_at = %s"


class Steps:
    """Requests of a source, a few transactions at a time; no two have the same time, whatever becomes of their ids."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._instants = seed * INSTANTS
        self._block: list[int] = []
        self._slow: list[Connection[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def write(self, source: Source) -> None:
        """Write some transactions: quick and slow ones, rollbacks, savepoints, completions, cleanups."""
        for _ in range(self._chance.randint(2, 6)):
            step = self._chance.choice(
                (*(self._insert,) * 3, *(self._complete,) * 2, self._tidy, *(self._delay,) * 2, self._use_block)
            )
            step(source)

    def end(self) -> None:
        """Commit the open transaction; or forget it, when its server is gone."""
        while self._slow:
            self._commit(self._slow.pop())

    def _commit(self, slow: "Connection[Any]") -> None:
        with suppress(psycopg.OperationalError):
            slow.execute("COMMIT")
        slow.close()

    def _instant(self) -> datetime:
        self._instants += 1
        return BEGUN_AT + timedelta(milliseconds=self._instants)

    def _insert(self, source: Source) -> None:
        """Insert requests with the next ids that are free here, in any order; some of them are rolled back."""
        first = self._free(source)
        with suppress(psycopg.Rollback), source.connection.transaction():
            for number in self._chance.sample(range(first, first + 8), self._chance.randint(1, 8)):
                with suppress(psycopg.Rollback), source.connection.transaction() as savepoint:
                    self._request(source.connection, number)
                    if self._chance.random() < 0.1:
                        raise psycopg.Rollback(savepoint)
            if self._chance.random() < 0.1:
                raise psycopg.Rollback

    def _free(self, source: Source) -> int:
        # What a transaction that is open inserts is not seen here: it takes its ids from below.
        return int(source.run("SELECT greatest(max(id), 0) + 1 FROM http_requests")[0][0])

    def _request(self, connection: "Connection[Any]", number: int) -> None:
        created_at = self._instant()
        completed_at = self._instant() if self._chance.random() < 0.6 else None
        connection.execute(INSERT, [number, created_at, completed_at, 200 if completed_at else None])

    def _use_block(self, source: Source) -> None:
        """Insert a request with an id of an earlier block, in any order."""
        if not self._block:
            first = -100 * self._instants - 100
            self._block = self._chance.sample(range(first, first + 10), 10)
        self._request(source.connection, self._block.pop())

    def _complete(self, source: Source) -> None:
        """Complete some of the open requests, a few of them twice."""
        waiting = source.run("SELECT id, created_at FROM http_requests WHERE completed_at IS NULL ORDER BY id")
        for number, created_at in self._chance.sample(waiting, len(waiting) // 2):
            for _ in range(self._chance.choice((1, 1, 2))):
                status = self._chance.choice((200, 302, 500))
                source.run(COMPLETE, self._instant(), status, number, created_at)

    def _tidy(self, source: Source) -> None:
        """Remove old requests that are complete, as Tableau's cleanup does; the newest stays."""
        source.run(
            "DELETE FROM http_requests WHERE completed_at IS NOT NULL AND mod(id, 3) = %s"
            " AND id < (SELECT max(id) - 10 FROM http_requests)",
            self._chance.randrange(3),
        )

    def _delay(self, source: Source) -> None:
        """Begin a transaction that a later step ends, or end one."""
        if len(self._slow) == MOST_SLOW or (self._slow and self._chance.random() < 0.4):
            self._commit(self._slow.pop(self._chance.randrange(len(self._slow))))
            return
        slow = connect(source.parameters)
        self._slow.append(slow)
        slow.execute("BEGIN")
        self._request(slow, -100 * self._instants - 50)
