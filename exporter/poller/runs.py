"""Results of each collector's run during one poll."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exporter.errors import ExporterError, HistoryError, SourceUnreachable
from exporter.status import CollectorStatus

HISTORY = "history"


@dataclass
class CollectorRun:
    """One collector's part of a poll."""

    seconds: float = 0.0
    rows: int = 0
    error: str | None = None
    cause: str | None = None
    """The source, the history or the collector that made it fail, where the fault is not its own."""
    ran: bool = False


@dataclass
class Runs:
    """The runs of one poll of a source, by collector."""

    source: str
    by_name: dict[str, CollectorRun] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[CollectorRun]:
        """Time a part of a collector's run, and record the error that it raises."""
        run = self.by_name.setdefault(name, CollectorRun())
        run.ran = True
        begun = time.monotonic()
        try:
            yield run
        except ExporterError as error:
            self.fail(name, str(error), self._cause(error))
            raise
        finally:
            run.seconds += time.monotonic() - begun

    def fail(self, name: str, error: str, cause: str | None = None) -> None:
        """Record why a collector failed; ``cause`` is what else failed, and is logged by itself."""
        run = self.by_name.setdefault(name, CollectorRun())
        run.ran = True
        if run.error is None:
            run.error, run.cause = error, cause

    def fail_all(self, names: Iterable[str], error: str) -> None:
        """Record that the source failed, which supersedes other errors of its collectors."""
        for name in names:
            self.fail(name, error)
            self.by_name[name].error, self.by_name[name].cause = error, self.source

    def _cause(self, error: ExporterError) -> str | None:
        """Return what failed where it was not the collector itself."""
        if isinstance(error, SourceUnreachable):
            return self.source
        return HISTORY if isinstance(error, HistoryError) else None

    def statuses(self, now: float) -> list[CollectorStatus]:
        """Return the status of each collector that ran."""
        return [
            CollectorStatus(
                name,
                run.error is None,
                run.seconds,
                None if run.error else now,
                run.rows,
                run.error,
                causes=(run.cause,) if run.cause else (),
            )
            for name, run in self.by_name.items()
            if run.ran
        ]
