"""Status of the agent as plain values: set by the pollers, published by the exposition and the status page.

Instants are Unix seconds, spans are seconds, texts are one line and free of secrets.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceStatus:
    """One source of rows: ``name`` is ``repository``, ``rest`` or ``activity_log``."""

    name: str
    up: bool = False
    address: str | None = None
    server_version: str | None = None
    tried_at: float | None = None
    answered_at: float | None = None
    error: str | None = None
    polling_since: float | None = None
    """When the current poll began; None between polls."""
    stuck: bool = False
    """Whether that poll makes no progress."""


@dataclass(frozen=True)
class CollectorStatus:
    """The last run of one collector; ``note`` names missing columns.

    ``causes`` are the source, the history or the collector that made it fail; empty where the fault is its own.
    """

    name: str
    success: bool
    duration_seconds: float
    succeeded_at: float | None
    rows: int | None = None
    error: str | None = None
    note: str | None = None
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PollStatus:
    """One poll, as in the poll log."""

    started_at: float
    seconds: float
    mode: str
    rows_read: int
    rows_new: int
    error: str | None = None


@dataclass(frozen=True)
class ArchiveStatus:
    """State of the history; None before it was read."""

    path: str
    file_bytes: int | None = None
    rows: int | None = None
    open_requests: int | None = None
    oldest_request_at: float | None = None
    newest_request_at: float | None = None
    horizon: int | None = None
    possibly_lost: int | None = None
    incidents: tuple[tuple[str, int], ...] | None = None


@dataclass(frozen=True)
class FiringAlert:
    """A firing alert: name, severity, labels, and since when."""

    name: str
    severity: str
    labels: tuple[tuple[str, str], ...]
    """All labels, sorted by name."""
    since: float
    runbook_url: str = ""
    """The address of its runbook; empty where none is configured."""

    @property
    def rule(self) -> str:
        """Name and severity: the rule."""
        return f"{self.name} {self.severity}"

    def label(self, name: str) -> str:
        """Return a label's value, empty where there is none."""
        return dict(self.labels).get(name, "")


@dataclass(frozen=True)
class FreshnessSource:
    """When a freshness source (metadata, job, flow_run, task) was last read completely for a site."""

    site: str
    source: str
    read_at: float


@dataclass(frozen=True)
class ExportStatus:
    """One table that the agent exports to one destination, since the agent started."""

    table: str
    format: str
    destination: str
    rows: int = 0
    failures: int = 0
    succeeded_at: float | None = None
    error: str | None = None
    """Why the last export failed; None where it did not."""


@dataclass(frozen=True)
class Status:
    """The content of the status page."""

    version: str
    now: float
    started_at: float
    sources: tuple[SourceStatus, ...]
    collectors: tuple[CollectorStatus, ...]
    polls: tuple[PollStatus, ...]
    archive: ArchiveStatus
    config_file: str | None = None
    config_error: str | None = None
    freshness_sources: tuple[FreshnessSource, ...] = ()
    history_error: str | None = None
    """Why the last poll could not write the history."""
    exports: tuple[ExportStatus, ...] = ()
