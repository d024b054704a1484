"""Parsers of the flags of ``tableau-exporter history``, and the checks of their combinations."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from exporter.cli.common import Command, seconds_of
from exporter.exports.arguments import check_table, parse_delimiter, parse_timezone
from exporter.units import parse_duration, parse_instant

if TYPE_CHECKING:
    from exporter.imports.zones import Zone
    from exporter.metrics import Labels

Parsed = TypeVar("Parsed")


def instant_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Read an instant."""
    return None if text is None else _parsed(parse_instant, text)


def _parsed(parse: Callable[[str], Parsed], text: str) -> Parsed:
    """Read the text of a flag with a parser that raises ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def time_limit_of(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """Read the timeout of a query."""
    seconds = seconds_of(ctx, param, text)
    if not seconds:
        raise click.BadParameter("must be longer than 0s")
    return seconds


def instant_option(flag: str, meaning: str) -> Callable[[Command], Command]:
    """Add a flag for an instant, in UTC unless it has an offset."""
    return click.option(flag, metavar="INSTANT", callback=instant_of, help=meaning)


def zone_of(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the name of a time zone."""
    return None if value is None else _parsed(parse_timezone, value)


def delimiter_of(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Read the character between two values."""
    return None if value is None else _parsed(parse_delimiter, value)


def check_text_flags(format_: str, table: str | None, form: Mapping[str, str], until: datetime | None) -> None:
    """Refuse what only text knows where it is another format, and what text does not know."""
    if format_ == "text" and until is not None:
        raise click.UsageError("--until: the files of --format=text are appended to, and have no end")
    if format_ != "text" and form:
        raise click.UsageError(f"--{next(iter(form))}: only the format text knows it")
    try:
        check_table(format_, table)
    except ValueError as error:
        raise click.UsageError(f"--table: {error}") from None


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

    reserved = {label for family in families() for label in family.labels} | {"le"}
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name) or not value:
            raise click.BadParameter(f"{text!r} is not of the form name=value, as in job=tableau")
        if name in reserved or name in found:
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


def targets_of(_ctx: click.Context, _param: click.Parameter, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an empty output: an unset variable of the shell would be the current folder."""
    if not all(targets):
        raise click.BadParameter("must not be empty")
    return targets
