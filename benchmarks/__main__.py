"""``make bench``: archive a million requests, and poll a thousand; everything as a ratio within this run.

ARGS="--rows 5000000" archives more; ARGS="--long 50000000" polls on a longer history.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.peers import PEERS, poller
from benchmarks.requests import fill, floor
from exporter.demo.postgres import Postgres
from exporter.poller.poller import Poller
from exporter.repository.connection import connect

NEW_ROWS = 1_000
# What stands in the repository; a longer history has a past that the repository has not.
REAL_ROWS = 1_000_000


def main() -> None:
    """Run the benchmarks and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="requests to archive")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each way")
    parser.add_argument("--long", type=int, default=10_000_000, help="rows of the longer history")
    parser.add_argument("--polls", type=int, default=15, help="polls of a thousand rows on each history")
    parser.add_argument("--only", choices=["archive", "poll"])
    arguments = parser.parse_args()
    with Postgres(settings={"max_wal_size": "8GB", "autovacuum": "off"}) as server:
        server.start()
        if arguments.only != "poll":
            archive(server, arguments.rows, arguments.runs)
        if arguments.only != "archive":
            polls(server, (1_000_000, arguments.long), arguments.polls)


def archive(server: Postgres, rows: int, runs: int) -> None:
    """Print what each way of archiving costs, against the floor of the same run."""
    parameters = _database(server, "archive")
    fill(parameters, 1, rows)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PEERS}
    floors = []
    for _ in range(runs):
        begun = time.perf_counter()
        floor(parameters)
        floors.append(time.perf_counter() - begun)
        for name in PEERS:
            command = [sys.executable, "-m", "benchmarks.peers", name, json.dumps(parameters)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append({**json.loads(answer.stdout.splitlines()[-1]), "floor": floors[-1]})
    print(
        f"\nArchiving {rows:,} requests, median of {runs} interleaved runs;"
        " x is the time against COPY binary to /dev/null"
    )
    print("| way | x | against plain ADBC | client CPU s | peak MB | bytes a row |\n|---|---|---|---|---|---|")
    plain = statistics.median(run["seconds"] for run in found["plain ADBC"])
    for name, results in found.items():
        times = statistics.median(run["seconds"] / run["floor"] for run in results)
        against = statistics.median(
            run["seconds"] / other["seconds"] for run, other in zip(results, found["plain ADBC"], strict=True)
        )
        cpu, peak, size = (statistics.median(run[key] for run in results) for key in ("cpu", "peak_mb", "row_bytes"))
        print(f"| {name} | {times:.2f} | {against:.2f} | {cpu:.1f} | {peak:.0f} | {size:.0f} |")
    print(f"The floor took {statistics.median(floors):.2f} s, plain ADBC {plain:.2f} s.")


def polls(server: Postgres, lengths: tuple[int, ...], count: int) -> None:
    """Print what a poll of a thousand new rows costs on a short and on a long history, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        ready: list[tuple[int, dict[str, str | int], Poller, list[float]]] = []
        for length in lengths:
            parameters = _database(server, f"poll_{length}")
            fill(parameters, 1, REAL_ROWS)
            path = Path(folder) / f"{length}.duckdb"
            made, history = poller(parameters, path)
            made.poll()
            history.file.unlock()
            lengthen(path, length)
            made, _ = poller(parameters, path)
            made.poll()
            ready.append((length, parameters, made, []))
        for _ in range(count):
            for _length, parameters, made, times in ready:
                with connect(parameters) as connection:
                    last = connection.execute("SELECT max(id) FROM http_requests").fetchone()
                fill(parameters, int(last[0]) + 1 if last else 1, (int(last[0]) if last else 0) + NEW_ROWS)
                begun = time.perf_counter()
                made.poll()
                times.append(time.perf_counter() - begun)
        print(f"\nA poll of {NEW_ROWS:,} new requests: median of {count}, in turn")
        print("| rows in the history | median ms | against the first |\n|---|---|---|")
        first = statistics.median(ready[0][3])
        for length, _parameters, _made, times in ready:
            print(f"| {length:,} | {statistics.median(times) * 1000:.0f} | {statistics.median(times) / first:.2f} |")


def lengthen(path: Path, rows: int) -> None:
    """Give a history a past: the same requests with smaller ids and earlier times, until it has so many rows."""
    with duckdb.connect(str(path)) as connection:
        there = connection.execute("SELECT count(*), max(id) FROM http_requests").fetchall()[0]
        for number in range(1, rows // there[0]):
            earlier = f"INTERVAL {number} DAY"
            connection.execute(
                f"INSERT INTO http_requests SELECT * REPLACE (id - {number * there[1]} AS id,"
                f" created_at - {earlier} AS created_at, completed_at - {earlier} AS completed_at)"
                " FROM http_requests WHERE id > 0"
            )


def _database(server: Postgres, name: str) -> dict[str, str | int]:
    with connect(server.admin()) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.admin(name)


if __name__ == "__main__":
    main()
