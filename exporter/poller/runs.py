"""How each collector's run went during one poll."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exporter.errors import ExporterError
from exporter.status import CollectorStatus


@dataclass
class Run:
    """One collector's part of a poll."""

    seconds: float = 0.0
    rows: int = 0
    error: str | None = None
    ran: bool = False


@dataclass
class Runs:
    """The runs of one poll, by collector."""

    by_name: dict[str, Run] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[Run]:
        """Time a part of a collector's work, and keep the error that it ends with before passing it on."""
        run = self.by_name.setdefault(name, Run())
        run.ran = True
        begun = time.monotonic()
        try:
            yield run
        except ExporterError as error:
            run.error = run.error or str(error)
            raise
        finally:
            run.seconds += time.monotonic() - begun

    def fail(self, name: str, error: str) -> None:
        """Say that a collector's data could not be had or stored."""
        run = self.by_name.setdefault(name, Run())
        run.ran = True
        run.error = run.error or error

    def statuses(self, now: float) -> list[CollectorStatus]:
        """Return the status of each collector that ran."""
        return [
            CollectorStatus(name, run.error is None, run.seconds, None if run.error else now, run.rows, run.error)
            for name, run in self.by_name.items()
            if run.ran
        ]
