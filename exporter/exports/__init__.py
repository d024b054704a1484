"""Formats that tables of the history are exported in: a module each, which declares ``export``.

``export(rows, target, options)`` brings a target up to date and returns how many rows it wrote. Rows of an appended
table are read by position, so that a target that remembers its position gets only what is new; the other tables are
replaced whole. A format's library is imported with its module.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from exporter.errors import ExporterError

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.history.export_reader import Slice

FORMATS: Mapping[str, str] = {
    "csv": "csv_files",
    "delta": "delta",
    "hyper": "hyper",
    "parquet": "parquet",
    "text": "text",
}
"""The module of each format."""


@dataclass(frozen=True)
class Table:
    """How a table is exported: appended in the order of a column, or, without one, replaced whole."""

    order: str | None = None
    """The column whose instants never go back: what is later is new."""
    at: str | None = None
    """The rows' own time: what --since and --until bound, and the day of a partition."""
    base: str | None = None
    """Of a view: the table that has its rows."""
    archived_again: bool = False
    """Whether rows that a history has lost are read from their source again."""


TABLES: Mapping[str, Table] = {
    "http_requests": Table("archived_at", "created_at", archived_again=True),
    "archived_requests": Table("archived_at", "created_at", archived_again=True),
    "usage": Table("archived_at", "created_at", "archived_requests", archived_again=True),
    "activity_events": Table("archived_at", "event_time", archived_again=True),
    "cloud_requests": Table("archived_at", "created_at", archived_again=True),
    "cloud_jobs": Table("archived_at", "event_time", archived_again=True),
    "activity_files": Table(at="hour"),
    "activity_rejects": Table(at="hour"),
    "insights_events": Table("archived_at", "event_date", archived_again=True),
    "view_totals": Table(),
    "background_jobs": Table("archived_at", "created_at", archived_again=True),
    "logins": Table("archived_at", "login_at", archived_again=True),
    "events": Table("archived_at", "created_at", archived_again=True),
    "freshness_audit": Table("audit_timestamp", "audit_timestamp"),
    "http_requests_open": Table(at="created_at"),
    **{
        name: Table(at="day")
        for kept in ("sites", "projects", "users", "workbooks", "views", "datasources", "extracts", "data_connections")
        for name in (kept, f"latest_{kept}")
    },
    "removals": Table(at="day"),
    "workbook_datasources": Table(at="day"),
    "counters": Table(),
    "histograms": Table(),
    "newest_events": Table(at="latest"),
    "label_values": Table(),
    "last_seen": Table(at="seen_at"),
    "requests_by_hour": Table(at="hour"),
    "people_by_hour": Table(at="hour"),
    "views_by_day": Table(at="day"),
    "views_waiting": Table(at="day"),
    "workbook_opens": Table(at="slot"),
    "asset_sizes": Table(at="refreshed_at"),
    "asset_refreshes": Table(at="refreshed_at"),
    "asset_freshness": Table(),
    "freshness_sources": Table(),
    "alerts": Table(),
    "alert_past": Table(at="seen_at"),
    "archived_days": Table(at="day"),
    "imports": Table(at="archived_at"),
    "positions": Table(),
    "poll_log": Table(at="started_at"),
    "incidents": Table(at="happened_at"),
    "marks": Table(),
    "schema_version": Table(),
}
"""Every table of the history that is documented."""

DAILY_TEXT_FILES = ("http_requests", "logins", "users", "views", "workbooks", "extracts", "Extracts_To_Workbooks")
TEXT_FILES = (*DAILY_TEXT_FILES, "usage")
"""The files of the older text-file tool, and what its readers made of them."""


class Rows(Protocol):
    """The rows of one table, as they are now; positions are instants of its order (UTC, naive)."""

    @property
    def schema(self) -> "pa.Schema":
        """The columns."""

    @property
    def newest(self) -> datetime | None:
        """The last position of this export, None where there is no row; what comes later waits for the next."""

    def slices(
        self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
    ) -> "Iterator[Slice]":
        """Yield the rows after a position, all for None; up to another, in one slice, where it is given.

        ``first``: whether this is a first export still; without it, where ``after`` is None. Each slice is read when it
        is requested; the history is not locked in between.
        """

    def whole(self) -> "pa.Table":
        """Return all rows of a table that is replaced."""


@dataclass(frozen=True)
class ExportOptions:
    """Which history the rows are of, as a name that no other has, which table, and how it is exported."""

    history: str
    table: str
    rewrite: bool = False
    """Whether the target is begun anew."""
    until: datetime | None = None
    """What bounds an export that nothing will be appended to."""

    @property
    def kind(self) -> Table:
        """How the table is exported."""
        return TABLES[self.table]


@dataclass(frozen=True)
class Form:
    """How values are written."""

    delimiter: str = "|"
    timezone: str = "UTC"


@dataclass(frozen=True)
class Added:
    """Columns that are added to each row: those of the row of ``rows`` whose column ``key`` equals its own."""

    key: str
    columns: Sequence[str]
    rows: "pa.Table"
    leads_to: str | None = None
    """The column of ``rows`` that is the key of what is added after this."""


@dataclass(frozen=True)
class TextOptions(ExportOptions):
    """What is written into a text file, and how."""

    is_appended: bool = False
    columns: Sequence[str] = ()
    dates: frozenset[str] = frozenset()
    """Instants of which only the day is written."""
    added: Sequence[Added] = ()
    form: Form = field(default_factory=Form)

    @property
    def header(self) -> Sequence[str]:
        """The names of all columns."""
        return [*self.columns, *(name for added in self.added for name in added.columns)]


ONE_OFF = "an export with --until is appended to nothing, and nothing to it"

Export = Callable[[Rows, str, ExportOptions], int]


def load(name: str) -> Export:
    """Return the function of a format. Raises ExporterError where its library is missing."""
    try:
        module = importlib.import_module(f"exporter.exports.{FORMATS[name]}")
    except ModuleNotFoundError as error:
        message = f"--format={name} needs {error.name}: pip install 'tableau-exporter[{name}]'"
        raise ExporterError(message) from None
    return cast("Export", module.export)
