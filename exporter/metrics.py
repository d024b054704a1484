"""Metric families as data, and their samples as columns.

A family is declared once, beside the rows it is made from; the exposition, the documentation and the tests follow from
the declaration. Samples travel as columns: one list of values beside one list per label.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Value = float | int | None
"""A sample's value; ``None`` means unknown, and unknown is absent."""

# The backslash first: the others bring some.
_LABEL_ESCAPES = (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"))


@dataclass(frozen=True)
class Family:
    """A metric family: name, type, HELP, labels, and the source of its samples."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    source: str = "the agent"
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.type == "counter" and not self.name.endswith("_total"):
            message = f"{self.name}: the name of a counter ends in _total"
            raise ValueError(message)


class Labels:
    """Label values as columns, with the text of each row's labels written once and kept."""

    def __init__(self, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
        self.names = tuple(names)
        self.columns = tuple(columns)
        self._longer_than: Labels | None = None

    @classmethod
    def of(cls, names: Sequence[str], rows: Collection[Sequence[str]]) -> "Labels":
        """Return the labels of rows, each with a value for each name."""
        return cls(names, [[row[place] for row in rows] for place in range(len(names))])

    def extended(self, names: Sequence[str], columns: Sequence[Sequence[str]]) -> "Labels":
        """Return these labels with more behind them; the text of these is written once for both."""
        longer = Labels((*self.names, *names), (*self.columns, *columns))
        longer._longer_than = self
        return longer

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 1

    @property
    def text(self) -> pa.StringArray:
        """Each row as it stands between the braces: ``site="default",window="5m"``; empty without labels.

        An empty value is the same as an absent label to Prometheus, and is left out. Null where a value is no text.
        """
        if self._longer_than is None:
            return self._text
        # Not kept: it is the text of one family, which is rendered once.
        base = self._longer_than
        more = _texts(self.names[len(base.names) :], self.columns[len(base.names) :], len(self))
        return _joined([base.text, more])

    @cached_property
    def _text(self) -> pa.StringArray:
        return _joined([_texts(self.names, self.columns, len(self))]) if self.columns else pa.array([""])

    @cached_property
    def distinct(self) -> bool:
        """Whether no two rows are the same; rows that differ already in their first labels differ."""
        if self._longer_than is not None and self._longer_than.distinct:
            return True
        text = self.text
        return bool(pc.count_distinct(text, mode="all").as_py() == len(text))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Each row's label values, in the order of ``names``."""
        return zip(*self.columns, strict=True) if self.columns else iter([()])


def _texts(names: Sequence[str], columns: Sequence[Sequence[str]], length: int) -> pa.StringArray:
    """Return the text of each row, a comma before each label; null where a value is no text."""
    if any(len(column) != length for column in columns):
        message = "its columns of labels are of different lengths"
        raise ValueError(message)
    pairs = [_pair(name, _column(column)) for name, column in zip(names, columns, strict=True)]
    return pc.binary_join_element_wise(*pairs, "")


def _column(values: Sequence[str]) -> pa.StringArray:
    """Return a column; null what is no text. A lone surrogate cannot be encoded, and must not spoil a scrape."""
    texts: Sequence[object] = values
    if not set(map(type, texts)) <= {str}:
        texts = [value if isinstance(value, str) else None for value in texts]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        whole = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else None for value in texts]
        return pa.array(whole, pa.string())


def _pair(name: str, values: pa.StringArray) -> pa.StringArray:
    """Return each value with its name, escaped, behind a comma; nothing where it is empty."""
    for character, escaped in _LABEL_ESCAPES:
        values = pc.replace_substring(values, character, escaped)
    pairs = pc.binary_join_element_wise(f',{name}="', values, '"', "")
    empty = pc.equal(values, "")
    return pc.if_else(empty, "", pairs) if pc.any(empty).as_py() else pairs


def _joined(texts: Sequence[pa.StringArray]) -> pa.StringArray:
    """Join texts that have a comma before each label."""
    return pc.utf8_ltrim(pc.binary_join_element_wise(*texts, ""), characters=",")


@dataclass(frozen=True)
class Block:
    """Samples of one family: labels by column, and a value for each row or a function of the time that gives them."""

    family: Family
    labels: Labels
    values: Sequence[Value] | Callable[[float], Sequence[Value]]

    def at(self, now: float) -> Sequence[Value]:
        """Return the values at an instant (Unix seconds)."""
        return self.values(now) if callable(self.values) else self.values


@dataclass(frozen=True)
class HistogramBlock:
    """Samples of one histogram: per row of labels the count in each bucket (not cumulative) and the sum."""

    family: Family
    labels: Labels
    counts: Sequence[Sequence[int]]
    sums: Sequence[float]


def single(family: Family, value: Value | Callable[[float], Sequence[Value]], **labels: str) -> Block:
    """Return a block of one sample."""
    values = value if callable(value) else [value]
    return Block(family, Labels(tuple(labels), [[text] for text in labels.values()]), values)
