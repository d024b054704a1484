"""PromQL as far as rules and dashboards need it: which metrics with which labels, grouped by what, in which functions.

A tokeniser and a stack of open brackets; whether an expression parses at all is promtool's word, not ours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w]))|(?P<span>\d+(?:ms|[smhdwy]))
    |(?P<name>[a-zA-Z_:][\w:]*)|(?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^<>=])|(?P<bracket>[](){}[])|(?P<comma>,)""",
    re.VERBOSE,
)
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "offset", "bool"}
AGGREGATIONS = {"sum", "max", "min", "avg", "count", "topk", "quantile"}
# The largest of some ratios is a ratio, and so is one of them; their sum is none.
MIXING = AGGREGATIONS - {"max", "min", "topk", "count"}


@dataclass(frozen=True)
class Selector:
    """A metric in an expression: the labels of its matchers, whether it has a range, the functions around it."""

    metric: str
    labels: tuple[str, ...]
    ranged: bool
    within: tuple[str, ...]


@dataclass(frozen=True)
class Expression:
    """Parts of an expression: metrics, grouping labels, and numbers outside of ``scalar()`` and ``offset``."""

    selectors: tuple[Selector, ...]
    groupings: tuple[tuple[str, tuple[str, ...]], ...]
    numbers: tuple[str, ...]
    averaged: bool
    """Whether something is divided within a sum, or anything is averaged at all."""


def tokens(text: str) -> list[tuple[str, str]]:
    """Return kind and text of each token; whatever is no token but space and comment is a fault."""
    text = re.sub(r"#.*", "", text)
    rest = TOKEN.sub("", text).strip()
    if rest:
        raise ValueError(f"not read: {rest.split()[0]}")
    return [(str(match.lastgroup), match[0]) for match in TOKEN.finditer(text)]


def read(text: str) -> Expression:
    """Read an expression."""
    return _Reader(tokens(text)).read()


class _Reader:
    def __init__(self, found: list[tuple[str, str]]) -> None:
        self._tokens = found
        self._at = 0
        self._open: list[str] = []
        self._selectors: list[Selector] = []
        self._groupings: list[tuple[str, tuple[str, ...]]] = []
        self._numbers: list[str] = []
        self._averaged = False
        self._function = ""

    def read(self) -> Expression:
        while self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            self._at += 1
            self._take(kind, text)
        return Expression(tuple(self._selectors), tuple(self._groupings), tuple(self._numbers), self._averaged)

    def _take(self, kind: str, text: str) -> None:
        if kind == "name":
            self._name(text)
        elif text == "(":
            self._open.append(self._function)
            self._function = ""
        elif text == ")":
            self._open.pop()
        elif text == "/" and any(each in MIXING for each in self._open):
            self._averaged = True
        elif kind == "number":
            self._numbers.append(text)

    def _name(self, text: str) -> None:
        following = self._tokens[self._at][1] if self._at < len(self._tokens) else ""
        if text in GROUPINGS:
            self._groupings.append((text, tuple(self._until(")")) if following == "(" else ()))
        elif text == "offset":
            self._at += 1
        elif text in WORDS:
            return
        elif following == "(" or text in AGGREGATIONS:
            self._function = text
            self._averaged |= text.startswith("avg")
        else:
            self._selector(text, following)

    def _selector(self, metric: str, following: str) -> None:
        labels = tuple(self._until("}")) if following == "{" else ()
        ranged = self._at < len(self._tokens) and self._tokens[self._at][1] == "["
        if ranged:
            list(self._until("]"))
        self._selectors.append(Selector(metric, labels, ranged, tuple(filter(None, self._open))))

    def _until(self, end: str) -> Iterator[str]:
        """Yield the names up to a closing bracket."""
        while True:
            kind, text = self._tokens[self._at]
            self._at += 1
            if text == end:
                return
            if kind == "name":
                yield text
