"""Values as both formats write them: a column at once where it is one of numbers, else one by one.

What is unknown is null; so is what no scrape may contain, which is counted by reason.
"""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from exporter.exposition.formats import number_text

NO_NUMBER = "the value is no finite number"
NEGATIVE = "a counter cannot be negative"


def written(values: "Sequence[object] | pa.Array", *, counts: bool) -> tuple[pa.StringArray, Counter[str]]:
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
