"""What a poll asks of the history for the pages once its rows are archived, pinned to the store.

Each question has a transaction of its own. One that fails costs the pages its answer, and the archive nothing: what was
answered before is shown on, with its age.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pyarrow as pa
import structlog

from exporter.errors import HistoryBusy, HistoryError
from exporter.history.totals import instant
from exporter.history.writer import Writer
from exporter.pagedata.answers import HistoryAnswer, usage_of
from exporter.poller.context import PollContext
from exporter.poller.merged_state import StateKey
from exporter.poller.schedule import Due

log = structlog.get_logger()

FORGET_SECONDS = 3600.0
Answer = TypeVar("Answer")


@dataclass
class Recollection:
    """Asks on behalf of one source; a question is asked again when its answer is too old."""

    source: str
    shared: PollContext
    _due: dict[StateKey, Due] = field(default_factory=dict)
    _forget_due: Due = field(default_factory=lambda: Due(FORGET_SECONDS))
    _said: set[str] = field(default_factory=set)

    def forget(self, now: float, source_at: datetime | None, *, exact: bool) -> None:
        """Forget what no page shows any more: at each exact poll, and hourly where the source is silent."""
        if not (exact and source_at) and not self._forget_due.at(now):
            return
        try:
            self._ask("people_by_hour", now, lambda writer: writer.forget_use(source_at))
        except HistoryBusy as error:
            self._say("people_by_hour", error)
        else:
            self._forget_due.done_at = now

    def recall(self, states: Mapping[StateKey, pa.Table], sites: Mapping[int, str], now: float) -> None:
        """Ask what is due about these states and about use; ``sites`` are labels by number."""
        try:
            while self._ask("views_by_day", now, Writer.sum_up_views):
                pass
            for key, rows in states.items():
                self._recall(key, rows, sites, now)
            if self.source == "repository" and "http_requests" in self.shared.collectors:
                self._use(sites, now)
        except HistoryBusy as error:
            # Whoever holds the file will not let go for the next question either.
            self._say("the file", error)

    def _recall(self, key: StateKey, rows: pa.Table, sites: Mapping[int, str], now: float) -> None:
        state, name = self.shared.collectors[key[0]].states[key[1]], f"{key[0]}/{key[1]}"
        due = self._due.setdefault(key, Due(state.recalls_seconds))
        if state.recalls is None or not due.at(now):
            return
        question = state.recalls
        answer = self._ask(name, now, lambda writer: writer.recall(question, rows))
        if answer is not None:
            due.done_at = now
            self.shared.answers.set(name, self.source, HistoryAnswer(answer, now, dict(sites)))

    def _use(self, sites: Mapping[int, str], now: float) -> None:
        used = self._ask("use", now, partial(Writer.use, with_people="active_users" in self.shared.collectors))
        if used is not None:
            since = used.loads_since.replace(tzinfo=UTC).timestamp() if used.loads_since else None
            self.shared.answers.set_usage(usage_of(used.requests, used.people, sites, now, since))

    def _ask(self, name: str, now: float, question: Callable[[Writer], Answer]) -> Answer | None:
        """Return an answer; None where there is none, which is said once until there is one. Raises HistoryBusy."""
        try:
            with self.shared.history.asking(instant(now)) as writer:
                answer = question(writer)
        except HistoryBusy:
            raise
        except HistoryError as error:
            self._say(name, error)
            return None
        self._said -= {name, "the file"}
        return answer

    def _say(self, name: str, error: HistoryError) -> None:
        # How much memory was lacking changes from one time to the next, and would be said again each time.
        if name not in self._said:
            # A file that is held keeps the next poll from writing too, which has the line.
            write = log.debug if isinstance(error, HistoryBusy) else log.warning
            write("the pages lack what the history could not be asked", asked=name, error=str(error))
        self._said.add(name)
