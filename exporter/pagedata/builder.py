"""Builds the data of the web pages ahead of requests: rebuilt where a poll has changed it, reused where it has not."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Collector
from exporter.collectors import requests_collector
from exporter.collectors.active_users import ACTIVE, SERVER_ACTIVE
from exporter.collectors.unused.metrics import UNUSED
from exporter.exposition.state_store import AnyBlock
from exporter.metrics import Block
from exporter.pagedata.asset_table import AssetTable, Texts, asset_table
from exporter.pagedata.licences import LISTS, LicenceList
from exporter.pagedata.query_results import ASSET_SIZES, ASSET_USAGE, HistoryAnswer, HourlyUsage, PageAnswers
from exporter.pagedata.undelivered import UNDELIVERED, UndeliveredList
from exporter.pagedata.unused import UnusedContent
from exporter.self_metrics import EXACT_INTERVAL
from exporter.status import FiringAlert

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ASSETS, WORKBOOKS, VIEWS, EVENTS, REQUESTS = "assets", "workbooks", "views", "events", "requests"
"""Names of pages: all but the last are ``StateHistory.page`` of the state that each of them shows."""
MICROSECONDS = 1_000_000

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
AssetKey = tuple[str, str]
Made = TypeVar("Made")
Firing = Callable[[], tuple[FiringAlert, ...] | None]
AssetRows = Callable[[float], tuple[pa.Table, Sequence[AnyBlock]] | None]


@dataclass(frozen=True)
class Refresh:
    """A refresh that ended: when (Unix seconds), after how many seconds, and Tableau's finish code, -1 for none."""

    ended_at: float
    seconds: float | None
    outcome: int


@dataclass(frozen=True)
class Refreshes:
    """The last refreshes of many assets, by LUID, the oldest first; and the time of the query."""

    queried_at: float
    spans: Mapping[str, tuple[int, int]]
    rows: pa.Table

    @classmethod
    def of(cls, answer: HistoryAnswer) -> "Refreshes":
        """Build it of an answer of the history, which has the rows of each asset together."""
        rows = answer.rows.combine_chunks()
        return cls(answer.queried_at, _spans(rows.column("asset_id")), rows.drop_columns(["asset_id"]))

    def __getitem__(self, asset_id: str) -> list[Refresh]:
        begin, end = self.spans.get(asset_id, (0, 0))
        return [Refresh(**row) for row in self.rows.slice(begin, end - begin).to_pylist()]


@dataclass(frozen=True)
class Size:
    """The size of an asset after a refresh (Unix seconds), and the one that was expected before it, None for none."""

    refreshed_at: float
    bytes: int
    usual_bytes: int | None


@dataclass(frozen=True)
class Sizes:
    """The sizes of many assets after their last refreshes, by LUID, the oldest first."""

    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    rows: pa.Table | None = None

    @classmethod
    def of(cls, rows: pa.Table) -> "Sizes":
        """Build it of an answer of the history, which has the rows of each asset together."""
        rows = rows.combine_chunks()
        return cls(_spans(rows.column("asset_id")), rows.select(["refreshed_at", "bytes", "usual_bytes"]))

    def __getitem__(self, asset_id: str) -> list[Size]:
        begin, end = self.spans.get(asset_id, (0, 0))
        return [] if self.rows is None else [Size(**row) for row in self.rows.slice(begin, end - begin).to_pylist()]


def _spans(ids: pa.ChunkedArray) -> Mapping[str, tuple[int, int]]:
    """Return where the rows of each asset begin and end; those of one are together."""
    counted = pc.value_counts(ids) if len(ids) else pa.array([], pa.struct([]))
    spans, begin = dict[str, tuple[int, int]](), 0
    for entry in counted.to_pylist():
        spans[entry["values"]] = begin, begin + entry["counts"]
        begin += entry["counts"]
    return spans


@dataclass(frozen=True)
class Content:
    """Workbooks, or views, and how often they were loaded, a row each; ``last_day`` is its begin (Unix seconds) or NaN.

    ``workbook`` is a workbook's name in addresses.
    """

    queried_at: float
    site: Sequence[str]
    asset_id: Sequence[str]
    name: Texts
    workbook: Sequence[str]
    created_at: Numbers
    loads: Mapping[int, Counts]
    """Over the last 7, 30 and 90 days."""
    last_day: Numbers
    users: Sequence[int | None]
    """Users who opened it within 30 days, as far as they are counted."""

    @classmethod
    def of(cls, answer: HistoryAnswer) -> "Content":
        """Build it of an answer of the history."""
        rows = answer.rows
        return cls(
            answer.queried_at,
            [answer.sites.get(site, "") for site in rows.column("site_id").to_pylist()],
            [text or "" for text in rows.column("asset_id").to_pylist()],
            Texts.of([text or "" for text in rows.column("name").to_pylist()]),
            [text or "" for text in rows.column("workbook").to_pylist()],
            _instants(rows.column("created_at")),
            {days: rows.column(f"loads_{days}d").to_numpy() for days in (7, 30, 90)},
            _instants(rows.column("last_day")),
            rows.column("users_30d").to_pylist(),
        )


@dataclass(frozen=True)
class PageData:
    """The data of all pages; None where it is unknown, or its collector is disabled."""

    enabled: Container[str] = frozenset()
    """The pages whose collectors are enabled."""
    assets: AssetTable | None = None
    refreshes: tuple[Refreshes, ...] = ()
    content: Content | None = None
    views: Content | None = None
    usage: HourlyUsage | None = None
    active: tuple[Block, ...] = ()
    exact_interval: float | None = None
    """The seconds from one exact read of requests to the next, as they are now."""
    firing: tuple[FiringAlert, ...] | None = None
    firing_of: Mapping[AssetKey, Sequence[FiringAlert]] = field(default_factory=dict)
    undelivered: UndeliveredList | None = None
    tableau_url: str | None = None
    """The URL of Tableau, for links to the pages of assets."""
    events: HistoryAnswer | None = None
    """The last events of the audit log: rows of the events' page."""
    timezone: str = "UTC"
    """The IANA name of the time zone of sites whose own is unknown."""
    monthly_users: Mapping[AssetKey, int] = field(default_factory=dict)
    """How many users opened each asset within 30 days, as far as it is known."""
    sizes: Sizes = field(default_factory=Sizes)
    unused: UnusedContent | None = None
    licences: Mapping[str, LicenceList] = field(default_factory=dict)
    """The lists of the licences page, by the name of the state's page."""

    def refreshes_of(self, asset_id: str) -> tuple[Sequence[Refresh], float | None]:
        """Return the last refreshes of an asset and the time of the query; of the source that has most of them."""
        found = [(known[asset_id], known.queried_at) for known in self.refreshes]
        return max(found, key=lambda pair: len(pair[0]), default=((), None))


def enabled_pages(collectors: Mapping[str, Collector]) -> frozenset[str]:
    """Return the names of the pages whose collectors are enabled."""
    pages = {state.history.page for collector in collectors.values() for state in collector.states}
    return frozenset(page for page in pages if page) | ({REQUESTS} if requests_collector(collectors) else set())


class PageDataBuilder:
    """Builds the data of the pages after each poll; one thread at a time."""

    def __init__(self, answers: PageAnswers, firing: Firing, assets: AssetRows) -> None:
        self._answers = answers
        self._firing = firing
        self._assets = assets
        self._built: dict[str, tuple[object, object]] = {}

    def build(
        self,
        now: float,
        enabled: Container[str],
        blocks: "Iterable[AnyBlock]",
        tableau_url: str | None = None,
        timezone: str = "UTC",
    ) -> PageData:
        """Return the data at an instant (Unix seconds); ``blocks`` are those of the exposition."""
        both = self._assets(now) if ASSETS in enabled else None
        firing, plain = self._firing(), [block for block in blocks if isinstance(block, Block)]
        return PageData(
            enabled,
            self._cached("assets", both[1], partial(asset_table, *both)) if both else None,
            tuple(
                self._cached(f"refreshes of {source}", answer, partial(Refreshes.of, answer))
                for source, answer in self._answers.of(ASSETS).items()
            ),
            self._content(WORKBOOKS) if WORKBOOKS in enabled else None,
            self._content(VIEWS) if VIEWS in enabled else None,
            self._answers.usage() if REQUESTS in enabled else None,
            tuple(block for block in plain if block.family in (ACTIVE, SERVER_ACTIVE)),
            next((_only(block, now) for block in plain if block.family == EXACT_INTERVAL), None),
            firing,
            self._cached("firing", firing, partial(_by_asset, firing)) if firing else {},
            self._undelivered() if UNDELIVERED in enabled else None,
            tableau_url,
            next(iter(self._answers.of(EVENTS).values()), None) if EVENTS in enabled else None,
            timezone,
            self._of_history(ASSET_USAGE, _monthly_users, {}),
            self._of_history(ASSET_SIZES, Sizes.of, Sizes()),
            unused=self._unused() if UNUSED in enabled else None,
            licences=dict(self._licences(enabled)),
        )

    def _of_history(self, name: str, make: Callable[[pa.Table], Made], unknown: Made) -> Made:
        """Return an answer about the assets of all sources."""
        answer = max(self._answers.of(name).values(), key=lambda one: one.queried_at, default=None)
        return unknown if answer is None else self._cached(name, answer, lambda: make(answer.rows))

    def _unused(self) -> UnusedContent | None:
        answer = next(iter(self._answers.of(UNUSED).values()), None)
        return None if answer is None else self._cached(UNUSED, answer, partial(UnusedContent.of, answer))

    def _licences(self, enabled: Container[str]) -> "Iterator[tuple[str, LicenceList]]":
        for page in LISTS.values():
            answer = next(iter(self._answers.of(page).values()), None)
            if answer is not None and page in enabled:
                yield page, self._cached(page, answer, partial(LicenceList.of, answer))

    def _content(self, page: str) -> Content | None:
        answer = next(iter(self._answers.of(page).values()), None)
        return None if answer is None else self._cached(page, answer, partial(Content.of, answer))

    def _undelivered(self) -> UndeliveredList | None:
        answers = self._answers.every(UNDELIVERED)
        return UndeliveredList.of(answers) if answers else None

    def _cached(self, name: str, built_of: object, make: Callable[[], Made]) -> Made:
        """Return what was built of the same input before, or build it."""
        before = self._built.get(name)
        if before is not None and before[0] is built_of:
            return cast("Made", before[1])
        made = make()
        self._built[name] = built_of, made
        return made


def _only(block: Block, now: float) -> float | None:
    (value,) = block.at(now)
    return None if value is None else float(value)


def _monthly_users(rows: pa.Table) -> Mapping[AssetKey, int]:
    columns = (rows.column(name).to_pylist() for name in ("asset_type", "asset_id", "users_30d"))
    return {(kind, luid): users for kind, luid, users in zip(*columns, strict=True) if users is not None}


def _by_asset(alerts: Sequence[FiringAlert]) -> Mapping[AssetKey, Sequence[FiringAlert]]:
    found: dict[AssetKey, list[FiringAlert]] = {}
    for alert in alerts:
        labels = dict(alert.labels)
        if labels.get("asset_id"):
            found.setdefault((labels.get("asset_type", ""), labels["asset_id"]), []).append(alert)
    return found


def _instants(column: pa.ChunkedArray) -> Numbers:
    """Return instants, or days, as Unix seconds; NULL and infinity are not numbers."""
    micros = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.abs(micros) >= 2.0**62, np.nan, micros / MICROSECONDS)
