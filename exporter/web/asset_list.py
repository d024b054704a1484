"""The table of assets: a page of it, and all of it as a file."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from exporter.collectors.assets.status import STATUSES
from exporter.collectors.assets.usage import local_time
from exporter.pagedata.asset_table import AssetTable, Judged, Places
from exporter.pagedata.builder import AssetKey, PageData
from exporter.status import FiringAlert
from exporter.tabular import Cell
from exporter.web.asset_query import COLUMNS, FIGURES, ORDERS, ROWS, TYPES, Choice, alerted, chosen
from exporter.web.downloads import at
from exporter.web.query_params import Paging, address

PATH, CSV_PATH, JSON_PATH = "/assets", "/assets.csv", "/assets.json"
FILE_HEAD = (
    "site", "project", "asset_type", "asset_id", "asset_name", "content_owner", "status", "hours_since_refresh",
    "warning_hours", "critical_hours", "last_refresh_utc", "next_refresh_utc", "consecutive_failures", "connection",
    "freshness_source", "users", "next_use_utc", "bytes", "usual_bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """An asset as a row of the page; unknown values are None."""

    site: str
    project: str
    asset_type: str
    asset_id: str
    name: str
    owner: str
    connection: str
    freshness_source: str
    status: str
    hours: float | None
    warning: float | None
    critical: float | None
    refreshed: float | None
    following: float | None
    failures: float | None
    url_id: int | None
    users: float | None
    next_use: float | None
    bytes: float | None
    usual_bytes: float | None
    time_zone: str | None


def row_of(table: AssetTable, judged: Judged, place: int) -> Row:
    """Return one asset."""
    return Row(
        table.site[place],
        table.project[place],
        table.asset_type[place],
        table.asset_id[place],
        table.name[place],
        table.owner[place],
        table.connection[place],
        table.freshness_source[place],
        STATUSES[int(judged.status[place])],
        known(judged.hours[place]),
        known(table.warning[place]),
        known(table.critical[place]),
        None if table.live[place] else known(table.refreshed[place]),
        known(table.following[place]),
        known(table.failures[place]),
        int(table.url_id[place]) or None,
        known(table.users[place]),
        known(judged.next_use[place]),
        known(table.bytes[place]),
        known(table.usual_bytes[place]),
        table.time_zones[place].as_py(),
    )


def known(value: float) -> float | None:
    """Return a number, or None for NaN."""
    return None if math.isnan(value) else float(value)


def next_use_text(row: Row, timezone: str, now: float) -> str | None:
    """Return when an asset is usually opened next, in its site's time zone; None where that is unknown."""
    return None if row.next_use is None else local_time(row.next_use, row.time_zone, timezone, now)


def listed(pages: PageData, table: AssetTable, now: float, choice: Choice, page: int) -> Mapping[str, Any]:
    """Return the template values of the page. Raises WrongParameter."""
    judged = table.at(now)
    places = chosen(table, judged, choice, alerted(pages, choice))
    paging = Paging(len(places), int(choice.rows), page)
    pairs = choice.pairs()
    return {
        "choice": choice,
        "rows": [row_of(table, judged, place) for place in places[paging.begin : paging.end].tolist()],
        "paging": paging,
        "counts": judged.counts(),
        "total": len(table),
        "sites": [site for site in table.site.distinct if site],
        "heads": [_head(name, title, choice) for name, title in COLUMNS.items()],
        "columns": COLUMNS,
        "orders": ORDERS,
        "sizes": ROWS,
        "types": TYPES,
        "statuses": STATUSES,
        "alerts": _rules(pages.firing_of.values(), choice),
        "csv": address(CSV_PATH, pairs, {"rows": None}),
        "json": address(JSON_PATH, pairs, {"rows": None}),
        "at_page": lambda number: address(PATH, pairs, {"page": str(number)} if number > 1 else {}),
        "with_": lambda **changes: address(PATH, pairs, {"page": None, **changes}),
        "only": only,
        "paths": _paths,
        "local_time": lambda row: next_use_text(row, pages.timezone, now),
    }


def _rules(firing: Iterable[Sequence[FiringAlert]], choice: Choice) -> list[str]:
    """Return the rules that fire about assets, and the one that was chosen."""
    return sorted({alert.rule for alerts in firing for alert in alerts} | {choice.alert} - {""})


def only(name: str, value: str) -> str:
    """Return the address of the table where one parameter alone is given; a page has hundreds of these."""
    return f"{PATH}?{name}={quote_plus(value.encode(errors='replace'))}"


@dataclass(frozen=True)
class Head:
    """The head of a column: ``sorted`` is as aria-sort has it, ``address`` sorts by it, or the other way."""

    name: str
    title: str
    sorted: str
    address: str
    is_figure: bool


def _head(name: str, title: str, choice: Choice) -> Head:
    is_sorted = choice.sort == name
    turned = "desc" if is_sorted and choice.order == "asc" else None
    where = address(
        PATH, choice.pairs(), {"page": None, "sort": None if name == Choice.sort else name, "order": turned}
    )
    direction = ("descending" if choice.order == "desc" else "ascending") if is_sorted else "none"
    return Head(name, title, direction, where, name in FIGURES)


def _paths(project: str) -> Sequence[tuple[str, str]]:
    """Return the parts of a project's path, each with the path up to it."""
    parts = project.split("/")
    return [(part, "/".join(parts[: number + 1])) for number, part in enumerate(parts)]


def file_rows(
    table: AssetTable, now: float, choice: Choice, among: Iterable[AssetKey] | None = None
) -> Iterator[Sequence[Cell]]:
    """Return all rows of a query, as rows of FILE_HEAD; unknown values are None."""
    judged = table.at(now)
    places: Places = chosen(table, judged, choice, among)
    return (_file_row(table, judged, place) for place in places.tolist())


def _file_row(table: AssetTable, judged: Judged, place: int) -> Sequence[Cell]:
    row = row_of(table, judged, place)
    return (
        row.site or None,
        row.project or None,
        row.asset_type or None,
        row.asset_id or None,
        row.name or None,
        row.owner or None,
        row.status,
        None if row.hours is None else round(row.hours, 2),
        row.warning,
        row.critical,
        at(row.refreshed),
        at(row.following),
        None if row.failures is None else int(row.failures),
        row.connection or None,
        row.freshness_source or None,
        None if row.users is None else int(row.users),
        at(row.next_use),
        None if row.bytes is None else int(row.bytes),
        None if row.usual_bytes is None else int(row.usual_bytes),
    )
