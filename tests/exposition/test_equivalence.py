"""Our rendering equals prometheus_client's, in both formats, when both are parsed."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.exposition import Renderer
from exporter.metrics import Block, Family, HistogramBlock, Labels
from tests.exposition.parsed import Read, read_openmetrics, read_text

# Two labels, however they are called; le belongs to the buckets.
NAMES = st.lists(
    st.from_regex(r"(?!__)(?!le\Z)(?!quantile\Z)[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True),
    min_size=2,
    max_size=2,
    unique=True,
).map(tuple)
Names = tuple[str, ...]
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('\\"\n\r\0\u2028{},=# '), max_size=20)
ROWS = st.lists(st.tuples(TEXT, TEXT), unique=True, max_size=5)
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**80), 2**80)
POSITIVE = st.floats(0, allow_infinity=False) | st.integers(0, 2**80)
INTEGERS = st.integers(0, 2**63 - 1)
FLOATS = st.floats(0, allow_infinity=False)
BOUNDS = st.lists(st.floats(0, 1e12), unique=True, min_size=1, max_size=5).map(sorted)


@dataclass(frozen=True, eq=False)
class Theirs(Collector):
    """The same families as prometheus_client wants them."""

    metrics: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        """Yield families with samples, as ours does."""
        return (metric for metric in self.metrics if metric.samples)


def columns(names: Names, rows: Sequence[tuple[str, str]]) -> Labels:
    """Turn rows of labels into columns; some are an extension of others."""
    first, second = ([row[at] for row in rows] for at in range(2))
    if len(rows) % 2:
        return Labels(names, [first, second])
    return Labels(names[:1], [first]).extended(names[1:], [second])


@st.composite
def plain(draw: st.DrawFn) -> tuple[Block, Metric]:
    """Draw a gauge or a counter in both guises."""
    names, rows, text = draw(NAMES), draw(ROWS), draw(TEXT)
    if draw(st.booleans()):
        kind = draw(st.sampled_from([POSITIVE, INTEGERS, FLOATS]))
        theirs: CounterMetricFamily | GaugeMetricFamily = CounterMetricFamily("tableau_jobs", text, labels=names)
        family = Family("tableau_jobs_total", "counter", text, names)
    else:
        kind = draw(st.sampled_from([FINITE, INTEGERS, FLOATS.map(operator.neg)]))
        theirs = GaugeMetricFamily("tableau_users", text, labels=names)
        family = Family("tableau_users", "gauge", text, names)
    values = draw(st.lists(kind | st.none(), min_size=len(rows), max_size=len(rows)))
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            theirs.add_metric(row, value)
    return Block(family, columns(names, rows), values), theirs


@st.composite
def histogram(draw: st.DrawFn) -> tuple[HistogramBlock, Metric]:
    """Draw a histogram in both guises."""
    names, rows, text, bounds = draw(NAMES), draw(ROWS), draw(TEXT), draw(BOUNDS)
    family = Family("tableau_seconds", "histogram", text, names, buckets=tuple(bounds))
    counts = [draw(st.lists(st.integers(0, 2**40), min_size=len(bounds) + 1, max_size=len(bounds) + 1)) for _ in rows]
    sums = [draw(st.floats(0, 1e300)) for _ in rows]
    theirs = HistogramMetricFamily("tableau_seconds", text, labels=names)
    for row, each, total in zip(rows, counts, sums, strict=True):
        texts = [floatToGoString(bound) for bound in (*bounds, float("inf"))]  # type: ignore[no-untyped-call]
        theirs.add_metric(row, list(zip(texts, accumulate(each), strict=True)), total)
    return HistogramBlock(family, columns(names, rows), counts, sums), theirs


def registry(*metrics: Metric) -> CollectorRegistry:
    """Register families with prometheus_client."""
    made = CollectorRegistry()
    made.register(Theirs(metrics))
    return made


def without_the_dropped(read: Read) -> Read:
    """Leave out the family that the renderer adds."""
    return {name: family for name, family in read.items() if name != "tableau_series_dropped"}


@settings(deadline=None)
@given(plain(), histogram())
def test_both_formats_read_as_what_prometheus_client_writes(
    ours: tuple[Block, Metric], distribution: tuple[HistogramBlock, Metric]
) -> None:
    """Whatever the labels, the help and the values are, a reader gets the same families and series."""
    rendering = Renderer(process=tuple).render([ours[0], distribution[0]], 0.0)
    theirs = registry(ours[1], distribution[1])
    assert without_the_dropped(read_text(rendering.text)) == read_text(generate_latest(theirs))
    openmetrics = generate_openmetrics(theirs)  # type: ignore[no-untyped-call]
    assert without_the_dropped(read_openmetrics(rendering.openmetrics)) == read_openmetrics(openmetrics)
