"""Invariants between the tables of a history: one function for each, with the query that finds violations.

A question compares what was written in the same transaction, and is one statement: no poll can come in between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exporter.collector import Events
from exporter.collectors.activity_log import FILES
from exporter.history.activity import LEDGER, REJECTS
from exporter.history.pruning import DAY
from exporter.history.tables import AUDIT, IMPORTED, REQUESTS
from exporter.self_metrics import HISTORY_PRUNED

# So many keys at a time are compared with each other.
WINDOW_ROWS = 1_000_000

Row = tuple[Any, ...]


class Query(Protocol):
    """Puts a question to the file."""

    def __call__(self, sql: str, *parameters: object) -> list[Row]:
        """Return the rows of the answer."""


@dataclass(frozen=True)
class Found:
    """The result of a check: its faults, or a summary when there are none."""

    faults: Sequence[str] = ()
    summary: str = ""
    note: bool = False


def days(events: Events, query: Query) -> Found:
    """Compare each day: as many rows stand there as were archived and not pruned."""
    wrong = query(
        f"""
        SELECT day::VARCHAR, sum(difference)::BIGINT
        FROM (
            SELECT day, pruned - "rows" AS difference FROM archived_days WHERE source = $1
            UNION ALL
            SELECT {events.key[1]}::DATE AS day, count(*) AS difference FROM {events.table} GROUP BY ALL
        )
        GROUP BY day
        HAVING sum(difference) <> 0
        ORDER BY day
        """,
        events.table,
    )
    faults = [f"{len(wrong)} days differ from what was archived; the first: {_differs(*wrong[0])}"] if wrong else []
    archived, pruned = _ledger(query, events.table)
    return Found(faults, f"{archived - pruned:,} rows, {archived:,} archived and {pruned:,} pruned")


def _differs(day: str | None, difference: int) -> str:
    more = f"{difference:,} rows too many" if difference > 0 else f"{-difference:,} rows missing"
    return f"{day or 'no day'}, {more}"


def _ledger(query: Query, table: str) -> tuple[int, int]:
    rows = query('SELECT sum("rows")::BIGINT, sum(pruned)::BIGINT FROM archived_days WHERE source = $1', table)
    return rows[0][0] or 0, rows[0][1] or 0


def polls(events: Events, query: Query) -> Found:
    """Add up the poll log: it counts what was archived."""
    ((logged, archived, negative),) = query(
        """
        SELECT
            (SELECT coalesce(sum(rows_new), 0)::BIGINT FROM poll_log WHERE source = $1),
            (SELECT coalesce(sum("rows"), 0)::BIGINT FROM archived_days WHERE source = $1),
            (SELECT count(*) FROM poll_log WHERE source = $1 AND least(rows_read, rows_new, rows_open) < 0)
        """,
        events.table,
    )
    faults = []
    if logged != archived:
        faults.append(f"the poll log has {logged:,} new rows, {archived:,} were archived")
    if negative:
        faults.append(f"{negative} polls have a negative number of rows")
    return Found(faults, f"{logged:,} new rows in all polls")


def activity_files(query: Query) -> Found:
    """Compare the ledger of the Activity Log with its counters: each file stands there once, or was pruned."""
    ((doubled, rejected, kept),) = query(
        f"""
        SELECT
            (SELECT count(*) FROM (SELECT 1 FROM {LEDGER} GROUP BY path HAVING count(*) > 1)),
            (SELECT coalesce(sum(rejected), 0)::BIGINT FROM {LEDGER}),
            (SELECT count(*) FROM {REJECTS})
        """
    )
    ((files, counted, pruned),) = query(
        f"""
        SELECT
            (SELECT count(*) FROM {LEDGER}),
            (SELECT coalesce(sum(value), 0) FROM counters WHERE family = $1),
            (SELECT coalesce(sum(value), 0) FROM counters WHERE family = $2 AND labels = [$3])
        """,
        FILES.name,
        HISTORY_PRUNED.name,
        LEDGER,
    )
    faults = [f"{doubled} files stand there more than once"] if doubled else []
    if counted != files + pruned:
        faults.append(f"{FILES.name} counts {counted:,.0f}, {files:,} files stand there and {pruned:,.0f} are pruned")
    if kept > rejected:
        faults.append(f"{kept:,} lines are kept aside, {rejected:,} were rejected")
    return Found(faults, f"{files:,} files, {rejected:,} rejected lines")


def twice(events: Events, query: Query) -> Found:
    """Find duplicate keys. Rows imported without an id have none."""
    first, second = events.key
    imports = events.table == REQUESTS and query("SELECT 1 FROM duckdb_tables() WHERE table_name = 'imports'")
    named = f" AND NOT ({first} IS NULL AND {IMPORTED})" if imports else ""
    for window in _windows(events, query):
        found = query(
            f"SELECT {first}, {second}::VARCHAR, count(*) AS times FROM {events.table} WHERE {window}{named}"
            f" GROUP BY {first}, {second} HAVING times > 1 ORDER BY ALL"
        )
        if found:
            key, at, times = found[0]
            return Found([f"{len(found)} keys stand more than once; the first: {first} {key} of {at}, {times} times"])
    return Found(summary=f"no {first} stands twice with the same {second}")


def _windows(events: Events, query: Query) -> Iterator[str]:
    """Yield conditions that cut a table into spans of days with not too many rows; rows of one key are in the same."""
    key = events.key[1]
    sane = f"{key} >= TIMESTAMP '0001-01-02' AND {key} < TIMESTAMP '9999-12-31'"
    yield f"({sane}) IS NOT TRUE"
    begin, rows = None, 0
    counts = query(
        f"SELECT {key}::DATE::VARCHAR AS day, count(*) FROM {events.table} WHERE {sane} GROUP BY day ORDER BY day"
    )
    for day, count in counts:
        if begin is not None and rows + count > WINDOW_ROWS:
            yield f"{key} >= TIMESTAMP '{begin}' AND {key} < TIMESTAMP '{day}'"
            begin, rows = None, 0
        begin, rows = begin or day, rows + count
    if begin is not None:
        yield f"{key} >= TIMESTAMP '{begin}' AND {sane}"


def open_requests(query: Query) -> Found:
    """Find requests that are both open and final, that are open twice, or open with an end."""
    ((final, ended, doubled, waiting),) = query(
        """
        SELECT
            (
                SELECT count(*) FROM http_requests_open AS waiting JOIN http_requests AS final
                ON final.id = waiting.id AND final.created_at IS NOT DISTINCT FROM waiting.created_at
            ),
            count(*) FILTER (completed_at IS NOT NULL),
            count(*) - count(DISTINCT (id, coalesce(created_at::VARCHAR, ''))),
            count(*)
        FROM http_requests_open
        """
    )
    faults = [f"{final} are final too"] if final else []
    faults += [f"{ended} have ended"] if ended else []
    faults += [f"{doubled} stand there again"] if doubled else []
    return Found(faults, f"{waiting:,} wait for their end")


KEYS = {
    "positions": "source",
    "marks": "name",
    "counters": "family, labels",
    "histograms": "family, labels, le",
    "last_seen": "site, person",
    "archived_days": "source, day",
    "newest_events": "family, labels",
    "label_values": "source, value",
}


def bookkeeping(query: Query) -> Found:
    """Find duplicates of what must be unique, and negative counters."""
    present = {name for (name,) in query("SELECT table_name FROM duckdb_tables()")}
    faults = []
    for table, key in KEYS.items():
        if table in present:
            ((doubled,),) = query(f"SELECT count(*) FROM (SELECT 1 FROM {table} GROUP BY {key} HAVING count(*) > 1)")
            faults += [f"{doubled} of {table} stand more than once"] if doubled else []
    ((below,),) = query(
        "SELECT (SELECT count(*) FROM counters WHERE NOT (isfinite(value) AND value >= 0))"
        " + (SELECT count(*) FROM histograms WHERE observations < 0 OR NOT isfinite(seconds))"
    )
    faults += [f"{below} counters are below nothing"] if below else []
    return Found(faults, f"one line for each key of {', '.join(KEYS)}")


def positions(query: Query) -> Found:
    """Compare each position with the last one in the poll log."""
    moved = query(
        f"""
        SELECT positions.source
        FROM positions
        JOIN (
            SELECT source, horizon, max_id
            FROM poll_log
            WHERE mode <> '{DAY}' AND horizon IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY source ORDER BY rowid DESC) = 1
        ) AS last ON last.source = positions.source
        WHERE (positions.horizon, positions.max_id) IS DISTINCT FROM (last.horizon, last.max_id)
            -- The polls of a day that was pruned are one line: a clock that went back may have put the last among them.
            AND (positions.source, positions.polled_at::DATE) NOT IN (
                SELECT (source, started_at::DATE) FROM poll_log WHERE mode = '{DAY}' AND started_at IS NOT NULL
            )
        ORDER BY ALL
        """
    )
    odd = query("SELECT source FROM positions WHERE horizon > xmax OR version < 1 OR horizon < 0 ORDER BY ALL")
    faults = [f"{source} is not where the last poll moved it" for (source,) in moved]
    faults += [f"{source} is where no poll can have moved it" for (source,) in odd]
    known = [source for (source,) in query("SELECT source FROM positions ORDER BY ALL")]
    return Found(faults, f"{', '.join(known) or 'none yet'}: as the last poll left them")


def audits(query: Query) -> Found:
    """Compare the newest audit with its mark: rows later than both are new to an export that has the rest."""
    ((rows, newest, marked),) = query(
        f"SELECT count(*), max(audit_timestamp), (SELECT max(marked_at) FROM marks WHERE name = 'audited') FROM {AUDIT}"
    )
    if newest is not None and (marked is None or newest > marked):
        return Found([f"the newest is of {newest}, the mark of {marked}"])
    return Found(summary=f"{rows:,} rows")


def marks(query: Query) -> Found:
    """Compare the marks with each other, and with what is older than the last pruning."""
    ((oldest, newest, pruned, odd, left),) = query(
        """
        WITH known AS (
            SELECT
                max(marked_at) FILTER (name = 'oldest') AS oldest,
                max(marked_at) FILTER (name = 'newest') AS newest,
                max(marked_at) FILTER (name = 'pruned') AS pruned
            FROM marks
            WHERE isfinite(marked_at)
        )
        SELECT
            oldest,
            newest,
            pruned,
            (SELECT count(*) FROM marks WHERE isfinite(marked_at) IS NOT TRUE),
            (SELECT count(*) FROM http_requests WHERE created_at < (SELECT pruned FROM known))
        FROM known
        """
    )
    faults = []
    if oldest and newest and oldest > newest and pruned is None:
        faults.append(f"the oldest request is of {oldest}, the newest of {newest}")
    if odd:
        faults.append("one is no instant")
    if left:
        return Found(faults, f"{left:,} requests are older than {pruned} and wait to be removed", note=True)
    return Found(faults, f"requests from {oldest} to {newest}" + (f", pruned before {pruned}" if pruned else ""))
