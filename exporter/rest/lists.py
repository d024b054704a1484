"""Lists of the REST API, read to their end and counted against the total that Tableau reports.

Pages are sorted by attributes that do not change, so that new entries come last.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import tableauserverclient as tsc

from exporter.errors import SourceIncomplete
from exporter.inventory import TAG_SEPARATOR, Content, ListedSubscription, Person, Project
from exporter.rest.arrow import TableBuilder, boolean, parse_instant, to_luid
from exporter.rest.errors import BadRequest
from exporter.rest.response_xml import Entry, XmlPage, XmlShape, shape
from exporter.rest.session import RestSession

PAGE_SIZE = 1000
ATTEMPTS = 2
PERSONAL_SPACE = "Personal Space"

# With the site before it, and with the tab of the page behind it, or without.
_PAGE = re.compile(r"[^#]*#/(?:site/[^/]+/)?(workbook|datasource|flow)s/([0-9]{1,18})(?:/[a-zA-Z]*)?")

_NUMBER = re.compile(r"[0-9]{1,9}")

Row = tuple[object, ...]


@dataclass(frozen=True)
class Listing:
    """A list: tableauserverclient's endpoint of that name, the element of its entries, and the row made of one."""

    endpoint: str
    shape: XmlShape
    row: type
    row_of: Callable[[Entry], Row | None]
    sort: tuple[str, ...] = ("createdAt", "name")
    """In alphabetical order: tableauserverclient sorts them itself."""
    fields: tuple[str, ...] = ()
    """The fields of each entry; empty for the default ones."""
    usage: bool = False
    """Whether to ask for the usage of each entry."""


def _content(asset_type: str) -> Callable[[Entry], Row | None]:
    def row_of(entry: Entry) -> Row | None:
        of, inside = entry.attributes, entry.inside
        if (asset_id := to_luid(of.get("id"))) is None:
            return None
        project, owner, location = (inside.get(name, {}) for name in ("project", "owner", "location"))
        personal = location.get("type") == "PersonalSpace"
        # Without the right to see the project there is none: that is no Personal Space.
        place = location if location.get("type") == "Project" and not project else project
        return (
            asset_type,
            asset_id,
            of.get("name"),
            None if personal else to_luid(place.get("id")),
            PERSONAL_SPACE if personal else place.get("name"),
            to_luid(owner.get("id")),
            TAG_SEPARATOR.join(entry.tags) or None,
            boolean(of.get("hasExtracts")),
            parse_instant(of.get("createdAt")),
            parse_instant(of.get("updatedAt")),
            _url_id(asset_type, of.get("webpageUrl", "")),
            of.get("contentUrl") or None,
            _whole(of.get("size", "")),
        )

    return row_of


def _url_id(asset_type: str, webpage_url: str) -> int | None:
    """Return the number in the address of an asset's page; None for any other address."""
    match = _PAGE.fullmatch(webpage_url)
    return int(match[2]) if match is not None and match[1] == asset_type else None


def _whole(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _project(entry: Entry) -> Row | None:
    of = entry.attributes
    project_id = to_luid(of.get("id"))
    return (project_id, of.get("name"), to_luid(of.get("parentProjectId"))) if project_id else None


def _person(entry: Entry) -> Row | None:
    of = entry.attributes
    owner_id = to_luid(of.get("id"))
    if owner_id is None:
        return None
    return (owner_id, of.get("name"), of.get("siteRole"), of.get("fullName") or None, of.get("email") or None)


def _subscription(entry: Entry) -> Row | None:
    subscription_id = to_luid(entry.attributes.get("id"))
    return (subscription_id, boolean(entry.attributes.get("suspended"))) if subscription_id else None


def _asset(element: str) -> XmlShape:
    return shape(element, project=1, owner=1, location=1)


CONTENT: Mapping[str, Listing] = {
    "workbook": Listing("workbooks", _asset("workbook"), Content, _content("workbook")),
    "datasource": Listing("datasources", _asset("datasource"), Content, _content("datasource")),
    "flow": Listing("flows", _asset("flow"), Content, _content("flow")),
}
PROJECTS = Listing("projects", shape("project"), Project, _project, ("name",))
# Displayed names and addresses are only sent on request.
PEOPLE = Listing("users", shape("user"), Person, _person, ("name",), ("id", "name", "siteRole", "fullName", "email"))

SUBSCRIPTIONS = Listing("subscriptions", shape("subscription"), ListedSubscription, _subscription, ())


@dataclass(frozen=True)
class ListResult:
    """The entries of a list, and one line on what is missing; None where the list is complete."""

    rows: pa.Table
    missing: str | None


def read_list(session: RestSession, listing: Listing) -> pa.Table:
    """Read a complete list. Raises SourceIncomplete where entries are missing, SourceError where it cannot be read."""
    listed = collect(session, listing)
    if listed.missing:
        raise SourceIncomplete(f"{session.place}: {listed.missing}; the list is not used")
    return listed.rows


def collect(session: RestSession, listing: Listing, *, missing: str | None = None) -> ListResult:
    """Read a list, once more if it changed in between; not if the same was ``missing`` at the last poll.

    A list that shrank has moved an entry over the edge of a page: the count is right, and one is missing.
    """
    columns, still_missing = TableBuilder(listing.row), ""
    for _ in range(ATTEMPTS):
        columns, seen, total, shrank = TableBuilder(listing.row), set[object](), 0, False
        for answer in pages(
            session, listing.endpoint, listing.shape, listing.sort, fields=listing.fields, usage=listing.usage
        ):
            before, total = total, answer.total or 0
            shrank = shrank or total < before
            columns.add(list(_new_rows(answer.entries, listing, seen)))
        if len(seen) == total and not shrank:
            return ListResult(columns.table(), None)
        still_missing = f"the list of {listing.endpoint} has {len(seen)} of {total} entries"
        if still_missing == missing:
            break
    return ListResult(columns.table(), still_missing)


def pages(
    session: RestSession,
    endpoint: str,
    wanted: XmlShape,
    sort: Sequence[str] = (),
    filters: Sequence[tsc.Filter] = (),
    *,
    fields: Sequence[str] = (),
    descending: bool = False,
    usage: bool = False,
) -> Iterator[XmlPage]:
    """Yield the pages of a list until its total is reached, or a page brings nothing new.

    Where a server does not know the order, the filter or a field, they are left out from then on.
    """
    received = number = 0
    seen = set[str | None]()
    while True:
        number += 1
        plain = endpoint in session.transport.without_options
        parameters = ((), (), ()) if plain else (sort, filters, fields)
        options = _options(number, *parameters, descending=descending)
        try:
            answer = page(session, endpoint, wanted, options, usage=usage)
        except BadRequest:
            if number > 1:
                # The list has shrunk, and this page lies beyond its end.
                return
            if plain or not (sort or filters or fields):
                raise
            session.transport.without_options.add(endpoint)
            number -= 1
            continue
        if answer.total is None:
            raise SourceIncomplete(
                f"{session.place}: a page of {endpoint} without a count; check whether something else answers there"
            )
        received += len(answer.entries)
        yield answer
        ids = {entry.attributes.get("id") for entry in answer.entries}
        # A page without new entries is the last, regardless of the total.
        if received >= answer.total or ids <= seen:
            return
        seen |= ids


def page(
    session: RestSession, endpoint: str, wanted: XmlShape, options: tsc.RequestOptions | None, *, usage: bool = False
) -> XmlPage:
    """Read one page of an endpoint of tableauserverclient."""

    def request(server: tsc.Server) -> object:
        found = getattr(server, endpoint)
        return found.get_request(f"{found.baseurl}?includeUsageStatistics=true" if usage else found.baseurl, options)

    return session.read(request, wanted)


def _options(
    number: int, sort: Sequence[str], filters: Sequence[tsc.Filter], fields: Sequence[str], *, descending: bool
) -> tsc.RequestOptions:
    options = tsc.RequestOptions(pagenumber=number, pagesize=PAGE_SIZE)
    direction = tsc.RequestOptions.Direction.Desc if descending else tsc.RequestOptions.Direction.Asc
    options.sort |= {tsc.Sort(name, direction) for name in sort}
    options.filter |= set(filters)
    options.fields |= set(fields)
    return options


def _new_rows(entries: Sequence[Entry], listing: Listing, seen: set[object]) -> Iterator[Row]:
    """Yield the rows of entries that were not on an earlier page."""
    key = 1 if listing.row is Content else 0
    for entry in entries:
        row = listing.row_of(entry)
        if row is not None and row[key] not in seen:
            seen.add(row[key])
            yield row
