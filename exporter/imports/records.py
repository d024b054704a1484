"""Assembles lines into rows: a text may hold line ends, so that a row spans several lines.

Most lines are a row each. What is not is kept until it is one together with the lines after it, or until the next whole
row proves that it never will be. A row that would also be one together with the line after it is rejected with that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from exporter.imports import Reject
from exporter.imports.dialect import COLUMNS, Dialect
from exporter.imports.fields import Unfit, fit
from exporter.imports.lines import Line

# A text with more line ends, or longer, is not waited for.
MOST_LINES = 100
MOST_BYTES = 4_000_000

NOT_A_ROW = "does not begin as a request"
CONTINUED = "is a request with and without the lines beside it"


@dataclass(frozen=True)
class Record:
    """One row: where it begins, its bytes, its fields; and whether it had to be put together."""

    line: int
    original: bytes
    text: str
    fields: Sequence[str | None]
    recovered: bool = False


@dataclass
class Assembler:
    """Puts the lines of one dialect together."""

    dialect: Dialect
    _held: Record | None = None
    """The last row, until it is known that it does not go on."""
    _orphans: list[Line] = field(default_factory=list)
    """What came after it and does not begin as a row."""
    _pending: list[Line] = field(default_factory=list)
    """What began as a row and is not whole yet."""

    def feed(self, line: Line) -> Iterator[Record | Reject]:
        """Take the next line; yield what is certain now."""
        if self._pending and self.dialect.quoted and _joined(self._pending, self.dialect) is Unfit.OPEN:
            yield from self._feed_quoted(line)
            return
        found = self.dialect.row.fullmatch(line.text)
        if found and self._may_go_on_in(line):
            pending, self._pending = [*self._pending, line], []
            yield from self._flush()
            yield _rejected(pending, CONTINUED)
        elif found and not (self.dialect.quoted and '"' in line.text):
            if self._orphans or self._pending:
                yield from self._flush()
            elif self._held:
                yield self._held
            self._held = Record(line.number, line.original, line.text, self._nulls(found.groups()))
        elif self._pending or self.dialect.start.match(line.text):
            self._pending.append(line)
            yield from self._try()
        else:
            self._orphans.append(line)
            if _too_long(self._orphans):
                yield from self._flush()

    def _may_go_on_in(self, line: Line) -> bool:
        """Whether the pending lines may be a row with this one, which is one by itself but begins unlike any."""
        if not self._pending or self.dialect.start.match(line.text):
            return False
        return _joined([*self._pending, line], self.dialect) not in (Unfit.SHORT, Unfit.FORM)

    def finish(self) -> Iterator[Record | Reject]:
        """Yield what is left when there are no more lines."""
        yield from self._flush()
        if self._held:
            yield self._held
            self._held = None

    def _nulls(self, fields: Sequence[str]) -> Sequence[str | None]:
        return [text or None for text in fields] if self.dialect.quoted else fields

    def _feed_quoted(self, line: Line) -> Iterator[Record | Reject]:
        """Go on with a quoted text; one that never ends is rejected with its line alone, and the rest is read again."""
        self._pending.append(line)
        fields = _joined(self._pending, self.dialect)
        if fields is Unfit.OPEN and not _too_long(self._pending):
            return
        if not isinstance(fields, Unfit):
            yield from self._try()
            return
        torn, *rest = self._pending
        self._pending = []
        yield Reject(torn.number, Unfit.OPEN, torn.original)
        for again in rest:
            yield from self.feed(again)

    def _try(self) -> Iterator[Record | Reject]:
        """See whether the pending lines are a row, the last of them that begin one first."""
        for first in (0,) if self.dialect.quoted else reversed(range(len(self._pending))):
            lines = self._pending[first:]
            if first and not self.dialect.start.match(lines[0].text):
                continue
            fields = _joined(lines, self.dialect)
            if not isinstance(fields, Unfit):
                self._pending = self._pending[:first]
                yield from self._flush()
                self._held = _record(lines, fields)
                return
        if _too_long(self._pending) or (self.dialect.quoted and self._reason(self._pending) is not Unfit.OPEN):
            yield from self._flush()

    def _flush(self) -> Iterator[Record | Reject]:
        """Yield the row that is held, and what became none."""
        held, orphans, pending = self._held, self._orphans, self._pending
        self._held, self._orphans, self._pending = None, [], []
        rest = [*orphans, *(pending if self._is_short(pending) else ())]
        if held and self._goes_on(held, rest):
            yield Reject(held.line, CONTINUED, held.original + b"".join(line.original for line in rest))
            held, orphans, pending = None, [], pending[len(rest) - len(orphans) :]
        if held:
            yield held
        if any(line.text.strip() for line in orphans):
            reason = self._reason(orphans)
            yield _rejected(orphans, NOT_A_ROW if reason is Unfit.SHORT else reason)
        if pending:
            yield _rejected(pending, self._reason(pending))

    def _reason(self, lines: Sequence[Line]) -> Unfit:
        fields = _joined(lines, self.dialect)
        return fields if isinstance(fields, Unfit) else Unfit.AMBIGUOUS

    def _is_short(self, lines: Sequence[Line]) -> bool:
        """Whether lines are rather the end of a row than one that is broken."""
        return sum(line.text.count(self.dialect.delimiter) for line in lines) < len(COLUMNS) // 2

    def _goes_on(self, held: Record, orphans: Sequence[Line]) -> bool:
        text = held.text
        for line in orphans:
            text += "\n" + line.text
            if not isinstance(fit(text, self.dialect), Unfit):
                return True
        return False


def _joined(lines: Sequence[Line], dialect: Dialect) -> Sequence[str | None] | Unfit:
    return fit("\n".join(line.text for line in lines), dialect)


def _record(lines: Sequence[Line], fields: Sequence[str | None]) -> Record:
    original = b"".join(line.original for line in lines)
    return Record(lines[0].number, original, "\n".join(line.text for line in lines), fields, recovered=True)


def _rejected(lines: Sequence[Line], reason: str) -> Reject:
    return Reject(lines[0].number, reason, b"".join(line.original for line in lines))


def _too_long(lines: Sequence[Line]) -> bool:
    return len(lines) > MOST_LINES or sum(len(line.original) for line in lines) > MOST_BYTES
