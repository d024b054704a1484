"""The files of the older text-file tool as queries on the history: names and order of their columns are the tool's.

A reference file holds what Tableau lists now: neither what was removed nor what is in the recycle bin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exporter.history.export_reader import ExportSource
from exporter.history.file import HistoryFile
from exporter.history.opening import NAMED
from exporter.history.tables import ARCHIVED_AT, quoted
from exporter.history.text_columns import (
    CONNECTION,
    DATASOURCE,
    EXTRACT,
    LOGINS,
    NOTHING,
    OWNER,
    REQUESTS,
    USERS,
    VIEW,
    VIEWS,
    WORKBOOK,
    WORKBOOKS,
    Columns,
)

SHEET_KEY = "sheet key"
BOOK_KEY = "workbook key"
USER_KEY = "user key"
"""Columns that are not written: what a request's sheet, the sheet's workbook, and the request's user are found by."""

_LISTED = "removed_on IS NULL AND NOT coalesce(is_deleted, false)"


@dataclass(frozen=True)
class Lookup:
    """Columns that are added to each row from the row of another query that has the same key."""

    key: str
    columns: Sequence[str]
    query: str
    leads_to: str | None = None
    """The column that is the key of lookups after this one."""

    @property
    def source(self) -> ExportSource:
        """How it is read."""
        return ExportSource(self.key, query=self.query)


@dataclass(frozen=True)
class TextFile:
    """A file: its columns, the query that has them, and, where it is appended to, the table whose rows it has."""

    columns: Sequence[str]
    query: str
    base: str | None = None
    at: str | None = None
    dates: frozenset[str] = frozenset()
    """Instants of which only the day is written."""
    lookups: Sequence[Lookup] = field(default=())

    @property
    def order(self) -> str | None:
        """The column of the archive's order, where it is appended to."""
        return ARCHIVED_AT if self.base else None

    @property
    def needs(self) -> set[str]:
        """The tables and views that it is made of."""
        if self.base and not self.lookups:
            return {self.base}
        return {self.base or "logins", "logins", *(f"latest_{table}" for table in NAMED)}

    def missing(self, file: HistoryFile) -> Sequence[str]:
        """Return what a history lacks that no collector of names or logins has written to yet."""
        with file.open() as connection:
            there = connection.execute(
                "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views()"
            ).fetchall()
        return sorted(self.needs - {name for (name,) in there})

    @property
    def header(self) -> Sequence[str]:
        """All columns, with the joined ones."""
        return [*self.columns, *(name for lookup in self.lookups for name in lookup.columns)]


def _of(suffix: str, alias: str, columns: Columns) -> dict[str, str]:
    """Return the columns of an object, named with its suffix, and their SQL."""
    return {
        f"{name} ({suffix})": NOTHING if column == NOTHING else f"{alias}.{column}" for name, column in columns.items()
    }


def _plain(columns: Sequence[str], **renamed: str) -> dict[str, str]:
    return {column: renamed.get(column, quoted(column)) for column in columns}


def _select(columns: Columns, origin: str, with_: str = "") -> str:
    listed = ",\n    ".join(f"{expression} AS {quoted(name)}" for name, expression in columns.items())
    return f"{with_}\nSELECT\n    {listed}\nFROM {origin}"


# The version of a user that the history keeps has an older login: those are kept one by one.
_PEOPLE = """
    people AS (
        SELECT
            users.* REPLACE (greatest(users.login_at, newest.login_at) AS login_at)
        FROM latest_users AS users
        LEFT JOIN (SELECT user_id, max(login_at) AS login_at FROM logins GROUP BY user_id) AS newest
            ON newest.user_id = users.id
    )
"""


def _books(condition: str) -> str:
    return f"""
    books AS (
        SELECT
            workbooks.*,
            people.name AS owner_name,
            people.system_user_id AS system_user_id,
            people.domain_id AS domain_id,
            people.domain_name AS domain_name,
            projects.name AS project_name
        FROM (FROM latest_workbooks WHERE {condition}) AS workbooks
        LEFT JOIN people ON people.id = workbooks.owner_id
        LEFT JOIN latest_projects AS projects ON projects.id = workbooks.project_id
    ),
    sheets AS (
        SELECT
            views.*,
            people.name AS owner_name
        FROM (FROM latest_views WHERE {condition}) AS views
        SEMI JOIN books ON books.id = views.workbook_id
        LEFT JOIN people ON people.id = views.owner_id
    )
"""


# An extract is of a workbook, and then of its connections, or of a data source, and then of the workbooks that use it:
# a published one is named by its repository_url, which is unique on its site only.
_EXTRACTS = """
    connections AS (
        SELECT
            *,
            lower(owner_type) AS owner_kind,
            coalesce(lower(dbclass) = 'sqlproxy', false) AS is_published
        FROM latest_data_connections
        WHERE removed_on IS NULL
    ),
    sources AS (FROM latest_datasources WHERE removed_on IS NULL),
    extracts_now AS (FROM latest_extracts WHERE removed_on IS NULL),
    owned AS (
        SELECT
            extracts_now.id AS extract_id,
            coalesce(extracts_now.workbook_id, sources.parent_workbook_id) AS workbook_id
        FROM extracts_now
        LEFT JOIN sources ON sources.id = extracts_now.datasource_id
    ),
    uses AS (
        SELECT
            owned.extract_id AS extract_id,
            owned.workbook_id AS workbook_id,
            connections.id AS connection_id
        FROM owned
        LEFT JOIN connections
            ON connections.owner_kind = 'workbook'
            AND connections.owner_id = owned.workbook_id
            AND NOT connections.is_published
        WHERE owned.workbook_id IS NOT NULL
        UNION ALL
        SELECT
            extracts_now.id,
            books.id,
            connections.id
        FROM extracts_now
        JOIN sources ON sources.id = extracts_now.datasource_id AND sources.published
        JOIN connections ON connections.dbname = sources.repository_url AND connections.is_published
        JOIN books ON books.id = connections.owner_id AND books.site_id = sources.site_id
        WHERE connections.owner_kind = 'workbook'
    ),
    parts AS (
        SELECT
            extracts_now AS extract,
            sources AS datasource,
            of_source AS of_source,
            of_workbook AS of_workbook,
            books AS used_by
        FROM extracts_now
        LEFT JOIN uses ON uses.extract_id = extracts_now.id
        LEFT JOIN books ON books.id = uses.workbook_id
        LEFT JOIN connections AS of_workbook ON of_workbook.id = uses.connection_id
        LEFT JOIN sources ON sources.id = extracts_now.datasource_id
        LEFT JOIN connections AS of_source ON of_source.owner_kind = 'datasource' AND of_source.owner_id = sources.id
        WHERE uses.workbook_id IS NULL OR books.id IS NOT NULL
    )
"""

_NOW = f"WITH {_PEOPLE}, {_books(_LISTED)}"
_EVER = f"WITH {_PEOPLE}, {_books('true')}"

_EXTRACT_COLUMNS = {
    "A_WB_ID": "parts.used_by.id",
    **_of("Conn WB", "parts.of_workbook", CONNECTION),
    **_of("WB DS", "parts.used_by", WORKBOOK),
    **_of("DS", "parts.datasource", DATASOURCE),
    **_of("Conn DS", "parts.of_source", CONNECTION),
    **_of("Extract", "parts.extract", EXTRACT),
}
_BOOK_COLUMNS = {**_EXTRACT_COLUMNS, "F_WB_ID": "books.id", **_of("WB", "books", WORKBOOK)}
_VIEW_COLUMNS = _of("Views", "sheets", VIEW)
_OWNER_COLUMNS = _of("WB Owner", "owner", OWNER)
_WORKBOOK_COLUMNS = {**_BOOK_COLUMNS, **_VIEW_COLUMNS, **_OWNER_COLUMNS}
_OWNED_BOOKS = "LEFT JOIN people AS owner ON owner.id = books.owner_id"
_WITH_WORKBOOKS = f"""parts
FULL JOIN books ON books.id = parts.used_by.id
LEFT JOIN sheets ON sheets.workbook_id = books.id
{_OWNED_BOOKS}"""
# A sheet's address may be given again after its view was removed: what is listed comes first, then the newest.
_OF_EACH_SHEET = """sheets
QUALIFY 1 = row_number() OVER (
    PARTITION BY sheets.site_id, sheets.view_url
    ORDER BY sheets.removed_on NULLS FIRST, sheets.day DESC, sheets.id DESC
)"""
_OF_EACH_BOOK = """books
LEFT JOIN (
    FROM parts
    WHERE used_by.id IS NOT NULL
    QUALIFY 1 = row_number() OVER (PARTITION BY used_by.id ORDER BY extract.id, of_workbook.id, of_source.id)
) AS parts ON parts.used_by.id = books.id"""
_SHEET = {SHEET_KEY: "sheets.site_id || '/' || sheets.view_url"}
_BOOK = {BOOK_KEY: "books.id"}

# There are many more sheets than workbooks: what a workbook has is in memory once for all of its sheets.
_SHEETS = (
    Lookup(
        SHEET_KEY,
        (),
        _select({**_SHEET, BOOK_KEY: "sheets.workbook_id"}, _OF_EACH_SHEET, _EVER),
        BOOK_KEY,
    ),
    Lookup(BOOK_KEY, list(_BOOK_COLUMNS), _select({**_BOOK, **_BOOK_COLUMNS}, _OF_EACH_BOOK, f"{_EVER}, {_EXTRACTS}")),
    Lookup(SHEET_KEY, list(_VIEW_COLUMNS), _select({**_SHEET, **_VIEW_COLUMNS}, _OF_EACH_SHEET, _EVER)),
    Lookup(BOOK_KEY, list(_OWNER_COLUMNS), _select({**_BOOK, **_OWNER_COLUMNS}, f"books {_OWNED_BOOKS}", _EVER)),
)
_HTTP_USER: Columns = {
    **{f"{name} (http User)": f"people.{name}" for name in USERS},
    "Distinct Count - Friendly Name (http User)": "(people.friendly_name IS NOT NULL)::BIGINT",
}
_HTTP_USERS = Lookup(
    USER_KEY, list(_HTTP_USER), _select({USER_KEY: "people.id::VARCHAR", **_HTTP_USER}, "people", f"WITH {_PEOPLE}")
)
_COMPLETION = {"Date - Completion (http)": "completed_at"}
_USAGE = {**REQUESTS, **_COMPLETION}
_ORDERED = {ARCHIVED_AT: ARCHIVED_AT, "created_at": "created_at"}
_KEYS = {SHEET_KEY: "site_id || '/' || workbook || '/' || \"view\"", USER_KEY: "named_user_id::VARCHAR"}

TEXT_FILES: Mapping[str, TextFile] = {
    "http_requests": TextFile(
        list(REQUESTS), _select({**REQUESTS, **_ORDERED}, "http_requests"), "http_requests", "created_at"
    ),
    "logins": TextFile(LOGINS, _select({**_plain(LOGINS), ARCHIVED_AT: ARCHIVED_AT}, "logins"), "logins", "login_at"),
    "users": TextFile(USERS, _select(_plain(USERS), "people WHERE removed_on IS NULL ORDER BY id", f"WITH {_PEOPLE}")),
    "views": TextFile(VIEWS, _select(_plain(VIEWS), "sheets ORDER BY id", _NOW)),
    "workbooks": TextFile(
        WORKBOOKS, _select(_plain(WORKBOOKS, workbook_url="repository_url"), "books ORDER BY id", _NOW)
    ),
    "extracts": TextFile(
        list(_EXTRACT_COLUMNS), _select(_EXTRACT_COLUMNS, "parts ORDER BY ALL", f"{_NOW}, {_EXTRACTS}")
    ),
    "Extracts_To_Workbooks": TextFile(
        list(_WORKBOOK_COLUMNS),
        _select(_WORKBOOK_COLUMNS, f"{_WITH_WORKBOOKS} ORDER BY ALL", f"{_NOW}, {_EXTRACTS}"),
    ),
    "usage": TextFile(
        list(_USAGE),
        _select({**_USAGE, **_ORDERED, **_KEYS}, "archived_requests"),
        "archived_requests",
        "created_at",
        frozenset(_COMPLETION),
        (*_SHEETS, _HTTP_USERS),
    ),
}
"""The files by the name of each, without its suffix."""
