"""Lines of the Activity Log into rows of the history's tables, under the privacy options, before the file is open.

Everything is done in columns by DuckDB, in a database in memory: a line is parsed four times and never by Python. What
is no event is counted and kept aside.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import pyarrow as pa

from exporter.collector import Column, Events, columns_of
from exporter.history.activity_fields import COMMON, is_kept, other_uris
from exporter.history.arrow import registered
from exporter.history.locking import Reserve
from exporter.history.opening import Settings, confine, text
from exporter.history.pseudonyms import truncated
from exporter.history.redaction import URI_COLUMNS, Privacy, clean_uri, cleaning, parsed, pieces

LONGEST_LINE = 1_000_000
MOST_FIELDS = 500
KEPT_CHARACTERS = 2_000
REJECTS_KEPT = 100
"""So many lines of a file are kept aside; all are counted."""
FILES = pa.schema([("file", pa.int64()), ("hour", pa.timestamp("us")), ("event_type", pa.string())])

_SETTINGS: Settings = {"memory_limit": "256MB", "temp_directory": "", "threads": 1}
_REQUEST, _JOBS = "vizql_http_request", ("background_job", "bridge_job")
_FURTHER = ("requestUri", "referrer", "ipAddress", "viewRepoUrl", "requestId", "jobLuid", "eventState")
"""Fields that are read beside the common ones: of keys, and those that are redacted."""
# A custom view's part is its owner's name.
_SHEET = """regexp_replace(
    view_repo_url, CASE WHEN contains(view_repo_url, '/sheets/') THEN '^([^/]*/sheets/[^/]*)/.*$'
    ELSE '^([^/]*/[^/]*)/.*$' END, '\\1', 's')"""
_CUT = f"""regexp_replace(
    regexp_replace(left(text, {KEPT_CHARACTERS}), '[?#][^"\\s]*', '', 'g'), '(?i)trusted/[^/"\\s]+',
    'trusted/-', 'g')"""


@dataclass(frozen=True)
class ParsedLines:
    """The rows of each table, what became of the lines of each file, and the lines that are no events."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    files: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """The events and the rejected lines of each file."""
    rejects: pa.Table = field(default_factory=lambda: pa.table({}))
    """Columns file, number, reason, text."""


class ActivityParser:
    """Parses lines of one site; one thread at a time."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        Reserve().use()
        connection = duckdb.connect(config=_SETTINGS)
        confine(connection)
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def parse(
        self, lines: pa.Table, files: pa.Table, site_id: int, site_luid: str, tables: Sequence[Events]
    ) -> ParsedLines:
        """Return the rows of each table; ``lines`` has the columns file, number, text, and ``files`` those of FILES."""
        connection = self._connection
        with registered(connection, lines=lines, files=files):
            connection.execute(_READ)
            names = [name for (name,) in connection.execute(_NAMES).fetchall()]
            connection.execute(self._fields(site_id, site_luid, other_uris(names)))
        self._truncate_addresses()
        connection.execute(self._activity(names))
        found = ParsedLines({events.table: self._rows(events) for events in tables}, self._counts(), self._rejects())
        connection.execute("DROP TABLE activity; DROP TABLE read_lines")
        return found

    def _fields(self, site_id: int, site_luid: str, uris: Sequence[str]) -> str:
        """Return the statement that makes ``fields``: the common fields, and those that are redacted, as columns."""
        paths = [*COMMON, *_FURTHER, *uris]
        place = {name: f"found[{number}]" for number, name in enumerate(paths, start=1)}
        listed = ", ".join(text(f'$."{_escaped(name)}"') for name in paths)
        columns = {_snake(name): _typed(place[name], kind) for name, kind in COMMON.items()}
        columns["event_processed_time"] = _instant(place["eventProcessedTime"])
        columns["event_type"] = f"left(coalesce(nullif({place['eventType']}, ''), file_type), 100)"
        columns["event_time"] = (
            f"coalesce({_instant(place['eventTime'])}, {_instant(place['eventProcessedTime'])}, hour)"
        )
        columns["site_luid"] = f"coalesce({place['siteLuid']}, {text(site_luid)})"
        if self._privacy.users == "none":
            columns |= dict.fromkeys(_PEOPLE, "NULL")
        columns |= {
            "user_id": _typed(place["actorUserId"], "BIGINT"),
            "site_id": f"{site_id}::BIGINT",
            "http_request_uri": place["requestUri"],
            "http_referer": place["referrer"],
            "remote_ip": "NULL::VARCHAR",
            "user_ip": place["ipAddress"],
            "view_repo_url": place["viewRepoUrl"],
            "currentsheet": f"replace({place['viewRepoUrl']}, '/sheets/', '/')",
            **{f"uri_{number}": place[name] for number, name in enumerate(uris)},
        }
        identity = f"""CASE
            WHEN {place["eventType"]} = '{_REQUEST}' AND {place["requestId"]} IS NOT NULL THEN {place["requestId"]}
            WHEN {place["eventType"]} IN {_JOBS} AND {place["jobLuid"]} IS NOT NULL
            THEN {place["jobLuid"]} || '/' || coalesce({place["eventState"]}, '')
            ELSE json_merge_patch(text, '{{"eventProcessedTime": null}}')::VARCHAR END"""
        columns["id"] = f"(md5_number_lower(concat_ws('|', '{site_id}', event_type, {identity})) >> 1)::BIGINT"
        made = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        return f"""
            CREATE OR REPLACE TEMP TABLE fields AS
            SELECT text, {made}
            FROM (
                SELECT
                    text,
                    files.hour AS hour,
                    files.event_type AS file_type,
                    json_extract_string(text, [{listed}]) AS found
                FROM read_lines
                JOIN files ON files.file = read_lines.file
                WHERE reason IS NULL
            )
        """

    def _truncate_addresses(self) -> None:
        if self._privacy.addresses != "truncated":
            return
        found = self._connection.execute("SELECT DISTINCT user_ip FROM fields WHERE user_ip IS NOT NULL").fetchall()
        addresses = {address: truncated(address) for (address,) in found}
        cut = pa.table({"whole": pa.array(addresses, pa.string()), "cut": pa.array(addresses.values(), pa.string())})
        with registered(self._connection, networks=cut):
            self._connection.execute(
                "UPDATE fields SET user_ip = (SELECT cut FROM networks WHERE whole = user_ip) WHERE user_ip IS NOT NULL"
            )

    def _activity(self, names: Sequence[str]) -> str:
        """Return the statement that makes ``activity``: the events as they may be stored."""
        uris = other_uris(names)
        cleaned = dict(cleaning(self._privacy))
        named = self._privacy.users == "name"
        for number, _ in enumerate(uris):
            column = f"uri_{number}"
            cleaned[column] = clean_uri(column, self._privacy.query_strings, custom_views=named)
        cleaned.pop("user_id", None)
        if not named:
            cleaned["view_repo_url"] = _SHEET
        dropped = {name: None for name in names if name in COMMON or not is_kept(name, self._privacy)}
        fresh = {"requestUri": "http_request_uri", "referrer": "http_referer", "ipAddress": "user_ip"}
        fresh |= {"viewRepoUrl": "view_repo_url"}
        fresh |= {name: f"uri_{number}" for number, name in enumerate(uris) if name not in dropped}
        changed = ", ".join(f"{text(name)}, {column}" for name, column in fresh.items() if name in names)
        patches = [text(json.dumps(dropped)), *([f"json_object({changed})"] if changed else [])]
        replaced = ", ".join(f"{expression} AS {name}" for name, expression in cleaned.items())
        columns = ["http_request_uri", "http_referer", *(f"uri_{number}" for number, _ in enumerate(uris))]
        assert set(URI_COLUMNS) <= set(columns)  # noqa: S101 - both are redacted
        return f"""
            CREATE OR REPLACE TEMP TABLE activity AS
            SELECT
                * EXCLUDE (text),
                json_merge_patch(text, {", ".join(patches)})::VARCHAR AS details
            FROM (
                SELECT * REPLACE ({replaced}) FROM (SELECT *, {pieces(columns)} FROM ({parsed("fields")}))
            )
        """

    def _rows(self, events: Events) -> pa.Table:
        """Return the rows of one table, as its collector selects them."""
        assert events.row is not None  # noqa: S101 - the Activity Log's rows are declared
        columns = ", ".join(_cast(column) for column in columns_of(events.row))
        return self._connection.sql(f"SELECT {columns} FROM ({events.sql})").to_arrow_table()

    def _counts(self) -> Mapping[int, tuple[int, int]]:
        rows = self._connection.execute(
            "SELECT file, count(*) FILTER (reason IS NULL), count(*) FILTER (reason IS NOT NULL)"
            " FROM read_lines GROUP BY file"
        ).fetchall()
        return {file: (events, rejected) for file, events, rejected in rows}

    def _rejects(self) -> pa.Table:
        """Return the first rejected lines of each file; their text where people and addresses may be stored.

        What is no JSON has no fields that could be left out: the queries of URIs and tickets are cut out of the text.
        """
        whole = self._privacy.users == "name" and self._privacy.addresses == "full"
        kept = _CUT if whole else "NULL::VARCHAR"
        return self._connection.sql(
            f"""
            SELECT file, number, reason, {kept} AS text
            FROM read_lines
            WHERE reason IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY file ORDER BY number) <= {REJECTS_KEPT}
            ORDER BY file, number
            """
        ).to_arrow_table()


_READ = f"""
    CREATE OR REPLACE TEMP TABLE read_lines AS
    SELECT
        file,
        number,
        text,
        CASE
            WHEN strlen(text) > {LONGEST_LINE} THEN 'too long'
            WHEN NOT json_valid(text) THEN 'no JSON'
            WHEN json_type(text) <> 'OBJECT' THEN 'no JSON object'
            WHEN len(json_keys(text)) > {MOST_FIELDS} THEN 'too many fields'
        END AS reason
    FROM lines
"""
_NAMES = "SELECT DISTINCT unnest(json_keys(text)) AS name FROM read_lines WHERE reason IS NULL ORDER BY name"
_PEOPLE = ("actor_user_id", "actor_user_luid", "initiating_user_id", "initiating_user_luid")


def _snake(name: str) -> str:
    """Return the column of a field: ``actorUserId`` is ``actor_user_id``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _typed(expression: str, kind: str) -> str:
    return expression if kind == "VARCHAR" else f"TRY_CAST({expression} AS {kind})"


def _instant(expression: str) -> str:
    """Return an instant of ISO 8601 as a timestamp in UTC; NULL for what is none."""
    at = f"TRY_CAST({expression} AS TIMESTAMPTZ)"
    return f"CASE WHEN isfinite({at}) THEN {at}::TIMESTAMP END"


def _cast(column: Column) -> str:
    return f'"{column.name}"::{column.type.duckdb} AS "{column.name}"'
