"""The Metadata API, the only API that reports when an extract was refreshed: queries, pages and errors.

It is off on many servers, throttles, and answers in part when a query is too much for it or while it is backfilled;
``errors`` stand beside ``data`` then, and an empty list means nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from exporter.errors import SourceError, SourceIncomplete, SourceUnreachable
from exporter.inventory import Described
from exporter.rest.arrow import TableBuilder, to_luid
from exporter.rest.errors import Forbidden, NotFound
from exporter.rest.metadata_rows import Node, rows_of_source, rows_of_workbook
from exporter.rest.session import RestSession

# 20,000 objects a query is Tableau's own limit; a workbook is one, with its data sources a handful.
PAGE_SIZE, SMALLEST_PAGE = 1000, 10
# How many requests of a list may time out.
MAX_UNANSWERED = 4
# The errors by name: https://help.tableau.com/current/api/metadata_api/en-us/docs/meta_api_errors.html
TOO_MUCH = ("LIMIT_EXCEEDED", "TIMEOUT", "TIMED_OUT")
HARMLESS = frozenset({"MAX_PAGE_SIZE_EXCEEDED"})
FEATURE_DISABLED = "FEATURE_DISABLED"
REFUSED = frozenset({"ACCESS_DENIED", "FILTER_REQUIRED"})
INVALID = "ValidationError"
# Some errors come without a code: "Reached time limit of PT5S for query execution." (tableauserverclient's tests).
MESSAGES_WITHOUT_CODE = (("time limit", "TIME_LIMIT_EXCEEDED"), ("node limit", "NODE_LIMIT_EXCEEDED"))
# A field that a release does not know is requested again after so long: the server may have been upgraded.
FORM_SECONDS = 86_400.0

# A code, and no other text of a server.
_CODE = re.compile("[A-Za-z_]{1,60}")
_EXTRACT = "hasExtracts extractLastRefreshTime extractLastIncrementalUpdateTime extractLastUpdateTime"
# Since Tableau Server 2022.1; an embedded data source does not have it, its workbook does.
_VIRTUAL = "upstreamVirtualConnectionTables { isExtracted extractLastRefreshedAt }"
_ORDER = ", orderBy: {field: ID, direction: ASC}"
SOURCES, WORKBOOKS = "publishedDatasourcesConnection", "workbooksConnection"
_FIELDS = {
    SOURCES: _EXTRACT,
    WORKBOOKS: f"embeddedDatasources {{ {_EXTRACT} upstreamDatasources {{ luid }} }} upstreamDatasources {{ luid }}",
}


def query(name: str, *, virtual: bool = True, ordered: bool = True) -> str:
    """Return the query for a list: with virtual connections, and in an order that does not move between two pages."""
    return (
        f"query {name}($first: Int, $afterToken: String) {{"
        f" {name}(first: $first, after: $afterToken{_ORDER if ordered else ''}) {{"
        f" nodes {{ luid {_FIELDS[name]} {_VIRTUAL if virtual else ''} }}"
        " pageInfo { hasNextPage endCursor } totalCount } }"
    )


# From all fields to those of the oldest release.
_FORMS: Sequence[Mapping[str, bool]] = ({}, {"virtual": False}, {"virtual": False, "ordered": False})


class ApiDisabled(Forbidden):
    """A server without the API; Tableau Cloud always has it."""

    def __init__(self) -> None:
        super().__init__("off: tsm maintenance metadata-services enable")


class _Invalid(Exception):
    """The query names something that this release does not know."""


@dataclass
class MetadataResult:
    """The rows, None without any; notes on what is missing, and whether Tableau refused it for good."""

    rows: pa.Table | None = None
    notes: list[str] = field(default_factory=list)
    refused: bool = False

    def note(self, text: str) -> None:
        """Add a line, once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def whole(self) -> bool:
        """Whether everything was read."""
        return self.rows is not None and not self.notes


@dataclass
class _Page:
    nodes: Sequence[Any]
    clean: bool
    """Whether no error stood beside it."""
    total: int | None


class MetadataReader:
    """Reads the Metadata API of each site; remembers the fields and the page size that each site answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sizes: dict[tuple[str, str], int] = {}
        self._forms: dict[str, tuple[int, float]] = {}

    def describe(self, session: RestSession, site: str) -> MetadataResult:
        """Read every published data source and workbook of the site. A failure is a note, not an error."""
        description, columns, answered = MetadataResult(), TableBuilder(Described), False
        try:
            for name, rows_of in ((SOURCES, rows_of_source), (WORKBOOKS, rows_of_workbook)):
                for nodes, clean in self._nodes(session, site, name, description):
                    answered = True
                    rows = [row for luid, node in nodes for row in rows_of(luid, node, clean)]
                    if clean and not all(row[-1] for row in rows):
                        description.note(f"the Metadata API leaves out what some {_LISTED[name]} read")
                    columns.add(rows)
        except SourceError as error:
            description.refused = isinstance(error, Forbidden)
            verb = "is" if isinstance(error, ApiDisabled) else f"gave {'a part' if answered else 'nothing'}:"
            description.note(f"the Metadata API {verb} {error}")
        description.rows = columns.table() if answered else None
        return description

    def _nodes(
        self, session: RestSession, site: str, name: str, description: MetadataResult
    ) -> Iterator[tuple[Sequence[tuple[str, Node]], bool]]:
        """Yield the nodes of each page by LUID, each node once; note how many are missing at the end."""
        seen, total = set[str](), 0
        for page in self._pages(session, site, name, description):
            named = {
                luid: node for node in page.nodes if isinstance(node, dict) and (luid := to_luid(node.get("luid")))
            }
            if len(named) < len(page.nodes) and page.clean:
                description.note("the Metadata API describes assets without a LUID")
            yield [(luid, node) for luid, node in named.items() if luid not in seen], page.clean
            seen |= named.keys()
            total = page.total or 0
        if len(seen) < total:
            description.note(f"the Metadata API described {len(seen)} of {total} {_LISTED[name]}")

    def _pages(self, session: RestSession, site: str, name: str, description: MetadataResult) -> Iterator[_Page]:
        """Yield the pages; one that is too much for the server is requested in halves, then pages grow again."""
        key, cursor, attempts_left, ceiling = (site, name), None, MAX_UNANSWERED, PAGE_SIZE + 1
        cursors = set[str]()
        size = min(PAGE_SIZE, 2 * self._sizes.get(key, PAGE_SIZE))
        while True:
            try:
                connection, codes = self._request(session, site, name, size, cursor)
            except SourceUnreachable:
                attempts_left -= 1
                if size <= SMALLEST_PAGE or not attempts_left:
                    self._sizes[key] = size
                    raise
                size, ceiling = max(SMALLEST_PAGE, size // 2), size
                continue
            if _too_much(codes) and size > SMALLEST_PAGE:
                size, ceiling = max(SMALLEST_PAGE, size // 2), size
                continue
            self._sizes[key] = size
            # In this list, not back to a size that was too much for it.
            if ceiling > PAGE_SIZE or 2 * size <= ceiling * 3 // 4:
                size = min(2 * size, PAGE_SIZE)
            nodes, total = connection.get("nodes"), connection.get("totalCount")
            clean = not codes and isinstance(nodes, list)
            if not clean:
                reason = ", ".join(sorted(codes)) or "without a list"
                description.note(f"the Metadata API answers in part ({reason})")
            yield _Page(nodes if isinstance(nodes, list) else (), clean, total if isinstance(total, int) else None)
            info = connection.get("pageInfo")
            place = info if isinstance(info, dict) else {}
            cursor = place.get("endCursor")
            if not place.get("hasNextPage"):
                return
            if not isinstance(cursor, str) or not cursor or cursor in cursors or not nodes:
                raise SourceIncomplete("its pages do not go on")
            cursors.add(cursor)

    def _request(
        self, session: RestSession, site: str, name: str, size: int, cursor: str | None
    ) -> tuple[Node, set[str]]:
        """Request one page, without fields that this release does not know."""
        form, at = self._forms.get(site, (0, 0.0))
        if form and self._clock() - at >= FORM_SECONDS:
            form = 0
        while True:
            try:
                return _request(session, name, query(name, **_FORMS[form]), size, cursor)
            except _Invalid as error:
                if form + 1 == len(_FORMS):
                    raise SourceIncomplete(f"it refuses the query ({error}); this release may be too old") from None
                form += 1
                self._forms[site] = form, self._clock()


_LISTED = {SOURCES: "published data sources", WORKBOOKS: "workbooks"}


def probe(session: RestSession) -> None:
    """Read everything once. Raises SourceError where the API is off or answers in part."""
    if notes := MetadataReader(lambda: 0.0).describe(session, "").notes:
        raise SourceIncomplete("; ".join(notes).removeprefix("the Metadata API "))


def _request(session: RestSession, name: str, text: str, size: int, cursor: str | None) -> tuple[Node, set[str]]:
    """Request one page; return it and the codes of the errors beside it."""
    variables = {"first": size, "afterToken": cursor}
    try:
        answer = session.call(lambda server: server.metadata.query(text, variables))
    except NotFound:
        raise ApiDisabled from None
    if not isinstance(answer, dict):
        raise SourceIncomplete("its answer is no object")
    errors = answer.get("errors") or ()
    codes = (
        {_code(error) for error in (errors if isinstance(errors, list) else [errors])} - HARMLESS if errors else set()
    )
    if FEATURE_DISABLED in codes:
        raise ApiDisabled
    if codes & REFUSED:
        raise Forbidden(f"it is not for this user ({', '.join(sorted(codes))})")
    data = answer.get("data")
    connection = data.get(name) if isinstance(data, dict) else None
    if isinstance(connection, dict):
        return connection, codes
    if INVALID in codes:
        raise _Invalid(", ".join(sorted(codes)))
    if _too_much(codes):
        return {}, codes
    raise SourceIncomplete(f"it answers without data ({', '.join(sorted(codes)) or 'and without an error'})")


def _code(error: object) -> str:
    """Return the code of an error; some have only a message."""
    fields = error if isinstance(error, dict) else {}
    extensions, message = fields.get("extensions"), str(fields.get("message"))
    found = extensions if isinstance(extensions, dict) else {}
    code = found.get("code") or found.get("classification")
    if isinstance(code, str) and _CODE.fullmatch(code):
        return code
    known = (name for sign, name in MESSAGES_WITHOUT_CODE if sign in message.lower())
    return next(known, INVALID if message.startswith("Validation error") else "an error without a code")


def _too_much(codes: set[str]) -> bool:
    return any(sign in code for code in codes for sign in TOO_MUCH)
