"""Formats that tables of the history are exported in: a module each, which declares ``export``.

``export(rows, target, options)`` writes rows to a target and returns how many. Rows are asked for by position, so that
a format that remembers how far it came takes only what is new. A format's library is imported with its module.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from exporter.errors import ExporterError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("delta",)
TABLES = {"freshness_audit": "audit_timestamp"}
"""What can be exported, and which column of it has the instants."""


class Rows(Protocol):
    """The rows of one table, each of an instant (UTC, naive); later ones have later instants."""

    @property
    def newest(self) -> datetime:
        """The last instant of this export; what comes later waits for the next."""

    def after(self, instant: datetime | None) -> "pa.RecordBatchReader":
        """Return the rows after an instant, all of them for None, in bounded memory."""


@dataclass(frozen=True)
class Options:
    """Which history the rows are of, as a name that no other has, which table, and which column has the instants."""

    history: str
    table: str
    at: str


Export = Callable[[Rows, str, Options], int]


def load(name: str) -> Export:
    """Return the function of a format. Raises ExporterError where its library is missing."""
    try:
        module = importlib.import_module(f"exporter.exports.{name}")
    except ModuleNotFoundError as error:
        message = f"--format={name} needs {error.name}: pip install 'tableau-exporter[{name}]'"
        raise ExporterError(message) from None
    return cast("Export", module.export)
