"""What is read of one site, in what order: the lists, then the freshness of what they name, then what is scheduled."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import pyarrow as pa

from exporter.errors import SourceError, SourceIncomplete
from exporter.inventory import Inventory, Refresh, Task
from exporter.rest import flow_runs, jobs, lists, metadata, tasks
from exporter.rest.columns import schema, table
from exporter.rest.faults import Forbidden
from exporter.rest.session import Session

T = TypeVar("T")


class Known:
    """What was looked up before, and how much more may be."""

    def __init__(self, refreshes: pa.Table, budget: int) -> None:
        self.refreshes = refreshes.select(schema(Refresh).names).cast(schema(Refresh))
        self.job_ids = set(self.refreshes.column("job_id").to_pylist())
        self.budget = jobs.Budget(budget)

    def of(self, assets: pa.Array | pa.ChunkedArray) -> pa.Table:
        """Return the refreshes of these assets."""
        wanted = set(assets.to_pylist())
        return self.refreshes.filter(
            pa.array([one in wanted for one in self.refreshes.column("asset_id").to_pylist()], pa.bool_())
        )


@dataclass(frozen=True)
class Lists:
    """A site's lists; what may not be seen is None, and of the content is not there at all."""

    content: Mapping[str, pa.Table]
    projects: pa.Table | None
    people: pa.Table | None
    notes: tuple[str, ...]

    def counts(self) -> Mapping[str, int]:
        """Return how many assets of each type there are: a list that is refused is not a list of none."""
        return {asset_type: rows.num_rows for asset_type, rows in self.content.items()}


class Reading:
    """The readings of one Tableau; it remembers what proved useless or too much."""

    def __init__(self, session: Session, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._found: dict[str, dict[str, jobs.Row]] = {}
        self._barren: set[str] = set()
        self._page_size = metadata.PAGE_SIZE

    def begin(self, known: Known) -> None:
        """Begin a poll: what was looked up is kept until it is known to the caller, or too old to be asked for."""
        oldest = self._now() - jobs.RECENT
        for site, found in self._found.items():
            self._found[site] = {
                job_id: row for job_id, row in found.items() if job_id not in known.job_ids and row[3] >= oldest
            }

    def looked_up(self, site: str) -> pa.Table | None:
        """Return what was looked up of a site and is not known to the caller, also where the site failed."""
        found = self._found.get(site)
        return table(Refresh, found.values()) if found else None

    def lists(self) -> Lists:
        """Read the lists of the site that the session is on. Raises SourceError where one is not whole."""
        notes: list[str] = []
        content = {name: lists.read(self._session, lists.CONTENT[name]) for name in ("workbook", "datasource")}
        flows = self._if_allowed(notes, "flows", lambda: lists.read(self._session, lists.CONTENT["flow"]))
        if flows is not None:
            content["flow"] = flows
        projects = self._if_allowed(notes, "projects", lambda: lists.read(self._session, lists.PROJECTS))
        people = self._if_allowed(notes, "users", lambda: lists.read(self._session, lists.PEOPLE))
        return Lists(content, projects, people, tuple(notes))

    def inventory(self, site: str, found: Lists, known: Known, more_notes: Iterable[str]) -> Inventory:
        """Read the rest of the site: what is not for us is left out, with a note."""
        notes = [*more_notes, *found.notes]
        now = self._now()
        content = pa.concat_tables(found.content.values())
        description = metadata.describe(self._session, self._page_size)
        self._page_size = description.page_size
        notes += description.notes
        asked = None
        if names := _undescribed(content, description.rows):
            titles = names if description.rows is not None else None
            sought = jobs.Sought(known.job_ids, self._found.setdefault(site, {}), self._barren, titles)
            asked = self._if_had(notes, "jobs", lambda: jobs.look_up(self._session, sought, known.budget, now))
        runs, flows = None, "flow" in found.content and found.content["flow"].num_rows > 0
        if flows:
            runs = self._if_had(notes, "flow runs", lambda: flow_runs.last_runs(self._session, now))
        refreshes = [known.of(content.column("asset_id"))]
        looked_up = self.looked_up(site)
        if looked_up is None and asked:
            looked_up = table(Refresh, ())
        refreshes += [rows for rows in (looked_up, None if runs is None else table(Refresh, runs)) if rows is not None]
        scheduled = self._tasks(notes, flows=flows)
        return Inventory(
            site,
            content,
            found.projects,
            found.people,
            description.rows,
            pa.concat_tables(refreshes),
            looked_up,
            None if scheduled is None else table(Task, scheduled),
            tuple(dict.fromkeys(notes)),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).replace(tzinfo=None)

    def _tasks(self, notes: list[str], *, flows: bool) -> list[tasks.Row] | None:
        extracts = self._if_had(notes, "extract refresh tasks", lambda: tasks.extract_tasks(self._session))
        runs = self._if_had(notes, "flow tasks", lambda: tasks.flow_tasks(self._session)) if flows else None
        return None if extracts is None and runs is None else [*(extracts or ()), *(runs or ())]

    def _if_allowed(self, notes: list[str], what: str, read: Callable[[], T]) -> T | None:
        """Read what only some may see."""
        try:
            return read()
        except Forbidden as error:
            notes.append(f"no {what}: {error}")
            return None

    def _if_had(self, notes: list[str], what: str, read: Callable[[], T]) -> T | None:
        """Read what can be done without; an answer that is cut or not Tableau's is no answer."""
        try:
            return read()
        except SourceIncomplete:
            raise
        except SourceError as error:
            if self._session.lost:
                raise
            notes.append(f"no {what}: {error}")
            return None


def _undescribed(content: pa.Table, described: pa.Table | None) -> set[str]:
    """Return the names of the assets that could have an extract and that the Metadata API said nothing of."""
    told = set(described.column("asset_id").to_pylist()) if described is not None else set()
    columns = (content.column(name).to_pylist() for name in ("asset_type", "asset_id", "asset_name", "has_extracts"))
    return {
        name or ""
        for asset_type, asset_id, name, has_extracts in zip(*columns, strict=True)
        if asset_id not in told
        if asset_type == "workbook" or (asset_type == "datasource" and has_extracts is not False)
    }
