"""Every error this program raises on purpose.

Each message is one line: what happened, to what, and what to do::

    ExporterError
    |-- ConfigurationError      the configuration has faults; carries all of them
    |-- SourceError             a source of rows did what it should not
    |   |-- SourceUnreachable   it did not answer, or not in time
    |   |-- SourceRefused       it answered with a refusal: password, rights, certificate, a setting that does not hold
    |   |-- SourceTimedOut      it ended a statement that took longer than its timeout
    |   `-- SourceIncomplete    it answered without what a collector needs
    |-- HistoryError            the history file did what it should not
    |   |-- HistoryBusy         another process holds the file
    |   |-- HistoryLocked       another agent owns the file
    |   |-- HistoryReplaced     the file is not the one that was read before
    |   |-- HistoryDamaged      the file holds what nobody wrote
    |   |-- QueryFailed         a query of the history was refused, was wrong or was stopped
    |   `-- HistoryUnwritable   folder, permissions or disk forbid writing
    |-- ImportUnreadable        a file that was to be imported is not one of requests
    |-- OutputUnwritable        an output cannot be written to its target
    |-- AssetsMissing           a file that is shipped beside the package is not installed
    |-- WebError                the web server cannot listen
    |-- ProxyUnusable           a proxy variable of the environment names no proxy
    |-- NotificationFailed      a request to an Alertmanager failed: no response, a refusal, or no Alertmanager
    |-- PollInterrupted         the agent was stopped in the middle of a long poll
    `-- DemoError               the demo cannot start on this machine
"""

from collections.abc import Sequence
from dataclasses import dataclass


class ExporterError(Exception):
    """The root of the tree; its text is one line for a person."""


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration: the dotted path of the key and what is wrong with its value."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationError(ExporterError):
    """The configuration cannot be used; ``faults`` holds everything wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


class SourceError(ExporterError):
    """A source of rows did what it should not."""


class SourceUnreachable(SourceError):
    """The source did not answer, or not in time."""


class SourceRefused(SourceError):
    """The source answered with a refusal: password, rights, certificate, a setting that does not hold."""


class SourceTimedOut(SourceError):
    """The source ended a statement that took too long, and goes on."""


class SourceIncomplete(SourceError):
    """The source lacks a table or a column that a collector needs."""


class HistoryError(ExporterError):
    """The history file did what it should not."""


class HistoryBusy(HistoryError):
    """Another process holds the history file."""


class HistoryLocked(HistoryError):
    """Another agent owns the history file."""


class HistoryReplaced(HistoryError):
    """The file is not the one that was read before: it was replaced while the agent ran."""


class HistoryDamaged(HistoryError):
    """The file holds data that DuckDB never wrote; it is not changed before a person has checked it."""


class QueryFailed(HistoryError):
    """A query of the history was refused, was wrong or was stopped by a limit."""


class HistoryUnwritable(HistoryError):
    """Folder, permissions or disk forbid writing the history."""


class ImportUnreadable(ExporterError):
    """A file that was to be imported is not there, cannot be read, or is not one of requests."""


class OutputUnwritable(ExporterError):
    """An output cannot be written to its target."""


class AssetsMissing(ExporterError):
    """A file that is shipped beside the package is not part of this installation."""


class WebError(ExporterError):
    """The web server cannot listen where it should."""


class ProxyUnusable(ExporterError):
    """A proxy variable of the environment names no proxy that can be used."""


class NotificationFailed(ExporterError):
    """A request to an Alertmanager failed: no response, a refusal, or no Alertmanager."""


class PollInterrupted(ExporterError):
    """The agent was stopped in the middle of a long poll; committed rows stay, the rest is read again."""


class DemoError(ExporterError):
    """The demo cannot start on this machine."""
