"""A look at what may be read, for whoever sets the agent up: one small question of each kind on each site."""

from collections.abc import Callable, Iterator, Mapping

import tableauserverclient as tsc

from exporter.errors import SourceError
from exporter.rest import lists, metadata, tasks
from exporter.rest.answers import shape
from exporter.rest.login import label
from exporter.rest.session import Session
from exporter.rest.sites import Sites

Seen = tuple[bool | None, str]
"""Whether it is well, None for a note; and what was seen."""


def _jobs(session: Session) -> object:
    return lists.page(session, "jobs", shape("backgroundJob"), tsc.RequestOptions(pagesize=1))


ALTERNATIVES: Mapping[str, Callable[[Session], object]] = {
    "the Metadata API": metadata.try_out,
    "jobs": _jobs,
    "extract refresh tasks": tasks.extract_tasks,
}
"""What a site can be read without, at a price."""


def look(session: Session, sites: Sites) -> Iterator[Seen]:
    """Sign in and try what a poll reads. Raises SourceError where nothing lets us in."""
    session.begin()
    found = sites.find()
    yield True, f"Tableau {session.server_version} answers, {len(found.names) - len(found.refused)} sites are read"
    for note in found.notes:
        yield None, note
    for site in found.names:
        try:
            if site in found.refused:
                raise found.refused[site]
            session.enter(site)
            lists.page(session, "workbooks", lists.CONTENT["workbook"].shape, tsc.RequestOptions(pagesize=1))
        except SourceError as error:
            yield False, f"site {site}: {error}"
            continue
        if missing := [text for what, ask in ALTERNATIVES.items() if (text := _tried(session, what, ask))]:
            yield None, f"site {label(session.site)} works without {'; without '.join(missing)}"


def _tried(session: Session, what: str, ask: Callable[[Session], object]) -> str | None:
    try:
        ask(session)
    except SourceError as error:
        return f"{what} ({error})"
    return None
