"""One way of archiving, in a process of its own: prints its seconds, processor seconds, peak memory and bytes a row."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import adbc_driver_postgresql.dbapi as driver
import duckdb
import pyarrow as pa

from exporter.collectors import discover
from exporter.exposition.board import Board
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.poller.poller import Poller, Schedule
from exporter.repository.connection import connect
from exporter.repository.source import Address, Login, Repository

Parameters = dict[str, str | int]

COLUMNS = (
    "id, controller, action, http_referer, http_user_agent, http_request_uri, remote_ip, created_at, session_id,"
    " completed_at, port, user_id, worker, status, user_ip, vizql_session, site_id, currentsheet, flags_used"
)


def poller(parameters: Parameters, path: Path) -> tuple[Poller, History]:
    """Return the product's own poller, archiving requests with everything on."""
    collectors = {name: item for name, item in discover().items() if name in {"http_requests", "active_users"}}
    history = History(HistoryFile(path), collectors, Privacy())
    login = Login(
        (Address(str(parameters["host"]), int(parameters["port"])),),
        str(parameters["dbname"]),
        str(parameters["user"]),
        lambda: str(parameters.get("password", "")) or None,
        (("sslmode", "disable"),),
        statement_timeout=600.0,
    )
    board = Board(["repository"], version="bench", library=duckdb.__version__, started_at=time.time())
    made = Poller(
        Repository(login), history, collectors, board, Schedule(), lambda _asset: (None, None), clock=time.time
    )
    made.lock()
    return made, history


def ours(parameters: Parameters, path: Path) -> None:
    """Archive with redaction, deduplication, parsing of assets and folding of counters."""
    made, _ = poller(parameters, path)
    if not made.poll():
        message = "the poll failed"
        raise SystemExit(message)


def adbc(parameters: Parameters, path: Path) -> None:
    """Load plainly through ADBC: no redaction, no deduplication, no counters."""
    address = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**parameters)
    with driver.connect(address) as connection, connection.cursor() as cursor, duckdb.connect(str(path)) as file:
        cursor.execute(f"SELECT {COLUMNS} FROM http_requests")
        file.register("rows", cursor.fetch_record_batch())
        file.execute("CREATE TABLE http_requests AS SELECT * FROM rows")


def csv_file(parameters: Parameters, path: Path) -> None:
    """Copy to a temporary CSV file and let DuckDB read it."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        with (
            connect(parameters) as connection,
            connection.cursor() as cursor,
            cursor.copy(f"COPY (SELECT {COLUMNS} FROM http_requests) TO STDOUT (FORMAT csv, HEADER)") as copy,
        ):
            for data in copy:
                file.write(data)
        file.flush()
        with duckdb.connect(str(path)) as database:
            database.execute(f"CREATE TABLE http_requests AS SELECT * FROM read_csv('{file.name}', nullstr='')")


def rows_to_arrow(parameters: Parameters, path: Path) -> None:
    """Fetch rows with a server cursor of psycopg and build Arrow tables of them."""
    names = [name.strip() for name in COLUMNS.split(",")]
    statement = "CREATE TABLE http_requests AS FROM batch"
    with (
        connect(parameters) as connection,
        duckdb.connect(str(path)) as database,
        connection.transaction(),
        connection.cursor(name="rows") as cursor,
    ):
        cursor.itersize = 50_000
        cursor.execute(f"SELECT {COLUMNS} FROM http_requests")
        while rows := cursor.fetchmany(50_000):
            columns = (list(column) for column in zip(*rows, strict=True))
            database.register("batch", pa.table(dict(zip(names, columns, strict=True))))
            database.execute(statement)
            statement = "INSERT INTO http_requests SELECT * FROM batch"


PEERS: dict[str, Callable[[Parameters, Path], None]] = {
    "ours": ours,
    "plain ADBC": adbc,
    "COPY csv, read_csv": csv_file,
    "psycopg, pyarrow": rows_to_arrow,
}


def main() -> None:
    """Run the peer that the command line names, on the repository it gives as JSON."""
    name, parameters = sys.argv[1], json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.duckdb"
        begun, cpu = time.perf_counter(), time.process_time()
        PEERS[name](parameters, path)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute("SELECT count(*) FROM http_requests").fetchall()[0][0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps(
                {"seconds": seconds, "cpu": cpu, "peak_mb": peak, "rows": rows, "row_bytes": path.stat().st_size / rows}
            )
        )


if __name__ == "__main__":
    main()
