"""What is taken out of a request before it is stored, and what is read out of it, as DuckDB expressions.

Tickets, tokens and session keys travel in URIs and referers. A path is kept; parameters are kept only by name. Each
expression first asks whether there is anything to do: most URIs have nothing, and a regular expression on every row
would cost more than writing the row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

URI_COLUMNS = ("http_request_uri", "http_referer")
ADDRESS_COLUMNS = ("remote_ip", "user_ip")

# Where a path ends: a query, a fragment, path parameters (;jsessionid=), or one of these behind percent signs.
_ENDS = ("?", "#", ";", "&")
_CODED_END = "(?i)(%3f|%23|%3b|%26|%25).*$"
_TICKET = "(?i)(/|%2f)trusted(/|%2f)(?:/|%2f|%20|[[:space:]])*[^/]+"
_USER_INFO = "^[[:space:]]*([A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*@"
# A mark inside a password would end the path in the middle of it.
_CUT_USER_INFO = "^[[:space:]]*([A-Za-z][A-Za-z0-9+.-]*:)?//[^/@]*[?#;&][^/]*@"
_FRAGMENT_PATH = "#(/[^?#;%&=]*)"
_RARE = ("#", ";", "%", "@", "rusted", "RUSTED")
_CUSTOM_VIEW = "((?:/views|/authoring)/[^/]+/[^/]+|/w/[^/]+/v/[^/]+)/.*$"
_USER_PATH = "(/users?)/.*$"
_PERSONAL = ("/views/", "/authoring/", "/v/", "/user")


@dataclass(frozen=True)
class Privacy:
    """What may be stored of people and of where they came from."""

    users: Literal["name", "pseudonym", "none"] = "name"
    addresses: Literal["full", "truncated", "none"] = "full"
    query_strings: tuple[str, ...] = (":embed",)


def cleaning(privacy: Privacy) -> Mapping[str, str]:
    """Return the expression that replaces each sensitive column of a request, by column."""
    named = privacy.users == "name"
    expressions = {column: clean_uri(column, privacy.query_strings, custom_views=named) for column in URI_COLUMNS}
    if privacy.addresses == "none":
        expressions |= dict.fromkeys(ADDRESS_COLUMNS, "NULL")
    if not named:
        # A custom view's third part is its owner's name.
        expressions["currentsheet"] = "regexp_replace(currentsheet, '^([^/]*/[^/]*)/.*$', '\\1', 's')"
    if privacy.users == "none":
        expressions["user_id"] = "NULL"
    return expressions


def pieces(columns: Sequence[str]) -> str:
    """Return the columns that ``clean_uri`` needs beside each URI: what stands between its question marks, if any."""
    return ", ".join(
        f"CASE WHEN contains({name}, '?') THEN string_split({name}, '?') END AS {name}_pieces" for name in columns
    )


def clean_uri(column: str, kept: Sequence[str], *, custom_views: bool = True) -> str:
    """Return the expression of a URI without tickets, credentials, fragments and all parameters but the kept.

    What is most frequent is taken apart by its marks alone: a regular expression costs twenty times as much.
    """
    rare = _RARE if custom_views else (*_RARE, *_PERSONAL)
    path = f"{column}_pieces[1]"
    thoroughly = _clean_thoroughly(column, kept, custom_views=custom_views)
    parameters = _plain_parameters(column, kept)
    ticket = f"coalesce({path}, {column})"
    return f"""CASE
        WHEN {_any_of(column, rare)} THEN CASE
            WHEN {_is_plain_ticket(column, ticket, rare)}
            THEN '/trusted/-' || substring({ticket}, 10 + length(split_part({ticket}, '/', 3))) || {parameters}
            ELSE {thoroughly} END
        WHEN contains({column}, '&') AND contains(coalesce({path}, {column}), '&') THEN {thoroughly}
        WHEN {column}_pieces IS NULL THEN {column}
        ELSE {path} || {parameters} END"""


def _any_of(column: str, texts: Sequence[str]) -> str:
    return " OR ".join(f"contains({column}, '{_literal(text)}')" for text in texts)


def _is_plain_ticket(column: str, path: str, rare: Sequence[str]) -> str:
    """Whether a URI is /trusted/<ticket>..., with one ticket and nothing else that is rare."""
    others = [text for text in rare if text != "rusted"]
    return (
        f"starts_with({column}, '/trusted/') AND ascii(split_part({path}, '/', 3)) > 32"
        f" AND NOT contains(substring({column}, 10), 'rusted') AND NOT ({_any_of(column, others)})"
        f" AND NOT contains({path}, '&')"
    )


def _plain_parameters(column: str, kept: Sequence[str]) -> str:
    """Return the kept parameters of a URI that has no other mark than '?' and '&'."""
    if len(kept) != 1:
        return _parameters(column, kept)
    name, query = _literal(kept[0]), f"{column}_pieces[2]"
    return f"""CASE
        WHEN {column}_pieces IS NULL THEN ''
        WHEN starts_with({query}, '{name}=') AND NOT contains({query}, '/') THEN '?' || split_part({query}, '&', 1)
        WHEN NOT contains({column}, '{name}') THEN ''
        ELSE {_parameters(column, kept)} END"""


def _clean_thoroughly(column: str, kept: Sequence[str], *, custom_views: bool) -> str:
    path = column
    for end in _ENDS:
        path = f"split_part({path}, '{end}', 1)"
    path = f"regexp_replace({path}, '{_CODED_END}', '', 's')"
    path = f"regexp_replace({path}, '{_USER_INFO}', '\\1//')"
    path = f"regexp_replace({path}, '{_TICKET}', '\\1trusted\\2-', 'g')"
    path = f"CASE WHEN regexp_matches({column}, '{_CUT_USER_INFO}') THEN '-' ELSE {path} END"
    fragment = f"regexp_replace(regexp_extract({column}, '{_FRAGMENT_PATH}', 1), '{_TICKET}', '\\1trusted\\2-', 'g')"
    cleaned = (
        f"{path} || {_parameters(column, kept)}"
        f" || CASE WHEN contains({column}, '#/') THEN '#' || {fragment} ELSE '' END"
    )
    if custom_views:
        return cleaned
    return f"regexp_replace(regexp_replace({cleaned}, '{_CUSTOM_VIEW}', '\\1', 's'), '{_USER_PATH}', '\\1/-', 's')"


def _parameters(column: str, kept: Sequence[str]) -> str:
    """Return the kept parameters, each the first of its name, as a query of their own."""
    if not kept:
        return "''"
    parts = []
    for name in kept:
        found = f"regexp_extract({column}, '[?&]({_literal(re.escape(name))}(?:=[^&#;?/]*)?)(?:[&#;?]|$)', 1)"
        parts.append(f"CASE WHEN contains({column}, '{_literal(name)}') THEN nullif({found}, '') END")
    return f"coalesce('?' || nullif(concat_ws('&', {', '.join(parts)}), ''), '')"


def _literal(text: str) -> str:
    return text.replace("'", "''")


# What was looked at: `currentsheet` where Tableau filled it, else the URI (shapes of Tableau 2019.3 to 2025.3).
_NAMES_ASSET = (
    "(contains(http_request_uri, '/views/') OR contains(http_request_uri, '/v/')"
    " OR contains(http_request_uri, '/authoring/'))"
)
# Behind a percent sign may stand a mark that ends the path, and behind that a secret.
_URI_SHEET = "(?:/views|/authoring|/w)/([^/?#;&%]+)/(?:v/)?([^/?#;&%]+)"
_EXPORT = "[.](csv|pdf|png|twb|twbx|xlsx)$"
_FROM_URI = f"({_NAMES_ASSET} AND NOT starts_with(http_request_uri, '/api/'))"


def _uri_part(group: int) -> str:
    return f"regexp_extract(http_request_uri, '{_URI_SHEET}', {group})"


PARSED_COLUMNS = ("asset_type", "workbook", "view")

# Each part is taken once, then looked at: nullif() of an expression would take it twice.
_PARTS = f"""
    CASE
        WHEN currentsheet <> '' THEN
            CASE WHEN NOT starts_with(currentsheet, 'ds:') THEN split_part(currentsheet, '/', 1) END
        WHEN {_FROM_URI} THEN {_uri_part(1)} END AS first_part,
    CASE
        WHEN currentsheet <> '' THEN
            CASE WHEN NOT starts_with(currentsheet, 'ds:') THEN split_part(currentsheet, '/', 2) END
        WHEN {_FROM_URI} THEN regexp_replace({_uri_part(2)}, '{_EXPORT}', '') END AS second_part
"""

_ASSET = """
    CASE
        WHEN second_part <> '' AND (second_part <> 'null' OR coalesce(currentsheet, '') = '') THEN 'view'
        WHEN first_part <> '' THEN 'workbook'
        WHEN starts_with(currentsheet, 'ds:') OR contains(http_request_uri, '/datasources/') THEN 'datasource'
    END AS asset_type,
    CASE WHEN first_part <> '' THEN first_part END AS workbook,
    CASE
        WHEN second_part <> '' AND (second_part <> 'null' OR coalesce(currentsheet, '') = '') THEN second_part
    END AS view
"""


def parsed(relation: str, condition: str = "true") -> str:
    """Return a SELECT of a relation's rows with the asset each looked at: asset_type, workbook, view."""
    return (
        f"SELECT * EXCLUDE (first_part, second_part), {_ASSET}"
        f" FROM (SELECT *, {_PARTS} FROM {relation} WHERE {condition})"
    )
