"""A file published as a data source, in the place of one of its name: whole, or not at all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tableauserverclient as tsc

from exporter.collectors.assets.from_rest import project_paths
from exporter.errors import SourceRefused
from exporter.rest.credentials import RestOptions
from exporter.rest.errors import BadRequest, Forbidden, SessionLost
from exporter.rest.lists import PROJECTS, collect
from exporter.rest.session import RestSession


@dataclass(frozen=True)
class Destination:
    """The one site of the options, the full path of the project, and the name of the data source."""

    options: RestOptions
    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name} on the site {self.options.sites[0]}"


def publish(
    destination: Destination,
    file: Path,
    moved: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Publish a file; a large one is uploaded in pieces, which count when the last call names them.

    ``moved`` is called with each answer. Raises SourceError.
    """
    session = RestSession(destination.options, sleep=sleep, moved=moved)
    try:
        session.transport.begin()
        session.enter(destination.options.sites[0])
        project = _project(session, destination)
        item = tsc.DatasourceItem(project, name=destination.name)
        session.call(lambda server: server.datasources.publish(item, file, tsc.Server.PublishMode.Overwrite))
    except BadRequest as error:
        advice = "check the quota of the site, and the logs of Tableau"
        raise SourceRefused(f"{error}; {advice}") from None
    except (Forbidden, SessionLost) as error:
        advice = f"check whether the user of the token may publish to {destination}"
        raise SourceRefused(f"{error}; {advice}") from None
    finally:
        session.close()


def _project(session: RestSession, destination: Destination) -> str:
    """Return the id of the project. Raises SourceRefused where there is not exactly one of that path."""
    listed = collect(session, PROJECTS)
    paths = project_paths(listed.rows)
    found = [project for project, path in paths.items() if path == destination.project]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} projects have the path" if found else "the user of the token sees no project"
    advice = "rename one" if found else "check exports[].publish.project"
    missing = f" ({listed.missing})" if listed.missing and not found else ""
    raise SourceRefused(f"{session.place}: {what} {destination.project} on this site{missing}; {advice}")
