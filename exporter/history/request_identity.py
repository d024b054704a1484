"""Identity of requests of which not both have an id: by content, with multiplicity.

Requests of the older tool's text files have no id. Two are the same where every column is equal; or, where the privacy
options have removed something from one of them since, or one was not completed yet, where all is equal that both have.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import duckdb

from exporter.history.tables import REQUEST_COLUMNS
from exporter.imports.dialect import COLUMNS

_CORE = ("session_id", "vizql_session", "controller", "action", "port", "worker", "site_id", "http_user_agent")
"""What no privacy option changes; with created_at it is nearly always one request alone."""
_SHEET = "array_to_string(string_split(currentsheet, '/')[:2], '/')"
# A custom view, a person or a ticket behind these parts may have been removed, and a dash stands for it.
_PLACE = "array_to_string(string_split(regexp_extract(http_request_uri, '^[^?#;&%]*'), '/')[:4], '/')"
_PLACE_TAKEN_OUT = f"regexp_matches({_PLACE}, '(^|/)-($|/)') OR {_PLACE} ILIKE '%/user%'"


class Identity(NamedTuple):
    """What a request is known by; the texts are hashes."""

    number: int
    """Which row of its table it is."""
    numbered: bool
    """Whether it has an id."""
    key: int
    """Of id and created_at."""
    exact: int
    core: int
    known: tuple[int | None, int | None, int | None]
    """Its completion, its user, the place that it opened: None where that is not known, or not any more."""

    @property
    def completed(self) -> bool:
        """Whether its completion is known."""
        return self.known[0] is not None


def identities(
    connection: duckdb.DuckDBPyConnection, relation: str, number: str, condition: str = "true"
) -> list[Identity]:
    """Return what the requests of a relation are known by; ``number`` is the expression of their numbers."""
    rows = connection.execute(
        f"""
        SELECT
            {number},
            id IS NOT NULL,
            hash(id::VARCHAR, created_at),
            hash(created_at, completed_at, {", ".join(map(_text, COMPARED))}),
            hash(created_at, {_SHEET}, {", ".join(map(_text, _CORE))}),
            CASE WHEN completed_at IS NOT NULL THEN hash(completed_at) END,
            CASE WHEN user_id IS NOT NULL THEN hash(user_id::VARCHAR) END,
            CASE WHEN {_text("http_request_uri")} IS NULL OR {_PLACE_TAKEN_OUT} THEN NULL ELSE hash({_PLACE}) END
        FROM {relation} AS rows
        WHERE {condition}
        ORDER BY ALL
        """
    ).fetchall()
    return [
        Identity(number, numbered, key, exact, core, (end, user, place))
        for number, numbered, key, exact, core, end, user, place in rows
    ]


COMPARED = tuple(name for name in REQUEST_COLUMNS if name in COLUMNS and not name.endswith("_at"))
"""The columns that text files have, without the times."""


def _text(column: str) -> str:
    """Return a column as it is compared: files do not distinguish NULL, the empty text and the word None."""
    return f"nullif(nullif({column}::VARCHAR, ''), 'None')"


def pair(incoming: Sequence[Identity], archived: Sequence[Identity]) -> dict[int, int]:
    """Pair requests that are the same, each with one other: ``{number of the incoming: number of the archived}``."""
    found = _pair(incoming, archived, lambda row: row.exact)
    cores = {row.core for row in archived} & {row.core for row in incoming}
    left = [row for row in incoming if row.number not in found and row.core in cores]
    paired = set(found.values())
    there = [row for row in archived if row.number not in paired and row.core in cores]
    for ours, theirs in _patterns(left, there):
        alike = tuple(one and other for one, other in zip(ours, theirs, strict=True))
        some = [row for row in left if row.number not in found and _pattern(row) == ours]
        others = [row for row in there if row.number not in paired and _pattern(row) == theirs]
        more = _pair(some, others, lambda row, alike=alike: (row.core, *_masked(row, alike)))  # type: ignore[misc]
        found |= more
        paired.update(more.values())
    return found


Pattern = tuple[bool, ...]


def _pattern(row: Identity) -> Pattern:
    return tuple(value is not None for value in row.known)


def _masked(row: Identity, alike: Pattern) -> Sequence[int | None]:
    return [value for value, compared in zip(row.known, alike, strict=True) if compared]


def _patterns(incoming: Sequence[Identity], archived: Sequence[Identity]) -> list[tuple[Pattern, Pattern]]:
    """Return what is known of either side, the pairs that have most in common first."""
    pairs = product({_pattern(row) for row in incoming}, {_pattern(row) for row in archived})
    return sorted(pairs, key=lambda pair: (-sum(map(min, *pair)), pair))


def _pair(
    incoming: Sequence[Identity], archived: Sequence[Identity], key: Callable[[Identity], Hashable]
) -> dict[int, int]:
    waiting: Mapping[Hashable, list[int]] = defaultdict(list)
    for row in reversed(archived):
        waiting[key(row)].append(row.number)
    return {row.number: waiting[key(row)].pop() for row in incoming if waiting.get(key(row))}
