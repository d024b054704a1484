"""The assets as columns, built once after each poll, so that a page is a few vector operations.

Rows are in the order of the asset metrics. Values that depend on the time are evaluated for an instant by ``at``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets import metrics
from exporter.collectors.assets.rows import downstream
from exporter.collectors.assets.status import STATUSES, status_indices
from exporter.inventory import TAG_SEPARATOR
from exporter.metrics import Block, Family

if TYPE_CHECKING:
    from exporter.exposition.state_store import AnyBlock

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """A column of texts, dictionary encoded: the distinct ones in alphabetical order, and the index of each row.

    ``folded`` are the distinct ones without the difference of small and capital letters, as a column of Arrow: its
    sweeps let other threads work meanwhile.
    """

    distinct: Sequence[str]
    folded: pa.StringArray
    numbers: npt.NDArray[np.int32]

    @classmethod
    def of(cls, column: Sequence[str]) -> "Texts":
        """Encode a column."""
        encoded = pa.array(column, pa.string()).dictionary_encode()
        folded = pa.array([text.casefold() for text in encoded.dictionary.to_pylist()], pa.string())
        order = pc.sort_indices(
            pa.table({"folded": folded, "text": encoded.dictionary}),
            sort_keys=[("folded", "ascending"), ("text", "ascending")],
        )
        place = np.empty(len(order), dtype=np.int32)
        place[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
        numbers = place[encoded.indices.to_numpy()] if len(column) else np.empty(0, dtype=np.int32)
        return cls(encoded.dictionary.take(order).to_pylist(), folded.take(order), numbers)

    def __getitem__(self, row: int) -> str:
        return self.distinct[int(self.numbers[row])]

    def containing(self, part: str) -> Mask:
        """Return which rows contain a folded text."""
        return self._where(pc.match_substring(self.folded, part))

    def equal(self, text: str) -> Mask:
        """Return which rows have a text, in small or capital letters."""
        return self._where(pc.equal(self.folded, text.casefold()))

    def within(self, path: str) -> Mask:
        """Return which rows have a path, or one below it, in small or capital letters."""
        wanted = path.casefold().rstrip("/")
        return self._where(pc.or_(pc.equal(self.folded, wanted), pc.starts_with(self.folded, f"{wanted}/")))

    def _where(self, fits: pa.BooleanArray) -> Mask:
        """Return which rows have a matching text; ``fits`` is by distinct text."""
        found: Mask = fits.to_numpy(zero_copy_only=False)[self.numbers]
        return found


@dataclass(frozen=True)
class AssetTable:
    """Every published asset; NaN is unknown. Instants are Unix seconds."""

    site: Texts
    project: Texts
    asset_type: Texts
    asset_id: Sequence[str]
    name: Texts
    owner: Texts
    connection: Texts
    freshness_source: Texts
    refreshed: Numbers
    warning: Numbers
    critical: Numbers
    following: Numbers
    """When each asset's schedule runs next."""
    interval: Numbers
    failures: Numbers
    suspended: Numbers
    url_id: Ids
    """The number in the address of each asset's page in Tableau; 0 is unknown."""
    users: Numbers
    """How many users opened each asset within 7 days."""
    next_use: Callable[[float], Numbers]
    """From an instant, when each asset is usually opened next."""
    bytes: Numbers
    usual_bytes: Numbers
    time_zones: "pa.ChunkedArray"
    """The IANA name of the time zone of each asset's site; NULL is unknown."""
    uses: "pa.ChunkedArray"
    downstream: Mapping[str, Sequence[int]]
    """The rows that use each published data source, by its LUID."""

    def __len__(self) -> int:
        return len(self.asset_id)

    @cached_property
    def places(self) -> Mapping[tuple[str, str], int]:
        """Where each asset stands, by its type and LUID."""
        kinds = self.asset_type
        return {
            (kinds.distinct[kind], asset_id): row
            for row, (kind, asset_id) in enumerate(zip(kinds.numbers.tolist(), self.asset_id, strict=True))
            if asset_id
        }

    @cached_property
    def by_name(self) -> Places:
        """The rows in the order of their names."""
        order: Places = np.argsort(self.name.numbers, kind="stable")
        return order

    @cached_property
    def live(self) -> Mask:
        """Which assets are live: they are never refreshed."""
        return self.connection.equal("live")

    @cached_property
    def has_sla(self) -> Mask:
        """Which assets have an SLA."""
        sla: Mask = ~(np.isnan(self.warning) & np.isnan(self.critical))
        return sla

    @cached_property
    def unsure(self) -> Mask:
        """Which assets may be staler than their hours: not all of their sources are known."""
        unknown = self.connection.equal("") & ~self.asset_type.equal("flow")
        return unknown | self.freshness_source.equal("updated_at")

    def sources_of(self, row: int) -> list[str]:
        """Return the LUIDs of the published data sources that an asset uses."""
        text = self.uses[row].as_py()
        return text.split(TAG_SEPARATOR) if text else []

    def at(self, now: float) -> "Judged":
        """Return what depends on the time."""
        refreshed = np.where(self.live, np.nan, self.refreshed)
        hours = np.maximum((now - refreshed) / metrics.HOUR, 0.0)
        tiers = np.column_stack([self.warning, self.critical])
        return Judged(hours, status_indices(self.live, self.unsure, hours, tiers), self.next_use(now))


@dataclass(frozen=True)
class Judged:
    """The assets at one instant: hours since the refresh, and the place of the status in STATUSES."""

    hours: Numbers
    status: npt.NDArray[np.int8]
    next_use: Numbers

    def counts(self) -> dict[str, int]:
        """Return how many assets have each status."""
        counts = np.bincount(self.status, minlength=len(STATUSES)).tolist()
        return dict(zip(STATUSES, counts, strict=True))


def asset_table(rows: pa.Table, blocks: Sequence["AnyBlock"]) -> AssetTable:
    """Make the table of the assets' rows and of the blocks that were made of these."""
    found = [block for block in blocks if isinstance(block, Block)]
    info = next(block for block in found if block.family == metrics.INFO)
    site, project, asset_type, asset_id, asset_name, owner, connection, source = info.labels.columns
    sla = {block.labels.columns[-1][0]: block for block in found if block.family == metrics.SLA and len(block.labels)}
    size = len(asset_id)
    table = AssetTable(
        Texts.of(site),
        Texts.of(project),
        Texts.of(asset_type),
        asset_id,
        Texts.of(asset_name),
        Texts.of(owner),
        Texts.of(connection),
        Texts.of(source),
        _numbers(_one(found, metrics.LAST_REFRESH), size),
        _numbers(sla.get("warning"), size),
        _numbers(sla.get("critical"), size),
        _numbers(_one(found, metrics.NEXT_REFRESH), size),
        _numbers(_one(found, metrics.INTERVAL), size),
        _numbers(_one(found, metrics.FAILURES), size),
        _numbers(_one(found, metrics.SUSPENDED), size),
        rows.column("url_id").fill_null(0).to_numpy(),
        _numbers(_one(found, metrics.USERS), size),
        _numbers_at(_one(found, metrics.NEXT_USE), size),
        _numbers(_one(found, metrics.BYTES), size),
        _numbers(_one(found, metrics.USUAL_BYTES), size),
        rows.column("time_zone"),
        rows.column("uses"),
        downstream(rows),
    )
    _ = table.places, table.by_name, table.live, table.has_sla, table.unsure  # computed here, not by the first request
    return table


def _one(blocks: Sequence[Block], family: Family) -> Block | None:
    return next((block for block in blocks if block.family == family), None)


def _numbers_at(block: Block | None, size: int) -> Callable[[float], Numbers]:
    if block is None:
        return lambda _now: np.full(size, np.nan)
    return lambda now: np.array(block.at(now), dtype=np.float64)


def _numbers(block: Block | None, size: int) -> Numbers:
    if block is None or callable(block.values):
        return np.full(size, np.nan)
    return np.array(block.values, dtype=np.float64)
