"""Redaction of requests before they are stored, and the columns parsed from them, as DuckDB expressions.

Tickets, tokens and session keys travel in URIs and referers. A path is kept; parameters are kept only by name. Each
expression first checks whether there is anything to do: most URIs have nothing, and a regular expression on every row
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
_SKIPPED = "(?:/|[.]|%[012][0-9a-f]|[[:space:]])*"
# The word again is no ticket: the one behind it is.
_TICKET = f"(?i)(/|%2f)trusted(?:(?:/|%2f){_SKIPPED}trusted)*(/|%2f){_SKIPPED}[^/]+"
_USER_INFO = "^[[:space:]]*([A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*@"
# A mark inside a password would end the path in the middle of it.
_CUT_USER_INFO = "^[[:space:]]*([A-Za-z][A-Za-z0-9+.-]*:)?//[^/@]*[?#;&][^/]*@"
_FRAGMENT_PATH = "#(/[^?#;%&=]*)"
_RARE = ("#", ";", "%", "@")
_HIDDEN_TICKET = "(?:^|/)trusted/(?:[^-]|-[^/#?]|.*/[.][.](?:/|$))"
# Behind a part ".." a ticket may be anywhere.
_TICKET_BEHIND_DOTS = "(?is)trusted.*(?:/|%2f|%5c|[\\\\])(?:[.]|%2e){2}(?:[/?#;&]|%2f|%5c|[\\\\]|$)"
# Browsers need no slash behind a scheme, and skip the third; a part before the first slash may be a host.
_HIDDEN_USER_INFO = "(?i)(?:^[[:space:]]*//+|[a-z0-9]:/+)[^/]*@|^[[:space:]]*[^/]*:[^/]*@"
_CUSTOM_VIEW = "(?i)((?:/(?:offline_)?views|/authoring)/[^/]+/[^/]+|/w/[^/]+/v/[^/]+)/.*$"
_USER_PATH = "(?i)(/users?)/.*$"
_HIDDEN_PERSON = (
    "(?:^|/)(?:(?:(?:offline_)?views|authoring)/[^/]+/[^/]+|w/[^/]+/v/[^/]+)/.|(?:^|/)users?/(?:[^-]|-.)|/[.][.](?:/|$)"
)
_PERSONAL = ("views/", "/authoring/", "/v/", "/user")
# What a server reads otherwise than it is written; all else was found as it is written.
_MAY_HIDE = (
    "contains(made, '%') OR contains(made, '@') OR contains(made, '/.') OR contains(made, '\\')"
    " OR contains(CASE WHEN starts_with(made, 'http') THEN substring(made, 9) ELSE made END, '//')"
    " OR made ILIKE '%rusted%' OR NOT (starts_with(made, '/') OR starts_with(made, 'http'))"
)
# A word such as "yes" is kept whole, of a token too little to be of use.
_LONGEST_VALUE = 16


@dataclass(frozen=True)
class Privacy:
    """Options for storing names of users and their addresses."""

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

    The most frequent URIs are split at their separators alone: a regular expression costs twenty times as much.
    """
    rare = _any_of(column, _RARE) if custom_views else f"{_any_of(column, _RARE)} OR {_any_of(column, _PERSONAL)}"
    path = f"{column}_pieces[1]"
    thoroughly = _clean_thoroughly(column, kept, custom_views=custom_views)
    parameters = _plain_parameters(column, kept)
    ticket = f"coalesce({path}, {column})"
    return f"""CASE
        WHEN {rare} OR {column} ILIKE '%rusted%' THEN CASE
            WHEN {_is_plain_ticket(column, ticket, rare)}
            THEN '/trusted/-' || substring({ticket}, 10 + length(split_part({ticket}, '/', 3))) || {parameters}
            ELSE {thoroughly} END
        WHEN contains({column}, '&') AND contains(coalesce({path}, {column}), '&') THEN {thoroughly}
        WHEN {column}_pieces IS NULL THEN {column}
        ELSE {path} || {parameters} END"""


def _any_of(column: str, texts: Sequence[str]) -> str:
    """Whether a column holds one of these texts; texts with letters in any case."""
    return " OR ".join(
        f"contains({column}, '{text}')" if text == text.upper() else f"{column} ILIKE '%{text}%'" for text in texts
    )


def _is_plain_ticket(column: str, path: str, rare: str) -> str:
    """Whether a URI is /trusted/<ticket>..., with one ticket and nothing else that is rare."""
    return (
        f"starts_with({column}, '/trusted/') AND ascii(split_part({path}, '/', 3)) > 32"
        f" AND NOT substring({column}, 10) ILIKE '%rusted%' AND NOT contains({path}, '/.') AND NOT ({rare})"
        f" AND NOT contains({path}, '&')"
    )


def _plain_parameters(column: str, kept: Sequence[str]) -> str:
    """Return the kept parameters of a URI that has no other mark than '?' and '&'."""
    if len(kept) != 1:
        return _parameters(column, kept)
    name, query = _literal(kept[0]), f"{column}_pieces[2]"
    first, longest = f"split_part({query}, '&', 1)", len(kept[0]) + 1 + _LONGEST_VALUE
    # The count of bytes costs nothing, that of characters does.
    whole = f"'?' || CASE WHEN strlen({query}) > {longest} THEN left({first}, {longest}) ELSE {first} END"
    return f"""CASE
        WHEN {column}_pieces IS NULL THEN ''
        WHEN starts_with({query}, '{name}=') AND NOT contains({query}, '/') THEN {whole}
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
    has_dots = f"{column} ILIKE '%rusted%' AND regexp_matches({column}, '{_TICKET_BEHIND_DOTS}')"
    cleaned = (
        f"CASE WHEN {has_dots} THEN '-' ELSE {path} || {_parameters(column, kept)}"
        f" || CASE WHEN contains({column}, '#/') THEN '#' || {fragment} ELSE '' END END"
    )
    if custom_views:
        return _nothing_hidden(cleaned, custom_views=True)
    impersonal = (
        f"regexp_replace(regexp_replace({cleaned}, '{_CUSTOM_VIEW}', '\\1', 's'), '{_USER_PATH}', '\\1/-', 's')"
    )
    return _nothing_hidden(impersonal, custom_views=False)


def _nothing_hidden(cleaned: str, *, custom_views: bool) -> str:
    """Return what was cleaned, or '-' where a decoded copy still has what was to be removed.

    The copy is decoded, with slashes for backslashes, in lower case, and without empty and single-dot parts. What
    cannot be decoded ends at its first percent sign, and what is coded twice has ended before.
    """
    decoded = f"replace(coalesce(url_decode(safe), ''), '{chr(92)}', '/')"
    # Of all letters beyond ASCII these two alone become one of it where case is ignored.
    folded = f"lower(translate({decoded}, '\u017f\u212a', 'sk'))"
    plain = f"regexp_replace({folded}, '/([.]?[[:space:]]*/)+', '/', 'g')"
    hidden = [f"regexp_matches({plain}, '{_HIDDEN_TICKET}', 's')", f"regexp_matches({decoded}, '{_HIDDEN_USER_INFO}')"]
    if not custom_views:
        hidden.append(f"regexp_matches({plain}, '{_HIDDEN_PERSON}', 's')")
    decodable = "CASE WHEN TRY(url_decode(made)) IS NULL THEN split_part(made, '%', 1) ELSE made END"
    checked = f"list_transform([{decodable}], lambda safe: CASE WHEN {' OR '.join(hidden)} THEN '-' ELSE safe END)[1]"
    # A list of one: SQL has no other name for what an expression has made.
    return f"list_transform([{cleaned}], lambda made: CASE WHEN {_MAY_HIDE} THEN {checked} ELSE made END)[1]"


def _parameters(column: str, kept: Sequence[str]) -> str:
    """Return the kept parameters, each the first of its name, as a query of their own."""
    if not kept:
        return "''"
    parts = []
    for name in kept:
        found = f"regexp_extract({column}, '[?&]({_literal(re.escape(name))}(?:=[^&#;?/]*)?)(?:[&#;?]|$)', 1)"
        value = f"split_part(substring({found}, {len(name) + 1}, {1 + _LONGEST_VALUE}), '%', 1)"
        whole = f"CASE WHEN {found} <> '' THEN '{_literal(name)}' || {value} END"
        parts.append(f"CASE WHEN contains({column}, '{_literal(name)}') THEN {whole} END")
    return f"coalesce('?' || nullif(concat_ws('&', {', '.join(parts)}), ''), '')"


def _literal(text: str) -> str:
    return text.replace("'", "''")


# Which asset a request opened: by `currentsheet` where that is spelled as `repository_url` is, else by the path of the
# URI, else by what `currentsheet` has. The shapes are those of Tableau 2019.3 to 2025.3 and of Tableau's community SQL
# (github.com/tableau/community-tableau-server-insights, ts_web_requests); docs/history.md has them as a table.
PARSED_COLUMNS = ("asset_type", "workbook", "view")

# A name with blanks is no repository_url, and "null" is the sheet of an editor. A URI that names a data source has
# more than the sheet that is being made of it.
_SPELLED_AS_URL = (
    "contains(currentsheet, '/') AND NOT contains(currentsheet, ' ') AND NOT starts_with(currentsheet, 'ds:')"
    " AND NOT ends_with(currentsheet, '/null') AND contains(http_request_uri, 'w/ds:') IS NOT TRUE"
)
# Behind a percent sign may stand a mark that ends the path, and behind that a secret.
_NAME = "([^/?#;&%[:cntrl:]]+)"
# A site may be called as one of these words: what follows /t/ is none of them.
_ASSET_PATH = (
    "(?i)(?:/t/[^/]+|/site/[^/]+)?/(?:"
    f"(?:w/ds:|askdata/|startaskdata/|authoringnewworkbook/){_NAME}"
    f"|(?:(?:views|offline_views|authoring(?:/t/[^/]+)?)/{_NAME}/|w/{_NAME}/v/){_NAME})"
)
_EXPORT = "(?i)[.](csv|pdf|png|twb|twbx|xlsx)$"
# A regular expression on every path would cost more than all the rest.
_ASSET_WORDS = ("views/", "/w/", "authoring", "askdata/")

# NULL where currentsheet is enough: most requests go no further.
_RAW_PATH = f"CASE WHEN {_SPELLED_AS_URL} THEN NULL ELSE coalesce(split_part(http_request_uri, '?', 1), '') END"
_PATH = "CASE WHEN contains(raw_path, '%') THEN coalesce(TRY(url_decode(raw_path)), raw_path) ELSE raw_path END"
_NAMED = f"""
    CASE WHEN ({_any_of("lower(asset_path)", _ASSET_WORDS)}) AND NOT starts_with(asset_path, '/api/')
        THEN regexp_extract(asset_path, '{_ASSET_PATH}', ['source', 'book', 'opened', 'sheet']) END
"""
_PARTS = f"""
    CASE WHEN raw_path IS NOT NULL
        THEN named.source <> '' OR contains(asset_path, '/datasources/') OR starts_with(lower(currentsheet), 'ds:')
    END AS is_source,
    CASE
        WHEN raw_path IS NULL THEN split_part(currentsheet, '/', 1)
        WHEN named.sheet <> '' THEN named.book || named.opened
        ELSE split_part(currentsheet, '/', 1)
    END AS first_part,
    CASE
        WHEN raw_path IS NULL THEN split_part(currentsheet, '/', 2)
        WHEN named.sheet <> '' THEN regexp_replace(named.sheet, '{_EXPORT}', '')
        ELSE split_part(currentsheet, '/', 2)
    END AS second_part
"""
_ASSET = """
    CASE
        WHEN is_source THEN 'datasource'
        WHEN second_part NOT IN ('', 'null') THEN 'view'
        WHEN first_part <> '' THEN 'workbook'
    END AS asset_type,
    CASE WHEN is_source IS NOT TRUE AND first_part <> '' THEN first_part END AS workbook,
    CASE WHEN is_source IS NOT TRUE AND second_part NOT IN ('', 'null') THEN second_part END AS view
"""
_STEPS = ("raw_path", "asset_path", "named", "is_source", "first_part", "second_part")


def parsed(relation: str, condition: str = "true") -> str:
    """Return a SELECT of a relation's rows with the asset that each opened: asset_type, workbook, view."""
    return (
        f"SELECT * EXCLUDE ({', '.join(_STEPS)}), {_ASSET} FROM (SELECT *, {_PARTS} FROM (SELECT *, {_NAMED} AS named"
        f" FROM (SELECT *, {_PATH} AS asset_path"
        f" FROM (SELECT *, {_RAW_PATH} AS raw_path FROM {relation} WHERE {condition}))))"
    )
