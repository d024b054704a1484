"""The commands of ``tableau-exporter history``: a function for each, which imports the module of its work."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from exporter.exports import FORMATS, TABLES, TEXT_FILES
from exporter.exports.arguments import check_table, parse_delimiter, parse_timezone
from exporter.terminal import Command, Once, config_file_option, options, progress_bar, seconds_of, show_findings
from exporter.units import parse_duration, parse_instant

if TYPE_CHECKING:
    from exporter.imports.zones import Zone
    from exporter.metrics import Labels

# The agent waits ten seconds for a file that another process has open, and then counts file_busy.
QUERY_SECONDS = "8s"
QUERY_ROWS = 100_000

Parsed = TypeVar("Parsed")


@click.group()
def history() -> None:
    """Look after the history file: each of these may be run beside the agent."""


def instant_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Read an instant."""
    return None if text is None else parsed(parse_instant, text)


def parsed(parse: Callable[[str], Parsed], text: str) -> Parsed:
    """Read the text of a flag with a parser that raises ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def time_limit_of(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """Read how long a query may take."""
    seconds = seconds_of(ctx, param, text)
    if not seconds:
        raise click.BadParameter("must be longer than 0s")
    return seconds


def instant_option(flag: str, meaning: str) -> Callable[[Command], Command]:
    """Add a flag that takes an instant, in UTC unless it says otherwise."""
    return click.option(flag, metavar="INSTANT", callback=instant_of, help=meaning)


@history.command(cls=Once)
@config_file_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="What to print.",
)
def info(config_file: Path, format_: str) -> int:
    """Print what the history holds: size, span, rows, gaps, possible losses, positions, last polls."""
    from exporter import history_reports

    return history_reports.info(options(config_file), format_)


@history.command(cls=Once)
@config_file_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    help="A table, CSV, or one JSON array of objects.  [default: table on a terminal, else csv]",
)
@click.option(
    "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write there instead, whole or not at all."
)
@click.option(
    "--limit", "most_rows", type=click.IntRange(1, 10_000_000), default=QUERY_ROWS, show_default=True, help="Rows."
)
@click.option(
    "--timeout",
    "seconds",
    metavar="DURATION",
    callback=time_limit_of,
    default=QUERY_SECONDS,
    show_default=True,
    help="Stop after, say, 30s. Beyond 10s the agent cannot write meanwhile, and counts file_busy.",
)
@click.argument("sql")
def query(config_file: Path, format_: str | None, output: Path | None, most_rows: int, seconds: float, sql: str) -> int:
    """Run one SQL statement that reads, also while the agent runs; '-' reads it from standard input.

    It reaches the tables and views of the history (docs/history.md) and nothing else: no file, no extension, no
    setting, no write. Times are UTC.
    """
    from exporter import history_reports
    from exporter.history.query_process import Bounds

    return history_reports.query(options(config_file), sql, format_, output, Bounds(most_rows, seconds))


@history.command(cls=Once)
@config_file_option
@click.argument("file", type=click.Path(path_type=Path), required=False)
def verify(config_file: Path, file: Path | None) -> int:
    """Check that the history is whole, to its last block.

    With FILE it is that copy which is checked, and no configuration is needed.
    """
    from exporter import upkeep

    return show_findings(upkeep.verify_history(options(config_file), file))


@history.command(cls=Once)
@config_file_option
@click.option(
    "--output",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Where the backups are; for them alone.",
)
@click.option("--keep", type=click.IntRange(1), default=7, show_default=True, help="How many backups to keep.")
@click.option("--with-key", is_flag=True, help="Copy the key of the pseudonyms too: whoever has both can undo them.")
def backup(config_file: Path, folder: Path, keep: int, *, with_key: bool) -> int:
    """Make a verified copy while the agent runs.

    A copy with a fault is called .faulty, or .damaged where it cannot be read. None without a fault is removed for
    it, and the exit code is 1.
    """
    from exporter import upkeep

    return show_findings(upkeep.back_up(options(config_file), folder, keep, with_key=with_key))


@history.command(cls=Once)
@config_file_option
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=seconds_of,
    help="Remove what is older than, say, 730d.  [history.retention]",
)
@instant_option("--before", "Remove what is older than, say, 2025-01-01 (UTC).")
@click.option("--compact", is_flag=True, help="Write the file anew where a quarter of it is free; the agent waits.")
def prune(config_file: Path, older_than: float | None, before: datetime | None, *, compact: bool) -> int:
    """Remove old requests, jobs and logins; counters and positions stay."""
    from exporter import upkeep

    if older_than is not None and before is not None:
        raise click.UsageError("give --older-than or --before, not both")
    return show_findings(upkeep.prune(options(config_file), older_than, before, rewrite=compact))


def zone_of(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the name of a time zone."""
    return None if value is None else parsed(parse_timezone, value)


def delimiter_of(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the character between two values."""
    return None if value is None else parsed(parse_delimiter, value)


def targets_of(_ctx: click.Context, _param: click.Parameter, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what a variable of the shell leaves that is not set: it would be the folder of the moment."""
    if not all(targets):
        raise click.BadParameter("must not be empty")
    return targets


def _check_text(format_: str, table: str | None, form: Mapping[str, str], until: datetime | None) -> None:
    """Refuse what only text knows where it is another format, and what text does not know."""
    if format_ == "text" and until is not None:
        raise click.UsageError("--until: the files of --format=text are appended to, and have no end")
    if format_ != "text" and form:
        raise click.UsageError(f"--{next(iter(form))}: only the format text knows it")
    try:
        check_table(format_, table)
    except ValueError as error:
        raise click.UsageError(f"--table: {error}") from None


@history.command(cls=Once)
@config_file_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="Delta needs the extra [delta], hyper [hyper].",
)
@click.option(
    "--table",
    type=click.Choice([*TABLES, *(name for name in TEXT_FILES if name not in TABLES)]),
    metavar="TABLE",
    help="Table or view of the history, such as http_requests or usage: docs/history.md has all. Of text one file.",
)
@click.option(
    "--output",
    "targets",
    metavar="URI",
    multiple=True,
    required=True,
    callback=targets_of,
    help="A folder, or a URI such as s3://bucket/folder; may be given again.",
)
@instant_option("--since", "Leave out of a first export what is older than, say, 2025-01-01 (UTC).")
@instant_option("--until", "Leave out what is of that instant or later; nothing can be appended to this export.")
@click.option("--rewrite", is_flag=True, help="Begin each output anew.")
@click.option(
    "--publish",
    is_flag=True,
    help="Of hyper: publish the first output's file too, as exports[].publish of the table says.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    callback=zone_of,
    help="Of text: the zone of its times, such as Europe/Berlin.  [default: UTC]",
)
@click.option(
    "--delimiter", metavar="C", callback=delimiter_of, help="Of text: what is between two values.  [default: |]"
)
def export(
    config_file: Path,
    format_: str,
    table: str | None,
    targets: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    *,
    rewrite: bool,
    publish: bool,
    **form: str | None,
) -> int:
    """Bring files, or a table elsewhere, up to date.

    Text is the files of the older text-file tool, all of them without a table: docs/migration-text-files.md.

    Of requests, jobs, logins and audits what is new is appended, each row once to each output, however often this is
    run; every other table is replaced whole. What a store of objects asks for is taken from the environment:
    AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_NAME, GOOGLE_APPLICATION_CREDENTIALS and their like.
    """
    from exporter import publishing, upkeep

    given = {name: value for name, value in form.items() if value is not None}
    _check_text(format_, table, given, until)
    if publish and format_ != "hyper":
        raise click.UsageError("--publish: only the format hyper is published")
    publication = publishing.configured(options(config_file), table or "", targets) if publish else None
    with progress_bar(f"exporting {table or format_}") as progress:
        request = upkeep.ExportRequest(format_, table, targets, since, until, rewrite, progress, given)
        found = list(upkeep.export(options(config_file), request))
    if publication is not None and found[0].ok:
        found.append(publishing.publish(publication))
    return show_findings(found)


def step_of(_ctx: click.Context, _param: click.Parameter, text: str) -> int:
    """Read the seconds of a step."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds < 1 or not seconds.is_integer():
        raise click.BadParameter("must be whole seconds, at least 1s")
    return int(seconds)


def labels_of(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> "Labels":
    """Read labels; each may be given once, and none that a family has."""
    from exporter.backfill import families
    from exporter.metrics import Labels

    taken = {label for family in families() for label in family.labels} | {"le"}
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name) or not value:
            raise click.BadParameter(f"{text!r} is not of the form name=value, as in job=tableau")
        if name in taken or name in found:
            raise click.BadParameter(f"{name} is {'given twice' if name in found else 'a label of these families'}")
        found[name] = value
    return Labels(list(found), [[value] for value in found.values()])


def families_of(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Read names of families."""
    from exporter.backfill import families

    known = [family.name for family in families()]
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{unknown[0]!r} cannot be backfilled; these can: {', '.join(known)}")
    return names


@history.command(cls=Once)
@config_file_option
@instant_option("--since", "The first instant (UTC).  [default: the oldest row]")
@instant_option(
    "--until",
    "The last instant (UTC); Prometheus must have no sample before it.  [default: when the history was begun]",
)
@click.option(
    "--step", metavar="DURATION", callback=step_of, default="5m", show_default=True, help="From sample to sample."
)
@click.option(
    "--family", "names", metavar="NAME", multiple=True, callback=families_of, help="Only this family; repeatable."
)
@click.option(
    "--label",
    "labels",
    metavar="NAME=VALUE",
    multiple=True,
    callback=labels_of,
    help="A label that a scrape adds, such as job=tableau; repeatable.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder that is there, for a file a day.  [default: stdout]",
)
def backfill(
    config_file: Path,
    since: datetime | None,
    until: datetime | None,
    step: int,
    names: tuple[str, ...],
    labels: "Labels",
    output: Path | None,
) -> None:
    """Write the past as OpenMetrics, for promtool tsdb create-blocks-from openmetrics.

    The series are those of /metrics: requests, active users, background jobs, freshness of assets.
    """
    from exporter.backfill import Order
    from exporter.backfill import backfill as write

    with progress_bar("backfilling") as progress:
        written = write(options(config_file), Order(since, until, step, names, labels, output, progress))
    click.echo(written, err=True)


def source_zone_of(_ctx: click.Context, _param: click.Parameter, text: str) -> "Zone":
    """Read the zone of a file, or its fixed offset."""
    from exporter.imports.zones import parse_zone

    try:
        return parse_zone(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def source_delimiter_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    """Read the delimiter of a file that is imported."""
    from exporter.imports.dialect import check_delimiter

    try:
        return None if text is None else check_delimiter(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@history.command("import", cls=Once)
@config_file_option
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--timezone",
    "zone",
    metavar="ZONE",
    default="UTC",
    show_default=True,
    callback=source_zone_of,
    help="Zone of the times in the files: Europe/Berlin, or the hours that the older tool added: +02:00.",
)
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    callback=source_delimiter_of,
    help=r"Between the columns; \t is a tab.  [default: that of the header]",
)
@click.option(
    "--rejects",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where lines go that cannot be read.  [default: FILE.rejects beside each]",
)
@click.option("--count", "counted", is_flag=True, help="Count the requests in the metrics too, as if they came now.")
@click.option("--dry-run", is_flag=True, help="Report what would be imported, and write nothing.")
def import_(
    config_file: Path,
    files: Sequence[Path],
    zone: "Zone",
    delimiter: str | None,
    rejects: Path | None,
    *,
    counted: bool,
    dry_run: bool,
) -> int:
    """Import http_requests.txt of the older text-file tool, each request once; run twice, nothing is there twice.

    A FILE may also be Parquet of http_requests, or a folder of it. What is archived already is recognised by its
    content. It may be run beside the agent, and be interrupted: run it again.
    """
    from exporter import importing, imports

    chosen = importing.ImportOptions(imports.Options(zone, delimiter), rejects, counted=counted, dry_run=dry_run)
    with progress_bar("importing") as progress:
        found = list(importing.import_files(options(config_file), files, chosen, progress))
    return show_findings(found)
