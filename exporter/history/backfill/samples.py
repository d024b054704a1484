"""Samples of a backfill: one family at a time, of each series all steps in a row, in pieces of a bounded size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from exporter.collectors.assets.metrics import HOUR, HOURS, LABELS, LAST_REFRESH, SLA
from exporter.history.backfill.steps import DAY_SECONDS, Steps
from exporter.metrics import Family

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# So many numbers are in memory at a time, and a text for each.
PIECE = 250_000
_MICROSECONDS = 1_000_000
# The SLA that an audit records: it has none of the other tier.
_SEVERITY = "critical"
_REFRESHED = "refreshed_us IS NOT NULL"


@dataclass(frozen=True)
class SampleBatch:
    """Samples of one family: of each row its place among the labels, its step, and its numbers.

    The numbers of a histogram are its buckets, cumulative, its count and its sum; else there is one.
    """

    labels: Sequence[Sequence[str]]
    places: Places
    steps: Places
    values: Floats


@dataclass
class _Series:
    """The series of a family, in order, and what each has counted before the next chunk."""

    labels: list[tuple[str, ...]]
    begins: Places
    carried: Floats
    place: int
    """The place of the first among those of all families."""


class SampleReader:
    """What was read, to be written in chunks of steps from the first to the last."""

    def __init__(self, scratch: duckdb.DuckDBPyConnection, steps: Steps, *, by_day: bool) -> None:
        self._scratch = scratch
        self._series: dict[str, _Series] = {}
        self._length = steps.seconds
        self._index(f"step * {steps.seconds} // {DAY_SECONDS}, " if by_day else "")

    def samples(self, family: Family, chunk: Steps) -> Iterator[SampleBatch]:
        """Yield the samples of a family at the steps of a chunk; chunks must be requested in order."""
        if family in (HOURS, LAST_REFRESH, SLA):
            yield from self._of_assets(family, chunk)
            return
        series = self._known(family)
        width = series.carried.shape[1]
        group = max(1, PIECE // (chunk.count * width))
        for start in range(0, len(series.labels), group):
            yield from self._counted(family, series, chunk, slice(start, min(start + group, len(series.labels))))

    def _index(self, day: str) -> None:
        """Give each series its place, and store what it counted in the order in which that is written."""
        self._scratch.execute(
            f"""
            CREATE TABLE numbered AS
            SELECT *, (row_number() OVER (ORDER BY family, labels) - 1)::INTEGER AS place FROM series;
            CREATE TABLE growth AS
            SELECT numbered.place, increments.step, increments.le, increments.observations, increments.seconds
            FROM increments
            JOIN numbered ON numbered.family = increments.family AND numbered.labels = increments.labels
            ORDER BY {day}numbered.place;
            DROP TABLE increments
            """
        )

    def _known(self, family: Family) -> _Series:
        if family.name not in self._series:
            found = self._scratch.execute(
                "SELECT labels, begins, place FROM numbered WHERE family = ? ORDER BY place", [family.name]
            ).fetchall()
            # A histogram has a bucket more, +Inf, and the sum.
            width = len(family.buckets) + 2 if family.type == "histogram" else 1
            begins = np.array([begins for _, begins, _ in found], dtype=np.int64)
            labels = [tuple(labels) for labels, _, _ in found]
            place = found[0][2] if found else 0
            self._series[family.name] = _Series(labels, begins, np.zeros((len(found), width)), place)
        return self._series[family.name]

    def _counted(self, family: Family, series: _Series, chunk: Steps, some: slice) -> Iterator[SampleBatch]:
        grown = self._grown(family, series, chunk, some)
        grown[:, 0] += series.carried[some]
        numbers = np.cumsum(grown, axis=1)
        series.carried[some] = numbers[:, -1]
        steps = np.arange(chunk.first, chunk.last + 1)
        places, columns = np.nonzero(steps >= series.begins[some, None])
        rows = numbers[places, columns]
        if family.type == "histogram":
            buckets = np.cumsum(rows[:, :-1], axis=1)
            rows = np.hstack([buckets, buckets[:, -1:], rows[:, -1:]])
        yield SampleBatch(list(zip(*series.labels[some], strict=True)), places, steps[columns], rows)

    def _grown(self, family: Family, series: _Series, chunk: Steps, some: slice) -> Floats:
        """Return what was counted at each step of the chunk, by series, step and bucket; the sum comes last."""
        found = self._scratch.execute(
            """
            SELECT place - $start AS place, step - $first AS step, le, observations, seconds
            FROM growth
            WHERE place >= $start AND place < $stop AND step >= $first AND step <= $last
            """,
            {
                "start": series.place + some.start,
                "stop": series.place + some.stop,
                "first": chunk.first,
                "last": chunk.last,
            },
        ).fetchnumpy()
        width = series.carried.shape[1]
        cells = (found["place"] * chunk.count + found["step"]) * width
        numbers = found["observations"]
        if family.type == "histogram":
            bounds = np.array([*family.buckets, math.inf])
            buckets = np.searchsorted(bounds, np.asarray(found["le"], dtype=np.float64))
            cells = np.concatenate([cells + buckets, cells + len(bounds)])
            numbers = np.concatenate([numbers, found["seconds"]])
        shape = (some.stop - some.start, chunk.count, width)
        grown = np.bincount(cells.astype(np.int64), numbers, math.prod(shape))
        return np.asarray(grown, dtype=np.float64).reshape(shape)

    def _of_assets(self, family: Family, chunk: Steps) -> Iterator[SampleBatch]:
        """Yield what audits have found, at each step at which it held."""
        known = "sla_hours IS NOT NULL" if family is SLA else _REFRESHED
        query = f"""
            SELECT {", ".join(LABELS)}, refreshed_us, sla_hours,
                greatest(first, {chunk.first}) AS first, least(last, {chunk.last}) AS last
            FROM spans
            WHERE first <= {chunk.last} AND last >= {chunk.first} AND {known}
            ORDER BY {", ".join(LABELS)}, first
        """
        rows_at_once = max(1, PIECE // chunk.count)
        for batch in self._scratch.sql(query).to_arrow_reader(rows_at_once):
            for start in range(0, batch.num_rows, rows_at_once):
                yield self._held(family, batch.slice(start, rows_at_once))

    def _held(self, family: Family, spans: pa.RecordBatch) -> SampleBatch:
        first, last = (spans.column(name).to_numpy() for name in ("first", "last"))
        lengths = last - first + 1
        places = np.repeat(np.arange(spans.num_rows), lengths)
        steps = np.arange(len(places)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(first, lengths)
        labels: list[list[str]] = [spans.column(name).to_pylist() for name in LABELS]
        if family is SLA:
            labels.append([_SEVERITY] * spans.num_rows)
        return SampleBatch(labels, places, steps, self._values(family, spans, places, steps)[:, None])

    def _values(self, family: Family, spans: pa.RecordBatch, places: Places, steps: Places) -> Floats:
        if family is SLA:
            return np.asarray(spans.column("sla_hours").to_numpy()[places], dtype=np.float64)
        refreshed = np.asarray(spans.column("refreshed_us").to_numpy()[places] / _MICROSECONDS, dtype=np.float64)
        return refreshed if family is LAST_REFRESH else np.maximum((steps * self._length - refreshed) / HOUR, 0.0)
