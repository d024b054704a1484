"""The command ``tableau-exporter audit``: its flags and its exit codes."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from exporter.cli.common import Once, config_file_option, options, without_gc

WRONG_USAGE = 64
# Of assets; their module loads much.
STATUSES = ("Healthy", "Warning", "Critical", "Live", "Unknown")


class AuditCommand(Once):
    """A command that does not end with 2 for wrong usage: 2 means that something is critical."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Read the arguments; wrong usage ends with 64."""
        with _wrong_usage():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; arguments that do not go together are wrong usage too."""
        with _wrong_usage():
            return super().invoke(ctx)


@contextlib.contextmanager
def _wrong_usage() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        error.show()
        raise click.exceptions.Exit(WRONG_USAGE) from None


@click.command(cls=AuditCommand)
@config_file_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "csv", "delta"]),
    default="table",
    show_default=True,
    help="A table to read, one JSON array, CSV with a header, or rows appended to a Delta table.",
)
@click.option(
    "--output",
    metavar="FILE|URI",
    help="File to write instead of standard output; of a Delta table its folder or URI (s3://, abfss://, ...).",
)
@click.option(
    "--site", "sites", metavar="SITE", multiple=True, help="Audit this site alone; may be given several times."
)
@click.option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES, case_sensitive=False),
    multiple=True,
    help="Print assets of this status alone; may be given several times.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), help="Print only the first N, by status and hours since refresh."
)
def audit(
    *,
    config_file: Path,
    format_: str,
    output: str | None,
    sites: Sequence[str],
    statuses: Sequence[str],
    limit: int | None,
) -> int:
    """Audit the freshness of every asset now, once; no agent is needed, a history is used where there is one.

    The exit code is that of everything that was audited, not only of the rows printed.

    \b
    Exit codes:
      0    everything was read and nothing is critical; there may be warnings
      1    it failed, or the assets of a source or a site are missing; or nothing
           is critical, and a source of freshness was throttled or answered in part
      2    something is critical
      64   wrong usage
    """  # noqa: D301 - \b is click's mark for text that must not be re-wrapped
    if format_ == "delta" and not output:
        raise click.UsageError("--format=delta needs --output=URI, the Delta table to append to")
    with without_gc():
        from exporter.audit import command

    return command.run(options(config_file), format_, output, command.AuditOptions(sites, statuses, limit))
