"""The usage page: requests and active users by the hour, and which content is opened most, or not at all."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.pagedata.builder import Content, Counts, Numbers, PageData
from exporter.pagedata.query_results import HOUR_SECONDS, HourlyUsage
from exporter.status import Status
from exporter.tabular import Cell
from exporter.web import unused
from exporter.web.asset_list import known
from exporter.web.charts import hourly
from exporter.web.downloads import at
from exporter.web.query_params import Paging, Parameters, WrongParameter, address

PATH, CSV_PATH, JSON_PATH = "/usage", "/usage.csv", "/usage.json"
PARAMETERS = ("site", "days", "list", "page")
FILE_PARAMETERS = (*PARAMETERS, "of")
DAYS = ("1", "2", "8")
LISTS = {
    "most": "Most opened workbooks",
    "views": "Most opened views",
    **unused.LISTS,
}
FILES = ("hours", "content")
ROWS = 50
LATE_INTERVALS, LATE_SECONDS = 3, 1800.0
"""What was counted is late after so many exact intervals, and never before so many seconds."""
HOURS_HEAD = ("hour_utc", "requests", "active_people")
CONTENT_HEAD = (
    "site", "luid", "name", "workbook", "created_utc", "loads_7d", "loads_30d", "loads_90d", "last_opened_day",
    "project", "content_owner", "users_30d",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The query parameters of the page; an empty site is all of them."""

    site: str = ""
    days: str = "8"
    of_content: str = "most"

    @classmethod
    def of(cls, parameters: Parameters, sites: Sequence[str]) -> "Asked":
        """Parse the parameters of a page. Raises WrongParameter."""
        site = parameters.text("site")
        if site and site not in sites:
            raise WrongParameter("There is no such site; select one from the list.")
        return cls(site, parameters.choice("days", DAYS, "8"), parameters.choice("list", tuple(LISTS), "most"))

    @property
    def is_of_unused(self) -> bool:
        """Whether a list of unused content is requested."""
        return self.of_content in unused.LISTS

    def content(self, pages: PageData) -> Content | None:
        """Return the content of the list, None where its use is unknown."""
        return None if pages.usage is None or self.why_no_content(pages) else self._listed(pages)

    def why_no_content(self, pages: PageData) -> str:
        """Return why the list is missing although requests are known; empty where it is there."""
        return why_no_content(pages, self._listed(pages))

    def _listed(self, pages: PageData) -> Content | None:
        return pages.views if self.of_content == "views" else pages.content

    def pairs(self) -> list[tuple[str, str]]:
        """Return the query parameters without default values."""
        defaults = Asked()
        names = {"site": "site", "days": "days", "of_content": "list"}
        return [(names[n], getattr(self, n)) for n in names if getattr(self, n) != getattr(defaults, n)]


@dataclass(frozen=True)
class Hours:
    """The hours of the page, their requests, and their active users where these are counted."""

    hours: Numbers
    requests: Counts
    people: Counts | None


@dataclass(frozen=True)
class Opened:
    """A workbook, or a view, and how often it was loaded; ``last_day`` is None where that was never seen."""

    site: str
    asset_id: str
    name: str
    workbook: str
    created_at: float | None
    loads: Mapping[int, int]
    last_day: float | None
    users: int | None


def sites_of(pages: PageData) -> list[str]:
    """Return the sites that can be chosen."""
    found = set(pages.usage.requests) if pages.usage else set()
    for content in (pages.content, pages.unused):
        found |= set(content.site if content else ())
    return sorted(found - {""}, key=str.casefold)


def hours_of(use: HourlyUsage, asked: Asked) -> Hours:
    """Return the hours of so many days up to the last one."""
    last = int(asked.days) * 24
    nothing = np.zeros(len(use.hours), dtype=np.int64)
    requests = use.requests.get(asked.site, nothing) if asked.site else use.all_requests
    if use.people is None:
        return Hours(use.hours[-last:], requests[-last:], None)
    people = use.people.get(asked.site, nothing) if asked.site else use.everybody
    return Hours(use.hours[-last:], requests[-last:], None if people is None else people[-last:])


def places_of(content: Content, asked: Asked) -> npt.NDArray[np.int64]:
    """Return the workbooks or views of a list, the most opened first."""
    of_site = np.array([not asked.site or site == asked.site for site in content.site], dtype=np.bool_)
    rows = np.flatnonzero(of_site & (content.loads[30] > 0))
    order: npt.NDArray[np.int64] = np.lexsort((content.name.numbers[rows], -content.loads[30][rows]))
    return rows[order]


def is_late(pages: PageData, now: float) -> bool:
    """Return whether the counts are older than the exact interval explains."""
    interval = pages.exact_interval or 0.0
    return pages.usage is not None and now - pages.usage.counted_at > max(LATE_SECONDS, LATE_INTERVALS * interval)


def shown(pages: PageData, asked: Asked, page: int, status: Status) -> Mapping[str, Any]:
    """Return the template values of the page. Raises WrongParameter."""
    pairs, content = asked.pairs(), None if asked.is_of_unused else asked.content(pages)
    sources = [source.name for source in status.sources]
    values: dict[str, Any] = {
        "asked": asked,
        "sites": sites_of(pages),
        "days": DAYS,
        "lists": LISTS,
        "active": _active(pages, asked.site, status.now),
        "use": pages.usage,
        "is_late": is_late(pages, status.now),
        "no_requests": why_no_requests(pages, sources),
        "no_content": asked.why_no_content(pages),
        "content": content,
        "hours_csv": address(CSV_PATH, pairs, {"list": None, "of": "hours"}),
        "hours_json": address(JSON_PATH, pairs, {"list": None, "of": "hours"}),
        "content_csv": address(CSV_PATH, pairs, {"days": None, "of": "content"}),
        "content_json": address(JSON_PATH, pairs, {"days": None, "of": "content"}),
        "with_": lambda **changes: address(PATH, pairs, changes),
        "at_page": lambda number: address(PATH, pairs, {"page": str(number)} if number > 1 else {}),
    }
    if pages.usage is not None:
        values |= _charts(hours_of(pages.usage, asked))
    if asked.is_of_unused:
        values |= unused.listed(pages, asked.of_content, asked.site, page, sources)
    elif content is None:
        values["paging"] = Paging(0, ROWS, page)
    else:
        places = places_of(content, asked)
        paging = Paging(len(places), ROWS, page)
        values["paging"] = paging
        values["rows"] = [_listed(pages, content, place) for place in places[paging.begin : paging.end].tolist()]
    return values


def _charts(hours: Hours) -> dict[str, Any]:
    begins, requests = hours.hours.tolist(), hours.requests.tolist()
    people = None if hours.people is None else hours.people.tolist()
    return {
        "requests_chart": hourly(begins, requests, "requests"),
        "people_chart": None if people is None else hourly(begins, people, "people"),
        "table": list(zip(begins, requests, people or [None] * len(begins), strict=True)),
        "total": sum(requests),
        "busiest": max(zip(requests, begins, strict=True)),
        "most_people": None if people is None else max(zip(people, begins, strict=True)),
        "hour_seconds": HOUR_SECONDS,
    }


def _active(pages: PageData, site: str, now: float) -> list[tuple[str, int]]:
    """Return the active users of each window."""
    for block in pages.active:
        names = block.labels.names
        if ("site" in names) == bool(site):
            values = zip(block.labels.rows(), block.at(now), strict=True)
            labelled = [(dict(zip(names, labels, strict=True)), value) for labels, value in values]
            return [
                (of["window"], int(value)) for of, value in labelled if of.get("site", "") == site and value is not None
            ]
    return []


def _listed(pages: PageData, content: Content, place: int) -> tuple[Opened, str, str, bool]:
    """Return a workbook or a view, then its project and its owner, and whether it has a page of its own."""
    opened, table = _opened(content, place), pages.assets
    row = None if table is None else table.places.get(("workbook", opened.asset_id))
    if table is None or row is None:
        return opened, "", "", False
    return opened, table.project[row], table.owner[row], True


def _opened(content: Content, place: int) -> Opened:
    return Opened(
        content.site[place],
        content.asset_id[place],
        content.name[place],
        content.workbook[place],
        known(content.created_at[place]),
        {days: int(counts[place]) for days, counts in content.loads.items()},
        known(content.last_day[place]),
        content.users[place],
    )


def hours_rows(use: HourlyUsage, asked: Asked) -> Iterator[Sequence[Cell]]:
    """Return the hours as rows of HOURS_HEAD."""
    hours = hours_of(use, asked)
    people: Sequence[int | None] = [None] * len(hours.hours) if hours.people is None else hours.people.tolist()
    rows = zip(hours.hours.tolist(), hours.requests.tolist(), people, strict=True)
    return ((at(hour), requests, count) for hour, requests, count in rows)


def content_rows(pages: PageData, content: Content, asked: Asked) -> Iterator[Sequence[Cell]]:
    """Return a list of workbooks, all of it, as rows of CONTENT_HEAD."""
    return (_content_row(*_listed(pages, content, place)[:3]) for place in places_of(content, asked).tolist())


def _content_row(opened: Opened, project: str, owner: str) -> Sequence[Cell]:
    return (
        opened.site or None,
        opened.asset_id or None,
        opened.name or None,
        opened.workbook or None,
        at(opened.created_at),
        *(opened.loads[days] for days in (7, 30, 90)),
        (at(opened.last_day) or "")[:10] or None,
        project or None,
        owner or None,
        opened.users,
    )


NO_REQUESTS_SOURCE = (
    "Requests are read from the repository of Tableau Server, and of Tableau Cloud from the Activity Log or Admin"
    " Insights; none is configured: there is no data on requests, active users and opened content."
)

NOT_ASKED = (
    "Opened content has not been read from the history yet: the list appears after one of the next polls. If not, see"
    " the agent's log."
)


def why_no_requests(pages: PageData, sources: Container[str]) -> str:
    """Return why there are no requests, empty where there are; ``sources`` are the names of those that are polled."""
    if not any(name in sources for name in ("repository", "activity_log", "admin_insights")):
        return NO_REQUESTS_SOURCE
    if "requests" not in pages.enabled:
        return "The collector http_requests is disabled: there is no data on requests and opened content."
    if pages.usage is None:
        return "No requests have been counted yet: they appear after the first poll."
    return ""


def why_no_content(pages: PageData, listed: Content | None) -> str:
    """Return why a list of content is missing although requests are known, empty if it is there."""
    if "workbooks" not in pages.enabled:
        return "The collector content is disabled: opened workbooks and views are not listed."
    if listed is None:
        return NOT_ASKED
    return ""
