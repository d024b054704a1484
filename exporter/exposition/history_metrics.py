"""Metrics of the history: counters and histograms of archived events, and instants as gauges."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest

from exporter import self_metrics as families
from exporter.collector import Collector, Fold, Latest
from exporter.collectors import archived
from exporter.exposition.state_store import AnyBlock
from exporter.history.totals import Totals
from exporter.metrics import Block, Family, HistogramBlock, Labels, single

MODES = ("fast", "exact", "full")


def archived_blocks(totals: Totals, collectors: Mapping[str, Collector], file_bytes: int | None) -> Iterator[AnyBlock]:
    """Yield the blocks of all counters, histograms and gauges of the history."""
    for fold in _folds(collectors):
        if isinstance(fold, Latest):
            yield _labelled(fold.family, totals.latest.get(fold.family.name, []))
        elif fold.family.type == "histogram":
            yield _histogram(fold.family, totals, fold.busiest)
        else:
            yield _counter(fold.family, totals, fold.busiest)
    for collector in collectors.values():
        yield from _further(collector, totals)
    yield _counter(families.HISTORY_ROWS, totals)
    tables = [events.table for events in archived(collectors)]
    pruned = [int(totals.counter(families.HISTORY_PRUNED.name, table)) for table in tables]
    yield Block(families.HISTORY_PRUNED, Labels(("table",), [tables]), pruned)
    kinds = list(families.INCIDENT_KINDS)
    counts = [int(totals.counter(families.INCIDENTS.name, kind)) for kind in kinds]
    yield Block(families.INCIDENTS, Labels(("kind",), [kinds]), counts)
    yield single(families.POSSIBLY_LOST, int(totals.counter(families.POSSIBLY_LOST.name)))
    polled = {mode: totals.marks.get(f"poll:{mode}") for mode in MODES}
    yield Block(families.HISTORY_LAST_POLL, Labels(("mode",), [list(polled)]), list(polled.values()))
    yield single(families.HISTORY_NEWEST, totals.marks.get("newest"))
    yield single(families.HISTORY_OLDEST, totals.marks.get("oldest"))
    yield single(families.FILE_BYTES, file_bytes)


def _folds(collectors: Mapping[str, Collector]) -> Iterable[Fold]:
    """Return the folds of all collectors, each family once: rows of several tables may be counted in one."""
    folds = (
        fold
        for collector in collectors.values()
        for own in ((fold for events in collector.archived for fold in events.folds),)
        for fold in (*own, *collector.folds, *collector.activity_folds)
    )
    found: dict[str, Fold] = {}
    for fold in folds:
        found.setdefault(fold.family.name, fold)
    return found.values()


def _further(collector: Collector, totals: Totals) -> Iterator[Block]:
    """Yield a collector's counters that no fold adds to, and its gauges that are marks, by site."""
    for family in collector.families:
        prefix = f"{family.name}:"
        marked = {name.removeprefix(prefix): at for name, at in totals.marks.items() if name.startswith(prefix)}
        if family.type == "counter":
            yield _counter(family, totals)
        elif marked:
            yield Block(family, Labels(family.labels, [list(marked)]), list(marked.values()))


def _counter(family: Family, totals: Totals, busiest: int | None = None) -> Block:
    rows = totals.counters.get(family.name, [])
    if busiest is not None:
        rows = nlargest(busiest, rows, key=lambda row: (row[1], row[0]))
    return _labelled(family, [(labels, int(value) if value.is_integer() else value) for labels, value in rows])


def _labelled(family: Family, rows: Sequence[tuple[tuple[str, ...], float]]) -> Block:
    columns = [list(column) for column in zip(*(labels for labels, _ in rows), strict=True)] or [
        [] for _ in family.labels
    ]
    return Block(family, Labels(family.labels, columns), [value for _, value in rows])


def _histogram(family: Family, totals: Totals, busiest: int | None) -> HistogramBlock:
    rows = totals.histograms.get(family.name, {})
    if busiest is not None:
        most = nlargest(busiest, rows, key=lambda labels: (sum(count for count, _ in rows[labels].values()), labels))
        rows = {labels: rows[labels] for labels in most}
    bounds = (*family.buckets, float("inf"))
    counts = [[found.get(bound, (0, 0.0))[0] for bound in bounds] for found in rows.values()]
    sums = [sum(seconds for _, seconds in found.values()) for found in rows.values()]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in family.labels]
    return HistogramBlock(family, Labels(family.labels, columns), counts, sums)
