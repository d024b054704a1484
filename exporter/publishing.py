"""Publishes an exported file, by the configuration: a .hyper file becomes a data source of Tableau."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter import collectors
from exporter.config import RunOptions
from exporter.config.exports import Publish
from exporter.errors import ConfigurationError, Fault, OutputUnwritable, SourceError
from exporter.exports.arguments import HYPER_SUFFIX
from exporter.exports.output_file import local_file
from exporter.history.verification import Verdict
from exporter.rest import publishing as rest
from exporter.rest.credentials import RestOptions, Token
from exporter.texts import one_line

PUBLISHING_SECONDS = 600.0


@dataclass(frozen=True)
class Publication:
    """The table and the target of an export, and where its file is published."""

    table: str
    target: str
    destination: rest.Destination


def configured(options: RunOptions, table: str, targets: Sequence[str]) -> Publication:
    """Return the entry of the table in ``exports`` for the first target. Raises ConfigurationError.

    Where several entries publish the table, it is the one that has a target among its own.
    """
    configuration = options.load(collectors.discover(), sections=("history", "privacy", "rest", "exports"))
    if configuration.rest is None:
        raise ConfigurationError([Fault("rest.url", "is missing: the server that is published to")])
    found = [entry for entry in configuration.exports if entry.table == table and entry.publish is not None]
    if len(found) > 1:
        found = [entry for entry in found if set(entry.output) & set(targets)]
    if len(found) != 1 or found[0].publish is None:
        problem = (
            f"has {len(found) or 'no'} entries of the format hyper and the table {table} with publish for this output"
        )
        raise ConfigurationError([Fault("exports", f"{problem}: --publish needs one")])
    publish = found[0].publish
    settings = configuration.rest
    destination = destination_of(publish, settings.url, settings.ca_file, settings.timeout)
    return Publication(table, targets[0], destination)


def destination_of(publish: Publish, url: str, ca_file: Path | None, timeout: float) -> rest.Destination:
    """Return where an entry publishes, on the server of ``rest``, by a token for this alone: each has one session."""

    def credentials() -> Token:
        return Token(publish.token_name, publish.read_token_value() or "")

    options = RestOptions(
        url,
        (publish.site,),
        credentials,
        ca_file,
        # An upload takes longer than the requests of a poll.
        max(timeout, PUBLISHING_SECONDS),
        "exports[].publish.token_name",
    )
    return rest.Destination(options, publish.project, publish.name)


def publish(publication: Publication, moved: Callable[[], None] = lambda: None) -> Verdict:
    """Publish a file, and return what became of it; ``moved`` is called with each answer of the server."""
    try:
        file = local_file(publication.target, publication.table, HYPER_SUFFIX)
        if not file.is_file():
            return Verdict(ok=None, subject=publication.table, message=f"{file}: not there yet, nothing is published")
        rest.publish(publication.destination, file, moved)
    except (SourceError, OutputUnwritable) as error:
        return Verdict(ok=False, subject=publication.table, message=f"not published: {one_line(error)}")
    message = f"{file} published as {publication.destination}"
    return Verdict(ok=True, subject=publication.table, message=message)
