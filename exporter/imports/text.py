"""Text files of the older tool, and those that ``history export --format=text`` writes of requests."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from exporter.errors import ImportUnreadable
from exporter.imports import FINGERPRINT, OTHERWISE, Counts, FileOptions, Reject
from exporter.imports.dialect import (
    COLUMNS,
    DEFAULT_DELIMITER,
    NEWER_NAMES,
    NULL,
    NUMBERS,
    TIMES,
    Dialect,
    detect,
    header_delimiter,
)
from exporter.imports.lines import Lines, open_text
from exporter.imports.records import Assembler, Record
from exporter.imports.zones import Instant, parse_time

BATCH_ROWS = 5_000
_CREATED, _COMPLETED = (COLUMNS.index(name) for name in TIMES)
_FINGERPRINT_BYTES = 16
_NO_TIME = "is no time: {}"
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class _Read:
    """A row with its times in UTC."""

    fields: Sequence[str | None]
    created: Instant | None
    completed: Instant | None
    fingerprint: bytes | None
    """Of the older tool's rows, which a second run of it appended again; our export's are each a request."""


class TextReader:
    """One text file."""

    def __init__(self, path: Path, options: FileOptions) -> None:
        """Check that the file is a text export. Raises ImportUnreadable."""
        self.counts = Counts()
        self._path, self._options = path, options
        self._quoted = False
        with open_text(path) as file:
            self.size = path.stat().st_size
            self._lines = Lines(file, Counts())
            self._first_dialect()

    @property
    def position(self) -> int:
        """How many bytes are read."""
        return self._lines.position

    def batches(self, reject: Callable[[Reject], None]) -> Iterator[pa.Table]:
        """Yield the requests, so many at a time; times are UTC. Raises ImportUnreadable."""
        with open_text(self._path) as file:
            self._lines = Lines(file, self.counts)
            rows: list[_Read] = []
            for record in self._records(reject):
                if (row := self._row(record, reject)) is not None:
                    rows.append(row)
                if len(rows) >= BATCH_ROWS:
                    yield self._table(rows)
                    rows = []
            if rows:
                yield self._table(rows)

    def _records(self, reject: Callable[[Reject], None]) -> Iterator[Record]:
        assembler = self._assembler(self._first_dialect())
        for line in self._lines:
            if line.text[:1] in {"c", "C"} and (delimiter := header_delimiter(line.text, self._options.delimiter)):
                # A tool that was started anew wrote its header again, perhaps of another generation.
                self.counts.headers += 1
                yield from _accepted(assembler.finish(), reject)
                assembler = self._assembler(self._dialect(delimiter, line.text))
            else:
                yield from _accepted(assembler.feed(line), reject)
        yield from _accepted(assembler.finish(), reject)

    def _assembler(self, dialect: Dialect) -> Assembler:
        self._quoted = dialect.quoted
        return Assembler(dialect)

    def _first_dialect(self) -> Dialect:
        """Return the dialect by the first line, which is a header or a row. Raises ImportUnreadable."""
        sample = self._lines.ahead()
        first = sample[0].removeprefix("\ufeff") if sample else ""
        if delimiter := header_delimiter(first, self._options.delimiter):
            return detect(delimiter, sample)
        dialect = detect(self._options.delimiter or DEFAULT_DELIMITER, sample)
        if any(map(dialect.row.fullmatch, sample)):
            return dialect
        message = f"{self._path}: begins with no header of http_requests.txt, and holds no request; check --delimiter"
        raise ImportUnreadable(message)

    def _dialect(self, delimiter: str, header: str) -> Dialect:
        dialect = detect(delimiter, self._lines.ahead())
        # Only the older tool ever wrote the plain names.
        return dialect if header.startswith(NEWER_NAMES[0]) else replace(dialect, quoted=False)

    def _row(self, record: Record, reject: Callable[[Reject], None]) -> _Read | None:
        try:
            created, completed = (self._instant(record.fields[place]) for place in (_CREATED, _COMPLETED))
        except ValueError as error:
            reject(Reject(record.line, _NO_TIME.format(error), record.original))
            return None
        self.counts.recovered += record.recovered
        if self._quoted:
            return _Read(record.fields, *_settled(created, completed), None)
        fields = [None if _is_null(text) else text for text in record.fields]
        return _Read(fields, *_settled(created, completed), _fingerprint(fields))

    def _instant(self, text: str | None) -> Instant | None:
        return None if _is_null(text) else parse_time(text or "", self._options.zone)

    def _table(self, rows: Sequence[_Read]) -> pa.Table:
        for row in rows:
            times = [time for time in (row.created, row.completed) if time]
            self.counts.ambiguous_times += any(time.otherwise is not None for time in times)
            self.counts.missing_times += any(time.missing for time in times)
        columns = dict(zip(COLUMNS, map(list, zip(*(row.fields for row in rows), strict=True)), strict=True))
        made = {name: _array(name, values) for name, values in columns.items() if name not in TIMES}
        made["created_at"], made[OTHERWISE["created_at"]] = _times([row.created for row in rows])
        made["completed_at"], made[OTHERWISE["completed_at"]] = _times([row.completed for row in rows])
        made[FINGERPRINT] = pa.array([row.fingerprint for row in rows], pa.binary(_FINGERPRINT_BYTES))
        return pa.table(made)


def _accepted(found: Iterator[Record | Reject], reject: Callable[[Reject], None]) -> Iterator[Record]:
    for item in found:
        if isinstance(item, Reject):
            reject(item)
        else:
            yield item


def _is_null(text: str | None) -> bool:
    return text is None or text in {"", NULL}


def _array(name: str, values: Sequence[str | None]) -> pa.Array:
    if name in NUMBERS:
        return pa.array([None if _is_null(value) else int(value or 0) for value in values], pa.int64())
    return pa.array(values, pa.string())


def _times(instants: Sequence[Instant | None]) -> tuple[pa.Array, pa.Array]:
    kind = pa.timestamp("us")
    read: list[datetime | None] = [time.at if time else None for time in instants]
    return pa.array(read, kind), pa.array([time.otherwise if time else None for time in instants], kind)


def _settled(created: Instant | None, completed: Instant | None) -> tuple[Instant | None, Instant | None]:
    """Read a repeated hour by the end of the request where that is after it: its duration is the shorter of two."""
    if created and completed and created.otherwise and not completed.otherwise and created.otherwise <= completed.at:
        return Instant(created.otherwise, created.at), completed
    return created, completed


def _fingerprint(fields: Sequence[str | None]) -> bytes:
    text = _SEPARATOR.join(field or "" for field in fields)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_FINGERPRINT_BYTES).digest()
