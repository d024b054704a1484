"""The commands of ``tableau-exporter history``: a function for each, which imports the module of its work."""

from datetime import datetime
from pathlib import Path

import click

from exporter.cli.arguments import instant_option, time_limit_of
from exporter.cli.common import Once, config_file_option, options, print_findings, seconds_of, without_gc
from exporter.cli.transfer import backfill, export, import_

# The agent waits ten seconds for a file that another process has open, and then counts file_busy.
QUERY_SECONDS = "8s"
QUERY_ROWS = 100_000


@click.group()
def history() -> None:
    """Maintain the history file: each of these may be run beside the agent."""


@history.command(cls=Once)
@config_file_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
def info(config_file: Path, format_: str) -> int:
    """Print the contents of the history: size, span, rows, gaps, possible losses, positions, last polls."""
    with without_gc():
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
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write instead of standard output, replaced whole.",
)
@click.option(
    "--limit",
    "most_rows",
    type=click.IntRange(1, 10_000_000),
    default=QUERY_ROWS,
    show_default=True,
    help="At most this many rows.",
)
@click.option(
    "--timeout",
    "seconds",
    metavar="DURATION",
    callback=time_limit_of,
    default=QUERY_SECONDS,
    show_default=True,
    help="Stop after a duration such as 30s. Beyond 10s the agent cannot write meanwhile, and counts file_busy.",
)
@click.argument("sql")
def query(config_file: Path, format_: str | None, output: Path | None, most_rows: int, seconds: float, sql: str) -> int:
    """Run one read-only SQL statement, also while the agent runs; '-' reads it from standard input.

    It reaches the tables and views of the history (docs/history.md) and nothing else: no file, no extension, no
    setting, no write. Times are UTC.
    """
    with without_gc():
        from exporter import history_reports
        from exporter.history.query_process import Bounds

    return history_reports.query(options(config_file), sql, format_, output, Bounds(most_rows, seconds))


@history.command(cls=Once)
@config_file_option
@click.argument("file", type=click.Path(path_type=Path), required=False)
def verify(config_file: Path, file: Path | None) -> int:
    """Check that the history is whole, to its last block.

    With FILE that copy is checked, and no configuration is needed.
    """
    with without_gc():
        from exporter import maintenance

    return print_findings(maintenance.verify_history(options(config_file), file))


@history.command(cls=Once)
@config_file_option
@click.option(
    "--output",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Existing folder for backups alone.",
)
@click.option("--keep", type=click.IntRange(1), default=7, show_default=True, help="How many backups to keep.")
@click.option(
    "--with-key", is_flag=True, help="Copy the key of the pseudonyms too: with both, pseudonyms can be undone."
)
def backup(config_file: Path, folder: Path, keep: int, *, with_key: bool) -> int:
    """Make a verified copy while the agent runs.

    A copy with a fault is called .faulty, or .damaged where it cannot be read. None without a fault is removed for
    it, and the exit code is 1.
    """
    with without_gc():
        from exporter import maintenance

    return print_findings(maintenance.back_up(options(config_file), folder, keep, with_key=with_key))


@history.command(cls=Once)
@config_file_option
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=seconds_of,
    help="Remove rows older than a duration such as 730d.  [history.retention]",
)
@instant_option("--before", "Remove rows older than an instant such as 2025-01-01 (UTC).")
@click.option("--compact", is_flag=True, help="Write the file anew where a quarter of it is free; the agent waits.")
def prune(config_file: Path, older_than: float | None, before: datetime | None, *, compact: bool) -> int:
    """Remove old requests, jobs and logins; counters and positions stay."""
    with without_gc():
        from exporter import maintenance

    if older_than is not None and before is not None:
        raise click.UsageError("give --older-than or --before, not both")
    return print_findings(maintenance.prune(options(config_file), older_than, before, rewrite=compact))


for command in (backfill, export, import_):
    history.add_command(command)
