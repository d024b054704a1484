"""The Metadata API: what data sources there are, and when their extracts were refreshed."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from exporter.demo.tableau.facts import Content, Site, Source
from exporter.demo.tableau.graphql import Field, Invalid, parse
from exporter.demo.tableau.traps import Traps

FEATURE_DISABLED = (
    "Can't run the query because the Metadata API has not been enabled yet. Run the 'tsm maintenance metadata-services"
    " enable' command to enable the Metadata API or contact your Tableau administrator."
)
BACKFILL_RUNNING = "Still creating the Metadata API Store. Results from the query may be incomplete at this time."
NODE_LIMIT_EXCEEDED = (
    "Showing partial results. The request exceeded the {limit} node limit. Use pagination, additional filtering, or"
    " both in the query to adjust results."
)
MAX_PAGE_SIZE_EXCEEDED = (
    'The value chosen for "first" exceeded the maximum page size, so the query results will be limited to the maximum'
    ' page size instead of the value chosen for "first".'
)


def disabled() -> bytes:
    """Answer as a server whose Metadata API is switched off."""
    return _encoded({"errors": [_error(FEATURE_DISABLED, "FEATURE_DISABLED", "ERROR")]})


def answer(site: Site, body: bytes, traps: Traps) -> bytes:
    """Answer one query about one site."""
    try:
        request = json.loads(body)
        fields = parse(str(request["query"]), request.get("variables") or {})
        return _encoded(_Query(site, traps).run(fields))
    except (Invalid, ValueError, KeyError, TypeError) as error:
        message = f"Validation error: {error}"
        return _encoded({"errors": [{"message": message, "extensions": {"classification": "ValidationError"}}]})


class _Query:
    """One query while it is answered; counts the objects of its answer."""

    def __init__(self, site: Site, traps: Traps) -> None:
        self._site = site
        self._traps = traps
        self._left = traps.metadata_node_limit
        self._errors: list[dict[str, object]] = []
        self._published = {item.luid: item for item in site.datasources}
        self._limited = False

    def run(self, fields: tuple[Field, ...]) -> dict[str, object]:
        data = {field.alias: self._root(field) for field in fields}
        if self._traps.metadata_partial:
            self._errors.append(_error(BACKFILL_RUNNING, "BACKFILL_RUNNING"))
        if self._limited:
            limit = self._traps.metadata_node_limit
            message = NODE_LIMIT_EXCEEDED.format(limit=limit)
            self._errors.append(_error(message, "NODE_LIMIT_EXCEEDED", properties={"nodeLimit": limit}))
        return {"data": data} | ({"errors": self._errors} if self._errors else {})

    def _root(self, field: Field) -> object:
        connection = field.name.endswith("Connection")
        name = field.name.removesuffix("Connection")
        if name not in ROOTS:
            raise Invalid(_undefined(field, "Query"))
        items, kind = ROOTS[name](self._site), KINDS[name]
        wanted = field.arguments.get("filter")
        if isinstance(wanted, dict):
            items = [item for item in items if _passes(item, wanted)]
        if not connection:
            return self._objects(items, field.fields, kind)
        return self._connection(items, field, kind)

    def _connection(self, items: Sequence[Content], field: Field, kind: str) -> dict[str, object]:
        first = field.arguments.get("first")
        size = int(str(first)) if first is not None else len(items)
        if size > self._traps.metadata_page_limit:
            size = self._traps.metadata_page_limit
            self._errors.append(_error(MAX_PAGE_SIZE_EXCEEDED, "MAX_PAGE_SIZE_EXCEEDED"))
        begin = _position(field.arguments.get("after")) or int(str(field.arguments.get("offset") or 0))
        page = items[begin : begin + size]
        end = begin + len(page)
        found: dict[str, object] = {}
        for below in field.fields:
            if below.name == "nodes":
                found[below.alias] = self._objects(page, below.fields, kind)
            elif below.name == "totalCount":
                found[below.alias] = len(items)
            elif below.name == "pageInfo":
                info = {"hasNextPage": end < len(items), "endCursor": _cursor(end) if page else None}
                found[below.alias] = {one.alias: _known(info, one, "PageInfo") for one in below.fields}
            else:
                raise Invalid(_undefined(below, f"{kind}sConnection"))
        return found

    def _objects(self, items: Iterable[Content], fields: tuple[Field, ...], kind: str) -> list[dict[str, object]]:
        if self._traps.metadata_partial:
            items = [item for number, item in enumerate(items) if number % 3 != 2]
        return [found for item in items if (found := self._object(item, fields, kind)) is not None]

    def _object(self, item: Content, fields: tuple[Field, ...], kind: str) -> dict[str, object] | None:
        if not self._count():
            return None
        found: dict[str, object] = {}
        for field in fields:
            if field.name == "embeddedDatasources" and kind == "Workbook":
                found[field.alias] = self._embedded(item.sources, field.fields)
            elif field.name == "upstreamDatasources" and kind == "Workbook":
                found[field.alias] = self._upstream(item.sources, field.fields)
            elif field.name in EXTRACT and kind == "PublishedDatasource":
                found[field.alias] = EXTRACT[field.name](item.sources[0])
            elif field.name in PLAIN:
                found[field.alias] = PLAIN[field.name](item)
            else:
                raise Invalid(_undefined(field, kind))
        return found

    def _embedded(self, sources: Iterable[Source], fields: tuple[Field, ...]) -> list[dict[str, object]]:
        found = []
        for source in sources:
            if not self._count():
                break
            told: dict[str, object] = {}
            for field in fields:
                if field.name in {"upstreamDatasources", "parentPublishedDatasources"}:
                    told[field.alias] = self._upstream([source], field.fields)
                elif field.name == "name":
                    told[field.alias] = source.name
                elif field.name in EXTRACT:
                    told[field.alias] = EXTRACT[field.name](source)
                else:
                    raise Invalid(_undefined(field, "EmbeddedDatasource"))
            found.append(told)
        return found

    def _upstream(self, sources: Iterable[Source], fields: tuple[Field, ...]) -> list[dict[str, object]]:
        luids = dict.fromkeys(source.published for source in sources if source.published in self._published)
        objects = (self._object(self._published[str(luid)], fields, "PublishedDatasource") for luid in luids)
        return [found for found in objects if found is not None]

    def _count(self) -> bool:
        self._left -= 1
        self._limited = self._limited or self._left < 0
        return self._left >= 0


ROOTS: Mapping[str, Callable[[Site], Sequence[Content]]] = {
    "publishedDatasources": lambda site: site.datasources,
    "workbooks": lambda site: site.workbooks,
    "flows": lambda site: site.flows,
}
KINDS = {"publishedDatasources": "PublishedDatasource", "workbooks": "Workbook", "flows": "Flow"}


def _at(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") + "Z" if instant else None


def _latest(source: Source) -> str | None:
    instants = (source.refreshed_at, source.incremented_at, source.made_at)
    return _at(max((instant for instant in instants if instant), default=None))


def _id(item: Content) -> str:
    return item.luid.replace("-", "")


PLAIN: Mapping[str, Callable[[Content], Any]] = {
    "__typename": lambda item: {"workbook": "Workbook", "flow": "Flow"}.get(item.kind, "PublishedDatasource"),
    "id": _id,
    "luid": lambda item: item.luid,
    "name": lambda item: item.name,
    "projectName": lambda item: item.project_name,
    "createdAt": lambda item: _at(item.created_at),
    "updatedAt": lambda item: _at(item.updated_at),
}
EXTRACT: Mapping[str, Callable[[Source], Any]] = {
    "hasExtracts": lambda source: source.has_extracts,
    "extractLastRefreshTime": lambda source: _at(source.refreshed_at),
    "extractLastIncrementalUpdateTime": lambda source: _at(source.incremented_at),
    "extractLastUpdateTime": _latest,
}


def _passes(item: Content, wanted: Mapping[str, object]) -> bool:
    for name, value in wanted.items():
        plain = PLAIN.get(name.removesuffix("Within"))
        if plain is None:
            raise Invalid(f"Unknown filter '{name}'")
        values = value if isinstance(value, list) else [value]
        if plain(item) not in values:
            return False
    return True


def _known(values: Mapping[str, object], field: Field, kind: str) -> object:
    if field.name not in values:
        raise Invalid(_undefined(field, kind))
    return values[field.name]


def _undefined(field: Field, kind: str) -> str:
    return f"Field '{field.name}' in type '{kind}' is undefined"


def _cursor(position: int) -> str:
    return base64.b64encode(f"position:{position}".encode()).decode()


def _position(cursor: object) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.b64decode(str(cursor)).decode().removeprefix("position:"))
    except ValueError as error:
        raise Invalid("The query contains an invalid cursor.") from error


def _error(message: str, code: str, severity: str = "WARNING", **more: object) -> dict[str, object]:
    return {"message": message, "extensions": {"severity": severity, "code": code, **more}}


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
