"""The table ``asset_sizes``: the size of each asset after each of its refreshes, and the one expected before it.

A refresh is noted when it is read first; the size that is read last after it counts. What was noted last is remembered
between polls, so that a poll costs the same however long the history is.
"""

from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors.assets.rows import REFRESHES
from exporter.collectors.assets.sizes import COURSE, usual_bytes
from exporter.history.arrow import registered
from exporter.history.totals import mark, naive

TABLE = "asset_sizes"
KEPT = 40
"""How many refreshes of each asset are kept."""
FORGOTTEN_AFTER = "INTERVAL 400 DAY"
# Sources report the same refresh with other fractions of a second.
_SAME_REFRESH = 60_000_000
SIZES = pa.schema(
    {
        "asset_type": pa.string(),
        "asset_id": pa.string(),
        "refreshed_at": pa.timestamp("us"),
        "bytes": pa.int64(),
        "usual_bytes": pa.int64(),
    }
)
"""The columns of the table: ``usual_bytes`` is what was expected of this refresh, NULL where nothing was."""
_COLUMNS = ", ".join(SIZES.names)
_MARK = "sized"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (asset_type VARCHAR, asset_id VARCHAR, refreshed_at TIMESTAMP,"
        " bytes BIGINT, usual_bytes BIGINT)"
    )


class SizeRecorder:
    """What was noted last of each asset of one history."""

    def __init__(self) -> None:
        self.last = SIZES.empty_table()
        """The last refresh of each asset."""
        self._last_at: datetime | None = None

    def note(self, connection: duckdb.DuckDBPyConnection, assets: pa.Table, now: datetime) -> int:
        """Note the refreshes of assets that are new, and sizes that changed after a refresh; return how many."""
        self._remember(connection)
        found = _refreshed(assets)
        before = self.last.take(_places(found, self.last))
        later = pc.subtract(found.column("refreshed_at").cast("int64"), before.column("refreshed_at").cast("int64"))
        is_new = pc.fill_null(pc.greater(later, _SAME_REFRESH), fill_value=True)
        # A source that is behind reports an earlier refresh.
        is_same = pc.fill_null(pc.less_equal(pc.abs(later), _SAME_REFRESH), fill_value=False)
        resized = pc.and_(is_same, pc.not_equal(found.column("bytes"), before.column("bytes")))
        resized = pc.fill_null(resized, fill_value=False)
        corrected = before.filter(resized).set_column(3, SIZES.field("bytes"), found.filter(resized).column("bytes"))
        written = pa.concat_tables([_expected(connection, found.filter(is_new)), corrected])
        if written.num_rows:
            self._write(connection, written, naive(now))
        return int(written.num_rows)

    def _write(self, connection: duckdb.DuckDBPyConnection, written: pa.Table, now: datetime) -> None:
        with registered(connection, written=written):
            connection.execute(
                f"DELETE FROM {TABLE} WHERE (asset_type, asset_id, refreshed_at) IN"
                " (SELECT (asset_type, asset_id, refreshed_at) FROM written)"
            )
            connection.execute(f"INSERT INTO {TABLE} SELECT {_COLUMNS} FROM written")
            connection.execute(
                f"""
                DELETE FROM {TABLE} WHERE refreshed_at < $now::TIMESTAMP - {FORGOTTEN_AFTER} OR rowid IN (
                    SELECT rowid
                    FROM {TABLE}
                    WHERE (asset_type, asset_id) IN (SELECT (asset_type, asset_id) FROM written)
                    QUALIFY row_number() OVER (PARTITION BY asset_type, asset_id ORDER BY refreshed_at DESC) > {KEPT}
                )
                """,
                {"now": now},
            )
        self._last_at = now if self._last_at is None else max(now, self._last_at + timedelta(microseconds=1))
        mark(connection, _MARK, self._last_at)
        kept = self.last.filter(pc.is_null(_places(self.last, written)))
        self.last = pa.concat_tables([kept, written]).combine_chunks()

    def _remember(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read the last refreshes, unless the file is as it was left: a transaction may have come to nothing since."""
        marks = connection.execute("SELECT marked_at FROM marks WHERE name = ?", [_MARK]).fetchall()
        last_at = marks[0][0] if marks else None
        if last_at != self._last_at:
            self.last = connection.sql(
                f"SELECT {_COLUMNS} FROM {TABLE}"
                " QUALIFY row_number() OVER (PARTITION BY asset_type, asset_id ORDER BY refreshed_at DESC) = 1"
            ).to_arrow_table()
            self._last_at = last_at


def _refreshed(assets: pa.Table) -> pa.Table:
    """Return the assets with extracts of their own whose last refresh and size are known, as rows of SIZES."""
    of_book = pc.equal(assets.column("asset_type"), "workbook")
    source = pc.if_else(of_book, assets.column("own_source"), assets.column("freshness_source"))
    at = pc.if_else(of_book, assets.column("own_refresh_at"), assets.column("last_refresh_at"))
    is_extract = pc.not_equal(assets.column("asset_type"), "flow")
    columns = [*(assets.column(name) for name in ("asset_type", "asset_id")), at, assets.column("bytes")]
    rows = pa.table(columns, SIZES.names[:4])
    rows = rows.filter(pc.and_(is_extract, pc.is_in(source, pa.array(sorted(REFRESHES))))).drop_null()
    return rows.append_column("usual_bytes", pa.nulls(rows.num_rows, pa.int64())).cast(SIZES)


def _places(rows: pa.Table, among: pa.Table) -> pa.Array:
    """Return where each row's asset stands in another table; NULL where it does not."""
    return pc.index_in(_keys(rows), value_set=_keys(among)).cast("int64")


def _keys(rows: pa.Table) -> pa.Array:
    columns = (rows.column(name).combine_chunks() for name in ("asset_type", "asset_id"))
    return pc.binary_join_element_wise(*columns, "/")


def _expected(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
    """Return rows with the size that was expected of each refresh."""
    if not rows.num_rows:
        return rows
    with registered(connection, refreshed=rows):
        courses = connection.execute(
            f"""
            SELECT asset_type, asset_id, list(bytes ORDER BY refreshed_at)[-{COURSE}:]
            FROM {TABLE}
            WHERE (asset_type, asset_id) IN (SELECT (asset_type, asset_id) FROM refreshed)
            GROUP BY ALL
            """
        ).fetchall()
    usual = {(kind, luid): usual_bytes(sizes) for kind, luid, sizes in courses}
    keys = zip(rows.column("asset_type").to_pylist(), rows.column("asset_id").to_pylist(), strict=True)
    expected = pa.array([usual.get(key) for key in keys], pa.int64())
    return rows.set_column(4, SIZES.field("usual_bytes"), expected)
