"""The Metadata API: queries are parsed, validated and answered by graphql-core, by the schema in metadata.graphql."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from exporter.demo.postgres_install import INSTALL
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.tableau.resolvers import CONTENT, FIELDS, Graph
from exporter.errors import DemoError

try:
    from graphql import (
        DocumentNode,
        GraphQLError,
        GraphQLField,
        GraphQLResolveInfo,
        GraphQLSchema,
        build_schema,
        execute_sync,
        is_non_null_type,
        parse,
        validate,
    )
except ModuleNotFoundError as missing:
    raise DemoError(f"the demo needs graphql-core, which comes with the extra 'demo': {INSTALL}") from missing

# The default page size.
DEFAULT_PAGE = 100
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
RATE_EXCEEDED = "The request rate limit was exceeded. Try again later."
TIME_LIMIT = "Reached time limit of PT5S for query execution."
PERMISSIONS_MODE_SWITCHED = "The permissions mode was switched: results may be filtered by what the user may see."

ROOTS: Mapping[str, Callable[[Site], Sequence[Any]]] = {
    "publishedDatasources": lambda site: site.datasources,
    "workbooks": lambda site: site.workbooks,
    "flows": lambda site: site.flows,
    "virtualConnections": lambda site: site.virtual_connections,
}
# The fields that name a virtual connection.
VIRTUAL = re.compile(r"^  \w*[vV]irtualConnection\w*: .*$", re.MULTILINE)
ORDERS = {"ID": "id", "LUID": "luid", "NAME": "name", "PROJECT_NAME": "projectName"}


class Invalid(Exception):
    """An argument that cannot be answered."""


def disabled() -> bytes:
    """Answer as a server whose Metadata API is switched off."""
    return _encoded({"errors": [_error(FEATURE_DISABLED, "FEATURE_DISABLED", "ERROR")]})


def throttled() -> bytes:
    """Answer a client that sends too many requests."""
    return _encoded({"data": None, "errors": [_error(RATE_EXCEEDED, "RATE_EXCEEDED", "ERROR")]})


def schema_text() -> str:
    """Return the schema in GraphQL's own language."""
    return files(__package__).joinpath("metadata.graphql").read_text()


def answer(site: Site, body: bytes, failure_modes: FailureModes) -> bytes:
    """Answer one query about one site."""
    try:
        request = json.loads(body)
        query, variables = str(request["query"]), request.get("variables") or {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _invalid([str(error)])
    document, errors = _understood(query, old=failure_modes.metadata_old)
    if document is None:
        return _invalid(errors)
    graph = Graph(site, failure_modes)
    # Fields that a failure mode makes null against the schema need a schema without NonNull.
    minds = not (failure_modes.metadata_backfill or failure_modes.metadata_nameless)
    result = execute_sync(_schema(minds=minds), document, context_value=graph, variable_values=variables)
    if result.errors:
        return _invalid([error.message for error in result.errors])
    return _encoded({"data": result.data, **_beside(graph)})


def _beside(graph: Graph) -> Mapping[str, object]:
    """Return the errors beside data."""
    failure_modes, errors = graph.failure_modes, graph.errors
    if failure_modes.metadata_partial or failure_modes.metadata_backfill:
        errors.append(_error(BACKFILL_RUNNING, "BACKFILL_RUNNING"))
    if failure_modes.metadata_permissions:
        errors.append(_error(PERMISSIONS_MODE_SWITCHED, "PERMISSIONS_MODE_SWITCHED"))
    if graph.limited:
        limit = failure_modes.metadata_node_limit
        message = NODE_LIMIT_EXCEEDED.format(limit=limit)
        errors.append(_error(message, "NODE_LIMIT_EXCEEDED", properties={"nodeLimit": limit}))
    return {"errors": errors} if errors else {}


@cache
def _understood(query: str, *, old: bool) -> tuple[DocumentNode | None, list[str]]:
    try:
        document = parse(query)
    except GraphQLError as error:
        return None, [error.message]
    known = build_schema(VIRTUAL.sub("", schema_text())) if old else _schema(minds=True)
    errors = validate(known, document)
    return (None if errors else document), [error.message for error in errors]


@cache
def _schema(*, minds: bool) -> GraphQLSchema:
    """Return the schema, each field with the function that answers it; one that minds refuses a wrong null."""
    strict = build_schema(schema_text())
    schema = strict if minds else build_schema(schema_text().replace("!", ""))
    for kind, fields in FIELDS.items():
        for name, field in _fields(schema, kind).items():
            optional = not is_non_null_type(_fields(strict, kind)[name].type)
            field.resolve = _resolver(kind, name, fields[name], optional=optional)
    for name, field in _fields(schema, "Query").items():
        field.resolve = _connection if name.endswith("Connection") else _all
    return schema


def _fields(schema: GraphQLSchema, kind: str) -> Mapping[str, GraphQLField]:
    return schema.type_map[kind].fields  # type: ignore[attr-defined, no-any-return]


def _resolver(kind: str, name: str, value_of: Callable[[Graph, Any], Any], *, optional: bool) -> Callable[..., Any]:
    nameable = kind == "PublishedDatasource" and name in {"luid", "name"}

    def resolve(source: Any, info: "GraphQLResolveInfo[Any]") -> Any:  # noqa: ANN401 - of any type of the schema
        graph: Graph = info.context
        failure_modes = graph.failure_modes
        if failure_modes.metadata_nameless and nameable and len(info.path.as_list()) > 4:  # it stands below a node
            return None
        if failure_modes.metadata_nulls and optional and _third(info):
            return None
        return value_of(graph, source)

    return resolve


def _third(info: "GraphQLResolveInfo[Any]") -> bool:
    """Return whether a field is in, or below, every third asset of its page."""
    return next(key for key in info.path.as_list() if isinstance(key, int)) % 3 == 2


def _all(_: None, info: "GraphQLResolveInfo[Any]", **arguments: Any) -> Any:  # noqa: ANN401 - as GraphQL has them
    graph: Graph = info.context
    return graph.counted(_chosen(graph, info.field_name, arguments))


def _connection(_: None, info: "GraphQLResolveInfo[Any]", **arguments: Any) -> Mapping[str, object]:
    graph: Graph = info.context
    failure_modes = graph.failure_modes
    items = _chosen(graph, info.field_name.removesuffix("Connection"), arguments)
    size = DEFAULT_PAGE if arguments.get("first") is None else arguments["first"]
    if size > failure_modes.metadata_page_limit:
        size = failure_modes.metadata_page_limit
        graph.errors.append(_error(MAX_PAGE_SIZE_EXCEEDED, "MAX_PAGE_SIZE_EXCEEDED"))
    begin = _begin(arguments)
    if failure_modes.metadata_shifting and begin == size and not arguments.get("orderBy"):
        begin += 1
    page = items[begin : begin + size]
    end = begin + len(page)
    if failure_modes.metadata_time_limit and len(page) > failure_modes.metadata_time_limit:
        page = page[: len(page) // 2]
        graph.errors.append({"message": TIME_LIMIT, "path": None, "extensions": None})
    return {
        "nodes": graph.counted(page),
        "totalCount": len(items),
        "pageInfo": {"hasNextPage": end < len(items), "endCursor": _cursor(end) if page else None},
    }


def _chosen(graph: Graph, name: str, arguments: Mapping[str, Any]) -> Sequence[Any]:
    """Return the assets of a list that pass its filter, in its order."""
    items = ROOTS[name](graph.site)
    if graph.failure_modes.metadata_partial:
        items = [item for number, item in enumerate(items) if number % 3 != 2]
    for key, wanted in (arguments.get("filter") or {}).items():
        value_of = CONTENT[key.removesuffix("Within")]
        values = wanted if isinstance(wanted, list) else [wanted]
        items = [item for item in items if value_of(graph, item) in values]
    if order := arguments.get("orderBy"):
        value_of = CONTENT[ORDERS[order["field"]]]
        items = sorted(items, key=lambda item: str(value_of(graph, item)), reverse=order["direction"] == "DESC")
    return items


def _begin(arguments: Mapping[str, Any]) -> int:
    after, offset = arguments.get("after"), arguments.get("offset")
    if after is not None and offset is not None:
        raise Invalid(
            'Can\'t use "after" and "offset" pagination at the same time. Remove one of the arguments from the query.'
        )
    try:
        return int(base64.b64decode(after).decode().removeprefix("position:")) if after is not None else offset or 0
    except ValueError as error:
        raise Invalid("The query contains an invalid cursor. Make sure to use cursors of the same type.") from error


def _cursor(position: int) -> str:
    return base64.b64encode(f"position:{position}".encode()).decode()


def _invalid(messages: Sequence[str]) -> bytes:
    errors = ({"message": f"Validation error: {message}"} for message in messages)
    return _encoded({"errors": [{**one, "extensions": {"classification": "ValidationError"}} for one in errors]})


def _error(message: str, code: str, severity: str = "WARNING", **more: object) -> dict[str, object]:
    return {"message": message, "extensions": {"severity": severity, "code": code, **more}}


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
