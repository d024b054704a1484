"""The result of one poll of the REST and Metadata APIs, site by site; the daily budget of job lookups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import StateKey
from exporter.history.refreshes import Remembered
from exporter.inventory import REFRESHES, Inventory, remembered_of
from exporter.rest.client import SiteResult

REFRESH_NOTES = pa.schema(
    {"asset_type": pa.string(), "asset_id": pa.string(), "refreshed_at": pa.timestamp("us"), "job_id": pa.string()}
)
"""A refresh as the history stores it; only a job that was fetched has its id."""
NO_NOTES = REFRESH_NOTES.empty_table()

DAY_SECONDS = 86_400.0
REMEMBERED_SECONDS = 31 * DAY_SECONDS

RowsOf = Callable[[Inventory], pa.Table]

KEY = ["asset_type", "asset_id"]


@dataclass
class RestPollResult:
    """The rows of the sites that were read, what is stored of these, and the errors of the others."""

    rows: dict[StateKey, dict[str, pa.Table]] = field(default_factory=dict)
    """Of each state the rows of each site that was read."""
    notes: dict[str, str] = field(default_factory=dict)
    """Of each site that was read, what is missing and why; empty where it is complete."""
    failures: list[str] = field(default_factory=list)
    sites: set[str] = field(default_factory=set)
    """Every site that was tried."""
    remembered: dict[str, Remembered] = field(default_factory=dict)
    read_whole: dict[str, Mapping[str, bool]] = field(default_factory=dict)
    """Of each site that was read, the freshness sources that it needs, and whether each was read completely."""
    _looked_up: list[pa.Table] = field(default_factory=list)
    _refreshes: list[pa.Table] = field(default_factory=list)

    def add(
        self,
        result: SiteResult,
        rows_of: Mapping[StateKey, RowsOf],
        known_of: RowsOf,
        remembered: Mapping[str, pa.Table] | None,
    ) -> None:
        """Add the result of one site. The inventory itself is not kept: those of all sites at once would be large.

        ``remembered`` are rows of AssetFreshness by site, None where the history could not be read.
        """
        self.sites.add(result.site)
        if result.looked_up is not None:
            self._looked_up.append(result.looked_up.cast(REFRESHES))
        inventory = result.inventory
        if inventory is None:
            self.failures.append(f"site {result.site}: {result.error}")
            return
        before = None if remembered is None else remembered_of(remembered, result.site, inventory.content)
        inventory = replace(inventory, remembered=before)
        inventory = replace(inventory, known=known_of(inventory))
        for key, make in rows_of.items():
            self.rows.setdefault(key, {})[result.site] = make(inventory)
        self.notes[result.site] = "; ".join(inventory.notes)
        self.read_whole[result.site] = inventory.read_whole
        self.remembered[result.site] = Remembered(inventory.known, _keys(inventory))
        self._refreshes += [
            _anonymous(table) for table in (_described(inventory), _runs(inventory)) if table is not None
        ]

    def all_rows(self, key: StateKey) -> pa.Table | None:
        """Return the rows of a state, of all sites that were read."""
        tables = list(self.rows.get(key, {}).values())
        return pa.concat_tables(tables) if tables else None

    def looked_up(self) -> pa.Table:
        """Return the jobs that this poll fetched."""
        return pa.concat_tables([REFRESHES.empty_table(), *self._looked_up])

    def refreshes(self) -> pa.Table:
        """Return every refresh that this poll reports, as the history stores it."""
        jobs = self.looked_up().rename_columns(["job_id", "asset_type", "asset_id", "refreshed_at"])
        return pa.concat_tables([jobs.select(REFRESH_NOTES.names).cast(REFRESH_NOTES), *self._refreshes])


def _keys(inventory: Inventory) -> pa.Table:
    """Return the keys of the assets that are listed or described."""
    tables = [table.select(KEY) for table in (inventory.content, inventory.described) if table is not None]
    return pa.concat_tables(tables).group_by(KEY, use_threads=False).aggregate([])


def _described(inventory: Inventory) -> pa.Table | None:
    """Return the refreshes that the Metadata API describes: of an asset's extracts the stalest.

    Of a workbook these are its own extracts, else those of the published data sources that it uses.
    """
    if inventory.described is None:
        return None
    own = inventory.described.group_by(KEY, use_threads=False).aggregate([("refreshed_at", "min")])
    sources = own.filter(pc.equal(own.column("asset_type"), "datasource")).select(["asset_id", "refreshed_at_min"])
    sources = sources.rename_columns(["source_id", "source_refreshed_at"])
    used = inventory.described.select([*KEY, "source_id"]).join(sources, "source_id", use_threads=False)
    used = used.group_by(KEY, use_threads=False).aggregate([("source_refreshed_at", "min")])
    found = own.join(used, KEY, use_threads=False)
    stalest = pc.min_element_wise(found.column("refreshed_at_min"), found.column("source_refreshed_at_min"))
    return found.select(KEY).append_column("refreshed_at", stalest)


def _runs(inventory: Inventory) -> pa.Table | None:
    """Return the runs of flows: jobs of other assets were fetched, or the Metadata API has their refreshes."""
    if inventory.refreshes is None:
        return None
    runs = inventory.refreshes.filter(pc.equal(inventory.refreshes.column("asset_type"), "flow"))
    return runs.rename_columns([{"completed_at": "refreshed_at"}.get(name, name) for name in runs.column_names])


def _anonymous(rows: pa.Table) -> pa.Table:
    """Return refreshes without the id of their job."""
    rows = rows.filter(pc.is_valid(rows.column("refreshed_at"))).select(REFRESH_NOTES.names[:3])
    return rows.append_column("job_id", pa.nulls(rows.num_rows, pa.string())).cast(REFRESH_NOTES)


def without(rows: pa.Table, noted: pa.Table | None) -> pa.Table:
    """Return the refreshes that were not among those of the last poll: most are reported again and again."""
    if noted is None or not noted.num_rows:
        return rows
    keys = (pc.binary_join_element_wise(*_texts(table), "\x1f", null_handling="replace") for table in (rows, noted))
    new, old = keys
    return rows.filter(pc.invert(pc.is_in(new, value_set=old.combine_chunks())))


def _texts(rows: pa.Table) -> list[pa.ChunkedArray]:
    return [rows.column(name).cast(pa.string()) for name in REFRESH_NOTES.names]


class JobLookupBudget:
    """Jobs are fetched by their id: each once, and at most the allowed number a day (Unix seconds)."""

    def __init__(self, per_day: int) -> None:
        self._per_day = per_day
        self._used: list[tuple[float, int]] = []
        self.known: pa.Table = REFRESHES.empty_table()
        """Rows of Refresh: the jobs whose asset is known."""

    def restore(self, known: pa.Table, used_today: int, now: float) -> None:
        """Set the jobs that are known from before a restart, and how many lookups the last day had."""
        self.known = known.cast(REFRESHES)
        self._used = [(now, used_today)]

    def add(self, looked_up: pa.Table, used: int, now: float) -> None:
        """Add the jobs of a poll, and the number of its lookups; old jobs are forgotten, as Tableau forgets them."""
        known = pa.concat_tables([self.known, looked_up.cast(REFRESHES)])
        since = datetime.fromtimestamp(now - REMEMBERED_SECONDS, UTC).replace(tzinfo=None)
        old = pc.less(known.column("completed_at"), pa.scalar(since, pa.timestamp("us")))
        self.known = known.filter(pc.invert(pc.fill_null(old, False)))  # noqa: FBT003 - the value
        self._used.append((now, used))

    def remaining(self, now: float) -> int:
        """Return how many lookups are left of the day that ends now."""
        self._used = [(at, count) for at, count in self._used if now - at < DAY_SECONDS]
        return max(0, self._per_day - sum(count for _, count in self._used))
