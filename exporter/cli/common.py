"""Shared by the commands: common flags, and the output of findings and progress."""

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from exporter.texts import one_line
from exporter.units import parse_duration

if TYPE_CHECKING:
    from exporter.config import RunOptions

FAULT = 1
DISABLE_DEFAULTS = "disable_default_collectors"
"""The entry of a command's context that is true where collectors are disabled by default."""
_OVERRIDES = "overrides"

_MARKS = {True: "ok", False: "fault", None: "note"}
_COLOURS = {True: "green", False: "red", None: "yellow"}

Command = TypeVar("Command", bound=Callable[..., Any])


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Import without garbage collection, a sixth of the time: modules live as long as the process.

    Later collections leave them out too.
    """
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
            # DuckDB's bindings print an object that is still frozen at the end of the process as a leak.
            atexit.register(gc.unfreeze)
        if enabled:
            gc.enable()


class Once(click.Command):
    """A command that refuses a flag given twice that has one value: the first would vanish."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. Raises click.UsageError."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        single = [flag for flag in order if isinstance(flag, click.Option) and not (flag.multiple or flag.is_flag)]
        for flag in single:
            if single.count(flag) > 1:
                raise click.UsageError(f"{flag.opts[0]} is given twice: it accepts one value", ctx)
        return super().parse_args(ctx, args)


class Finding(Protocol):
    """One finding of a check; ``ok`` is None for a note."""

    @property
    def ok(self) -> bool | None:
        """False for a fault, None for a note."""

    @property
    def subject(self) -> str:
        """The object of the check."""

    @property
    def message(self) -> str:
        """The result, and the fix of a fault."""


def seconds_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """Read the duration of a flag."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def config_file_option(command: Command) -> Command:
    """Add ``--config.file``."""
    return click.option(
        "--config.file",
        "config_file",
        type=click.Path(path_type=Path),
        default="tableau-exporter.yml",
        show_default="tableau-exporter.yml, otherwise /etc/tableau-exporter/tableau-exporter.yml",
        help="Configuration file; not needed where the environment has every key.",
    )(command)


def note_override(key: str, text: str) -> None:
    """Remember what a flag of this command sets a key of the configuration to."""
    click.get_current_context().meta.setdefault(_OVERRIDES, {})[key] = text


def options(config_file: Path) -> "RunOptions":
    """Return the sources of the configuration of a command."""
    with without_gc():
        from exporter.config import RunOptions, default_file

    context = click.get_current_context()
    explicit = context.get_parameter_source("config_file") is click.core.ParameterSource.COMMANDLINE
    return RunOptions(
        config_file=config_file if explicit else default_file(),
        config_file_explicit=explicit,
        overrides=context.meta.get(_OVERRIDES, {}),
        disable_collectors=context.meta.get(DISABLE_DEFAULTS, False),
        environ=dict(os.environ),
    )


def print_findings(findings: Iterable[Finding]) -> int:
    """Print findings, as a table on a terminal and line by line elsewhere; return the exit code."""
    printed = as_table(findings) if sys.stdout.isatty() else as_lines(findings)
    return FAULT if any(finding.ok is False for finding in printed) else 0


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal; yield a function of done and total."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def as_lines(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as soon as it is there."""
    printed = []
    for finding in findings:
        click.echo(f"{_MARKS[finding.ok]:<5}  {one_line(finding.subject)}: {one_line(finding.message)}")
        printed.append(finding)
    return printed


def as_table(findings: Iterable[Finding]) -> list[Finding]:
    """Print all findings when the last is there."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(), Table("", "what", "finding", box=None)
    with console.status("checking"):
        printed = list(findings)
    for finding in printed:
        mark = Text(_MARKS[finding.ok], style=_COLOURS[finding.ok])
        table.add_row(mark, Text(one_line(finding.subject)), Text(one_line(finding.message)))
    console.print(table)
    return printed
