"""Requests at hand, as an export reads them from the history: a few of each transaction of the archive."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from exporter.exports import ExportOptions
from exporter.history.export_reader import Slice

NOON = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the history's times have no zone
HISTORY = "2025-01-01T00:00:00.000001"
OURS = ExportOptions(HISTORY, "http_requests")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("action", pa.string()),
        ("created_at", pa.timestamp("us")),
        ("archived_at", pa.timestamp("us")),
    ]
)
HOUR = timedelta(hours=1)


class Requests:
    """Of each transaction two requests: of its own hour, and of the day before; ``a_slice`` transactions a slice."""

    schema = SCHEMA

    def __init__(
        self, transactions: int, a_slice: int = 2, first: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self._a_slice, self._meanwhile = a_slice, meanwhile
        self.first: bool | None = None
        rows = []
        for number in range(first, transactions):
            at = NOON + number * HOUR
            action = ["show", 'a "quoted", text\nof two lines', "", None][number % 4]
            rows.append({"id": 2 * number, "action": action, "created_at": at, "archived_at": at})
            before = None if number % 5 == 4 else at - 24 * HOUR
            rows.append({"id": 2 * number + 1, "action": "=1+1", "created_at": before, "archived_at": at})
        self.table = pa.Table.from_pylist(rows, schema=SCHEMA)

    @property
    def newest(self) -> datetime | None:
        """The last position."""
        newest: datetime | None = pc.max(self.table["archived_at"]).as_py()
        return newest

    def slices(
        self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
    ) -> Iterator[Slice]:
        """Yield the rows after a position."""
        self.first = first
        all_ = sorted(set(self.table["archived_at"].to_pylist()))
        ends = [at for at in all_ if after is None or at > after]
        for end in ends[self._a_slice - 1 :: self._a_slice] + ends[len(ends) - len(ends) % self._a_slice :][-1:]:
            last = until or end
            chosen = pc.field("archived_at") <= pa.scalar(last)
            if after is not None:
                chosen = chosen & (pc.field("archived_at") > pa.scalar(after))
            yield Slice(last, self.table.filter(chosen))
            self._meanwhile()
            if until:
                return
            after = end

    def whole(self) -> pa.Table:
        """Return all of them."""
        return self.table


def ids(transactions: int) -> list[int]:
    """Return the ids of the requests of so many transactions."""
    return list(range(2 * transactions))
