"""``make interop``: a history is exported twice, and every reader counts and sums the same requests.

DuckDB, pyarrow, Polars and Spark read the partitions of Parquet, the CSV file and the Delta table. Spark's support of
Delta is a jar that PyPI does not have: Spark reads the Parquet files that the log of the table names, as DuckDB does.
Then two histories whose ids are the same are exported into one lake, each into a folder of its deployment.

    python -m benchmarks.interop --requests 1000000
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from click.testing import CliRunner
from deltalake import DeltaTable
from pyarrow import csv
from pyspark.sql import DataFrame, SparkSession

from benchmarks.exports import fill
from exporter import cli

TABLE = "http_requests"
CSV = f"{TABLE}.csv"
# Texts that a reader may take apart, and requests whose day is not known.
ODD = """
    UPDATE http_requests SET http_request_uri = ['two
lines, "quoted"', '''', '""', ';,|', '', NULL, 'Ünï 🎉', ' x '][1 + id % 8] WHERE id % 97 = 0;
    UPDATE http_requests SET created_at = NULL WHERE id % 1013 = 0;
"""
SQL = """
    SELECT count(*), count(DISTINCT {day}), sum(id)::HUGEINT, sum(epoch_us(created_at))::HUGEINT,
        sum(length(http_request_uri))::HUGEINT, count(*) FILTER (status IS NULL)
    FROM {relation}
"""
DAY = "created_at::DATE"


class Sums(NamedTuple):
    """What is compared: numbers, instants, texts, NULLs."""

    rows: int
    days: int
    ids: int
    """The sum of all ids."""
    microseconds: int
    """The sum of created_at, each since 1970."""
    letters: int
    """The length of all URIs."""
    unknown: int
    """How many statuses are NULL."""


Reader = Callable[[Path], Sums]


def sums_of_history(path: Path) -> Sums:
    """Let DuckDB count in the history itself."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return _sums(connection, TABLE, DAY)


def _sums(connection: duckdb.DuckDBPyConnection, relation: str, day: str) -> Sums:
    row = connection.execute(SQL.format(relation=relation, day=day)).fetchone()
    return Sums(*map(int, row or ()))


def _duckdb(relation: str, day: str = DAY) -> Sums:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return _sums(connection, relation, day)


def _arrow(table: pa.Table) -> Sums:
    instants = table["created_at"].cast(pa.timestamp("us"))
    return Sums(
        table.num_rows,
        pc.count_distinct(pc.floor_temporal(instants, unit="day")).as_py(),
        pc.sum(table["id"]).as_py(),
        int(pc.sum(instants.cast(pa.int64()).cast(pa.decimal128(38, 0))).as_py()),
        pc.sum(pc.utf8_length(table["http_request_uri"])).as_py(),
        table["status"].null_count,
    )


def _polars(frame: pl.LazyFrame) -> Sums:
    created_at = pl.col("created_at")
    counted = frame.select(
        pl.len(),
        created_at.dt.date().drop_nulls().n_unique(),
        pl.col("id").sum(),
        created_at.dt.epoch("us").cast(pl.Int128).sum().alias("microseconds"),
        pl.col("http_request_uri").str.len_chars().cast(pl.Int64).sum(),
        pl.col("status").null_count(),
    )
    return Sums(*map(int, counted.collect().row(0)))


def _spark(frame: DataFrame, day: str = "to_date(created_at)") -> Sums:
    counted = frame.selectExpr(
        "count(*)",
        f"count(DISTINCT {day})",
        "sum(id)",
        "sum(CAST(unix_micros(CAST(created_at AS TIMESTAMP)) AS DECIMAL(38, 0)))",
        "sum(length(http_request_uri))",
        "count_if(status IS NULL)",
    )
    return Sums(*map(int, counted.first()))


def _csv(folder: Path) -> pa.Table:
    quoted = csv.ParseOptions(newlines_in_values=True)
    empty = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    return csv.read_csv(folder / CSV, parse_options=quoted, convert_options=empty)


def _files(folder: Path) -> list[str]:
    """Return the files that the log of a Delta table names."""
    return DeltaTable(folder).file_uris()


def readers(spark: SparkSession) -> Mapping[str, Mapping[str, Reader]]:
    """Return how each format is read, by the name of the reader."""
    of_csv: dict[str, Any] = {"header": True, "inferSchema": True, "multiLine": True, "escape": '"', "emptyValue": ""}
    return {
        "parquet": {
            "DuckDB": lambda at: _duckdb(f"read_parquet('{at}/**/*.parquet', hive_partitioning = true)", "day"),
            "pyarrow": lambda at: _arrow(ds.dataset(at, format="parquet", partitioning="hive").to_table()),
            "Polars": lambda at: _polars(pl.scan_parquet(f"{at}/**/*.parquet", hive_partitioning=True)),
            "Spark": lambda at: _spark(spark.read.parquet(str(at)), "day"),
        },
        "csv": {
            "DuckDB": lambda at: _duckdb(f"read_csv('{at}/{CSV}')"),
            "pyarrow": lambda at: _arrow(_csv(at)),
            "Polars": lambda at: _polars(pl.scan_csv(at / CSV, try_parse_dates=True)),
            "Spark": lambda at: _spark(spark.read.options(**of_csv).csv(str(at / CSV))),
        },
        "delta": {
            "DuckDB (files)": lambda at: _duckdb(f"read_parquet({_files(at)})"),
            "pyarrow (deltalake)": lambda at: _arrow(DeltaTable(at).to_pyarrow_table()),
            "Polars (deltalake)": lambda at: _polars(pl.scan_delta(str(at))),
            "Spark (files)": lambda at: _spark(spark.read.parquet(*_files(at))),
        },
    }


def session(folder: Path) -> SparkSession:
    """Start Spark in this process, in UTC and on loopback alone."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(folder)}
    builder = SparkSession.builder.master("local[2]").appName("interop")
    settings = {
        "spark.driver.memory": "2g",
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    started = builder.getOrCreate()
    started.sparkContext.setLogLevel("ERROR")
    return started


def export(history: Path, target: Path, format_: str) -> float:
    """Run the command twice: the second time nothing may be new. Return the seconds of the first."""
    settings = {"TABLEAU_EXPORTER_HISTORY__PATH": str(history), "TABLEAU_EXPORTER_REPOSITORY__HOSTS": "none"}
    command = ["history", "export", f"--format={format_}", f"--table={TABLE}", f"--output={target}"]
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        done = CliRunner().invoke(cli.main, command, env=settings)
        seconds.append(time.perf_counter() - begun)
        if done.exit_code:
            raise SystemExit(done.output)
    return seconds[0]


Counts = Mapping[str, int]


def deployments(spark: SparkSession) -> Mapping[str, Callable[[Path], Counts]]:
    """Return how many requests of each deployment a reader finds, by the name of the reader."""
    by = "deployment"
    sql = f"SELECT {by}, count(*) FROM read_parquet('{{}}/**/*.parquet', hive_partitioning = true) GROUP BY {by}"

    def in_duckdb(at: Path) -> Counts:
        with duckdb.connect() as connection:
            return {str(name): int(count) for name, count in connection.execute(sql.format(at)).fetchall()}

    def arrow(at: Path) -> Counts:
        found = ds.dataset(at, format="parquet", partitioning="hive").to_table(columns=[by])[by].value_counts()
        return {row["values"]: row["counts"] for row in found.to_pylist()}

    def polars(at: Path) -> Counts:
        frame = pl.scan_parquet(f"{at}/**/*.parquet", hive_partitioning=True).group_by(by).len()
        return {str(name): int(count) for name, count in frame.collect().rows()}

    def spark_sql(at: Path) -> Counts:
        return {row[by]: row["count"] for row in spark.read.parquet(str(at)).groupBy(by).count().collect()}

    return {
        "DuckDB": in_duckdb,
        "pyarrow": arrow,
        "Polars": polars,
        "Spark": spark_sql,
    }


def main() -> int:
    """Export, read, compare, and print a table; return 1 where a reader counts otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spark = session(folder)
        equal = _formats(folder, wanted.requests, readers(spark))
        equal &= _lake(folder, wanted.requests // 10, deployments(spark))
    return 0 if equal else 1


def _formats(folder: Path, requests: int, readers_of: Mapping[str, Mapping[str, Reader]]) -> bool:
    history = folder / "history.duckdb"
    fill(history, requests)
    with duckdb.connect(str(history)) as connection:
        connection.execute(ODD)
    expected, equal = sums_of_history(history), True
    print(f"the history: {expected}\n\n| format | reader | rows | seconds | sums |\n|---|---|---|---|---|")
    for format_, of_format in readers_of.items():
        seconds = export(history, folder / format_, format_)
        print(f"| {format_} | the export itself | {expected.rows:,} | {seconds:.1f} | |")
        for reader, count in of_format.items():
            begun = time.perf_counter()
            sums = count(folder / format_)
            seconds = time.perf_counter() - begun
            print(f"| {format_} | {reader} | {sums.rows:,} | {seconds:.1f} | {_compared(sums, expected)} |", flush=True)
            equal &= sums == expected
    return equal


def _lake(folder: Path, requests: int, counts: Mapping[str, Callable[[Path], Counts]]) -> bool:
    expected = {"berlin": requests, "tokyo": 2 * requests}
    for deployment, count in expected.items():
        history = folder / f"{deployment}.duckdb"
        fill(history, count)
        export(history, folder / "lake" / f"deployment={deployment}", "parquet")
    print("\n| reader | requests by deployment | |\n|---|---|---|")
    equal = True
    for reader, of_lake in counts.items():
        found = dict(sorted(of_lake(folder / "lake").items()))
        print(f"| {reader} | {found} | {'equal' if found == expected else f'not {expected}'} |", flush=True)
        equal &= found == expected
    return equal


def _compared(sums: Sums, expected: Sums) -> str:
    pairs = zip(Sums._fields, sums, expected, strict=True)
    return "; ".join(f"{name} {found}, not {right}" for name, found, right in pairs if found != right) or "equal"


if __name__ == "__main__":
    sys.exit(main())
