"""Histograms as lines: of each row all buckets, the count and the sum, or nothing: half a histogram would be a lie."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from exporter.exposition.formats import bucket_texts, number_text
from exporter.exposition.numbers import NEGATIVE, NO_NUMBER
from exporter.metrics import Family, HistogramBlock

NO_COUNT = "a bucket counts no whole number"


def series_of(family: Family) -> int:
    """Return how many series a row of a histogram has: one for each bucket, +Inf among them, the count and the sum."""
    return len(family.buckets) + 3


def written(block: HistogramBlock, texts: Sequence[str | None]) -> tuple[pa.StringArray, Counter[str]]:
    """Return the lines of each row, null where they may not be shown, and the series left out by reason."""
    buckets, series = bucket_texts(block.family), series_of(block.family)
    left_out: Counter[str] = Counter()
    rows: list[str | None] = []
    for text, counts, total in zip(texts, block.counts, block.sums, strict=True):
        fault = _fault(counts, total, len(buckets))
        if fault:
            left_out[fault] += series
        known = text is not None and not fault
        rows.append("".join(_lines(block.family.name, text or "", buckets, counts, total)) if known else None)
    return pa.array(rows, pa.string()), left_out


def _fault(counts: Sequence[int], total: float, buckets: int) -> str | None:
    if len(counts) != buckets:
        return "there are not as many counts as buckets, +Inf among them"
    if not all(isinstance(count, int) for count in counts):
        return NO_COUNT
    if any(number_text(value) is None for value in (*accumulate(counts), total)):
        return NO_NUMBER
    return NEGATIVE if min(*counts, total) < 0 else None


def _lines(name: str, text: str, buckets: Sequence[str], counts: Sequence[int], total: float) -> Iterator[str]:
    before = f"{text}," if text else ""
    for bucket, count in zip(buckets, accumulate(counts), strict=True):
        yield f"{name}_bucket{{{before}{bucket}}} {number_text(count)}\n"
    braces = f"{{{text}}}" if text else ""
    yield f"{name}_count{braces} {number_text(sum(counts))}\n"
    yield f"{name}_sum{braces} {number_text(total)}\n"
