"""What the agent knows about itself, as plain values: made by the poller, shown by the exposition and the status page.

Instants are Unix seconds, spans are seconds, texts are one line and free of secrets.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceStatus:
    """One source of rows: ``name`` is ``repository`` or ``rest``."""

    name: str
    up: bool = False
    address: str | None = None
    server_version: str | None = None
    tried_at: float | None = None
    answered_at: float | None = None
    error: str | None = None
    polling_since: float | None = None
    """When the poll that is under way began; None between polls."""
    stuck: bool = False
    """Whether that poll makes no progress."""


@dataclass(frozen=True)
class CollectorStatus:
    """The last run of one collector; ``note`` names what its source lacks.

    ``causes`` are what alone made it fail: the source, the history, another collector. Empty where it failed by itself.
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
    """One poll as the poll log tells it."""

    started_at: float
    seconds: float
    mode: str
    rows_read: int
    rows_new: int
    error: str | None = None


@dataclass(frozen=True)
class ArchiveStatus:
    """Where the history stands; what is None was not read yet."""

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
    """An alert that fires: what it is called, how bad it is, about which asset, and since when."""

    name: str
    severity: str
    labels: tuple[tuple[str, str], ...]
    """All labels, sorted by name."""
    since: float
    runbook_url: str = ""
    """Where its runbook is; empty where the configuration names no runbooks."""

    @property
    def rule(self) -> str:
        """Alert and severity: the two name one rule."""
        return f"{self.name} {self.severity}"

    def label(self, name: str) -> str:
        """Return a label's value, empty where there is none."""
        return dict(self.labels).get(name, "")


@dataclass(frozen=True)
class FreshnessSource:
    """When a source of freshness (metadata, job, flow_run, task) was last read whole for a site."""

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
    """Everything the status page shows."""

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
