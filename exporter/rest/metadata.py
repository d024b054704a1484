"""What the Metadata API knows of extracts: the only place where Tableau says when one was refreshed.

It is off on many servers, answers in part when a query is too much for it, and says so in ``errors`` beside ``data``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from exporter.errors import SourceError, SourceIncomplete, SourceUnreachable
from exporter.inventory import Described
from exporter.rest.columns import Columns, identity, instant
from exporter.rest.faults import Forbidden, Foreign, NotThere
from exporter.rest.session import Session

# 20,000 objects a query is Tableau's own limit; a workbook is one, with its data sources a handful.
PAGE_SIZE, SMALLEST_PAGE = 1000, 10
# How often in a list no answer may come in time.
PATIENCE = 4
# The errors by name: https://help.tableau.com/current/api/metadata_api/en-us/docs/meta_api_errors.html
TOO_MUCH = ("LIMIT_EXCEEDED", "TIMEOUT", "TIMED_OUT")
HARMLESS = frozenset({"MAX_PAGE_SIZE_EXCEEDED"})
FEATURE_DISABLED = "FEATURE_DISABLED"
REFUSED = frozenset({"ACCESS_DENIED"})

_EXTRACT = "hasExtracts extractLastRefreshTime extractLastIncrementalUpdateTime extractLastUpdateTime"
_QUERY = (
    "query {name}($first: Int, $afterToken: String) {{"
    " {name}(first: $first, after: $afterToken) {{ nodes {{ luid {fields} }} pageInfo {{ hasNextPage endCursor }} }} }}"
)
SOURCES, WORKBOOKS = "publishedDatasourcesConnection", "workbooksConnection"
QUERIES = {
    SOURCES: _QUERY.format(name=SOURCES, fields=_EXTRACT),
    WORKBOOKS: _QUERY.format(
        name=WORKBOOKS,
        fields=f"embeddedDatasources {{ {_EXTRACT} upstreamDatasources {{ luid }} }} upstreamDatasources {{ luid }}",
    ),
}

Node = Mapping[str, Any]
Extract = tuple[bool | None, datetime | None, datetime | None]
Used = tuple[bool | None, datetime | None, datetime | None, str | None]
NOTHING: Used = (False, None, None, None)
UNKNOWN: Extract = (None, None, None)


class Off(Forbidden):
    """A server without the API; Tableau Cloud always has it."""

    def __init__(self) -> None:
        super().__init__("off: tsm maintenance metadata-services enable")


@dataclass
class Description:
    """What was had, None where nothing was, and why it is not everything."""

    page_size: int
    rows: pa.Table | None = None
    notes: list[str] = field(default_factory=list)


def describe(session: Session, page_size: int = PAGE_SIZE) -> Description:
    """Ask for every published data source and every workbook. A failure is a note, not an error."""
    description = Description(page_size)
    columns, sources = Columns(Described), dict[str, Extract]()
    answered = False
    try:
        for nodes in _pages(session, SOURCES, description):
            answered = True
            found = {luid: _extract(node) for node in nodes if (luid := identity(node.get("luid")))}
            sources |= found
            columns.add([("datasource", luid, *extract, None) for luid, extract in found.items()])
        for nodes in _pages(session, WORKBOOKS, description):
            answered = True
            columns.add(
                [
                    ("workbook", luid, *used)
                    for node in nodes
                    if (luid := identity(node.get("luid")))
                    for used in _used(node, sources)
                ]
            )
    except SourceError as error:
        if session.lost:
            raise
        said = "is" if isinstance(error, Off) else f"gave {'a part' if answered else 'nothing'}:"
        description.notes.append(f"the Metadata API {said} {error}")
    description.rows = columns.table() if answered else None
    return description


def try_out(session: Session) -> None:
    """Ask for one data source. Raises SourceError where the API is not to be had."""
    _ask(session, SOURCES, 1, None)


def _pages(session: Session, name: str, description: Description) -> Iterator[Sequence[Node]]:
    """Yield the nodes of each page; a page that is too much for the server is asked for in halves."""
    cursor, patience = None, PATIENCE
    while True:
        size = description.page_size
        try:
            connection, codes = _ask(session, name, size, cursor)
        except SourceUnreachable:
            patience -= 1
            if size <= SMALLEST_PAGE or not patience:
                raise
            description.page_size = max(SMALLEST_PAGE, size // 2)
            continue
        if _too_much(codes) and size > SMALLEST_PAGE:
            description.page_size = max(SMALLEST_PAGE, size // 2)
            continue
        if codes:
            _note(description.notes, f"the Metadata API answers in part ({', '.join(sorted(codes))})")
        yield [node for node in connection.get("nodes") or () if isinstance(node, dict)]
        place = connection.get("pageInfo") or {}
        before, cursor = cursor, place.get("endCursor")
        if not place.get("hasNextPage"):
            return
        if not cursor or cursor == before:
            raise SourceIncomplete("its pages do not go on")


def _ask(session: Session, name: str, size: int, cursor: str | None) -> tuple[Node, set[str]]:
    """Ask for one page; return it and the codes of the errors that came beside it."""
    variables = {"first": size, "afterToken": cursor}
    try:
        answer = session.call(lambda server: server.metadata.query(QUERIES[name], variables))
    except (NotThere, Foreign):
        raise Off from None
    if not isinstance(answer, dict):
        raise SourceIncomplete("its answer is no object")
    codes = {_code(error) for error in answer.get("errors") or ()} - HARMLESS
    if FEATURE_DISABLED in codes:
        raise Off
    if codes & REFUSED:
        raise Forbidden(f"it is not for this user ({', '.join(sorted(codes))})")
    connection = (answer.get("data") or {}).get(name)
    if not isinstance(connection, dict):
        if _too_much(codes):
            return {}, codes
        raise SourceIncomplete(f"it answers without data ({', '.join(sorted(codes)) or 'and without an error'})")
    return connection, codes


def _code(error: object) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return code[:60] if isinstance(code, str) and code.isascii() and code.isprintable() else "an error without a code"


def _too_much(codes: set[str]) -> bool:
    return any(sign in code for code in codes for sign in TOO_MUCH)


def _note(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _extract(node: Node) -> Extract:
    """Return whether a data source is an extract, when it was refreshed last, and when it was made."""
    refreshes = (instant(node.get(name)) for name in ("extractLastRefreshTime", "extractLastIncrementalUpdateTime"))
    has = node.get("hasExtracts")
    return (
        has if isinstance(has, bool) else None,
        max((at for at in refreshes if at is not None), default=None),
        instant(node.get("extractLastUpdateTime")),
    )


def _used(node: Node, sources: Mapping[str, Extract]) -> Sequence[Used]:
    """Return the data sources that a workbook lives on; what stands for a published one is that one."""
    embedded = [source for source in node.get("embeddedDatasources") or () if isinstance(source, dict)]
    own = [_extract(one) for one in embedded if one.get("hasExtracts") or not one.get("upstreamDatasources")]
    published = {luid for one in (node, *embedded) for luid in _upstream(one)}
    found = [
        *((*extract, None) for extract in own),
        *((*sources.get(luid, UNKNOWN), luid) for luid in sorted(published)),
    ]
    return found or [NOTHING]


def _upstream(node: Node) -> Iterator[str]:
    """Yield the LUIDs of the published data sources that something is made of."""
    for source in node.get("upstreamDatasources") or ():
        if isinstance(source, dict) and (luid := identity(source.get("luid"))):
            yield luid
