"""Reads requests where only the underscore view may be read: it has no id and no xmin.

The key is a hash of the row without its completion, so a request that completes keeps its key; two requests that are
the same in every column are one. Only their time shows which rows are new: each poll reads the last day, and at the
exact interval everything.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from exporter.history.tables import REQUEST_COLUMNS
from exporter.poller.columns import selection
from exporter.repository.binary_copy import Field
from exporter.repository.catalog import archivable
from exporter.repository.session import Session

PAGE_ROWS = 50_000
LOOK_BACK = timedelta(days=1)
_LATER = frozenset({"completed_at", "status"})


def read_view(session: Session, view: str, since: datetime | None) -> Iterator[tuple[Sequence[Field], pa.Table]]:
    """Yield the rows of a view of requests in pages by time; ``since`` (UTC, naive) leaves out what is older."""
    columns = archivable(session.catalog.relations[view])
    fields, select = _selection(columns)
    table = f'public."{view}"'
    after = f"created_at >= TIMESTAMP '{since}'" if since else "true"
    last: str | None = None
    while True:
        where = f"created_at >= TIMESTAMP '{last}'" if last else after
        page = session.page(f"SELECT {select} FROM {table} WHERE {where} ORDER BY created_at LIMIT {PAGE_ROWS}", fields)
        yield fields, page
        newest = _newest(page)
        if page.num_rows < PAGE_ROWS or newest is None or newest == last:
            return
        last = newest


def _selection(columns: dict[str, str]) -> tuple[Sequence[Field], str]:
    fields, columns_read = selection(columns)
    # Only what is known when a request begins, and no column that a later version adds: the key must not change.
    hashed = ", ".join(f'"{name}"' for name in REQUEST_COLUMNS if name in columns and name not in _LATER)
    # Sixteen hexadecimal digits of a digest are 64 bits; hashtextextended() came only with PostgreSQL 11.
    key = f"('x' || substr(md5(ROW({hashed})::text), 1, 16))::bit(64)::bigint"
    return (Field("id", "bigint"), *fields), ", ".join([key, *columns_read])


def _newest(page: pa.Table) -> str | None:
    """Return the last page's newest time; infinity and NULL sort last and end the paging."""
    if not page.num_rows:
        return None
    value = page.column("created_at")[-1]
    microseconds = value.value if value.is_valid else None
    if microseconds is None or abs(microseconds) >= 2**62:
        return None
    return str(value.as_py())
