"""Lists: filtered, sorted and cut into pages, as the REST API does it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from exporter.demo.tableau.errors import Refusal
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.markup import EVERYTHING, PERSON, Style
from exporter.demo.tableau.oddities import Oddities

DEFAULT_SIZE = 100
LARGEST_SIZE = 1_000


class Listing(NamedTuple):
    """One kind of list: its element, its items, how an item is written, and the fields that can be requested."""

    element: str
    items: Callable[[Site], Sequence[Any]]
    write: Callable[[Style, Any], str]
    fields: Mapping[str, str]
    paged: bool = True


CONTENT = {
    "name": "name",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "hasExtracts": "has_extracts",
    "projectName": "project_name",
}
JOBS = {
    "jobType": "type",
    "status": "status",
    "createdAt": "created_at",
    "startedAt": "started_at",
    "completedAt": "ended_at",
    "endedAt": "ended_at",
    "priority": "priority",
    "progress": "progress",
    "title": "title",
    "subtitle": "subtitle",
    "notes": "notes",
}
RUNS = {
    "flowId": "flow",
    "startedAt": "started_at",
    "completedAt": "completed_at",
    "completeAt": "completed_at",
    "progress": "progress",
}
LISTINGS = {
    "workbooks": Listing("workbooks", lambda site: site.workbooks, Style.content, CONTENT),
    "datasources": Listing("datasources", lambda site: site.datasources, Style.content, CONTENT),
    "flows": Listing("flows", lambda site: site.flows, Style.content, CONTENT),
    "projects": Listing("projects", lambda site: site.projects, Style.project, {"name": "name"}),
    "users": Listing("users", lambda site: site.users, Style.person, {"name": "name", "siteRole": "role"}),
    "jobs": Listing("backgroundJobs", lambda site: site.jobs, Style.job, JOBS),
    "flow_runs": Listing("flowRuns", lambda site: site.flow_runs, Style.flow_run, RUNS),
    "tasks": Listing("tasks", lambda site: [t for t in site.tasks if t.kind != "flow"], Style.task, {}, paged=False),
    "flow_tasks": Listing(
        "tasks", lambda site: [t for t in site.tasks if t.kind == "flow"], Style.task, {}, paged=False
    ),
    "linked_tasks": Listing("linkedTasks", lambda site: site.linked_tasks, Style.linked_task, {}),
    "schedules": Listing("schedules", lambda site: site.schedules, Style.schedule, {}),
    "views": Listing("views", lambda site: site.views, Style.view, {"name": "name", "createdAt": "created_at"}),
    "subscriptions": Listing("subscriptions", lambda site: site.subscriptions, Style.subscription, {}),
    "virtual_connections": Listing(
        "virtualConnections", lambda site: site.virtual_connections, Style.virtual_connection, {"name": "name"}
    ),
}

# How an item is written for a request by its id, where that differs from its entry in the list.
SINGLE: Mapping[str, Callable[[Style, Any], str]] = {
    "job": Style.single_job,
    "jobs": Style.single_job,
    "flow_runs": Style.single_flow_run,
}

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "gt": lambda value, wanted: value > wanted,
    "gte": lambda value, wanted: value >= wanted,
    "lt": lambda value, wanted: value < wanted,
    "lte": lambda value, wanted: value <= wanted,
    "has": lambda value, wanted: str(wanted).lower() in str(value).lower(),
}


class Page(NamedTuple):
    """The requested page."""

    number: int
    size: int

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Page":
        """Read it from the query."""
        number, size = query.get("pageNumber", "1"), query.get("pageSize", str(DEFAULT_SIZE))
        if not number.isdecimal() or number == "0":
            raise Refusal("400006", "Bad Request", f"Invalid page number '{number}'.")
        if not size.isdecimal() or size == "0":
            raise Refusal("400007", "Bad Request", f"Invalid page size '{size}'.")
        if int(size) > LARGEST_SIZE:
            raise Refusal("403014", "Forbidden", f"The page size {size} is larger than {LARGEST_SIZE}.")
        return cls(int(number), int(size))

    def cut(self, items: Sequence[Any], shift: int = 0) -> Sequence[Any]:
        """Return the page's items; what moved between two pages shifts all but the first one."""
        begin = (self.number - 1) * self.size
        if begin and begin >= len(items):
            raise self.beyond()
        begin += shift if self.number > 1 else 0
        return items[begin : begin + self.size]

    def alone(self) -> None:
        """Refuse every page but the first: the list has no others."""
        if self.number > 1:
            raise self.beyond()

    def beyond(self) -> Refusal:
        """Refuse a page after the last one."""
        return Refusal("400006", "Bad Request", f"Invalid page number '{self.number}': it is beyond the last one.")


def excess(kind: str, oddities: Oddities) -> int:
    """Return by how many entries the reported total of a list exceeds those sent."""
    return oddities.promised_linked_tasks if kind == "linked_tasks" else int(kind in oddities.promised)


def chosen(listing: Listing, items: Sequence[Any], query: Mapping[str, str]) -> Sequence[Any]:
    """Filter and sort."""
    for clause in _clauses(query.get("filter", "")):
        field, _, rest = clause.partition(":")
        operator, _, wanted = rest.partition(":")
        attribute = _attribute(listing, field, "filter")
        items = [item for item in items if _matches(getattr(item, attribute), operator, wanted)]
    for clause in reversed(query["sort"].split(",") if query.get("sort") else []):
        field, _, order = clause.partition(":")
        attribute = _attribute(listing, field, "sort")
        known = [item for item in items if getattr(item, attribute) is not None]
        unknown = [item for item in items if getattr(item, attribute) is None]
        items = sorted(known, key=lambda item: getattr(item, attribute), reverse=order == "desc") + unknown
    return items


def person_fields(query: Mapping[str, str]) -> frozenset[str]:
    """Return the attributes of users that a request selects: without ``fields`` full names are left out."""
    found = frozenset[str]()
    for name in query.get("fields", "_default_").split(","):
        named = {"_default_": PERSON, "_all_": EVERYTHING}.get(name, frozenset({name.removeprefix("user.")}))
        if not named <= EVERYTHING:
            raise Refusal("400065", "Bad Request", f"Users have no field '{name}'.")
        found |= named
    return found


def _attribute(listing: Listing, field: str, verb: str) -> str:
    try:
        return listing.fields[field]
    except KeyError as error:
        raise Refusal("400065", "Bad Request", f"Cannot {verb} {listing.element} by '{field}'.") from error


def _clauses(expression: str) -> list[str]:
    """Split at the commas between clauses, not at those between the values of ``in:[a,b]``."""
    found: list[str] = []
    for piece in expression.split(",") if expression else []:
        if found and found[-1].count("[") > found[-1].count("]"):
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


def _matches(value: object, operator: str, wanted: str) -> bool:
    if value is None:
        return False
    if operator == "in":
        return any(value == _like(value, one.strip()) for one in wanted.strip("[]").split(","))
    if operator not in COMPARISONS:
        raise Refusal("400065", "Bad Request", f"Unknown operator '{operator}'.")
    return COMPARISONS[operator](value, _like(value, wanted))


def _like(value: object, wanted: str) -> object:
    """Read a word of a filter as what it is compared with."""
    try:
        if isinstance(value, datetime):
            return datetime.fromisoformat(wanted).astimezone(UTC).replace(tzinfo=None)
        if isinstance(value, bool):
            return wanted == "true"
        return int(wanted) if isinstance(value, int) else wanted
    except ValueError as error:
        raise Refusal("400065", "Bad Request", f"Cannot compare with '{wanted}'.") from error
