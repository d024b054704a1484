"""A query in a process of its own, which the operating system ends where DuckDB does not.

DuckDB checks for an interrupt between two chunks of rows, and its memory limit does not cover every text of a
function: one call may last minutes and need gigabytes. So the process has limits: an alarm ends it, an allocation
beyond its limit fails, and no file can be written. It ends with the command that waits for it.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

from exporter.child_process import received, spawn
from exporter.errors import ExporterError, QueryFailed
from exporter.history.file import HistoryFile, Limits
from exporter.history.query import QueryResult, ResultColumn, run_query
from exporter.history.sandbox import parse
from exporter.texts import one_line, span
from exporter.units import parse_size

DONE, REFUSED, DEFECT = 0, 1, 70
_MODULE = "exporter.history.query_process"
# What DuckDB may use beside its own limit: texts that a function makes, and the answer.
_TIMES_THE_LIMIT = 2


@dataclass(frozen=True)
class Bounds:
    """What a query may cost: rows of its answer, and seconds in which the file is open."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class QueryRequest:
    """Arguments of the process: the file, the statement, and every limit."""

    path: str
    sql: str
    rows: int
    seconds: float
    memory_bytes: int
    threads: int
    patience_seconds: float


def run(file: HistoryFile, sql: str, bounds: Bounds) -> QueryResult:
    """Run SQL on a history in a process of its own. Raises HistoryError."""
    limits = file.limits
    memory = parse_size(limits.memory)
    order = QueryRequest(
        str(file.path), sql, bounds.rows, bounds.seconds, memory, limits.threads, limits.patience_seconds
    )
    with spawn(_MODULE, asdict(order)) as process:
        try:
            return _answered(process, order)
        finally:
            process.kill()


def _answered(process: "subprocess.Popen[bytes]", order: QueryRequest) -> QueryResult:
    out = cast("BinaryIO", process.stdout)
    head, *rows = out.read().split(b"\n")
    code = process.wait()
    if code == DONE:
        found = json.loads(head)
        return QueryResult([ResultColumn(*column) for column in found["columns"]], rows[:-1], found["is_cut"])
    if code == REFUSED or code < 0:
        raise QueryFailed(head.decode() if code == REFUSED else _ended(-code, order.seconds))
    raise RuntimeError(head.decode() or f"the process of the query ended with {code}")


def _ended(number: int, seconds: float) -> str:
    """Return why the process did not end by itself."""
    if number == signal.SIGALRM:
        return f"stopped after {span(seconds)}, so that the agent can write: query less, or give a longer --timeout"
    name = signal.Signals(number).name
    return f"DuckDB was ended by {name}, most likely for want of memory: query less, or raise history.memory_limit"


def main(given: BinaryIO, out: BinaryIO) -> int:
    """Run the query that is given in one line; write its answer, or one line with the error."""
    # Without the command that waits for it nobody would read the answer.
    order = QueryRequest(**received(given, lambda: os._exit(REFUSED)))  # type: ignore[arg-type]
    try:
        _forbid_files()
        found = _found(order)
    except ExporterError as error:
        out.write(one_line(error).encode())
        return REFUSED
    except MemoryError:
        out.write(b"the query needs more memory than history.memory_limit allows: select fewer rows or columns")
        return REFUSED
    except Exception as error:  # noqa: BLE001 - the command that waits reports it
        out.write(f"{type(error).__name__}: {one_line(error)}".encode())
        return DEFECT
    head = {"columns": [[column.name, column.kind] for column in found.columns], "is_cut": found.is_cut}
    out.write(json.dumps(head).encode() + b"\n")
    out.writelines(row + b"\n" for row in found.rows)
    return DONE


def _found(order: QueryRequest) -> QueryResult:
    with _alarm(order.seconds):
        statement = parse(order.sql)
    limits = Limits(f"{order.memory_bytes // 1_000_000}MB", order.threads, order.patience_seconds, spills=False)
    file = HistoryFile(Path(order.path), limits, read_only=True, repairs=False)
    with file.open() as connection:
        _limit_memory(order.memory_bytes * _TIMES_THE_LIMIT)
        with _alarm(order.seconds):
            return run_query(connection, statement, order.rows, order.memory_bytes)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """End the process unless the block ends in time."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _forbid_files() -> None:
    """Let the process write nothing but to pipes, and leave no core."""
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _limit_memory(more: int) -> None:
    """Let the process have so many bytes more than it has; where the system counts them (Linux)."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    code = main(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.flush()
    # Nothing is left to be done, and DuckDB's threads may still be at work.
    os._exit(code)
