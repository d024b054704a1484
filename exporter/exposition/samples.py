"""The sample lines of one family, gathered from its blocks; what no scrape may contain is left out and counted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from exporter.exposition.formats import bucket_texts, fault_of, number_text
from exporter.metrics import Block, Family, HistogramBlock, Labels

AnyBlock = Block | HistogramBlock

OVER_THE_LIMIT = "the family has more series than limits.series_per_family allows"
TWICE = "another sample has the same labels"
NO_NUMBER = "the value is no finite number"
NEGATIVE = "a counter cannot be negative"
# Joining a family of 100,000 series at once would keep every other thread waiting.
_LINES_AT_ONCE = 4096


class BadBlockError(ValueError):
    """A block that cannot be rendered, for a reason that is said."""


class Samples:
    """The lines of a family, the value of each series, and how many series were left out for which reason."""

    def __init__(self, family: Family, limit: int) -> None:
        self.family = family
        self._limit = limit
        self.values: dict[str, float] = {}
        self.left_out: Counter[str] = Counter()
        self._lines: list[str] = []

    def add(self, block: AnyBlock, now: float) -> None:
        """Append the lines of a block; a block that is wrong as a whole is left out as a whole."""
        try:
            texts = self._texts(block)
            if isinstance(block, HistogramBlock):
                self._add_histogram(block, texts)
            else:
                self._add_plain(block, texts, now)
        except BadBlockError as error:
            self.left_out[str(error)] += len(block.labels)
        except Exception as error:  # noqa: BLE001 - whatever a block does, the others are served; the renderer reports it
            self.left_out[f"{type(error).__name__}: {error}"] += len(block.labels)

    def body(self) -> bytes:
        """Return all lines, the same in both formats."""
        starts = range(0, len(self._lines), _LINES_AT_ONCE)
        return b"".join(["".join(self._lines[at : at + _LINES_AT_ONCE]).encode() for at in starts])

    def _texts(self, block: AnyBlock) -> list[str]:
        """Return the text of each row's labels once the block is known to suit its family."""
        if block.family != self.family:
            raise BadBlockError("another family has the same name")
        if fault := fault_of(self.family):
            raise BadBlockError(fault)
        if isinstance(block, HistogramBlock) is not (self.family.type == "histogram"):
            raise BadBlockError("the block is of another type than its family")
        return _in_order(block.labels, self.family.labels).text

    def _add_plain(self, block: Block, texts: Sequence[str], now: float) -> None:
        values = block.at(now)
        if len(values) != len(texts):
            raise BadBlockError("there are not as many values as labels")
        name, known, append = self.family.name, self.values, self._lines.append
        lowest = 0 if self.family.type == "counter" else None
        for text, value in zip(texts, values, strict=True):
            if value is None:
                continue
            number = number_text(value)
            if number is None:
                self.left_out[NO_NUMBER] += 1
            elif lowest is not None and value < lowest:
                self.left_out[NEGATIVE] += 1
            elif text in known:
                self.left_out[TWICE] += 1
            elif len(known) >= self._limit:
                self.left_out[OVER_THE_LIMIT] += 1
            else:
                known[text] = value
                append(f"{name}{{{text}}} {number}\n" if text else f"{name} {number}\n")

    def _add_histogram(self, block: HistogramBlock, texts: Sequence[str]) -> None:
        if not len(block.counts) == len(block.sums) == len(texts):
            raise BadBlockError("there are not as many counts and sums as labels")
        buckets = bucket_texts(self.family)
        series = len(buckets) + 2
        for text, counts, total in zip(texts, block.counts, block.sums, strict=True):
            if fault := self._histogram_fault(counts, total, len(buckets)):
                self.left_out[fault] += series
            elif text in self.values:
                self.left_out[TWICE] += series
            elif (len(self.values) + 1) * series > self._limit:
                self.left_out[OVER_THE_LIMIT] += series
            else:
                self.values[text] = sum(counts)
                self._lines.extend(_histogram_lines(self.family.name, text, buckets, counts, total))

    @staticmethod
    def _histogram_fault(counts: Sequence[int], total: float, buckets: int) -> str | None:
        if len(counts) != buckets:
            return "there are not as many counts as buckets, +Inf among them"
        if any(number_text(value) is None for value in (*counts, total)):
            return NO_NUMBER
        return NEGATIVE if min(*counts, total) < 0 else None


def _histogram_lines(
    name: str, text: str, buckets: Sequence[str], counts: Sequence[int], total: float
) -> Iterator[str]:
    before = f"{text}," if text else ""
    for bucket, count in zip(buckets, accumulate(counts), strict=True):
        yield f"{name}_bucket{{{before}{bucket}}} {count}\n"
    braces = f"{{{text}}}" if text else ""
    yield f"{name}_count{braces} {sum(counts)}\n"
    yield f"{name}_sum{braces} {number_text(total)}\n"


def _in_order(labels: Labels, names: tuple[str, ...]) -> Labels:
    """Return the labels in the order of their declaration, so that equal labels have equal texts."""
    if labels.names == names:
        return labels
    columns = dict(zip(labels.names, labels.columns, strict=True))
    if len(labels.names) != len(names) or columns.keys() != set(names):
        raise BadBlockError("its labels are not those of the declaration")
    return Labels(names, [columns[name] for name in names])
