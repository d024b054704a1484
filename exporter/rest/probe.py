"""The probes of `check` over REST: everything that a poll reads, with one small request of each kind on each site."""

from collections.abc import Callable, Iterator, Mapping

import tableauserverclient as tsc

from exporter.errors import SourceError, SourceIncomplete
from exporter.rest import metadata, tasks
from exporter.rest.credentials import label
from exporter.rest.errors import Forbidden
from exporter.rest.lists import CONTENT, PEOPLE, PROJECTS, Listing, collect, page
from exporter.rest.response_xml import shape
from exporter.rest.session import RestSession
from exporter.rest.sites import Sites

ProbeResult = tuple[bool | None, str]
"""True for good, false for bad, None for a note; and a line."""


def _one_of(listing: Listing) -> Callable[[RestSession], object]:
    def read(session: RestSession) -> object:
        answer = page(session, listing.endpoint, listing.shape, tsc.RequestOptions(pagesize=1))
        if answer.total is None:
            raise SourceIncomplete(f"{session.place}: a page of {listing.endpoint} without a count")
        return answer

    return read


def _jobs(session: RestSession) -> object:
    return page(session, "jobs", shape("backgroundJob"), tsc.RequestOptions(pagesize=1))


def _runs(session: RestSession) -> object:
    _, missing = tasks.last_runs(session, None)
    if missing:
        raise SourceIncomplete(missing)
    return None


def _whole(listing: Listing) -> Callable[[RestSession], object]:
    def read(session: RestSession) -> object:
        listed = collect(session, listing)
        if listed.missing:
            raise SourceIncomplete(listed.missing)
        return listed

    return read


SUPPLEMENTS: Mapping[str, tuple[Callable[[RestSession], object], str]] = {
    "projects": (_whole(PROJECTS), "paths of nested projects"),
    "users": (_whole(PEOPLE), "owners"),
    "the Metadata API": (metadata.probe, "when extracts were refreshed, and what a workbook uses"),
    "jobs": (_jobs, "refreshes where the Metadata API is down"),
    "extract refresh tasks": (tasks.extract_tasks, "next runs, failures and suspensions of extracts"),
    "flow runs": (_runs, "when flows ran"),
    "flow tasks": (tasks.flow_tasks, "next runs, failures and suspensions of flows"),
    "linked tasks": (tasks.linked_tasks, "next runs of flows that run one after another"),
}
"""The supplements of a site's assets: how each is tried, and what is unknown without it."""


def probe(session: RestSession, sites: Sites) -> Iterator[ProbeResult]:
    """Sign in and try what a poll reads. Raises SourceError where no sign-in succeeds."""
    session.transport.begin()
    found = sites.find()
    version, sites_read = session.transport.server_version, len(found.names) - len(found.refused)
    yield True, f"Tableau {version} answers, {sites_read} sites are read"
    for note in found.notes:
        yield None, note
    for site in found.names:
        try:
            if site in found.refused:
                raise found.refused[site]
            session.enter(site)
            missing = _lists(session)
        except SourceError as error:
            yield False, f"site {site}: {error}"
            continue
        missing += [text for what, supplement in SUPPLEMENTS.items() if (text := _tried(session, what, *supplement))]
        name = label(session.site)
        if missing:
            yield None, f"site {name} works without {'; without '.join(missing)}"


def _lists(session: RestSession) -> list[str]:
    """Try the lists of assets; return what is missing. Raises SourceError where the site could not be polled."""
    for asset_type in ("workbook", "datasource"):
        _one_of(CONTENT[asset_type])(session)
    try:
        _one_of(CONTENT["flow"])(session)
    except Forbidden as error:
        return [f"flows ({error})"]
    return []


def _tried(session: RestSession, what: str, read: Callable[[RestSession], object], gives: str) -> str | None:
    try:
        read(session)
    except SourceError as error:
        return f"{what} ({error}), so {gives} cannot be known from there"
    return None
