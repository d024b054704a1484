"""Lists of the usage page about content that is not opened, and the same as files: candidates for deletion."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.collectors.unused.metrics import UNUSED
from exporter.pagedata.builder import PageData
from exporter.pagedata.unused import Places, UnusedContent
from exporter.tabular import Cell
from exporter.web.asset_list import known
from exporter.web.downloads import at
from exporter.web.query_params import Paging

LISTS = {
    "unused30": "Content not opened for 30 days",
    "unused90": "Content not opened for 90 days",
    "unused365": "Content not opened for 365 days",
    "suspending": "Refreshes that Tableau will suspend",
}
SUSPENDING = "suspending"
ROWS = 50
HEAD = (
    "site", "asset_type", "luid", "name", "project", "content_owner", "created_utc", "last_opened_day", "bytes",
    "refresh_seconds_per_week", "refresh_suspension_utc",
)  # fmt: skip
NO_REPOSITORY = "Unused content is listed by the statistics of a repository of Tableau Server, and none is configured."
DISABLED = "The collector unused is disabled: there is no data on unused content."
NOT_READ = (
    "Unused content has not been read from the history yet: the list appears after one of the next polls. If not, see"
    " the agent's log."
)


@dataclass(frozen=True)
class Row:
    """An asset of a list; instants in Unix seconds, unknown values are None or empty."""

    site: str
    asset_type: str
    asset_id: str
    name: str
    project: str
    owner: str
    created_at: float | None
    opened_at: float | None
    bytes: float | None
    refresh_seconds: float | None
    suspended_at: float | None


def listed(pages: PageData, name: str, site: str, page: int, sources: Container[str]) -> Mapping[str, Any]:
    """Return the template values of a list; ``sources`` are the names of those polled. Raises WrongParameter."""
    content = pages.unused
    if content is None:
        return {"no_unused": _why_none(pages, sources), "paging": Paging(0, ROWS, page)}
    places = _places(content, name, site)
    paging = Paging(len(places), ROWS, page)
    return {
        "no_unused": "",
        "unused": content,
        "paging": paging,
        "rows": [_row(content, place) for place in places[paging.begin : paging.end].tolist()],
        "is_suspending": name == SUSPENDING,
        "unknown_count": 0 if name == SUSPENDING else content.unknown(_days(name), site),
        "total_bytes": content.total("bytes", places),
        "total_seconds": content.total("refresh_seconds_per_week", places),
    }


def file_rows(content: UnusedContent, name: str, site: str) -> Iterator[Sequence[Cell]]:
    """Yield all rows of a list as cells of HEAD."""
    for place in _places(content, name, site).tolist():
        row = _row(content, place)
        yield (
            row.site or None,
            row.asset_type,
            row.asset_id or None,
            row.name or None,
            row.project or None,
            row.owner or None,
            at(row.created_at),
            (at(row.opened_at) or "")[:10] or None,
            row.bytes,
            None if row.refresh_seconds is None else round(row.refresh_seconds),
            at(row.suspended_at),
        )


def _why_none(pages: PageData, sources: Container[str]) -> str:
    if "repository" not in sources:
        return NO_REPOSITORY
    return NOT_READ if UNUSED in pages.enabled else DISABLED


def _places(content: UnusedContent, name: str, site: str) -> Places:
    return content.suspending(site) if name == SUSPENDING else content.unused(_days(name), site)


def _days(name: str) -> int:
    return int(name.removeprefix("unused"))


def _row(content: UnusedContent, place: int) -> Row:
    return Row(
        content.site[place],
        content.texts["asset_type"][place],
        content.texts["asset_id"][place],
        content.texts["asset_name"][place],
        content.texts["project"][place],
        content.texts["content_owner"][place],
        known(content.openings.created_at[place]),
        known(content.openings.opened_at[place]),
        content.numbers["bytes"][place],
        content.numbers["refresh_seconds_per_week"][place],
        known(content.suspended_at[place]),
    )
