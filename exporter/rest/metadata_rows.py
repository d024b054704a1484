"""Rows of Described from the nodes of the Metadata API: a row for each extract or data source of an asset."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from exporter.rest.arrow import parse_instant, to_luid

Node = Mapping[str, Any]
Extract = tuple[bool | None, datetime | None, datetime | None]
Part = tuple[bool | None, datetime | None, datetime | None, str | None]
NOTHING: Part = (False, None, None, None)
UNKNOWN: Part = (None, None, None, None)


def rows_of_source(luid: str, node: Node, clean: bool) -> Iterator[tuple[object, ...]]:  # noqa: FBT001 - a column
    """Yield the parts of a published data source: itself, and the virtual connections that it reads."""
    has, refreshed_at, made_at = _extract(node)
    tables, listed = _virtual(node)
    # One extract and its refresh decide the boolean even if the rest is missing; their absence does not.
    whole = (clean and listed) or bool(has and refreshed_at and not tables)
    # A source without an extract of its own stands for the virtual connections that it reads.
    own = () if tables and has is False else ((has, refreshed_at, made_at, None),)
    for part in (*own, *tables):
        yield "datasource", luid, *part, whole


def rows_of_workbook(luid: str, node: Node, clean: bool) -> Iterator[tuple[object, ...]]:  # noqa: FBT001 - a column
    """Yield the parts of a workbook: its own extracts, the published data sources it uses, the virtual connections."""
    parts, listed = _parts(node)
    for part in parts:
        yield "workbook", luid, *part, clean and listed


def _parts(node: Node) -> tuple[Sequence[Part], bool]:
    """Return the sources of a workbook, and whether every list was a list of objects.

    A data source that has no extract of its own and stands for a published one is that one.
    """
    embedded, is_list = _objects(node.get("embeddedDatasources"))
    published, listed = set[str](), is_list
    own: list[Part] = []
    for source in (node, *embedded):
        upstream, are_objects = _objects(source.get("upstreamDatasources"))
        luids = [to_luid(one.get("luid")) for one in upstream]
        listed = listed and are_objects and None not in luids
        published |= {luid for luid in luids if luid}
        if source is not node and (source.get("hasExtracts") or not luids):
            own.append((*_extract(source), None))
    tables, tables_listed = _virtual(node)
    found = [*own, *tables, *((None, None, None, luid) for luid in sorted(published))]
    return (found or [NOTHING if listed and tables_listed else UNKNOWN]), listed and tables_listed


def _virtual(node: Node) -> tuple[Sequence[Part], bool]:
    """Return the tables of virtual connections of a node, and whether they were a list of objects."""
    if "upstreamVirtualConnectionTables" not in node:
        return (), True
    tables, listed = _objects(node["upstreamVirtualConnectionTables"])
    parts = [
        (_boolean(one.get("isExtracted")), parse_instant(one.get("extractLastRefreshedAt")), None, None)
        for one in tables
    ]
    return parts, listed


def _objects(value: object) -> tuple[Sequence[Node], bool]:
    """Return the objects of a list, and whether it is a list of nothing else."""
    if not isinstance(value, list):
        return (), False
    found = [one for one in value if isinstance(one, dict)]
    return found, len(found) == len(value)


def _extract(node: Node) -> Extract:
    """Return whether a data source is an extract, when it was refreshed last, and when it was made."""
    refreshes = (
        parse_instant(node.get(name)) for name in ("extractLastRefreshTime", "extractLastIncrementalUpdateTime")
    )
    return (
        _boolean(node.get("hasExtracts")),
        max((at for at in refreshes if at is not None), default=None),
        parse_instant(node.get("extractLastUpdateTime")),
    )


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
