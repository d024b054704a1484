"""A history of as many requests as asked for, exported in every format beside DuckDB's own COPY of the same file.

The text file of these requests is imported again, into another history.

    python -m benchmarks.exports WAY HISTORY FOLDER

does one of them in a process of its own, and prints what it took.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from exporter import cli, exports
from exporter.collectors import discover
from exporter.history.export_reader import ExportSource, Slices
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy

# As many as the agent archives in one transaction when it reads a large past.
STEP = 100_000
A_DAY = 150_000

ROWS = """
    INSERT INTO http_requests BY NAME
    SELECT
        n AS id,
        ['vizql', 'views', 'workgroup', 'vizportal'][1 + n % 4] AS controller,
        ['bootstrapSession', 'performPostLoadOperations', 'sessions', 'show', 'tilecache', 'login'][1 + n % 6]
            AS action,
        'https://tableau.example.com/t/site' || n % 5 || '/views/Workbook' || n % 300 || '/Sheet' || n % 7
            AS http_referer,
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || 100 + n % 20
            || '.0.0.0 Safari/537.36' AS http_user_agent,
        '/vizql/t/site' || n % 5 || '/w/Workbook' || n % 300 || '/v/Sheet' || n % 7 || '/sessions/'
            || upper(md5((n // 10)::VARCHAR)) || '-0:0/commands' AS http_request_uri,
        '10.' || n % 200 || '.' || n % 250 || '.7' AS remote_ip,
        TIMESTAMP '2025-01-01' + to_microseconds(n * 86_400_000_000 // {a_day}) AS created_at,
        upper(md5((n // 50)::VARCHAR)) AS session_id,
        TIMESTAMP '2025-01-01' + to_microseconds(n * 86_400_000_000 // {a_day} + n % 4000 * 1000) AS completed_at,
        8000 + n % 4 AS port,
        1 + n % 900 AS user_id,
        'worker' || n % 3 AS worker,
        [200, 200, 200, 200, 302, 404, 500, NULL][1 + n % 8] AS status,
        '10.' || n % 200 || '.' || n % 250 || '.7' AS user_ip,
        upper(md5((n // 10)::VARCHAR)) || '-0:0' AS vizql_session,
        1 + n % 5 AS site_id,
        'Workbook' || n % 300 || '/Sheet' || n % 7 AS currentsheet,
        0 AS flags_used,
        'view' AS asset_type,
        'Workbook' || n % 300 AS workbook,
        'Sheet' || n % 7 AS "view",
        TIMESTAMP '2026-01-01' + to_microseconds(n // {step}) AS archived_at
    FROM range({first}, {last}) AS rows(n)
"""

NAMES = """
    INSERT INTO workbooks BY NAME
        SELECT DATE '2025-01-01' AS day, n AS id, 1 + n % 5 AS site_id, 'Workbook ' || n // 5 AS name,
            'Workbook' || n // 5 AS repository_url, 1 + n % 900 AS owner_id FROM range(50000) AS rows(n);
    INSERT INTO views BY NAME
        SELECT DATE '2025-01-01' AS day, n AS id, 1 + n // 7 % 5 AS site_id, n // 7 AS workbook_id,
            'Sheet ' || n % 7 AS name, 'Workbook' || n // 35 || '/Sheet' || n % 7 AS view_url
        FROM range(350000) AS rows(n);
    INSERT INTO users BY NAME
        SELECT DATE '2025-01-01' AS day, n AS id, 1 AS site_id, 'user' || n AS name, 'User ' || n AS friendly_name
        FROM range(20000) AS rows(n);
    INSERT INTO extracts BY NAME
        SELECT DATE '2025-01-01' AS day, n AS id, 1 + n % 5 AS site_id, n AS workbook_id, md5(n::VARCHAR) AS descriptor
        FROM range(50000) AS rows(n);
    INSERT INTO data_connections BY NAME
        SELECT DATE '2025-01-01' AS day, n AS id, 1 + n % 5 AS site_id, n AS owner_id, 'Workbook' AS owner_type,
            'postgres' AS dbclass, 'warehouse' AS dbname, 'db.example.com' AS server FROM range(50000) AS rows(n);
"""


def fill(path: Path, rows: int) -> None:
    """Make a history of so many requests, in the agent's own tables."""
    history = History(HistoryFile(path), discover(), Privacy())
    history.prepare(datetime.now(UTC))
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        connection.execute(NAMES)
        for first in range(0, rows, 10 * STEP):
            last = min(rows, first + 10 * STEP)
            connection.execute(ROWS.format(first=first, last=last, step=STEP, a_day=A_DAY))


COPY = """
    COPY (SELECT *, created_at::DATE AS day FROM http_requests)
    TO '{folder}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (day))
"""


def copy(path: Path, folder: Path) -> None:
    """Let DuckDB write the partitions, with all of its threads and all of the memory."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(COPY.format(folder=folder))


def export(format_: str, table: str = "http_requests") -> Callable[[Path, Path], None]:
    """Return our way of a format, with the limits of the command."""

    def run(path: Path, folder: Path) -> None:
        kind = exports.TABLES[table]
        rows = Slices(HistoryFile(path, Limits(), read_only=True), ExportSource(table, kind.order, kind.at, kind.base))
        exports.load(format_)(rows, str(folder), exports.ExportOptions(rows.history, table))

    return run


def text(name: str) -> Callable[[Path, Path], None]:
    """Return the command that writes a text file."""

    def run(path: Path, folder: Path) -> None:
        folder.mkdir()
        os.environ["TABLEAU_EXPORTER_HISTORY__PATH"] = str(path)
        command = ["history", "export", "--format=text", f"--table={name}", f"--output={folder}"]
        cli.main(command, standalone_mode=False)

    return run


def import_text(path: Path, folder: Path) -> None:
    """Import the text file of the same requests into a history of its own."""
    folder.mkdir()
    begun = folder / path.name
    History(HistoryFile(begun), discover(), Privacy()).prepare(datetime.now(UTC))
    os.environ["TABLEAU_EXPORTER_HISTORY__PATH"] = str(begun)
    cli.main(["history", "import", str(path.with_name("http_requests.txt"))], standalone_mode=False)


COPIED = "DuckDB COPY, parquet"
IMPORTED = "import of text"
WAYS: Mapping[str, Callable[[Path, Path], None]] = {
    COPIED: copy,
    **{name: export(name) for name in ("parquet", "csv", "delta", "hyper")},
    **{f"{name}, usage": export(name, "usage") for name in ("parquet", "csv", "delta")},
    "text": text("http_requests"),
    "text, usage": text("usage"),
    IMPORTED: import_text,
}


def measure(rows: int, runs: int) -> None:
    """Print what each way costs on one history, in turn."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.duckdb"
        fill(history, rows)
        text("http_requests")(history, history.with_name("http_requests"))
        (history.with_name("http_requests") / "http_requests.txt").rename(history.with_name("http_requests.txt"))
        for _ in range(runs):
            for name in WAYS:
                with tempfile.TemporaryDirectory() as target:
                    command = [sys.executable, "-m", "benchmarks.exports", name, str(history), f"{target}/out"]
                    answer = subprocess.run(command, check=True, capture_output=True, text=True)
                found[name].append(json.loads(answer.stdout.splitlines()[-1]))
    print(f"\nExporting {rows:,} requests, median of {runs} interleaved runs")
    print("| way | seconds | against COPY | CPU s | peak MB | of hyperd | bytes a row |\n|---|---|---|---|---|---|---|")
    for name, results in found.items():
        copied = zip(results, found[COPIED], strict=True)
        ratio = statistics.median(run["seconds"] / other["seconds"] for run, other in copied)
        keys = ("seconds", "cpu", "peak_mb", "child_mb", "size")
        seconds, cpu, peak, child, size = (statistics.median(run[key] for run in results) for key in keys)
        print(f"| {name} | {seconds:.1f} | {ratio:.2f} | {cpu:.1f} | {peak:.0f} | {child:.0f} | {size / rows:.0f} |")


def peak_mb() -> float:
    """Return the most memory of this program; the system's count begins with that of the process that started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Do one of the ways and print what it took."""
    name, history, folder = sys.argv[1:]
    begun = time.perf_counter()
    WAYS[name](Path(history), Path(folder))
    seconds = time.perf_counter() - begun
    # hyperd is a process of its own; of its peak much is files that it has mapped, which the system can take back.
    usage, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    cpu = sum(each.ru_utime + each.ru_stime for each in (usage, children))
    peak, child = peak_mb(), children.ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "child_mb": child, "size": size}))


if __name__ == "__main__":
    main()
