"""The command line. Every ending has its exit code, every fault is one line on stderr, a traceback is for debugging.

A command imports what it needs when it is called, so that the others start fast.
"""

import errno
import logging
import os
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter import __version__
from exporter.cli.audit import audit
from exporter.cli.common import FAULT, Once, config_file_option, options, print_findings, seconds_of, without_gc
from exporter.cli.history import history
from exporter.cli.overrides import WithCollectors, collector_options, override, web_options
from exporter.errors import ConfigurationError, ExporterError
from exporter.texts import columns, one_line

if TYPE_CHECKING:
    from exporter.config import RunOptions

PROGRAM = "tableau-exporter"
INTERNAL_ERROR = 70
INTERRUPTED = 130
# What DuckDB makes of Ctrl-C during a query, instead of KeyboardInterrupt.
QUERY_INTERRUPTED = "Query interrupted"


class Program(click.Group):
    """Commands return their exit code; errors become one line and an exit code here."""

    command_class = Once

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and end with its exit code."""
        ctx.exit(self._run(ctx) or 0)

    def _run(self, ctx: click.Context) -> int | None:
        try:
            code: int | None = super().invoke(ctx)
        except ConfigurationError as error:
            return _complain(error.faults)
        except ExporterError as error:
            return _complain([error])
        except KeyboardInterrupt:
            return INTERRUPTED
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # the last line of defence
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of a pipe has gone
            if str(error) == QUERY_INTERRUPTED:
                return INTERRUPTED
            return _confess(error)
        return code


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM)
def main() -> None:
    """Prometheus exporter and alerting agent for Tableau Server and Tableau Cloud.

    \b
    Exit codes:
      0    success
      1    an error, one line on stderr
      2    wrong usage; of audit: something is critical
      64   wrong usage of audit
      70   an unexpected error (bug)
      130  interrupted from the keyboard
    """  # noqa: D301 - \b is click's mark for text that must not be re-wrapped
    # numpy comes later, and would start a thread a core for linear algebra that is not used here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@main.command(cls=WithCollectors)
@config_file_option
@click.option("--config.check", "config_check", is_flag=True, help="Check the configuration and end: 0 or 1.")
@web_options
@collector_options
@override(
    "--log.level",
    type=click.Choice(["debug", "info", "warn", "warning", "error"], case_sensitive=False),
    help="Overrides log.level.",
)
@override("--log.format", type=click.Choice(["logfmt", "json"]), help="Overrides log.format.")
def run(config_file: Path, *, config_check: bool) -> int:
    """Run the agent.

    The command line has precedence over the environment, the environment over the configuration file.
    """
    chosen = options(config_file)
    if config_check:
        return _check_configuration(chosen)
    with without_gc():
        from exporter import app

    return app.run(chosen)


@main.command()
@config_file_option
@override("--web.listen-address", metavar="HOST:PORT", help="Overrides web.listen_address.")
@override("--web.external-url", metavar="URL", help="Overrides web.external_url.")
@override("--web.route-prefix", metavar="PATH", help="Overrides web.route_prefix.")
@override("--web.config.file", "web.config_file", metavar="FILE", help="Overrides web.config_file.")
def healthcheck(config_file: Path) -> int:
    """Check whether the agent on this machine is healthy: 0 or 1.

    For containers. The request goes to the address of the configuration, by TLS if configured, and through no proxy.
    """
    with without_gc():
        from exporter.web.healthcheck import check_health
        from exporter.web.web_config import load_access

    web = options(config_file).load((), sections=("web",)).web
    tls = load_access(web.config_file).tls if web.config_file is not None else None
    first = web.listen_addresses[0]
    click.echo(check_health(first.host, first.port, tls, web.route_prefix))
    return 0


@main.command(cls=WithCollectors)
@config_file_option
@collector_options
@click.option("--send-test-alert", is_flag=True, help="Send a test alert to each Alertmanager.")
def check(config_file: Path, *, send_test_alert: bool) -> int:
    """Check the configuration and everything that it names.

    These are the sources, rights, the Alertmanagers, the history file and the exports.
    """
    with without_gc():
        from exporter.check import check as findings

    return print_findings(findings(options(config_file), send_test_alert=send_test_alert))


@main.command()
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "markdown"]),
    default="table",
    show_default=True,
    help="Columns of text, or a table for a document.",
)
def metrics(format_: str) -> None:
    """Print the table of every metric: name, type, labels, meaning, source."""
    with without_gc():
        from exporter import collectors

    rows = [
        (family.name, str(family.type), ", ".join(family.labels), family.help, family.source)
        for family in collectors.families()
    ]
    heads = ("name", "type", "labels", "meaning", "source")
    for line in (_markdown if format_ == "markdown" else columns)([heads, *rows]):
        click.echo(line)


@main.command()
@click.option("--output", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
def assets(output: Path) -> int:
    """Write out the shipped files: alert rules and their tests, dashboards, systemd units, the Helm chart.

    A file that is there with other content is never replaced.
    """
    from exporter.assets import write

    written, unchanged = write(output)
    click.echo(f"{output}: {written} files written, {unchanged} unchanged")
    return 0


@main.command()
@click.option("--for", "seconds", metavar="DURATION", callback=seconds_of, help="End after this time, such as 60s.")
@click.option("--keep", is_flag=True, help="Keep the demo's folder.")
@click.option("--port", type=click.IntRange(0, 65_535), default=10_071, show_default=True, help="Port of the agent.")
@click.option(
    "--cloud", is_flag=True, help="Simulate Tableau Cloud: REST API, Activity Log, Admin Insights; no repository."
)
@click.option("--alerts", is_flag=True, help="Start Prometheus and Alertmanager too, and print each notification.")
def demo(seconds: float | None, port: int, *, keep: bool, cloud: bool, alerts: bool) -> int:
    """Run the whole system on an empty machine: a simulated Tableau with live traffic, and the real agent."""
    with without_gc():
        from exporter.demo import command

    return command.run(seconds, port, keep=keep, cloud=cloud, alerts=alerts)


main.add_command(audit)
main.add_command(history)


def _check_configuration(chosen: "RunOptions") -> int:
    with without_gc():
        from exporter import collectors
        from exporter.check import file_faults

    configuration = chosen.load(tuple(collectors.discover()))
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    if faults := file_faults(configuration):
        raise ConfigurationError(faults)
    click.echo("the configuration is valid")
    return 0


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return [head, "|" + "---|" * len(rows[0]), *body]


def _complain(faults: Iterable[object]) -> int:
    for fault in faults:
        click.echo(one_line(fault), err=True)
    return FAULT


def _confess(error: Exception) -> int:
    if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("TABLEAU_EXPORTER_LOG__LEVEL") == "debug":
        traceback.print_exception(error)
    text = f"{type(error).__name__}: {one_line(error)}"
    click.echo(f"internal error: {text} (set log.level=debug for the traceback)", err=True)
    return INTERNAL_ERROR
