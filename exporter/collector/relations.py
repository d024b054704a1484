"""The columns of rows: their types everywhere, and the relations of the repository that they are read from."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Type:
    """One type of values: its name in PostgreSQL, in DuckDB and in Arrow."""

    postgres: str
    duckdb: str
    arrow: pa.DataType


TYPES: Mapping[type, Type] = {
    int: Type("bigint", "BIGINT", pa.int64()),
    str: Type("text", "VARCHAR", pa.string()),
    bool: Type("boolean", "BOOLEAN", pa.bool_()),
    float: Type("double precision", "DOUBLE", pa.float64()),
    datetime: Type("timestamp", "TIMESTAMP", pa.timestamp("us")),
}
POSTGRES_TYPES: Mapping[str, Type] = {kind.postgres: kind for kind in TYPES.values()}
DUCKDB_TYPES: Mapping[str, Type] = {kind.duckdb: kind for kind in TYPES.values()}


@dataclass(frozen=True)
class Column:
    """A field of a row; ``volatile``, ``personal`` and ``free_text`` as declared below.

    ``pseudonymous`` is whether a keyed hash may stand for a personal text.
    """

    name: str
    type: Type
    volatile: bool
    personal: bool
    pseudonymous: bool
    free_text: bool = False


def volatile() -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a field whose change alone makes no new version of the row in the history."""
    return field(metadata={"volatile": True})


def personal(*, pseudonymous: bool = True) -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a text that names a person, which the privacy options replace; an address is not ``pseudonymous``.

    A number that stands for a person is kept beside pseudonyms, and is NULL where users are not stored at all.
    """
    return field(metadata={"personal": True, "pseudonymous": pseudonymous})


def free_text() -> Any:  # noqa: ANN401 - a dataclass field has the type of its annotation
    """Declare a text of events in which anything may stand: it is redacted as a URI is, and kept with names only."""
    return field(metadata={"personal": True, "pseudonymous": False, "free_text": True})


def columns_of(row: type) -> tuple[Column, ...]:
    """Return the columns of a row dataclass, in order."""
    hints = typing.get_type_hints(row)
    return tuple(
        Column(
            item.name,
            TYPES[_plain(hints[item.name])],
            volatile=bool(item.metadata.get("volatile")),
            personal=bool(item.metadata.get("personal")),
            pseudonymous=bool(item.metadata.get("pseudonymous")),
            free_text=bool(item.metadata.get("free_text")),
        )
        for item in fields(row)
    )


def _plain(hint: Any) -> type:  # noqa: ANN401 - a type hint is anything
    """Strip ``| None`` from a hint."""
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return typing.cast("type", hint)


@dataclass(frozen=True)
class Relation:
    """A table of the repository as a statement reads it.

    ``columns`` maps a column to the PostgreSQL type it is read as; those in ``required`` must exist, others are NULL
    where the repository's version lacks them. An ``optional`` relation that is missing or unreadable is empty; its
    absence is reported unless it belongs to something that not every server has (``reported`` is false). Columns
    ``only_in_view`` exist in the view that may stand in for the table: nobody misses them in the table. ``newer`` maps
    a column that older versions of Tableau never had to the first version known to have it.
    """

    name: str
    columns: Mapping[str, str]
    required: frozenset[str]
    optional: bool = False
    only_in_view: frozenset[str] = frozenset()
    reported: bool = True
    newer: Mapping[str, str] = field(default_factory=dict)


def relation(
    name: str,
    required: str,
    others: str = "",
    *,
    optional: bool = False,
    only_in_view: str = "",
    reported: bool = True,
    newer: Mapping[str, str] | None = None,
) -> Relation:
    """Declare a relation: ``relation("sites", "id bigint", "name text", newer={"2023.3": "mfa_enabled boolean"})``."""
    needed, more, spare = _columns(required), _columns(others), _columns(only_in_view)
    added = {version: _columns(text) for version, text in (newer or {}).items()}
    since = {column: version for version, columns in added.items() for column in columns}
    every = {**needed, **more, **spare, **{name: kind for columns in added.values() for name, kind in columns.items()}}
    return Relation(name, every, frozenset(needed), optional, frozenset(spare), reported, since)


def _columns(text: str) -> dict[str, str]:
    pairs = (part.strip().split(" ", 1) for part in text.split(",") if part.strip())
    return {name: kind for name, kind in pairs}  # noqa: C416 - dict(pairs) would not name the parts
