"""The command ``history backfill``: OpenMetrics with timestamps, of which promtool makes blocks for Prometheus."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter import collectors, maintenance
from exporter.collectors.active_users import ACTIVE, SERVER_ACTIVE
from exporter.collectors.assets.metrics import HOURS, LAST_REFRESH, SLA
from exporter.config import RunOptions
from exporter.errors import ConfigurationError, Fault
from exporter.exposition.text_format import bucket_texts, openmetrics_head, value_texts
from exporter.history.backfill import FamilyGroup, HistorySpan, SampleBatch, SampleReader, Steps, extent, read_samples
from exporter.history.backfill.active_users import ActiveUsers
from exporter.history.backfill.audits import Audits
from exporter.history.backfill.counters import Counters
from exporter.metrics import Family, Labels
from exporter.output import to_stdout, whole

# The collectors whose counters are made of rows that the history keeps with their times.
_COUNTING = ("http_requests", "background_jobs")
# So many steps of a series are written in a row: more would be much memory, and promtool reads a file as a whole.
MOST_STEPS = 200_000
END = b"# EOF\n"
_LINES_AT_ONCE = 50_000


@dataclass(frozen=True)
class BackfillOptions:
    """What is to be backfilled: families by name, all for none; instants in UTC, naive, None for the default.

    ``progress`` is called with the days read and all, then with the files written and all.
    """

    since: datetime | None
    until: datetime | None
    step_seconds: int
    families: Collection[str]
    labels: Labels
    output: Path | None
    progress: Callable[[int, int], None] = lambda _done, _total: None


def parts_of(names: Collection[str] = ()) -> list[FamilyGroup]:
    """Return the parts that make the families of some names, of all without one."""
    folds = [events for name in _COUNTING if (events := collectors.discover()[name].events)]
    requests, jobs = (
        Counters(events, [fold for fold in events.folds if not names or fold.family.name in names]) for events in folds
    )
    people = ActiveUsers([family for family in (ACTIVE, SERVER_ACTIVE) if not names or family.name in names])
    audits = Audits([family for family in (HOURS, LAST_REFRESH, SLA) if not names or family.name in names])
    parts: list[FamilyGroup] = [requests, people, jobs, audits]
    return [part for part in parts if part.families]


def families() -> list[Family]:
    """Return the families that can be backfilled."""
    return [family for part in parts_of() for family in part.families]


def backfill(options: RunOptions, order: BackfillOptions) -> str:
    """Write what was ordered, and return what that was, in a line. Raises ConfigurationError where it is nothing."""
    file, parts = maintenance.history_to_read(options), parts_of(order.families)
    found = extent(file, parts)
    steps = _steps(order, found)
    written = 0
    outputs = list(_outputs(steps, order.output))
    with read_samples(file, parts, steps, found.newest, order.progress, by_day=len(outputs) > 1) as past:
        for number, (chunk, output) in enumerate(outputs, start=1):
            written += _write(_Text(past, parts, chunk, order.labels), output)
            order.progress(number, len(outputs))
    first, last = steps.at(steps.first), steps.at(steps.last)
    return f"{written:,} samples from {first} to {last} UTC, every {steps.seconds} s"


def _steps(order: BackfillOptions, found: HistorySpan) -> Steps:
    """Return the requested steps that the history covers. Raises ConfigurationError."""
    until = order.until or found.begun
    if order.since is not None and order.since >= until:
        default = "" if order.until else ", when this history was begun: give --until"
        raise _refused("--since", f"{order.since} is not before {until} UTC{default}")
    if found.oldest is None or found.oldest > until:
        oldest = f", its oldest row is of {found.oldest} UTC" if found.oldest else ""
        raise _refused("--until", f"the history holds nothing of these families before {until} UTC{oldest}")
    asked = Steps.between(order.since or found.oldest, min(until, found.polled), order.step_seconds)
    steps = Steps(asked.seconds, max(asked.first, asked.before(found.oldest)), asked.last)
    if not steps.count:
        raise _refused("--since", f"nothing is known after it: the last poll was at {found.polled} UTC")
    in_a_row = max(chunk.count for chunk, _ in _outputs(steps, order.output))
    if in_a_row > MOST_STEPS:
        message = f"{in_a_row:,} samples of each series in one file, at most {MOST_STEPS:,}; give a longer one, or an"
        raise _refused("--step", f"{message} --output that is a folder, for a file a day")
    return steps


def _refused(flag: str, message: str) -> ConfigurationError:
    return ConfigurationError([Fault(flag, message)])


def _outputs(steps: Steps, output: Path | None) -> Iterator[tuple[Steps, Path | None]]:
    """Yield each file and its steps: one of all, or in a folder one a day."""
    if output is None or not output.is_dir():
        yield steps, output
        return
    for day in steps.days():
        yield day, output / f"{day.at(day.first):%Y-%m-%d}.om"


class _Text:
    """One file, a piece at a time."""

    def __init__(self, past: SampleReader, parts: Sequence[FamilyGroup], chunk: Steps, more: Labels) -> None:
        self._past, self._parts, self._chunk, self._more = past, parts, chunk, more
        self.samples = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            for family in part.families:
                yield openmetrics_head(family)
                for samples in self._past.samples(family, self._chunk):
                    self.samples += samples.values.size
                    yield from lines(family, samples, self._more, self._chunk.seconds)
        yield END


def _write(text: _Text, output: Path | None) -> int:
    if output is None:
        to_stdout(text)
    else:
        with whole(output) as file:
            file.writelines(text)
    return text.samples


def lines(family: Family, samples: SampleBatch, more: Labels, step_seconds: int) -> Iterator[bytes]:
    """Yield the lines of samples, in their order; ``more`` is one row of labels that each of them has too."""
    width = samples.values.shape[1]
    begins = _begins(family, samples.labels, more)
    rows = max(1, _LINES_AT_ONCE // width)
    for start in range(0, len(samples.places), rows):
        some = slice(start, start + rows)
        places = (samples.places[some, None] * width + np.arange(width)).ravel()
        values, _ = value_texts(pa.array(samples.values[some].ravel()), counts=False)
        stamps = pa.array(np.repeat(samples.steps[some] * step_seconds, width)).cast(pa.string())
        yield _joined(pc.binary_join_element_wise(begins.take(pa.array(places)), values, stamps, " "))


def _begins(family: Family, labels: Sequence[Sequence[str]], more: Labels) -> pa.StringArray:
    """Return each line as it begins: all of a row of labels in a row."""
    names = (*family.labels, *more.names)
    columns = [*labels, *([column[0]] * len(labels[0]) for column in more.columns)]
    texts = Labels(names, columns).text.to_pylist()
    if family.type != "histogram":
        return pa.array([f"{family.name}{{{text}}}" for text in texts], pa.string())
    return pa.array([begin for text in texts for begin in _of_histogram(family, text)], pa.string())


def _of_histogram(family: Family, text: str) -> Iterator[str]:
    for bucket in bucket_texts(family):
        yield f"{family.name}_bucket{{{','.join(filter(None, (text, bucket)))}}}"
    yield f"{family.name}_count{{{text}}}"
    yield f"{family.name}_sum{{{text}}}"


def _joined(texts: pa.StringArray) -> bytes:
    """Return texts one behind the other, a line each: they lie so in memory."""
    ended = pc.binary_join_element_wise(texts, "", "\n")
    joined: bytes = ended.buffers()[2].slice(0, pc.sum(pc.binary_length(ended)).as_py()).to_pybytes()
    return joined
