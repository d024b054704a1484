"""VizQL Data Service: queries of published data sources, one at a time and no more of them an hour than allowed.

An answer has no pages: one that is too large is an error of its own, and the caller queries less.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tableauserverclient as tsc

from exporter.errors import SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.rest.errors import AnswerTooLarge, Forbidden, SessionLost
from exporter.rest.session import RestSession

# Tableau's own limit, for each Creator licence.
QUERIES_PER_HOUR = 100
HOUR_SECONDS = 3600.0
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _FAULT = 200, 401, 403, 404, 429, 500
_TOO_LARGE = "400804"
_HINTS = {
    "403157": "VizQL Data Service is off: an administrator switches it on for the site",
    "403800": "give the token's user API Access on the data source",
    "404950": "this Tableau has no VizQL Data Service",
}

Row = Mapping[str, Any]


class ReadLater(SourceError):
    """The rest is read by a later poll."""


class QueryBudget:
    """How many queries may still be sent within the hour that ends now."""

    def __init__(self, clock: Callable[[], float], per_hour: int = QUERIES_PER_HOUR) -> None:
        self._clock = clock
        self._per_hour = per_hour
        self._sent: deque[float] = deque()
        self.unrecorded = 0
        """How many were sent that the history has not recorded yet."""

    def restore(self, sent: Sequence[tuple[float, int]]) -> None:
        """Add what was sent before a restart: instants (Unix seconds) and how many queries."""
        before = [at for at, count in sent for _ in range(count)]
        self._sent = deque(sorted([*before, *self._sent]))

    def spend(self) -> None:
        """Count a query that is about to be sent. Raises ReadLater where none is left."""
        now = self._clock()
        while self._sent and self._sent[0] <= now - HOUR_SECONDS:
            self._sent.popleft()
        if len(self._sent) >= self._per_hour:
            raise ReadLater(f"{self._per_hour} queries were sent within an hour; the rest follows")
        self._sent.append(now)
        self.unrecorded += 1

    def exhaust(self) -> None:
        """Send nothing more within this hour: Tableau counts the queries of others too."""
        now = self._clock()
        self._sent.extend([now] * (self._per_hour - len(self._sent)))


class VizqlData:
    """Queries the data sources of the site that a session is on."""

    def __init__(self, session: RestSession, budget: QueryBudget) -> None:
        self._session = session
        self.budget = budget

    def captions(self, datasource: str) -> frozenset[str]:
        """Return the captions of a data source's fields."""
        found = self._post("read-metadata", {"datasource": {"datasourceLuid": datasource}})
        return frozenset(str(row.get("fieldCaption")) for row in found)

    def query(self, datasource: str, captions: Sequence[str], filters: Sequence[Row]) -> Sequence[Row]:
        """Return the rows of a query. Raises AnswerTooLarge where it has too many."""
        query: dict[str, object] = {"fields": [{"fieldCaption": caption} for caption in captions]}
        if filters:
            query["filters"] = list(filters)
        options = {"returnFormat": "OBJECTS", "disaggregate": False}
        request = {"datasource": {"datasourceLuid": datasource}, "query": query, "options": options}
        rows = self._post("query-datasource", request)
        return [] if len(rows) == 1 and all(value is None for value in rows[0].values()) else rows

    def _post(self, name: str, body: object) -> Sequence[Row]:
        self.budget.spend()
        answer = self._session.call(lambda server: self._sent(server, name, body))
        rows = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceIncomplete(f"{self._place}: an answer of {name} without data")
        return rows

    @property
    def _place(self) -> str:
        return f"{self._session.place}: VizQL Data Service"

    def _sent(self, server: tsc.Server, name: str, body: object) -> object:
        response = server.session.post(
            f"{server.server_address}/api/v1/vizql-data-service/{name}",
            data=json.dumps(body),
            headers={"x-tableau-auth": server.auth_token or "", "content-type": "application/json"},
        )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.status_code == _OK and answer is not None:
            return answer
        raise self._error(response.status_code, answer)

    def _error(self, status: int, answer: object) -> SourceError:
        found = answer if isinstance(answer, dict) else {}
        code, message = str(found.get("errorCode") or status), str(found.get("message") or "no answer of its own")
        line = f"{self._place}: {self._session.transport.redactor.redact(f'{code}: {message}')}"
        if code == _TOO_LARGE:
            return AnswerTooLarge(line)
        if status == _UNAUTHORIZED:
            return SessionLost(line)
        if status == _TOO_MANY:
            self.budget.exhaust()
            return ReadLater(f"{line}: the rest follows after an hour")
        if status in {_FORBIDDEN, _NOT_FOUND}:
            return Forbidden(f"{line}: {_HINTS.get(code, 'check the rights of the token and its user')}")
        return SourceUnreachable(line) if status >= _FAULT else SourceRefused(line)
