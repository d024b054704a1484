"""Metric families as data, and their samples as columns.

A family is declared once, beside the rows it is made from; the exposition, the documentation and the tests follow from
the declaration. Samples travel as columns: one list of values beside one list per label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Value = float | int | None
"""A sample's value; ``None`` means unknown, and unknown is absent."""

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class Family:
    """A metric family: what it is called, what it counts, and where that comes from."""

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
    """Label values as columns, with the text of each row's labels rendered once and kept."""

    def __init__(self, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
        self.names = tuple(names)
        self.columns = tuple(columns)
        self._parts: tuple[Labels, ...] = ()

    def extended(self, names: Sequence[str], columns: Sequence[Sequence[str]]) -> "Labels":
        """Return these labels with more behind them; the text of these is rendered once for both."""
        longer = Labels((*self.names, *names), (*self.columns, *columns))
        longer._parts = (self, Labels(names, columns))
        return longer

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 1

    @cached_property
    def text(self) -> list[str]:
        """Each row as it stands between the braces: ``site="default",window="5m"``; empty without labels.

        An empty value is the same as an absent label to Prometheus, and is left out.
        """
        if not self.columns:
            return [""]
        if self._parts:
            return [",".join(filter(None, row)) for row in zip(*(part.text for part in self._parts), strict=True)]
        # Names repeat (sites, projects, types): escape each distinct text once.
        rendered = []
        for name, column in zip(self.names, self.columns, strict=True):
            known = {value: _pair(name, value) for value in set(column)}
            rendered.append([known[value] for value in column])
        return [",".join(filter(None, row)) for row in zip(*rendered, strict=True)]

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Each row's label values, in the order of ``names``."""
        return zip(*self.columns, strict=True) if self.columns else iter([()])


def _pair(name: str, value: str) -> str:
    # A lone surrogate cannot be encoded, and one bad name must not spoil a scrape.
    text = value.encode("utf-8", "replace").decode("utf-8")
    return f'{name}="{text.translate(_LABEL_ESCAPES)}"' if text else ""


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
