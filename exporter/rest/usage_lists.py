"""Lists of what was done and used (jobs, views), read where no better source of the same is configured.

Each is a supplement: what cannot be read leaves a note, and costs nothing else.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import pyarrow as pa
import tableauserverclient as tsc

from exporter.collectors._listed_jobs import FINISH_CODES
from exporter.errors import SourceError, SourceIncomplete
from exporter.inventory import ListedJob, ViewTotal
from exporter.rest import jobs
from exporter.rest.arrow import parse_instant, table, to_luid
from exporter.rest.errors import Forbidden
from exporter.rest.lists import Listing, page, read_list
from exporter.rest.response_xml import Entry, shape
from exporter.rest.session import RestSession

JOBS, VIEW_COUNT, VIEW_TOTALS, SUBSCRIPTIONS = "jobs", "view count", "view totals", "subscriptions"
"""What may be wanted."""

# Tableau's clock may be behind ours, and a job may be listed late.
OVERLAP = timedelta(hours=1)
# A total of requests changes at every use, and its list has a page for each thousand views.
TOTALS_EVERY = timedelta(hours=1)
UNFINISHED = frozenset({"pending", "inprogress"})

JobsRead = jobs.JobList | SourceError | None
"""The list of jobs, why there is none, or None where nobody wanted it."""


class UsageLists:
    """Reads these lists of each site; remembers since when a site's jobs are still of interest."""

    def __init__(self, session: RestSession, now: Callable[[], datetime], wanted: frozenset[str]) -> None:
        self._session = session
        self._now = now
        self._wanted = wanted
        self._jobs_since: dict[str, datetime] = {}
        self._totals_at: dict[str, datetime] = {}

    def list_jobs(self, site: str, *, for_refreshes: bool) -> JobsRead:
        """Read the list of jobs: of the last days for refreshes, or else those that may have changed since."""
        if not for_refreshes and JOBS not in self._wanted:
            return None
        recent = self._now() - jobs.RECENT
        since = recent if for_refreshes else max(self._jobs_since.get(site, recent), recent)
        try:
            return jobs.list_jobs(self._session, since)
        except SourceError as error:
            return error

    def jobs(self, site: str, listed: JobsRead, notes: list[str]) -> pa.Table | None:
        """Return rows of ListedJob, None where they are not wanted or the list could not be read."""
        if JOBS not in self._wanted or listed is None:
            return None
        if isinstance(listed, SourceError):
            notes.append(f"no jobs: {listed}")
            return None
        rows = [row for entry in listed.entries if (row := _job(entry))]
        if listed.missing:
            notes.append(listed.missing)
        else:
            open_since = [row[2] for row in rows if row[4] is None]
            self._jobs_since[site] = min([*open_since, self._now()]) - OVERLAP
        return table(ListedJob, rows)

    def view_count(self, notes: list[str]) -> int | None:
        """Return how many views the site has."""
        if VIEW_COUNT not in self._wanted:
            return None
        try:
            answer = page(self._session, "views", _VIEW, tsc.RequestOptions(pagenumber=1, pagesize=1))
            if answer.total is None:
                raise SourceIncomplete(f"{self._session.place}: a page of views without a count")
        except SourceError as error:
            notes.append(f"no views: {error}")
            return None
        return answer.total

    def view_totals(self, site: str, notes: list[str]) -> pa.Table | None:
        """Return rows of ViewTotal once an hour, None where they are not due or not known."""
        last = self._totals_at.get(site)
        if VIEW_TOTALS not in self._wanted or (last is not None and self._now() - last < TOTALS_EVERY):
            return None
        try:
            found = read_list(self._session, VIEWS)
        except SourceError as error:
            notes.append(f"no total counts of views: {error}")
            if isinstance(error, Forbidden):
                self._totals_at[site] = self._now()
            return None
        self._totals_at[site] = self._now()
        return found


def _job(entry: Entry) -> tuple[str, str | None, datetime, object, object, object, object, object, object] | None:
    of = entry.attributes
    job_id, created_at, status = to_luid(of.get("id")), parse_instant(of.get("createdAt")), of.get("status", "").lower()
    completed_at = parse_instant(of.get("endedAt") or of.get("completedAt"))
    if job_id is None or created_at is None or (completed_at is None and status not in UNFINISHED):
        return None
    return (
        job_id,
        of.get("jobType"),
        created_at,
        parse_instant(of.get("startedAt")),
        None if status in UNFINISHED else completed_at,
        FINISH_CODES.get(status),
        _number(of.get("priority")),
        of.get("title"),
        of.get("subtitle"),
    )


def _total(entry: Entry) -> tuple[object, ...] | None:
    """Return a view by the names in its URL, as requests have them: ``Superstore/sheets/Overview``."""
    view_id, total = to_luid(entry.attributes.get("id")), _number(entry.inside.get("usage", {}).get("totalViewCount"))
    workbook, _, view = (entry.attributes.get("contentUrl") or "").partition("/sheets/")
    return (view_id, workbook, view, total) if view_id and workbook and view and total is not None else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


_VIEW = shape("view", usage=1)
VIEWS = Listing("views", _VIEW, ViewTotal, _total, ("createdAt", "name"), usage=True)
