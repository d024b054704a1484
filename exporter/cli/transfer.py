"""The commands of ``tableau-exporter history`` that copy data: ``export``, ``backfill`` and ``import``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.arguments import (
    check_text_flags,
    delimiter_of,
    families_of,
    instant_option,
    labels_of,
    source_delimiter_of,
    source_zone_of,
    step_of,
    targets_of,
    zone_of,
)
from exporter.cli.common import Once, config_file_option, options, print_findings, progress_bar, without_gc
from exporter.exports import FORMATS, TABLES, TEXT_FILES

if TYPE_CHECKING:
    from exporter.imports.zones import Zone
    from exporter.metrics import Labels


@click.command(cls=Once)
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
    help="Table or view of the history, such as http_requests or usage (docs/history.md). Of text one file.",
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
@instant_option("--since", "Leave out of a first export rows older than an instant such as 2025-01-01 (UTC).")
@instant_option("--until", "Leave out rows of that instant or later; nothing can be appended to this export.")
@click.option("--rewrite", is_flag=True, help="Begin each output anew.")
@click.option(
    "--publish",
    is_flag=True,
    help="Of hyper: publish the first output's file too, by exports[].publish of the table.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    callback=zone_of,
    help="Of text: the zone of its times, such as Europe/Berlin.  [default: UTC]",
)
@click.option(
    "--delimiter", metavar="C", callback=delimiter_of, help="Of text: the delimiter between values.  [default: |]"
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
    """Export tables of the history to files, folders or object stores, each row once.

    Text is the files of the older text-file tool, all of them without a table: docs/migration-text-files.md.

    Of requests, jobs, logins and audits the new rows are appended, each row once to each output, however often this is
    run; every other table is replaced whole. The credentials of an object store come from the environment:
    AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_NAME, GOOGLE_APPLICATION_CREDENTIALS and their like.
    """
    with without_gc():
        from exporter import maintenance, publishing

    given = {name: value for name, value in form.items() if value is not None}
    check_text_flags(format_, table, given, until)
    if publish and format_ != "hyper":
        raise click.UsageError("--publish: only the format hyper is published")
    publication = publishing.configured(options(config_file), table or "", targets) if publish else None
    with progress_bar(f"exporting {table or format_}") as progress:
        request = maintenance.ExportRequest(format_, table, targets, since, until, rewrite, progress, given)
        found = list(maintenance.export(options(config_file), request))
    if publication is not None and found[0].ok:
        found.append(publishing.publish(publication))
    return print_findings(found)


@click.command(cls=Once)
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
    help="A file, or an existing folder for a file a day.  [default: stdout]",
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
    """Write past samples as OpenMetrics, for promtool tsdb create-blocks-from openmetrics.

    The series are those of /metrics: requests, active users, background jobs, freshness of assets.
    """
    with without_gc():
        from exporter.backfill import BackfillOptions
        from exporter.backfill import backfill as write

    with progress_bar("backfilling") as progress:
        written = write(options(config_file), BackfillOptions(since, until, step, names, labels, output, progress))
    click.echo(written, err=True)


@click.command("import", cls=Once)
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
    help="File for lines that cannot be read.  [default: FILE.rejects beside each]",
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
    """Import http_requests.txt of the older text-file tool, each request once, also when run again.

    A FILE may also be Parquet of http_requests, or a folder of it. Archived requests are recognised by their
    content. It may be run beside the agent, and be interrupted: run it again.
    """
    with without_gc():
        from exporter import importing, imports

    chosen = importing.ImportOptions(imports.FileOptions(zone, delimiter), rejects, counted=counted, dry_run=dry_run)
    with progress_bar("importing") as progress:
        found = list(importing.import_files(options(config_file), files, chosen, progress))
    return print_findings(found)
