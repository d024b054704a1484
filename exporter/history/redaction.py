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
_END = "(?i)([?#;&]|%3f|%23|%3b|%26|%25).*$"
_TICKET = "(?i)(/|%2f)trusted(/|%2f)[^/]+"
_USER_INFO = "^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*@"
_FRAGMENT_PATH = "#(/[^?#;%&=]*)"
_SUSPECTS = ("?", "#", ";", "&", "%", "@", "rusted", "RUSTED")
_CUSTOM_VIEW = "(/views/[^/]+/[^/]+)/.*$"


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


def clean_uri(column: str, kept: Sequence[str], *, custom_views: bool = True) -> str:
    """Return the expression of a URI without tickets, credentials, fragments and all parameters but the kept."""
    path = f"regexp_replace({column}, '{_END}', '', 's')"
    path = f"regexp_replace({path}, '{_TICKET}', '\\1trusted\\2-', 'g')"
    path = f"regexp_replace({path}, '{_USER_INFO}', '\\1//')"
    fragment = f"regexp_replace(regexp_extract({column}, '{_FRAGMENT_PATH}', 1), '{_TICKET}', '\\1trusted\\2-', 'g')"
    cleaned = (
        f"{path} || {_parameters(column, kept)}"
        f" || CASE WHEN contains({column}, '#/') THEN '#' || {fragment} ELSE '' END"
    )
    suspects = list(_SUSPECTS)
    if not custom_views:
        cleaned = f"regexp_replace({cleaned}, '{_CUSTOM_VIEW}', '\\1', 's')"
        suspects.append("/views/")
    suspicious = " OR ".join(f"contains({column}, '{suspect}')" for suspect in suspects)
    return f"CASE WHEN {suspicious} THEN {cleaned} ELSE {column} END"


def _parameters(column: str, kept: Sequence[str]) -> str:
    if not kept:
        return "''"
    names = "|".join(re.escape(name).replace("'", "''") for name in kept)
    found = f"array_to_string(regexp_extract_all({column}, '[?&]((?:{names})(?:=[^&#;?/]*)?)(?:[&#;?]|$)', 1), '&')"
    mentioned = " OR ".join(f"contains({column}, '{name.replace(chr(39), chr(39) * 2)}')" for name in kept)
    return f"CASE WHEN {mentioned} THEN regexp_replace('?' || {found}, '^[?]$', '') ELSE '' END"


# What was looked at: `currentsheet` where Tableau filled it, else the URI (shapes of Tableau 2019.3 to 2025.3).
_HAS_SHEET = "currentsheet IS NOT NULL AND currentsheet <> ''"
_NAMES_ASSET = "(contains(http_request_uri, '/views/') OR contains(http_request_uri, '/v/') OR contains(http_request_uri, '/authoring/'))"
_URI_SHEET = "(?:/views|/authoring|/w)/([^/?#;&]+)/(?:v/)?([^/?#;&]+)"
_EXPORT = "[.](csv|pdf|png|twb|twbx|xlsx)$"
_FROM_URI = f"({_NAMES_ASSET} AND NOT starts_with(http_request_uri, '/api/'))"


def _uri_part(group: int) -> str:
    return f"nullif(regexp_extract(http_request_uri, '{_URI_SHEET}', {group}), '')"


PARSED: Mapping[str, str] = {
    "asset_type": f"""CASE
        WHEN {_HAS_SHEET} THEN CASE
            WHEN starts_with(currentsheet, 'ds:') THEN 'datasource'
            WHEN nullif(nullif(split_part(currentsheet, '/', 2), ''), 'null') IS NULL THEN 'workbook'
            ELSE 'view' END
        WHEN {_FROM_URI} AND {_uri_part(1)} IS NOT NULL THEN 'view'
        WHEN contains(http_request_uri, '/datasources/') THEN 'datasource' END""",
    "workbook": f"""CASE
        WHEN {_HAS_SHEET} THEN
            CASE WHEN NOT starts_with(currentsheet, 'ds:') THEN nullif(split_part(currentsheet, '/', 1), '') END
        WHEN {_FROM_URI} THEN {_uri_part(1)} END""",
    "view": f"""CASE
        WHEN {_HAS_SHEET} THEN CASE
            WHEN NOT starts_with(currentsheet, 'ds:')
            THEN nullif(nullif(split_part(currentsheet, '/', 2), ''), 'null') END
        WHEN {_FROM_URI} THEN regexp_replace({_uri_part(2)}, '{_EXPORT}', '') END""",
}


