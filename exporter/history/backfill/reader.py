"""The history read for a backfill: a day at a time, the latest first, and no longer than a poll can wait."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.errors import HistoryError
from exporter.history.aggregation import Lookups
from exporter.history.backfill.family_groups import FamilyGroup, HistorySlice, oldest
from exporter.history.backfill.samples import SampleReader
from exporter.history.backfill.scratch import scratch
from exporter.history.backfill.steps import Steps
from exporter.history.dimensions import known_sites, known_users
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.schema import refuse_other_versions


@dataclass(frozen=True)
class HistorySpan:
    """When a history was begun, the oldest row of some parts and the newest of all, and until when it was polled."""

    begun: datetime
    oldest: datetime | None
    newest: datetime
    polled: datetime


def extent(file: HistoryFile, parts: Sequence[FamilyGroup]) -> HistorySpan:
    """Read from when to when the rows of some parts are. Raises HistoryError."""
    with file.open() as connection:
        refuse_other_versions(connection, file.path)
        marks = _marks(connection)
        found = [instant for part in parts if (instant := oldest(connection, part))]
    if "begun" not in marks:
        message = f"{file.path}: the instant when it was begun is missing; it was changed by hand"
        raise HistoryError(message)
    newest = max((marks[name] for name in ("newest", "audited") if name in marks), default=marks["begun"])
    polled = max((at for name, at in marks.items() if name.startswith("poll:")), default=newest)
    return HistorySpan(marks["begun"], min(found, default=None), newest, max(newest, polled))


@contextmanager
def read_samples(
    file: HistoryFile,
    parts: Sequence[FamilyGroup],
    steps: Steps,
    newest: datetime,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    by_day: bool = False,
) -> Iterator[SampleReader]:
    """Read the rows of some parts, and give what they make, to be written by day or in one piece.

    ``progress`` is called with the days read and all.
    """
    spans = steps.slices(min(part.begins(steps) for part in parts), newest)
    with scratch(file.limits.threads) as beside:
        with file.kept_open(HOLD_SECONDS):
            lookups: Lookups | None = None
            for number, (after, upto) in enumerate(spans, start=1):
                with file.open() as connection:
                    is_first = lookups is None
                    lookups = lookups or _lookups(connection)
                    _read(parts, HistorySlice(connection, beside, steps, lookups, after, upto), is_first=is_first)
                progress(number, len(spans))
        for part in parts:
            part.finish(beside, steps)
        yield SampleReader(beside, steps, by_day=by_day)


def _read(parts: Sequence[FamilyGroup], rows: HistorySlice, *, is_first: bool) -> None:
    for part in parts:
        if is_first:
            part.begin(rows)
        ends = part.ends(rows.steps)
        after = max(rows.after, rows.steps.before(part.begins(rows.steps)))
        is_later = ends is not None and rows.steps.at(rows.after) >= ends
        if not is_later and (rows.upto is None or after < rows.upto):
            part.read(replace(rows, after=after))


def _lookups(connection: duckdb.DuckDBPyConnection) -> Lookups:
    """Return the names behind ids, as far as they are known now; hashes of users would count as more users."""
    users = known_users(connection)
    known = users.filter(pc.is_valid(users.column("system_user_id")))
    people = pa.table({"user_id": known.column("id"), "person": known.column("system_user_id")})
    return Lookups(known_sites(connection), people, _marks(connection).get("pruned"))


def _marks(connection: duckdb.DuckDBPyConnection) -> dict[str, datetime]:
    return dict(connection.execute("SELECT name, marked_at FROM marks").fetchall())
