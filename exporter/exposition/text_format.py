"""The text format 0.0.4 and OpenMetrics 1.0.0: heads of families, values, and lines of histograms.

Sample lines are the same bytes in both formats; only the heads above them differ. What is unknown is null; so is what
no scrape may contain, which is counted by reason.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
from prometheus_client.utils import floatToGoString

from exporter.metrics import Family, HistogramBlock

NO_NUMBER = "the value is no finite number"
NEGATIVE = "a counter cannot be negative"
NO_COUNT = "a bucket counts no whole number"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_TEXT_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_OPENMETRICS_ESCAPES = _TEXT_ESCAPES | str.maketrans({'"': r"\""})


def text_head(family: Family) -> bytes:
    """Return the lines that stand above a family's samples in the text format."""
    return _head(family.name, family.type, family.help.translate(_TEXT_ESCAPES))


def openmetrics_head(family: Family) -> bytes:
    """Return the same in OpenMetrics, where the name of a counter lacks its suffix."""
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    return _head(name, family.type, family.help.translate(_OPENMETRICS_ESCAPES))


def _head(name: str, kind: str, text: str) -> bytes:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode("utf-8", "replace")


def bucket_texts(family: Family) -> list[str]:
    """Return the ``le`` label of each bucket of a histogram, the last of them ``+Inf``."""
    bounds = (*family.buckets, math.inf)
    return [f'le="{floatToGoString(bound)}"' for bound in bounds]  # type: ignore[no-untyped-call]


def number_text(value: object) -> str | None:
    """Return a value as both formats write it, or None where it is no finite number."""
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else None
    # A number beyond the floats would make Prometheus refuse the whole scrape.
    if isinstance(value, int) and abs(value) < 2**1023:
        return int.__repr__(value)
    return None


def fault_of(family: Family) -> str | None:
    """Return what is wrong with a declaration, in so far as no parser would read it."""
    if not _NAME.fullmatch(family.name):
        return "its name is not one of Prometheus"
    if not all(map(_LABEL.fullmatch, family.labels)) or len(set(family.labels)) < len(family.labels):
        return "its labels are not valid label names"
    if family.type != "histogram":
        return None
    if "le" in family.labels:
        return "the label le belongs to the buckets"
    rising = all(low < high for low, high in zip(family.buckets, family.buckets[1:], strict=False))
    return None if rising and all(map(math.isfinite, family.buckets)) else "its buckets do not rise"


def value_texts(values: "Sequence[object] | pa.Array", *, counts: bool) -> tuple[pa.StringArray, Counter[str]]:
    """Return the text of each value; ``counts`` are never negative."""
    column = _column(values)
    if column is None:
        return _one_by_one(values, counts=counts)
    left_out: Counter[str] = Counter()
    if pa.types.is_floating(column.type):
        column = _without(column, pc.invert(pc.is_finite(column)), NO_NUMBER, left_out)
    if counts:
        column = _without(column, pc.less(column, 0), NEGATIVE, left_out)
    return column.cast(pa.string()), left_out


def _column(values: "Sequence[object] | pa.Array") -> pa.Array | None:
    """Return values as a column of numbers, or None where they are none, or too large."""
    try:
        column = values if isinstance(values, pa.Array) else pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    if pa.types.is_null(column.type):
        return column.cast(pa.int64())
    return column if column.type in {pa.int64(), pa.float64()} else None


def _without(column: pa.Array, bad: pa.BooleanArray, reason: str, left_out: Counter[str]) -> pa.Array:
    """Make null what is bad, and count it."""
    if count := pc.sum(bad).as_py():
        left_out[reason] += count
        return pc.if_else(bad, None, column)
    return column


def _one_by_one(values: Sequence[object], *, counts: bool) -> tuple[pa.StringArray, Counter[str]]:
    left_out: Counter[str] = Counter()
    texts: list[str | None] = []
    for value in values:
        text = None if value is None else number_text(value)
        if value is not None and text is None:
            left_out[NO_NUMBER] += 1
        elif counts and text is not None and text.startswith("-") and float(text) < 0:
            left_out[NEGATIVE] += 1
            text = None
        texts.append(text)
    return pa.array(texts, pa.string()), left_out


def series_a_row(family: Family) -> int:
    """Return how many series a row of a histogram has: one for each bucket, +Inf among them, the count and the sum."""
    return len(family.buckets) + 3


def histogram_lines(block: HistogramBlock, texts: Sequence[str | None]) -> tuple[pa.StringArray, Counter[str]]:
    """Return the lines of each row, null where invalid, and the series left out by reason."""
    buckets, series = bucket_texts(block.family), series_a_row(block.family)
    left_out: Counter[str] = Counter()
    rows: list[str | None] = []
    for text, counts, total in zip(texts, block.counts, block.sums, strict=True):
        fault = _histogram_fault(counts, total, len(buckets))
        if fault:
            left_out[fault] += series
        known = text is not None and not fault
        rows.append("".join(_row_lines(block.family.name, text or "", buckets, counts, total)) if known else None)
    return pa.array(rows, pa.string()), left_out


def _histogram_fault(counts: Sequence[int], total: float, buckets: int) -> str | None:
    if len(counts) != buckets:
        return "there are not as many counts as buckets, +Inf among them"
    if not all(isinstance(count, int) for count in counts):
        return NO_COUNT
    if any(number_text(value) is None for value in (*accumulate(counts), total)):
        return NO_NUMBER
    return NEGATIVE if min(*counts, total) < 0 else None


def _row_lines(name: str, text: str, buckets: Sequence[str], counts: Sequence[int], total: float) -> Iterator[str]:
    before = f"{text}," if text else ""
    for bucket, count in zip(buckets, accumulate(counts), strict=True):
        yield f"{name}_bucket{{{before}{bucket}}} {number_text(count)}\n"
    braces = f"{{{text}}}" if text else ""
    yield f"{name}_count{braces} {number_text(sum(counts))}\n"
    yield f"{name}_sum{braces} {number_text(total)}\n"
