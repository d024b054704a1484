"""A steady load: so many commits a second of one request each, from several sessions at once."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any, Self

from exporter.repository.connection import Connection, connect

SESSIONS = 8

INSERT = """
    INSERT INTO public.http_requests (
        controller, action, http_request_uri, created_at, completed_at, status, site_id, user_id
    ) VALUES (
        'vizql', 'bootstrap', '/vizql/w/Sales/v/Overview/bootstrap', clock_timestamp(),
        CASE WHEN %s THEN clock_timestamp() END, 200, %s, %s
    ) RETURNING id
"""
COMPLETE = "UPDATE public.http_requests SET completed_at = clock_timestamp() WHERE id = %s AND completed_at IS NULL"


class Load:
    """Commits at a rate until the block ends; a session that has fallen behind catches up."""

    def __init__(self, parameters: Mapping[str, str | int], seed: int, commits_a_second: float) -> None:
        self._parameters = parameters
        self._seconds_apart = SESSIONS / commits_a_second
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._commits = [0] * SESSIONS
        self._began = self._ended = 0.0
        self._threads = [
            threading.Thread(target=self._session, args=(number, Random(f"{seed}/{number}")))
            for number in range(SESSIONS)
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._ended = time.monotonic()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    @property
    def commits(self) -> int:
        """How many transactions were committed."""
        return sum(self._commits)

    @property
    def rate(self) -> float:
        """How many commits a second were reached."""
        return self.commits / (self._ended - self._began)

    def _session(self, number: int, chance: Random) -> None:
        try:
            with connect(self._parameters) as connection:
                connection.execute("SET synchronous_commit = off")
                self._write(connection, number, chance)
        except BaseException as error:  # noqa: BLE001 - raised when the block ends
            self._failures.append(error)

    def _write(self, connection: "Connection[Any]", number: int, chance: Random) -> None:
        unfinished: deque[int] = deque()
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._seconds_apart
            if len(unfinished) > 20 and chance.random() < 0.3:
                connection.execute(COMPLETE, [unfinished.popleft()], prepare=True)
            else:
                done = chance.random() < 0.8
                values = [done, chance.choice((1, 2, 3)), chance.randint(1, 50)]
                row = connection.execute(INSERT, values, prepare=True).fetchone()
                if row is not None and not done:
                    unfinished.append(row[0])
            self._commits[number] += 1
