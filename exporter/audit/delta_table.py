"""The rows of one audit, appended to a Delta table as ``history export`` appends those of ``freshness_audit``.

Without a history nothing remembers what was appended before, and nothing has to: every audit is new, with an
``audit_timestamp`` of its own. The application transaction of the commit is named after what was audited, and its
version is that instant: a commit that is tried again, because its outcome was lost, does not append the audit twice.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.config import Configuration
from exporter.errors import OutputUnwritable
from exporter.exports import Export, ExportOptions
from exporter.history.export_reader import Slice
from exporter.texts import safe_uri

_TABLE = "freshness_audit"
_DIGITS = 16


@dataclass(frozen=True)
class _Rows:
    """One audit as an export reads a table: a single slice."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def newest(self) -> datetime | None:
        newest: datetime | None = pc.max(self.table["audit_timestamp"]).as_py()
        return newest

    def slices(
        self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
    ) -> Iterator[Slice]:
        """Yield all rows: they are of one instant."""
        del after, until, first
        if self.newest is not None:
            yield Slice(self.newest, self.table)

    def whole(self) -> pa.Table:
        return self.table


def append_audit(export: Export, rows: pa.Table, target: str, subject: str) -> None:
    """Append the rows of an audit in one commit. Raises OutputUnwritable.

    ``subject`` is what was audited, as ``subject_of`` returns it.
    """
    if rows.num_rows and not export(_Rows(rows), target, ExportOptions(f"audit-{subject}", _TABLE)):
        message = "it has this audit or a later one; two audits ran at once, or a clock went back: run it again"
        raise OutputUnwritable(f"{safe_uri(target)}: {message}")


def subject_of(configuration: Configuration, sites: Sequence[str]) -> str:
    """Return a name for what an audit reads: audits of other sources or sites have positions of their own."""
    repository, rest = configuration.repository, configuration.rest
    parts = [
        *([f"{repository.database}@{host}" for host in sorted(map(str, repository.hosts))] if repository else ()),
        str(rest.url) if rest else "",
        *sorted(site.casefold() for site in sites),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]
