"""Refresh jobs that succeeded, for assets without a refresh in the Metadata API; a job names its asset only by its id.

Tableau Cloud allows some 20,000 such requests a day, so each job is fetched once, the newest of each title first, and
within a budget.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import tableauserverclient as tsc

from exporter.collectors.assets.refresh_jobs import refreshes_extracts
from exporter.errors import SourceError, SourceIncomplete
from exporter.rest.arrow import parse_instant, to_luid
from exporter.rest.errors import Forbidden, OutOfScope
from exporter.rest.lists import pages
from exporter.rest.response_xml import ANYWHERE, Entry, shape
from exporter.rest.session import RestSession

RECENT = timedelta(days=7)
# After so many failures in a row the other jobs are not fetched.
FAILURES = 2
SUCCESS = "success"

_JOBS = shape("backgroundJob")
_JOB = shape("job", workbook=ANYWHERE, datasource=ANYWHERE)

Row = tuple[str, str, str, datetime]


@dataclass(frozen=True)
class JobFilter:
    """Jobs that need not be fetched: known ones, those without an asset, and those of other titles.

    Without ``titles`` every job is of use. A refresh joins ``found`` at once, even if the others fail; a job
    that turns out to have no asset joins ``without_asset``.
    """

    known: Collection[str]
    found: dict[str, "Row"]
    without_asset: set[str]
    titles: Collection[str] | None = None

    def wants(self, job: "Job") -> bool:
        """Return whether to fetch a job."""
        has_title = self.titles is None or job.title is None or job.title in self.titles
        return has_title and not any(job.job_id in there for there in (self.known, self.found, self.without_asset))


@dataclass
class LookupBudget:
    """How many jobs may still be fetched in this poll, and how many were."""

    left: int
    spent: int = 0

    def spend(self) -> None:
        """Count a request that is about to be sent: Tableau counts it regardless of the response."""
        self.left -= 1
        self.spent += 1


@dataclass(frozen=True)
class Job:
    """A job of the list: everything but the asset it was for."""

    job_id: str
    title: str | None
    completed_at: datetime


@dataclass(frozen=True)
class JobList:
    """Entries of the list of jobs, each once, and one line on missing ones, empty if none is."""

    entries: Sequence[Entry]
    missing: str


def fetch_refreshes(
    session: RestSession, listed: JobList, wanted: JobFilter, budget: LookupBudget, now: datetime
) -> str:
    """Fetch the refreshes of the last days that are of use; return a line on those that are missing, empty if none is.

    Raises SourceError where a job cannot be read.
    """
    left = failed = failed_in_a_row = 0
    error: SourceError | None = None
    found, missing = _finished(listed.entries, now), listed.missing
    wanted.without_asset.intersection_update([job.job_id for job in found])
    for job in _in_order(found):
        if not wanted.wants(job):
            continue
        if budget.left <= 0 or failed_in_a_row >= FAILURES:
            left += 1
            continue
        budget.spend()
        try:
            row = _fetched(session, job)
        except SourceError as failure:
            failed, failed_in_a_row, error = failed + 1, failed_in_a_row + 1, failure
            continue
        failed_in_a_row = 0
        if row:
            wanted.found[job.job_id] = row
        else:
            wanted.without_asset.add(job.job_id)
    if error is not None:
        return f"{failed + left} refresh jobs could not be fetched: {error}"
    if left:
        return f"{left} refresh jobs are not fetched today: rest.job_lookups_per_day is used up"
    return missing


def list_jobs(session: RestSession, created_after: datetime) -> JobList:
    """Read the list of the jobs that were created after an instant. Raises SourceError where it cannot be read."""
    since = created_after.replace(tzinfo=UTC, microsecond=0).isoformat().replace("+00:00", "Z")
    names, operators = tsc.RequestOptions.Field, tsc.RequestOptions.Operator
    filters = (tsc.Filter(names.CreatedAt, operators.GreaterThan, since),)
    found: dict[str | None, Entry] = {}
    received = total = 0
    for answer in pages(session, "jobs", _JOBS, (names.CreatedAt,), filters, descending=True):
        received, total = received + len(answer.entries), answer.total or 0
        found |= {entry.attributes.get("id"): entry for entry in answer.entries}
    return JobList(list(found.values()), f"only {received} of {total} jobs came" if received < total else "")


def _finished(entries: Sequence[Entry], now: datetime) -> Sequence[Job]:
    """Return the jobs that succeeded lately, the newest first."""
    recent = (job for entry in entries if (job := _job(entry)) and job.completed_at >= now - RECENT)
    return sorted(recent, key=lambda job: job.completed_at, reverse=True)


def _job(entry: Entry) -> Job | None:
    of = entry.attributes
    job_id, ended = to_luid(of.get("id")), parse_instant(of.get("endedAt") or of.get("completedAt"))
    fits = of.get("status", "").lower() == SUCCESS and refreshes_extracts(of.get("jobType", ""))
    return Job(job_id, of.get("title"), ended) if fits and job_id and ended else None


def _in_order(jobs: Sequence[Job]) -> Iterator[Job]:
    """Yield the newest job of each title, then all others.

    An asset that is refreshed every hour must not be in front of all those that are refreshed once a day.
    """
    seen: set[str] = set()
    others = []
    for job in jobs:
        title = job.title or job.job_id
        if title in seen:
            others.append(job)
        else:
            seen.add(title)
            yield job
    yield from others


def _fetched(session: RestSession, job: Job) -> Row | None:
    def request(server: tsc.Server) -> object:
        return server.jobs.get_request(f"{server.jobs.baseurl}/{job.job_id}")

    try:
        answer = session.read(request, _JOB)
    except OutOfScope:
        raise
    except Forbidden:
        # It was removed in between.
        return None
    if not answer.entries:
        raise SourceIncomplete(f"{session.place}: the job {job.job_id} came without itself")
    inside: Mapping[str, Mapping[str, str]] = answer.entries[0].inside
    for asset_type in ("workbook", "datasource"):
        if asset_id := to_luid(inside.get(asset_type, {}).get("id")):
            return job.job_id, asset_type, asset_id, job.completed_at
    return None
