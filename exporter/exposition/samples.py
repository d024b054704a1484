"""The samples of one family as columns; invalid ones are left out and counted by reason.

This is the one place where samples are validated. A fault costs its sample, its row or its block, nothing else.

Counters never decrease, for Prometheus takes a decrease for a reset and counts everything again: a series that
decreased is left out until it is as high again, or for ten minutes; so is one that was absent in between.
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from exporter.exposition.text_format import fault_of, histogram_lines, series_a_row, value_texts
from exporter.metrics import Block, Family, HistogramBlock, Labels

AnyBlock = Block | HistogramBlock
Places = npt.NDArray[np.int64]
Counts = tuple[float, ...]

DECREASED = "a counter decreased"
# How long a decrease is held back; after that it counts as a reset. Longer than the usual range of rate().
HOLD_SECONDS = 600.0
# Absent series of a family that are remembered: a bound of memory.
MAX_REMEMBERED = 100_000
TWICE = "another sample has the same labels"
NO_TEXT = "the value of a label is no text"
# What is joined, compressed and kept as one piece.
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class ExposedCounts:
    """The highest exposed value of each series, and since when (monotonic seconds) absent series are absent."""

    counts: Mapping[str, Counts]
    away: Mapping[str, float]

    def without(self, present: Container[str], seconds: float) -> "ExposedCounts":
        """Return the series that are not present, as far as they are remembered: the last that were exposed."""
        since = {name: self.away.get(name, seconds) for name in self.counts if name not in present}
        kept = [name for name, gone in since.items() if seconds - gone < HOLD_SECONDS]
        if len(kept) > MAX_REMEMBERED:
            kept = sorted(kept, key=since.__getitem__)[-MAX_REMEMBERED:]
        return ExposedCounts({name: self.counts[name] for name in kept}, {name: since[name] for name in kept})

    def joined(self, other: "ExposedCounts") -> "ExposedCounts":
        """Return the series of both; none is in both."""
        return ExposedCounts({**self.counts, **other.counts}, {**self.away, **other.away}) if other.counts else self


NOTHING_EXPOSED = ExposedCounts({}, {})


class BadBlockError(ValueError):
    """A block that cannot be rendered; the text is the reason."""


@dataclass(frozen=True)
class _Rows:
    """A validated block: texts of labels, texts of values, and counts that must not decrease."""

    texts: pa.StringArray
    written: pa.StringArray
    counts: Sequence[Counts]
    distinct: bool


class Samples:
    """The series of a family and how many were left out for which reason."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.left_out: Counter[str] = Counter()
        self.series_a_row = _series_a_row(family)
        self.exposed = NOTHING_EXPOSED
        self._blocks: list[_Rows] = []
        self._texts = self._written = pa.array([], pa.string())

    def add(self, block: AnyBlock, now: float) -> None:
        """Add the samples of a block; an invalid block is left out as a whole."""
        try:
            self._blocks.append(self._rows(block, now))
        except BadBlockError as error:
            self.left_out[str(error)] += rows_of(block)
        except Exception as error:  # noqa: BLE001 - the other blocks are served; the renderer logs it
            self.left_out[f"{type(error).__name__}: {error}"] += rows_of(block)

    def settle(self, before: ExposedCounts, seconds: float) -> None:
        """Leave out duplicates and decreased counters, once all blocks are added (monotonic seconds)."""
        try:
            self._settle(before, seconds)
        except Exception as error:  # noqa: BLE001 - such as labels of more bytes than a column can have
            self.left_out[f"{type(error).__name__}: {error}"] += sum(len(each.texts) for each in self._blocks)
            self.exposed = before.without((), seconds)
        self._blocks.clear()

    def _settle(self, before: ExposedCounts, seconds: float) -> None:
        texts, written = (_whole([getattr(each, name) for each in self._blocks]) for name in ("texts", "written"))
        kept = np.flatnonzero(pc.and_(texts.is_valid(), written.is_valid()).to_numpy(zero_copy_only=False))
        if len(self._blocks) != 1 or not self._blocks[0].distinct:
            kept = self._once(texts, kept)
        if self.family.type != "gauge":
            kept = self._never_falling(texts, kept, before, seconds)
        whole = len(kept) == len(texts)
        self._texts, self._written = (column if whole else column.take(kept) for column in (texts, written))

    @property
    def series(self) -> int:
        """The number of valid series."""
        return len(self._texts) * self.series_a_row

    def over(self, limit: int) -> int:
        """Return how many of them a limit leaves out; half a row is none."""
        return self.series - self._rows_within(limit) * self.series_a_row

    def bodies(self, limit: int) -> Iterator[pa.Buffer]:
        """Yield the lines of the first series, the same in both formats, in pieces of many rows."""
        count = self._rows_within(limit)
        for start in range(0, count, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, count - start)
            yield self._joined(self._texts.slice(start, size), self._written.slice(start, size))

    def _rows_within(self, limit: int) -> int:
        return min(len(self._texts), limit // self.series_a_row)

    def _rows(self, block: AnyBlock, now: float) -> _Rows:
        """Return a block as texts once it is validated against its family."""
        if block.family != self.family:
            raise BadBlockError("another family has the same name")
        if fault := fault_of(self.family):
            raise BadBlockError(fault)
        if isinstance(block, HistogramBlock) is not (self.family.type == "histogram"):
            raise BadBlockError("the block is of another type than its family")
        labels = _in_order(block.labels, self.family.labels)
        texts = labels.text
        counts: list[Counts] = []
        if isinstance(block, HistogramBlock):
            if not len(block.counts) == len(block.sums) == len(texts):
                raise BadBlockError("there are not as many counts and sums as labels")
            written, left_out = histogram_lines(block, texts.to_pylist())
            whole = written.is_valid().to_pylist()
            counts = [tuple(accumulate(row)) if good else () for row, good in zip(block.counts, whole, strict=True)]
        else:
            values: Any = block.at(now)
            if len(values) != len(texts):
                raise BadBlockError("there are not as many values as labels")
            written, left_out = value_texts(values, counts=self.family.type == "counter")
            if self.family.type == "counter":
                counts = [(float(text or 0),) for text in written.to_pylist()]
        if texts.null_count:
            left_out[NO_TEXT] += int(pc.sum(texts.is_null()).as_py()) * self.series_a_row
        self.left_out += left_out
        return _Rows(texts, written, counts, labels.distinct)

    def _once(self, texts: pa.StringArray, kept: Places) -> Places:
        """Return the places of series that no earlier one is equal to."""
        names = texts.take(kept).dictionary_encode()
        if len(names.dictionary) == len(kept):
            return kept
        self.left_out[TWICE] += (len(kept) - len(names.dictionary)) * self.series_a_row
        _, firsts = np.unique(names.indices.to_numpy(), return_index=True)
        return kept[firsts]

    def _never_falling(self, texts: pa.StringArray, kept: Places, before: ExposedCounts, seconds: float) -> Places:
        """Return the places of series that did not decrease, or did so long ago; remember what is exposed."""
        values = [count for block in self._blocks for count in block.counts]
        counts: dict[str, Counts] = {}
        away: dict[str, float] = {}
        stay = []
        for place, name in zip(kept.tolist(), texts.take(kept).to_pylist(), strict=True):
            count, last = values[place], before.counts.get(name, ())
            lower = any(new < old for new, old in zip(count, last, strict=False))
            since = before.away.get(name, seconds)
            if lower and seconds - since < HOLD_SECONDS:
                counts[name], away[name] = last, since
                self.left_out[DECREASED] += self.series_a_row
            else:
                counts[name] = count
                stay.append(place)
        self.exposed = ExposedCounts(counts, away).joined(before.without(counts, seconds))
        return np.array(stay, np.int64)

    def _joined(self, texts: pa.StringArray, written: pa.StringArray) -> pa.Buffer:
        """Return lines as the bytes that they are."""
        if self.family.type == "histogram":
            return _bytes(written)
        name, bare = self.family.name, pc.equal(texts, "")
        if pc.any(bare).as_py():
            braces = pc.if_else(bare, name, pc.binary_join_element_wise(f"{name}{{", texts, "}", ""))
            return _bytes(pc.binary_join_element_wise(braces, " ", written, "\n", ""))
        return _bytes(pc.binary_join_element_wise(f"{name}{{", texts, "} ", written, "\n", ""))


def rows_of(block: AnyBlock) -> int:
    """Return how many rows a block has, or one where its labels fail."""
    try:
        return len(block.labels)
    except Exception:  # noqa: BLE001 - the caller counts a fault, and must not fail itself
        return 1


def series_of(blocks: Sequence[AnyBlock]) -> int:
    """Return how many series the blocks of a family would have if nothing were left out."""
    return sum(map(rows_of, blocks)) * _series_a_row(blocks[0].family)


def _series_a_row(family: Family) -> int:
    return series_a_row(family) if family.type == "histogram" else 1


def _whole(columns: Sequence[pa.StringArray]) -> pa.StringArray:
    return columns[0] if len(columns) == 1 else pa.concat_arrays([pa.array([], pa.string()), *columns])


def _bytes(lines: pa.StringArray) -> pa.Buffer:
    """Return the bytes of all lines, one behind the other, as the column holds them."""
    _, offsets, content = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return content.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _in_order(labels: Labels, names: tuple[str, ...]) -> Labels:
    """Return the labels in the order of their declaration, so that equal labels have equal texts."""
    if labels.names == names:
        return labels
    columns = dict(zip(labels.names, labels.columns, strict=True))
    if len(labels.names) != len(names) or columns.keys() != set(names):
        raise BadBlockError("its labels are not those of the declaration")
    return Labels(names, [columns[name] for name in names])
