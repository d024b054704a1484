"""``tableau-exporter audit``: reads the assets, prints their freshness, and exits with a code for the worst status."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from exporter import collectors, exports, logs
from exporter.audit.delta_table import append_audit, subject_of
from exporter.audit.formats import FORMATS, as_terminal
from exporter.audit.reading import Progress, Sites, rest_sites, run_audit
from exporter.config import RunOptions
from exporter.output import to_stdout, whole
from exporter.texts import one_line

HEALTHY, FAILED, CRITICAL = 0, 1, 2
TABLES = frozenset({"delta"})
"""Formats that are appended to a table at --output."""


@dataclass(frozen=True)
class AuditOptions:
    """What is audited, and what of it is printed; nothing named is everything."""

    sites: Sequence[str] = ()
    """Labels of sites: others are neither read over REST nor audited, and have no part in the exit code."""
    statuses: Sequence[str] = ()
    limit: int | None = None

    def printed(self, rows: pa.Table) -> pa.Table:
        """Return the rows that are printed."""
        if self.statuses:
            rows = rows.filter(pc.is_in(rows.column("status"), value_set=pa.array(self.statuses)))
        return rows.slice(0, self.limit)


def run(
    options: RunOptions, format_: str, output: str | None, choice: AuditOptions | None = None, sites: Sites = rest_sites
) -> int:
    """Audit once; return 0, 2 where something is critical, 1 where something could not be read.

    Missing assets of a source or a site are 1 in any case; a source of freshness that answered in part, or not
    at all, is 1 where nothing is critical. One that is switched off is a note.
    """
    configuration = options.load(collectors.discover())
    export = exports.load(format_) if format_ in TABLES else None
    redactor = logs.configure("error", configuration.log.format)
    for secret in configuration.secrets():
        redactor.hide(secret)
    choice = choice or AuditOptions()
    with _progress() as progress:
        audit = run_audit(configuration, time.time(), progress, sites, chosen=choice.sites)
    rows = choice.printed(audit.rows)
    if export is not None and output is not None:
        append_audit(export, rows, output, subject_of(configuration, choice.sites))
    elif audit.rows.num_rows or not audit.failures:
        _show(rows, format_, Path(output) if output is not None else None)
    for note in audit.notes:
        click.echo(f"note: {one_line(note)}", err=True)
    for failure in audit.failures:
        click.echo(one_line(failure), err=True)
    if audit.failures:
        return FAILED
    if audit.is_critical:
        return CRITICAL
    return FAILED if audit.gaps else HEALTHY


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Print progress where the output is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Console(stderr=True).status(Text("auditing")) as status:
        yield lambda text: status.update(Text(one_line(text)))


def _show(rows: pa.Table, format_: str, output: Path | None) -> None:
    if output is not None:
        with whole(output) as file:
            file.writelines(text.encode() for text in FORMATS[format_](rows))
    elif format_ == "table" and sys.stdout.isatty():
        shown = as_terminal(rows, Console())
        # A terminal may know fewer letters than the names have.
        to_stdout(text.encode(sys.stdout.encoding, "backslashreplace") for text in shown)
    else:
        to_stdout(text.encode() for text in FORMATS[format_](rows))
