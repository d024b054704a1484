"""Output of ``history query`` and ``history info``: a table for a terminal, CSV and JSON for programs."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from exporter import maintenance
from exporter.config import RunOptions
from exporter.errors import QueryFailed
from exporter.history import query_process
from exporter.history.info import Info, read_info
from exporter.history.query import INSTANT, NESTED, QueryResult
from exporter.history.query_process import Bounds
from exporter.history.sandbox import LONGEST_SQL
from exporter.output import to_stdout, whole
from exporter.tabular import Cell, csv_lines, in_parts, json_lines
from exporter.texts import UNKNOWN, coarse, columns, visible

_INSTANT = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?")
_LONGEST_LIST = 10
_NULL = "NULL"


def query(options: RunOptions, sql: str, format_: str | None, output: Path | None, bounds: Bounds) -> int:
    """Run SQL (``-``: that of standard input) on the history, and print or store the answer.

    Raises HistoryError, OutputUnwritable.
    """
    text = sys.stdin.buffer.read(LONGEST_SQL + 1).decode(errors="surrogateescape") if sql == "-" else sql
    answer = query_process.run(maintenance.history_to_read(options), text, bounds)
    on_terminal = output is None and sys.stdout.isatty()
    lines = _LINES[format_ or ("table" if on_terminal else "csv")](answer)
    if output is not None:
        with whole(output) as target:
            target.writelines(in_parts(lines))
    elif on_terminal:
        # A terminal may know fewer letters than the names have.
        to_stdout(line.encode(sys.stdout.encoding, "backslashreplace") for line in lines)
    else:
        to_stdout(in_parts(lines))
    if answer.is_cut:
        rows = f"the first {bounds.rows:,} rows" if bounds.rows > 1 else "the first row"
        click.echo(f"{rows} only: there are more; give a greater --limit, or a condition that finds fewer", err=True)
    return 0


def _csv(answer: QueryResult) -> Iterator[str]:
    rows = (list(map(_cell, row)) for row in answer.values())
    return csv_lines([column.name for column in answer.columns], rows)


def _cell(value: Cell) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value


def _json(answer: QueryResult) -> Iterator[str]:
    names = [column.name for column in answer.columns]
    for name in names:
        if names.count(name) > 1:
            raise QueryFailed(f"two columns are called {name!r}, of which JSON keeps one: rename one with AS")
    readers = [_READERS.get(column.kind, lambda value: value) for column in answer.columns]
    rows = ([read(value) for read, value in zip(readers, row, strict=True)] for row in answer.values())
    return json_lines(names, rows)


def _instant(text: str | None) -> str | None:
    """Return an instant as ISO 8601 has it; an infinite one as DuckDB writes it."""
    found = text and _INSTANT.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else text


def _nested(text: str | None) -> object:
    return None if text is None else json.loads(text, parse_constant=lambda _: None)


_READERS: Mapping[str, Callable[[Any], Any]] = {INSTANT: _instant, NESTED: _nested}


def _table(answer: QueryResult) -> Iterator[str]:
    rows = [[_NULL if value is None else visible(str(_cell(value))) for value in row] for row in answer.values()]
    return _aligned([visible(column.name) for column in answer.columns], rows)


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table whose cells are not cut, with a line below its head."""
    first, *others = columns([head, *rows])
    yield f"{first}\n{'-' * len(first)}\n"
    yield from (f"{line}\n" for line in others)


_LINES: Mapping[str, Callable[[QueryResult], Iterator[str]]] = {"table": _table, "csv": _csv, "json": _json}


def info(options: RunOptions, format_: str) -> int:
    """Print what the history holds. Raises HistoryError, OutputUnwritable."""
    found = read_info(maintenance.history_to_read(options))
    to_stdout(in_parts(_info_json(found) if format_ == "json" else _info_text(found)))
    return 0


def _info_json(found: Info) -> Iterator[str]:
    """Yield one object; its keys are documented and stay."""
    yield json.dumps(
        {
            **asdict(found),
            "gaps": [{**asdict(gap), "days": gap.days} for gap in found.gaps],
            "pauses": [{**asdict(pause), "seconds": pause.seconds} for pause in found.pauses],
            "last_polls": dict(found.last_polls),
        },
        indent=2,
        default=_iso,
    )
    yield "\n"


def _iso(value: date) -> str:
    """Return a day, or an instant in UTC, as ISO 8601 has it."""
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else value.isoformat()


def _info_text(found: Info) -> Iterator[str]:
    yield from _facts(found)
    tables = [(item.name, f"{item.rows:,}", _count(item.archived), _count(item.pruned)) for item in found.tables]
    yield from _section("Rows by table", ("table", "rows", "archived", "pruned"), tables)
    months = [(item.month, f"{item.archived:,}", f"{item.pruned:,}") for item in found.months]
    yield from _section("Requests by month (UTC)", ("month", "archived", "pruned"), months)
    gaps = [(str(item.first), str(item.last), str(item.days)) for item in _longest(found.gaps, lambda gap: gap.days)]
    yield from _section(_titled("Days without requests", found.gaps), ("from", "to", "days"), gaps)
    pauses = [
        (_minute(item.begin), _minute(item.end), coarse(item.seconds))
        for item in _longest(found.pauses, lambda pause: pause.seconds)
    ]
    yield from _section(_titled("Requests were not polled", found.pauses), ("from", "to", "for"), pauses)
    incidents = [
        (item.kind, str(item.count), _minute(item.last_at), visible(item.last_detail)) for item in found.incidents
    ]
    yield from _section("Incidents", ("kind", "count", "last", "detail of the last"), incidents)
    positions = [
        (item.source, _count(item.max_id), _count(item.horizon), _minute(item.polled_at)) for item in found.positions
    ]
    yield from _section("Archived up to", ("source", "id", "transaction", "polled"), positions)


def _facts(found: Info) -> Iterator[str]:
    polls = ", ".join(f"{mode} {_minute(at)}" for mode, at in found.last_polls)
    lines = [
        ("file", found.path),
        ("size", f"{found.bytes / 1e6:,.1f} MB, of which {found.free_share:.0%} are free"),
        ("begun", _minute(found.begun)),
        ("requests", f"{_minute(found.oldest)} to {_minute(found.newest)}" if found.newest else "none"),
        ("possibly lost", f"{found.possibly_lost:,} requests at most"),
        ("last polls", polls or "none"),
    ]
    yield from (f"{line}\n" for line in columns(lines))


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"\n{title}\n\n"
    yield from _aligned(head, rows) if rows else ("none\n",)


def _longest(items: Sequence[Any], length: Callable[[Any], float]) -> Iterable[Any]:
    """Return the longest few, in their order."""
    chosen = sorted(items, key=length, reverse=True)[:_LONGEST_LIST]
    return [item for item in items if item in chosen]


def _titled(title: str, items: Sequence[Any]) -> str:
    more = f": the {_LONGEST_LIST} longest of {len(items)}" if len(items) > _LONGEST_LIST else ""
    return title + more


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _minute(at: datetime | None) -> str:
    return UNKNOWN if at is None else f"{at:%Y-%m-%d %H:%M}"
