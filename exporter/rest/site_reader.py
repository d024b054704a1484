"""Reads one site: the lists of assets, then the supplements that describe them.

Only the lists of assets may fail a site. A supplement (projects, users, Metadata API, jobs, flow runs, tasks) that
fails leaves a note, and its last complete answer stays in use.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from exporter.errors import SourceError
from exporter.inventory import Inventory, Refresh, Task
from exporter.rest import jobs, tasks, usage_lists
from exporter.rest.arrow import first_of_each, schema, table
from exporter.rest.empty_list_guard import EMPTY_SECONDS, EmptyListGuard
from exporter.rest.errors import Forbidden
from exporter.rest.lists import CONTENT, PEOPLE, PROJECTS, SUBSCRIPTIONS, Listing, collect, read_list
from exporter.rest.metadata import MetadataReader
from exporter.rest.session import RestSession
from exporter.rest.usage_lists import JobsRead, UsageLists

T = TypeVar("T")

# Tableau's clock may be so far ahead of ours.
AHEAD = timedelta(hours=1)

_TASKS: Sequence[tuple[str, frozenset[str], Callable[[RestSession], list[tasks.Row]]]] = (
    ("extract refresh tasks", frozenset({"workbook", "datasource"}), tasks.extract_tasks),
    ("flow tasks", frozenset({"flow"}), tasks.flow_tasks),
    ("linked tasks", frozenset({"flow"}), tasks.linked_tasks),
)
"""The lists of tasks, and the types of assets that each is about."""


class KnownRefreshes:
    """Refreshes of earlier polls, and the budget for further ones."""

    def __init__(self, refreshes: pa.Table, budget: int) -> None:
        self.refreshes = refreshes.select(schema(Refresh).names).cast(schema(Refresh))
        self.job_ids = set(self.refreshes.column("job_id").to_pylist())
        self.budget = jobs.LookupBudget(budget)

    def of(self, assets: pa.Array | pa.ChunkedArray) -> pa.Table:
        """Return the refreshes of these assets."""
        wanted = set(assets.to_pylist())
        return self.refreshes.filter(
            pa.array([one in wanted for one in self.refreshes.column("asset_id").to_pylist()], pa.bool_())
        )


@dataclass
class Report:
    """Notes on what could not be read of a site, and which sources of freshness were read completely."""

    notes: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    read_whole: dict[str, bool] = field(default_factory=dict)
    listed: dict[str, pa.Table] = field(default_factory=dict)

    def missing(self, text: str, source: str | None = None, *, refused: bool = False) -> None:
        """Record what is missing; of a source of freshness it is a gap, unless Tableau refused it for good."""
        self.notes.append(text)
        if source is not None:
            self.read_whole[source] = False
            if not refused:
                self.gaps.append(text)


@dataclass(frozen=True)
class Lists:
    """A site's lists of assets by type; flows are not among them where they may not be seen."""

    content: Mapping[str, pa.Table]
    notes: tuple[str, ...] = ()

    def counts(self) -> Mapping[str, int]:
        """Return how many assets of each type there are: a list that is refused is not a list of none."""
        return {asset_type: rows.num_rows for asset_type, rows in self.content.items()}


class SiteReader:
    """Reads the sites of one Tableau; keeps the last complete answer of each supplement, and jobs without an asset."""

    def __init__(self, session: RestSession, clock: Callable[[], float], wanted: frozenset[str] = frozenset()) -> None:
        self._session = session
        self._clock = clock
        self._wanted = wanted
        self._usage = UsageLists(session, self._now, wanted)
        self._found: dict[str, dict[str, jobs.Row]] = {}
        self._without_asset: dict[str, set[str]] = {}
        self._metadata = MetadataReader(clock)
        self._guard = EmptyListGuard(clock)
        self._last: dict[tuple[str, str], pa.Table] = {}
        self._missing: dict[tuple[str, str], str] = {}
        self._refused_at: dict[str, float] = {}
        self._all_runs_read: set[str] = set()

    def begin(self, known: KnownRefreshes) -> None:
        """Begin a poll: fetched refreshes are kept until the caller knows them, or they are too old to be fetched."""
        oldest = self._now() - jobs.RECENT
        for site, found in self._found.items():
            self._found[site] = {
                job_id: row for job_id, row in found.items() if job_id not in known.job_ids and row[3] >= oldest
            }

    def looked_up(self, site: str) -> pa.Table | None:
        """Return the fetched refreshes of a site that the caller does not know yet, also where the site failed."""
        found = self._found.get(site)
        return table(Refresh, found.values()) if found else None

    def lists(self, site: str) -> Lists:
        """Read the assets of the site that the session is on. Raises SourceError where a list is not whole.

        Flows that were listed stand for a day after Tableau began to refuse their list.
        """
        content = {name: read_list(self._session, CONTENT[name]) for name in ("workbook", "datasource")}
        key, now = (site, "flows"), self._clock()
        try:
            content["flow"] = self._last[key] = read_list(self._session, CONTENT["flow"])
        except Forbidden as error:
            if now - self._refused_at.setdefault(site, now) >= EMPTY_SECONDS:
                self._last.pop(key, None)
            if (last := self._last.get(key)) is not None:
                content["flow"] = last
            return Lists(content, (f"no flows: {error}",))
        self._refused_at.pop(site, None)
        return Lists(content)

    def inventory(self, site: str, found: Lists, known: KnownRefreshes, more_notes: Iterable[str]) -> Inventory:
        """Read the supplements of the site's assets. Raises no error of theirs."""
        report = Report([*more_notes, *found.notes])
        content = pa.concat_tables(found.content.values())
        flows = "flow" in found.content and found.content["flow"].num_rows > 0
        projects = self._list(site, PROJECTS, report)
        people = self._list(site, PEOPLE, report)
        if usage_lists.SUBSCRIPTIONS in self._wanted:
            self._list(site, SUBSCRIPTIONS, report)
        description = self._metadata.describe(self._session, site)
        report.read_whole["metadata"] = description.whole
        for note in description.notes:
            report.missing(note, "metadata", refused=description.refused)
        undescribed = _undescribed(content, description.rows)
        listed = self._usage.list_jobs(site, for_refreshes=bool(undescribed))
        if description.whole and undescribed:
            report.missing(f"the Metadata API does not describe {len(undescribed)} assets that are listed")
        titles = None if description.rows is None else set(undescribed)
        looked_up = self._fetch_refreshes(site, listed, known, titles, report) if undescribed else self.looked_up(site)
        tables = [known.of(content.column("asset_id")), *([] if looked_up is None else [looked_up])]
        if flows:
            tables.append(self._flow_runs(site, report))
        refreshes, latest = pa.concat_tables(tables), pa.scalar(self._now() + AHEAD, pa.timestamp("us"))
        scheduled, tasks_read = self._tasks(site, report, flows=flows)
        listed_jobs = self._usage.jobs(site, listed, report.notes)
        view_count, view_totals = self._usage.view_count(report.notes), self._usage.view_totals(site, report.notes)
        return Inventory(
            site,
            content,
            projects,
            people,
            _without_future(description.rows, latest),
            refreshes.filter(pc.less_equal(refreshes.column("completed_at"), latest)),
            looked_up,
            scheduled,
            tuple(dict.fromkeys(report.notes)),
            tuple(dict.fromkeys(report.gaps)),
            report.read_whole,
            tasks_read,
            site_luid=self._session.site_luid,
            asset_types=frozenset(found.content),
            listed=report.listed,
            jobs=listed_jobs,
            view_count=view_count,
            view_totals=view_totals,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).replace(tzinfo=None)

    def _list(self, site: str, listing: Listing, report: Report) -> pa.Table | None:
        """Read a supplementing list: entries that came count, beside those of the last complete one."""
        key, rows = (site, listing.endpoint), None
        try:
            missing_before = self._missing.pop(key, None)
            listed = collect(self._session, listing, missing=missing_before)
            if not listed.missing:
                self._guard.check(self._session.place, site, {listing.endpoint: listed.rows.num_rows})
        except SourceError as error:
            report.missing(f"no {listing.endpoint}: {error}")
        else:
            if not listed.missing:
                report.listed[listing.endpoint] = self._last[key] = listed.rows
                return listed.rows
            self._missing[key] = listed.missing
            report.missing(listed.missing)
            if listed.missing == missing_before:
                # Tableau counts one that it does not list: what came twice is what is there.
                report.listed[listing.endpoint] = listed.rows
            rows = listed.rows
        tables = [one for one in (rows, self._last.get(key)) if one is not None]
        if not tables:
            return None
        known = self._last[key] = first_of_each(pa.concat_tables(tables), listing.row)
        return known

    def _fetch_refreshes(
        self, site: str, listed: JobsRead, known: KnownRefreshes, titles: set[str] | None, report: Report
    ) -> pa.Table | None:
        """Fetch the jobs of assets that the Metadata API does not describe; return those that were fetched lately."""
        fetched, without_asset = self._found.setdefault(site, {}), self._without_asset.setdefault(site, set())
        wanted = jobs.JobFilter(known.job_ids, fetched, without_asset, titles)

        def fetch() -> str:
            return jobs.fetch_refreshes(self._session, _answered(listed), wanted, known.budget, self._now())

        missing = self._supplement(report, "jobs", "job", fetch)
        if missing:
            report.missing(missing, "job")
        found = self.looked_up(site)
        return table(Refresh, ()) if found is None and missing is not None else found

    def _flow_runs(self, site: str, report: Report) -> pa.Table:
        """Read the runs of the last days, the first time all of them: a flow may run seldom."""
        since = self._now() - tasks.RECENT if site in self._all_runs_read else None
        self._all_runs_read.add(site)
        found = self._supplement(report, "flow runs", "flow_run", partial(tasks.last_runs, self._session, since))
        runs, missing = found or ([], None)
        if missing:
            report.missing(missing, "flow_run")
        return table(Refresh, runs)

    def _tasks(self, site: str, report: Report, *, flows: bool) -> tuple[pa.Table | None, frozenset[str]]:
        """Return the scheduled tasks, and the types of assets whose tasks were all read now.

        Where a list could not be read, the tasks of the last poll that read it stand.
        """
        wanted = [_TASKS[0], *(_TASKS[1:] if flows else ())]
        unread = set[str]()
        for what, asset_types, read_tasks in wanted:
            rows = self._supplement(report, what, "task", partial(self._guarded, site, what, read_tasks))
            if rows is None:
                unread |= asset_types
            else:
                self._last[site, what] = table(Task, rows)
        known = [rows for what, _, _ in wanted if (rows := self._last.get((site, what))) is not None]
        asset_types = frozenset().union(*(asset_types for _, asset_types, _ in wanted))
        return pa.concat_tables(known) if known else None, asset_types - unread

    def _guarded(self, site: str, what: str, read_tasks: Callable[[RestSession], list[tasks.Row]]) -> list[tasks.Row]:
        """Read tasks. Raises SourceIncomplete where there are suddenly none."""
        rows = read_tasks(self._session)
        self._guard.check(self._session.place, site, {what: len(rows)})
        return rows

    def _supplement(self, report: Report, what: str, source: str, read: Callable[[], T]) -> T | None:
        """Read a supplement; an answer that is cut, or not Tableau's, is no answer."""
        report.read_whole.setdefault(source, True)
        try:
            return read()
        except SourceError as error:
            report.missing(f"no {what}: {error}", source, refused=isinstance(error, Forbidden))
            return None


def _answered(listed: JobsRead) -> jobs.JobList:
    if isinstance(listed, SourceError):
        raise listed
    assert listed is not None  # noqa: S101 - it is read where refreshes are to be fetched
    return listed


def _without_future(described: pa.Table | None, latest: pa.Scalar) -> pa.Table | None:
    """Leave out instants that are yet to come: by a wrong clock an extract would be fresh for ever."""
    if described is None:
        return None
    is_whole = described.column("whole")
    for name in ("refreshed_at", "made_at"):
        known = pc.fill_null(pc.less_equal(described.column(name), latest), fill_value=True)
        is_whole = pc.and_(is_whole, known)
        instants = pc.if_else(known, described.column(name), pa.scalar(None, pa.timestamp("us")))
        described = described.set_column(described.column_names.index(name), name, instants)
    return described.set_column(described.column_names.index("whole"), "whole", is_whole)


def _undescribed(content: pa.Table, described: pa.Table | None) -> list[str]:
    """Return the names of the assets that could have an extract and that the Metadata API does not describe whole."""
    described_ids: set[str] = set()
    if described is not None:
        whole = described.filter(described.column("whole"))
        described_ids = set(whole.column("asset_id").to_pylist())
    columns = (content.column(name).to_pylist() for name in ("asset_type", "asset_id", "asset_name", "has_extracts"))
    return [
        name or ""
        for asset_type, asset_id, name, has_extracts in zip(*columns, strict=True)
        if asset_id not in described_ids
        if asset_type == "workbook" or (asset_type == "datasource" and has_extracts is not False)
    ]
