"""Lines of the Activity Log into rows of the history's tables, under the privacy options, before the file is open.

Everything is done in columns by DuckDB, in a database in memory: a line is parsed some times and never by Python. What
is no event is counted and kept aside.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Column, Events, columns_of
from exporter.history.activity import REJECTS_KEPT, ParsedLines
from exporter.history.activity_fields import COMMON, is_kept, other_uris
from exporter.history.arrow import Stream, registered
from exporter.history.locking import Reserve
from exporter.history.opening import Settings, confine, text
from exporter.history.pseudonyms import truncated
from exporter.history.redaction import URI_COLUMNS, Privacy, clean_uri, cleaning, parsed, pieces

LONGEST_LINE = 1_000_000
MOST_FIELDS = 500
MOST_NAMES = 2_000
"""So many names of fields are remembered; more than a line may have."""
KEPT_CHARACTERS = 2_000
CHUNK_ROWS = 256
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


class ActivityParser:
    """Parses lines; one thread at a time."""

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy
        self._names: set[str] = set()
        self._statement = ""
        self._streams: dict[str, Stream] = {}
        self._prepared: dict[str, str] = {}

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
        """Return the rows of each table; ``lines`` has the columns file, number, text, and ``files`` those of FILES.

        The lines are of one site.
        """
        read = self._run("read", _READ, lines=_in_chunks(lines))
        bad = pc.is_valid(read.column("reason"))
        rejected = lines.append_column("reason", read.column("reason")).filter(bad)
        rejected = rejected.set_column(2, "text", pc.utf8_rtrim(rejected.column("text"), "\n"))
        good, names = lines, read.column("names")
        if rejected.num_rows:
            good, names = lines.filter(pc.invert(bad)), names.filter(pc.invert(bad))
        seen = pc.unique(pc.list_flatten(names)).to_pylist()
        activity = self._activity(self._placed(good, files, site_id, site_luid), seen)
        rows = {events.table: self._run(events.table, _rows(events), activity=activity) for events in tables}
        return ParsedLines(rows, _counts(lines, bad), self._rejects(rejected))

    def _run(self, name: str, query: str, **tables: pa.Table) -> pa.Table:
        """Return the result of a query over tables, which have the same columns each time.

        It is planned once: planning costs as much as thousands of events.
        """
        for table, rows in tables.items():
            if table not in self._streams:
                self._streams[table] = Stream(rows)
                self._connection.register(table, self._streams[table])
            self._streams[table].table = rows
        if self._prepared.get(name) != query:
            self._connection.execute(f'PREPARE "{name}" AS {query}')
            self._prepared[name] = query
        try:
            return self._connection.sql(f'EXECUTE "{name}"').to_arrow_table()
        finally:
            for table, rows in tables.items():
                self._streams[table].table = rows.slice(0, 0)

    def _placed(self, good: pa.Table, files: pa.Table, site_id: int, site_luid: str) -> pa.Table:
        """Return lines with what is known of their files and their site."""
        place = pc.index_in(good.column("file"), files.column("file"))
        columns = {
            "text": good.column("text"),
            "hour": files.column("hour").take(place),
            "file_type": files.column("event_type").take(place),
            "site_id": pa.repeat(pa.scalar(site_id, pa.int64()), good.num_rows),
            "listed_luid": pa.repeat(site_luid, good.num_rows),
            "network": self._networks(good),
        }
        return _in_chunks(pa.table(columns))

    def _networks(self, good: pa.Table) -> pa.Array:
        """Return the network of each address, where only networks are stored."""
        if self._privacy.addresses != "truncated":
            return pa.nulls(good.num_rows, pa.string())
        with registered(self._connection, good=good):
            found = self._connection.sql("SELECT json_extract_string(text, '$.ipAddress') AS ip FROM good")
            addresses = found.to_arrow_table().column("ip").combine_chunks().dictionary_encode()
        cut = [None if text is None else truncated(text) for text in addresses.dictionary.to_pylist()]
        return pa.array(cut, pa.string()).take(addresses.indices)

    def _activity(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        """Return the relation ``activity``: the events as they may be stored.

        The statement is for all fields that have been seen.
        """
        if not self._statement or not self._names.issuperset(names):
            if len(self._names) > MOST_NAMES:
                self._names.clear()
            self._names.update(names)
            self._statement = self._query(sorted(self._names))
        return self._run("parse", self._statement, good_lines=rows)

    def _fields(self, uris: Sequence[str]) -> str:
        """Return the query for the common fields, and those that are redacted, as columns."""
        paths = [*COMMON, *_FURTHER, *uris]
        place = {name: f"found[{number}]" for number, name in enumerate(paths, start=1)}
        listed = ", ".join(text(f'$."{_escaped(name)}"') for name in paths)
        columns = {_snake(name): _typed(place[name], kind) for name, kind in COMMON.items()}
        columns["event_processed_time"] = _instant(place["eventProcessedTime"])
        columns["event_type"] = f"left(coalesce(nullif({place['eventType']}, ''), file_type), 100)"
        columns["event_time"] = _instant(place["eventTime"])
        columns["site_luid"] = f"coalesce({place['siteLuid']}, listed_luid)"
        if self._privacy.users == "none":
            columns |= dict.fromkeys(_PEOPLE, "NULL")
        columns |= {
            "user_id": _typed(place["actorUserId"], "BIGINT"),
            "http_request_uri": place["requestUri"],
            "http_referer": place["referrer"],
            "remote_ip": "NULL::VARCHAR",
            "user_ip": "network" if self._privacy.addresses == "truncated" else place["ipAddress"],
            "view_repo_url": place["viewRepoUrl"],
            "currentsheet": f"replace({place['viewRepoUrl']}, '/sheets/', '/')",
            **{f"uri_{number}": place[name] for number, name in enumerate(uris)},
        }
        columns["id"] = _identity(place)
        made = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        return f"""
            SELECT * REPLACE (coalesce(event_time, event_processed_time, hour) AS event_time)
            FROM (
                SELECT text, site_id, hour, {made}
                FROM (SELECT *, json_extract_string(text, [{listed}]) AS found FROM good_lines)
            )
        """

    def _query(self, names: Sequence[str]) -> str:
        """Return the query for ``activity``, with the same columns for all names: its own queries are planned once."""
        uris = other_uris(names)
        cleaned = dict(cleaning(self._privacy))
        named = self._privacy.users == "name"
        for number, _ in enumerate(uris):
            column = f"uri_{number}"
            cleaned[column] = clean_uri(column, self._privacy.query_strings, custom_views=named)
        cleaned.pop("user_id", None)
        if not named:
            cleaned["view_repo_url"] = _SHEET
        replaced = ", ".join(f"{expression} AS {name}" for name, expression in cleaned.items())
        columns = ["http_request_uri", "http_referer", *(f"uri_{number}" for number, _ in enumerate(uris))]
        assert set(URI_COLUMNS) <= set(columns)  # noqa: S101 - both are redacted
        further = [f"uri_{number}{end}" for number, _ in enumerate(uris) for end in ("", "_pieces")]
        return f"""
            SELECT * EXCLUDE ({", ".join(["text", "hour", "raw", *further])}), {self._details(names, uris)} AS details
            FROM (
                SELECT * REPLACE ({replaced})
                FROM (
                    SELECT
                        *,
                        {pieces(columns)},
                        struct_pack({", ".join(f"{name} := {name}" for name in (*columns, *_REDACTED))}) AS raw
                    FROM ({parsed(f"({self._fields(uris)})")})
                )
            )
        """

    def _details(self, names: Sequence[str], uris: Sequence[str]) -> str:
        """Return the expression of an event's other fields; most events have nothing that was redacted."""
        dropped = {name: None for name in names if name in COMMON or not is_kept(name, self._privacy)}
        columns = {"requestUri": "http_request_uri", "referrer": "http_referer", "viewRepoUrl": "view_repo_url"}
        columns |= {name: f"uri_{number}" for number, name in enumerate(uris)}
        columns |= {"ipAddress": "user_ip"}
        columns = {name: column for name, column in columns.items() if name in names and name not in dropped}
        whole = f"json_merge_patch(text, {text(json.dumps(dropped))})"
        if not columns:
            return f"{whole}::VARCHAR"
        changed = " OR ".join(f"{column} IS DISTINCT FROM raw.{column}" for column in columns.values())
        # Addresses are cut before.
        changed = "true" if self._privacy.addresses == "truncated" else changed
        made = ", ".join(f"{text(name)}, {column}" for name, column in columns.items())
        redacted = f"{whole.removesuffix(')')}, json_object({made}))"
        return f"(CASE WHEN {changed} THEN {redacted} ELSE {whole} END)::VARCHAR"

    def _rejects(self, rejected: pa.Table) -> pa.Table:
        """Return the first rejected lines of each file; their text where people and addresses may be stored.

        What is no JSON has no fields that could be left out: the queries of URIs and tickets are cut out of the text.
        """
        if not rejected.num_rows:
            return pa.table({})
        whole = self._privacy.users == "name" and self._privacy.addresses == "full"
        with registered(self._connection, rejected=rejected):
            return self._connection.sql(
                f"""
                SELECT file, number, reason, {_CUT if whole else "NULL::VARCHAR"} AS text
                FROM rejected
                QUALIFY row_number() OVER (PARTITION BY file ORDER BY number) <= {REJECTS_KEPT}
                ORDER BY file, number
                """
            ).to_arrow_table()


def _in_chunks(rows: pa.Table) -> pa.Table:
    """Return rows in chunks: what DuckDB needs to parse one is a multiple of it, and is kept until the next."""
    return pa.Table.from_batches(rows.to_batches(max_chunksize=CHUNK_ROWS), rows.schema)


def _rows(events: Events) -> str:
    """Return the query for the rows of one table, as its collector selects them."""
    assert events.row is not None  # noqa: S101 - the Activity Log's rows are declared
    columns = ", ".join(_cast(column) for column in columns_of(events.row))
    return f"SELECT {columns} FROM ({events.sql})"


def _counts(lines: pa.Table, bad: pa.ChunkedArray) -> Mapping[int, tuple[int, int]]:
    """Return how many lines of each file are events, and how many are not."""
    counted = pa.table({"file": lines.column("file"), "bad": pc.cast(bad, pa.int64())})
    found = counted.group_by("file").aggregate([("bad", "count"), ("bad", "sum")])
    columns = (found.column(name).to_pylist() for name in ("file", "bad_count", "bad_sum"))
    return {file: (count - rejected, rejected) for file, count, rejected in zip(*columns, strict=True)}


def _identity(place: Mapping[str, str]) -> str:
    """Return the expression of the hash of what makes a line one event; ``place`` has the expressions of fields."""
    identity = f"""CASE
        WHEN {place["eventType"]} = '{_REQUEST}' AND {place["requestId"]} IS NOT NULL THEN {place["requestId"]}
        WHEN {place["eventType"]} IN {_JOBS} AND {place["jobLuid"]} IS NOT NULL
        THEN {place["jobLuid"]} || '/' || coalesce({place["eventState"]}, '')
        ELSE json_merge_patch(text, '{{"eventProcessedTime": null}}')::VARCHAR END"""
    return f"(md5_number_lower(concat_ws('|', site_id, event_type, {identity})) >> 1)::BIGINT"


# The names of the fields show at once whether a line is JSON; what is no object has none.
_READ = f"""
    SELECT
        names,
        CASE
            WHEN strlen(text) > {LONGEST_LINE} THEN 'too long'
            WHEN names IS NULL THEN 'no JSON'
            WHEN NOT starts_with(ltrim(text), '{{') THEN 'no JSON object'
            WHEN len(names) > {MOST_FIELDS} THEN 'too many fields'
        END AS reason
    FROM (SELECT text, TRY(json_keys(text)) AS names FROM lines)
"""
_REDACTED = ("view_repo_url", "user_ip")
"""What is redacted beside URIs."""
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
