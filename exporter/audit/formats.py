"""Output formats of an audit: a table for a terminal, JSON and CSV for programs."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.collectors.assets.status import CRITICAL, HEALTHY, LIVE, UNKNOWN, WARNING
from exporter.tabular import json_lines
from exporter.texts import columns, visible

Row = Mapping[str, Any]

# How many rows are turned into text at a time.
_ROWS_AT_A_TIME = 10_000
# Folding costs a second for some 1,500 rows.
_FOLDED_ROWS = 1_000
# A longer name moves its own line alone.
_WIDEST = 40
_STYLES = {CRITICAL: "bold red", WARNING: "yellow", UNKNOWN: "magenta", HEALTHY: "green", LIVE: "dim"}
# The table for humans omits columns for programs.
_SHOWN = {
    "status": "status",
    "hours": "hours_since_refresh",
    "SLA": "sla_hours",
    "type": "asset_type",
    "name": "asset_name",
    "project": "project_name",
    "site": "site",
    "owner": "owner_id",
    "last refresh (UTC)": "last_refresh_utc",
    "connection": "connection",
    "freshness source": "freshness_source",
}


def as_json(rows: pa.Table) -> Iterator[str]:
    """Yield one array with an object for each asset."""
    return json_lines(rows.column_names, (map(_plain, row.values()) for row in _rows(rows)))


def as_csv(rows: pa.Table) -> Iterator[str]:
    """Yield CSV as RFC 4180 has it, with a line of names; what is not known is empty."""
    yield _csv_line(rows.column_names)
    for row in _rows(rows):
        yield _csv_line([_plain(value) for value in row.values()])


def as_text(rows: pa.Table) -> Iterator[str]:
    """Yield a plain table where there is no terminal: no cell is cut."""
    cells = [list(_SHOWN), *([_cell(row[name]) for name in _SHOWN.values()] for row in _rows(rows))]
    yield from (f"{line}\n" for line in columns(cells, _WIDEST))


FORMATS: Mapping[str, Callable[[pa.Table], Iterator[str]]] = {"table": as_text, "json": as_json, "csv": as_csv}


def as_terminal(rows: pa.Table, console: Console) -> Iterator[str]:
    """Yield a table for a terminal, the status in colour: folded to its width, or line by line where it is long."""
    if rows.num_rows <= _FOLDED_ROWS:
        yield _printed(console, as_rich(rows))
        return
    colours = {status: _printed(console, Text(status, style=style), end="") for status, style in _STYLES.items()}
    head, *lines = as_text(rows)
    yield head
    for line, status in zip(lines, rows.column("status").to_pylist(), strict=True):
        yield colours[status] + line.removeprefix(status)


def _printed(console: Console, shown: Table | Text, end: str = "\n") -> str:
    with console.capture() as printed:
        console.print(shown, end=end)
    return printed.get()


def as_rich(rows: pa.Table) -> Table:
    """Return a table for a terminal: the status in colour, no name taken for markup."""
    table = Table(box=None, pad_edge=False)
    for head in _SHOWN:
        table.add_column(head, justify="right" if head in {"hours", "SLA"} else "left", overflow="fold")
    for row in _rows(rows):
        status, *others = (_cell(row[name]) for name in _SHOWN.values())
        table.add_row(Text(status, style=_STYLES[status]), *map(Text, others))
    return table


def _rows(rows: pa.Table) -> Iterator[Row]:
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_A_TIME):
        yield from batch.to_pylist()


def _plain(value: object) -> object:
    """Return what a program reads: an instant in UTC as ISO 8601 has it."""
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else value


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else visible(str(value))


def _csv_line(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
