"""Refreshes of each asset: from this poll where a source described it, else remembered from earlier polls.

A poorer answer never replaces a better one. Every successful refresh that Tableau reports is equally good: of each
extract the latest counts. An extract that was made and never refreshed counts from then, unless a refresh is known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from exporter.inventory import FRESHNESS, TAG_SEPARATOR, Inventory

METADATA, JOB, PARTIAL = "metadata", "job", "partial"
"""What reported a refresh; partial is the Metadata API where it left something out: the asset may be staler."""
CREATED, UPDATED = "created", "updated_at"

Key = tuple[str, str]
Refreshed = tuple[datetime | None, str | None]


class Known(NamedTuple):
    """A row of AssetFreshness without its key."""

    extracts: int | None = None
    has_live: bool | None = None
    uses: str | None = None
    refreshed_at: datetime | None = None
    refreshed_by: str | None = None
    made_at: datetime | None = None

    @property
    def stalest(self) -> Refreshed:
        """When the stalest own extract was refreshed, or made, and its ``freshness_source``."""
        if self.refreshed_at is not None:
            return self.refreshed_at, METADATA if self.refreshed_by == PARTIAL else self.refreshed_by
        return (self.made_at, CREATED) if self.made_at is not None else (None, None)


NOTHING = Known()


class RefreshState(NamedTuple):
    """How an asset is connected, when its stalest data was refreshed, and the source of that.

    ``own_at`` and ``own_source`` are the same of its own extracts alone, without the published sources it uses.
    """

    connection: str | None
    at: datetime | None
    source: str | None
    own_at: datetime | None
    own_source: str | None


def known_refreshes(inventory: Inventory) -> pa.Table:
    """Return rows of AssetFreshness: each asset that is listed, described or remembered, once."""
    described, jobs = _described(inventory.described), _last_jobs(inventory.refreshes)
    before = {} if inventory.remembered is None else by_key(inventory.remembered)
    entries = zip(*_lists(inventory.content, "asset_type", "asset_id", "has_extracts"), strict=True)
    listed = {(kind, luid): has_extracts for kind, luid, has_extracts in entries}
    for key, parts in described.items():
        # Its entry has an extract, and its description has nothing: one of the two is late.
        parts.whole = parts.whole and not (listed.get(key) and not parts.extracts and not parts.uses)
    keys = dict.fromkeys((*listed, *described, *before))
    rows = [(*key, *_known(described.get(key), jobs.get(key), before.get(key, NOTHING))) for key in keys]
    columns = zip(*rows, strict=True) if rows else [()] * len(FRESHNESS)
    return pa.Table.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, FRESHNESS.types, strict=True)], schema=FRESHNESS
    )


def by_key(rows: pa.Table) -> dict[Key, Known]:
    """Return rows of AssetFreshness by type and LUID."""
    types, ids, *columns = _lists(rows, *FRESHNESS.names)
    return dict(zip(zip(types, ids, strict=True), map(Known, *columns), strict=True))


def freshness_of(inventory: Inventory, known: pa.Table) -> Iterator[RefreshState]:
    """Yield the freshness of each asset of the site's lists, in their order.

    A workbook is as fresh as the stalest of its own extracts and of the published extracts that it uses; live data does
    not count. Where nothing better is known, the last change of anything stands in: not where what is remembered could
    not be read, nor for a workbook without an extract of its own, which may be live.
    """
    found = by_key(known)
    entries = list(zip(*_lists(inventory.content, "asset_type", "asset_id", "has_extracts", "updated_at"), strict=True))
    found |= {
        (kind, luid): _with_entry(kind, found[kind, luid], has_extracts) for kind, luid, has_extracts, _ in entries
    }
    for kind, luid, has_extracts, updated_at in entries:
        own = found[kind, luid]
        sources = [found.get(("datasource", one), NOTHING) for one in _luids(own.uses)]
        may_be_live = kind == "workbook" and has_extracts is False
        stands_in = inventory.remembered is not None and not may_be_live
        yield _freshness(kind, own, sources, updated_at if stands_in else None)


def _freshness(kind: str, own: Known, sources: list[Known], updated_at: datetime | None) -> RefreshState:
    parts = [own, *sources]
    extracts = [part.stalest for part in parts if part.extracts or (part.extracts is None and part.refreshed_at)]
    at, source = min((one for one in extracts if one[0] is not None), default=(None, None))
    own_at, own_source = own.stalest
    if kind == "flow":
        return RefreshState(None, at, source, own_at, own_source)
    connection = None
    # One of several extracts without an instant may be the stalest.
    is_bound = at is not None and any(instant is None for instant, _ in extracts)
    if not is_bound and all(part.extracts is not None for part in parts):
        reads_live = any(part.has_live for part in parts)
        connection = ("mixed" if reads_live else "extract") if extracts else "live"
    if at is None and connection != "live":
        return RefreshState(connection, updated_at, None if updated_at is None else UPDATED, None, None)
    return RefreshState(connection, at, source, own_at, own_source)


def _known(parts: "_Parts | None", job: datetime | None, before: Known) -> Known:
    """Return the freshness of an asset after a poll with these parts and this last job."""
    remembered = (None, None) if before.refreshed_by == PARTIAL else (before.refreshed_at, before.refreshed_by)
    if parts is not None and parts.whole:
        return _described_whole(parts, job, before, remembered)
    at, by = _later(remembered, (job, JOB))
    if at is not None:
        before = before._replace(refreshed_at=at, refreshed_by=by, made_at=None)
    if parts is None or before.extracts is not None:
        return before
    before = before._replace(uses=_joined(parts.uses | _luids(before.uses)), has_live=parts.has_live)
    if at is not None or parts.stalest is None:
        return before
    # An extract that was seen once, and is missing now, is no fresher for that.
    return before._replace(refreshed_at=_earlier(before.refreshed_at, parts.stalest), refreshed_by=PARTIAL)


def _described_whole(parts: "_Parts", job: datetime | None, before: Known, remembered: Refreshed) -> Known:
    uses = _joined(parts.uses)
    if not parts.extracts:
        return Known(0, parts.has_live, uses)
    if before.extracts not in {None, parts.extracts}:
        remembered = (None, None)  # of other extracts than those of now
    # Of one that was refreshed and one that never was, the older counts.
    reported = parts.refreshed_at if parts.refreshed_at == parts.stalest else None
    at, by = _later((reported, METADATA), remembered, (job, JOB))
    was = before.refreshed_at if before.refreshed_by != PARTIAL else None
    if at is None and was is not None and (parts.stalest is None or was <= parts.stalest):
        # It was of other extracts than those of now; one that was only made replaces no refresh all the same.
        at, by = was, before.refreshed_by
    return Known(parts.extracts, parts.has_live, uses, at, by, None if at else parts.stalest)


def _later(*refreshes: Refreshed) -> Refreshed:
    """Return the latest refresh with what reported it; of equal ones the first."""
    found: Refreshed = (None, None)
    for at, by in refreshes:
        if at is not None and (found[0] is None or at > found[0]):
            found = at, by
    return found


def _with_entry(kind: str, known: Known, has_extracts: bool | None) -> Known:  # noqa: FBT001 - a column
    """Return the freshness of an asset, corrected by its entry in the list, which has whether it has an extract."""
    if known.extracts is None:
        if kind == "datasource" and has_extracts is False:
            return known._replace(extracts=0, has_live=True)
        in_part = kind == "workbook" and known.has_live is not None
        if kind == "flow" or (not in_part and known.refreshed_by != PARTIAL and (has_extracts or known.refreshed_at)):
            return known._replace(extracts=1, has_live=False)
    elif has_extracts and not known.extracts and not known.uses:
        # Its entry and its description contradict each other: one of the two is late.
        return known._replace(extracts=None)
    return known


@dataclass(slots=True)
class _Parts:
    """What the Metadata API describes of one asset; ``made_at`` is of extracts that were never refreshed."""

    extracts: int = 0
    undated: int = 0
    has_live: bool = False
    uses: set[str] = field(default_factory=set)
    refreshed_at: datetime | None = None
    made_at: datetime | None = None
    whole: bool = True

    @property
    def stalest(self) -> datetime | None:
        """When the stalest of its extracts was refreshed, or made."""
        return _earlier(self.refreshed_at, self.made_at)

    def add(self, has_extracts: bool | None, refreshed_at: datetime | None, made_at: datetime | None) -> None:  # noqa: FBT001 - a column
        """Add a part of its own; of one that is unknown, or undated beside others, the whole is not known."""
        self.extracts += bool(has_extracts)
        self.has_live = self.has_live or has_extracts is False
        self.whole = self.whole and has_extracts is not None
        if has_extracts and refreshed_at is not None:
            self.refreshed_at = _earlier(self.refreshed_at, refreshed_at)
        elif has_extracts and made_at is not None:
            self.made_at = _earlier(self.made_at, made_at)
        elif has_extracts:
            self.undated += 1
        self.whole = self.whole and self.undated in {0, self.extracts}


def _described(described: pa.Table | None) -> Mapping[Key, _Parts]:
    found: dict[Key, _Parts] = {}
    if described is None:
        return found
    names = ("asset_type", "asset_id", "has_extracts", "refreshed_at", "made_at", "source_id", "whole")
    for kind, luid, has_extracts, refreshed_at, made_at, source_id, whole in zip(
        *_lists(described, *names), strict=True
    ):
        parts = found.setdefault((kind, luid), _Parts())
        parts.whole = parts.whole and bool(whole)
        if source_id is None:
            parts.add(has_extracts, refreshed_at, made_at)
        else:
            parts.uses.add(source_id)
    return found


def _last_jobs(refreshes: pa.Table | None) -> Mapping[Key, datetime]:
    """Return when a refresh job of each asset, or a run of a flow, last ended with success."""
    if refreshes is None:
        return {}
    last = refreshes.group_by(["asset_type", "asset_id"], use_threads=False).aggregate([("completed_at", "max")])
    types, ids, ended = _lists(last, "asset_type", "asset_id", "completed_at_max")
    return dict(zip(zip(types, ids, strict=True), ended, strict=True))


def _luids(uses: str | None) -> set[str]:
    return set(uses.split(TAG_SEPARATOR)) if uses else set()


def _joined(luids: set[str]) -> str | None:
    return TAG_SEPARATOR.join(sorted(luids)) or None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)


def _lists(rows: pa.Table, *names: str) -> list[list[Any]]:
    return [rows.column(name).to_pylist() for name in names]
