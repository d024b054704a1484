"""One way of archiving, in a process of its own: prints its seconds, processor seconds, peak memory and bytes a row."""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import adbc_driver_postgresql.dbapi as driver
import duckdb
import pyarrow as pa

from exporter.collectors import discover
from exporter.exposition.state_store import StateStore
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import URI_COLUMNS, Privacy, cleaning, parsed, pieces
from exporter.poller.context import PollContext
from exporter.poller.repository_poller import RepositoryPoller, Schedule
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions
from exporter.repository.connection import connect

Parameters = dict[str, str | int]

COLUMNS = (
    "id, controller, action, http_referer, http_user_agent, http_request_uri, remote_ip, created_at, session_id,"
    " completed_at, port, user_id, worker, status, user_ip, vizql_session, site_id, currentsheet, flags_used"
)


def poller(parameters: Parameters, path: Path) -> tuple[RepositoryPoller, History]:
    """Return the product's own poller, archiving requests with everything on."""
    collectors = {name: item for name, item in discover().items() if name in {"http_requests", "active_users"}}
    history = History(HistoryFile(path), collectors, Privacy())
    login = RepositoryOptions(
        (Address(str(parameters["host"]), int(parameters["port"])),),
        str(parameters["dbname"]),
        str(parameters["user"]),
        lambda: str(parameters.get("password", "")) or None,
        (("sslmode", "disable"),),
        statement_timeout=600.0,
    )
    store = StateStore(["repository"], version="bench", library=duckdb.__version__, started_at=time.time())
    made = RepositoryPoller(RepositoryClient(login), PollContext(history, collectors, store, time.time), Schedule())
    history.lock()
    return made, history


def ours(parameters: Parameters, path: Path) -> None:
    """Archive with redaction, deduplication, parsing of assets and folding of counters."""
    made, _ = poller(parameters, path)
    if not made.poll():
        message = "the poll failed"
        raise SystemExit(message)


class Load(Protocol):
    """A way of loading every request into a table, plainly or tidied."""

    def __call__(self, parameters: Parameters, path: Path, *, tidy: bool) -> None:
        """Load them."""


@dataclass(frozen=True)
class Peer:
    """Another way from PostgreSQL into DuckDB: plainly, or with the redaction and the deduplication that ours has."""

    load: Load
    tidy: bool = False

    def __call__(self, parameters: Parameters, path: Path) -> None:
        """Load every request into a table of its own."""
        self.load(parameters, path, tidy=self.tidy)


def store(file: duckdb.DuckDBPyConnection, relation: str, *, tidy: bool) -> None:
    """Append a relation's rows to the table of requests: as they are, or redacted, parsed and without what is known."""
    selected = _tidied(relation) if tidy else f"SELECT * FROM {relation}"
    more = ", NULL::VARCHAR AS asset_type, NULL::VARCHAR AS workbook, NULL::VARCHAR AS view" if tidy else ""
    file.execute(f"CREATE TABLE IF NOT EXISTS http_requests AS SELECT *{more} FROM {relation} LIMIT 0")
    file.execute(f"INSERT INTO http_requests BY NAME {selected}")


def _tidied(relation: str) -> str:
    made = ", ".join(f"{text} AS {name}" for name, text in cleaning(Privacy()).items())
    cut = ", ".join(f"{name}_pieces" for name in URI_COLUMNS)
    return (
        f"SELECT rows.* EXCLUDE ({cut}) REPLACE ({made})"
        f" FROM (SELECT *, {pieces(URI_COLUMNS)} FROM ({parsed(relation)})) AS rows"
        " ANTI JOIN http_requests AS known ON known.id = rows.id AND known.created_at = rows.created_at"
    )


def adbc(parameters: Parameters, path: Path, *, tidy: bool) -> None:
    """Stream Arrow through ADBC."""
    with driver.connect(_address(parameters)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM http_requests")
        reader = cursor.fetch_record_batch()
        with duckdb.connect(str(path)) as file:
            # A stream can be read once: the table is made from its schema.
            file.register("empty", reader.schema.empty_table())
            store(file, "empty", tidy=tidy)
            file.register("rows", reader)
            store(file, "rows", tidy=tidy)


def csv_file(parameters: Parameters, path: Path, *, tidy: bool) -> None:
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
            store(database, f"read_csv('{file.name}', nullstr='')", tidy=tidy)


def rows_to_arrow(parameters: Parameters, path: Path, *, tidy: bool) -> None:
    """Fetch rows with a server cursor of psycopg and build Arrow tables of them."""
    names = [name.strip() for name in COLUMNS.split(",")]
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
            store(database, "batch", tidy=tidy)


def pipeline(parameters: Parameters, path: Path, *, tidy: bool) -> None:
    """Run a dlt pipeline with its Arrow backend; what is tidied is tidied from the table that it has loaded."""
    os.environ.update(
        {
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
            "DLT_DATA_DIR": str(path.parent / "dlt"),
        }
    )
    import dlt  # noqa: PLC0415 - slow to import, and only this peer needs it
    from dlt.sources.sql_database import sql_table  # noqa: PLC0415

    address = _address(parameters).replace("postgresql:", "postgresql+psycopg:")
    table = sql_table(
        credentials=address,
        table="http_requests",
        backend="pyarrow",
        chunk_size=50_000,
        included_columns=[name.strip() for name in COLUMNS.split(",")],
    )
    loaded = path.with_name("fetched.duckdb") if tidy else path
    run = dlt.pipeline(
        "requests",
        pipelines_dir=str(path.parent / "pipelines"),
        destination=dlt.destinations.duckdb(str(loaded)),
        dataset_name="main" if not tidy else "loaded",
    )
    run.run(table, write_disposition="append")
    if tidy:
        with duckdb.connect(str(path)) as database:
            database.execute(f"ATTACH '{loaded}' AS arrived (READ_ONLY)")
            store(database, "arrived.loaded.http_requests", tidy=True)


def _address(parameters: Parameters) -> str:
    return "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**parameters)


PEERS: dict[str, Callable[[Parameters, Path], None]] = {
    "ours": ours,
    "plain ADBC": Peer(adbc),
    "ADBC, tidied": Peer(adbc, tidy=True),
    "COPY csv, read_csv": Peer(csv_file),
    "COPY csv, read_csv, tidied": Peer(csv_file, tidy=True),
    "psycopg, pyarrow": Peer(rows_to_arrow),
    "psycopg, pyarrow, tidied": Peer(rows_to_arrow, tidy=True),
    "dlt": Peer(pipeline),
    "dlt, tidied": Peer(pipeline, tidy=True),
}
"""Tidied: redacted, parsed and deduplicated by our own expressions, as ours is; only ours folds counters as well."""


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
