"""``make bench``: archive, poll, export, read a large Tableau and an Activity Log, notify, render, scrape many assets.

All as ratios within this run. ARGS="--rows 5000000" archives more; ARGS="--long 50000000" polls on a longer history;
ARGS="--only exposition --pause 0" scrapes alone, without a pause.
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

from benchmarks import activity_log, exports, notifying, pages, rest
from benchmarks.exposition import measure, report
from benchmarks.peers import PEERS, poller
from benchmarks.requests import fill, floor
from exporter.demo.postgres import Postgres
from exporter.poller.repository_poller import RepositoryPoller
from exporter.repository.connection import connect

PARTS = ("activity_log", "archive", "exports", "exposition", "notify", "pages", "poll", "rest")
NEW_ROWS = 1_000
# What stands in the repository; a longer history has a past that the repository has not.
REAL_ROWS = 1_000_000


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="requests to archive")
    parser.add_argument("--runs", type=int, default=3, help="interleaved runs of each way")
    parser.add_argument("--long", type=int, default=10_000_000, help="rows of the longer history")
    parser.add_argument("--polls", type=int, default=15, help="polls of a thousand rows on each history")
    parser.add_argument("--workbooks", type=int, default=50_000, help="of the Tableau that is read")
    parser.add_argument("--datasources", type=int, default=20_000, help="of the Tableau that is read")
    parser.add_argument("--assets", type=int, default=100_000, help="of the exposition and the pages")
    parser.add_argument("--every", type=float, default=15.0, help="seconds from rendering to rendering")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds from scrape to scrape of each scraper")
    parser.add_argument("--files", type=int, default=6_000, help="of the Activity Log, 84 events each")
    parser.add_argument("--only", choices=PARTS)
    return parser.parse_args()


def exposing(arguments: argparse.Namespace) -> None:
    """Render and scrape, small and whole."""
    for small in (True, False):
        runs = [measure(arguments.assets, arguments, small=small) for _ in range(arguments.runs)]
        report(arguments.assets, runs)


def main() -> None:
    """Run the benchmarks and print their tables."""
    arguments = parsed()
    if arguments.only in {None, "exposition"}:
        exposing(arguments)
    if arguments.only in {None, "pages"}:
        pages.measure(arguments.assets, times=40, scrapers=8, pause_seconds=arguments.pause)
    if arguments.only in {None, "rest"}:
        reading(arguments.workbooks, arguments.datasources, arguments.runs)
    if arguments.only in {None, "activity_log"}:
        activity_log.measure(arguments.files, events=84)
    if arguments.only in {None, "notify"}:
        telling(arguments.workbooks, arguments.datasources)
    if arguments.only in {None, "exports"}:
        exports.measure(arguments.long, arguments.runs)
    if arguments.only in {"activity_log", "exports", "exposition", "notify", "pages", "rest"}:
        return
    with Postgres(settings={"max_wal_size": "8GB", "autovacuum": "off"}) as server:
        server.start()
        if arguments.only != "poll":
            archive(server, arguments.rows, arguments.runs)
        if arguments.only != "archive":
            polls(server, (1_000_000, arguments.long), arguments.polls)


def reading(workbooks: int, datasources: int, runs: int) -> None:
    """Print what a complete poll of the REST and Metadata APIs costs, against the plainest loop over two lists."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in rest.WAYS}
    with rest.tableau(workbooks, datasources) as url:
        for _ in range(runs):
            for name in rest.WAYS:
                found[name].append(rest.measure(name, url))
    *_, plain = found.values()
    print(f"\nReading {workbooks:,} workbooks and {datasources:,} sources: median of {runs} interleaved runs")
    print("| way | assets | seconds | against the last | client CPU s | peak MB |\n|---|---|---|---|---|---|")
    for name, results in found.items():
        ratio = statistics.median(run["seconds"] / other["seconds"] for run, other in zip(results, plain, strict=True))
        keys = ("assets", "seconds", "cpu", "peak_mb")
        assets, seconds, cpu, peak = (statistics.median(run[key] for run in results) for key in keys)
        print(f"| {name} | {assets:,.0f} | {seconds:.1f} | {ratio:.2f} | {cpu:.1f} | {peak:.0f} |")


def telling(workbooks: int, datasources: int) -> None:
    """Print what direct notifications cost while no asset, a tenth and all of those with extracts are stale."""
    with rest.tableau(workbooks, datasources) as url:
        found = [notifying.measure(share, url) for share in (0.0, 0.1, 1.0)]
    print(
        f"\nNotifying {notifying.RECEIVERS} Alertmanagers, {workbooks:,} workbooks and {datasources:,} sources;"
        " CPU seconds, and x as they are of posting the same bytes by a bare client"
    )
    print("| alerts firing | a look | a minute | x | MB a minute | peak MB before alerts, with them |")
    print("|---|---|---|---|---|---|")
    for run in found:
        times = f"{run['a_minute'] / run['bare']:.0f}" if run["firing"] else "-"
        print(
            f"| {run['firing']:,.0f} | {run['quiet']:.2f} | {run['a_minute']:.1f} | {times} | {run['sent_mb']:.1f}"
            f" | {run['polled_mb']:.0f}, {run['peak_mb']:.0f} |"
        )


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
        ready: list[tuple[int, dict[str, str | int], RepositoryPoller, list[float]]] = []
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
