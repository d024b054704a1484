"""The rows of the database, compared with those of the history and the exposition."""

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb

from tests.support.agent_process import Agent
from tests.support.reliability import Tally
from tests.support.source import Source

Key = tuple[int, Any]

STATUS_CLASS = """
    CASE WHEN status BETWEEN 200 AND 299 THEN '2xx' WHEN status BETWEEN 300 AND 399 THEN '3xx'
    WHEN status BETWEEN 400 AND 499 THEN '4xx' WHEN status BETWEEN 500 AND 599 THEN '5xx' ELSE 'unknown' END
"""


def assert_exactly_once(source: Source, agent: Agent) -> str:
    """Compare every committed version of every request with the history and the last scrape; return the figures."""
    final = agent.query("SELECT id, created_at, completed_at, status FROM http_requests")
    waiting = agent.query("SELECT id, created_at FROM http_requests_open")
    counted = Counter[Key]((row[0], row[1]) for row in [*final, *waiting])
    versions: dict[Key, set[Any]] = {}
    for number, created_at, completed_at, status in source.run(
        "SELECT id, created_at, completed_at, status FROM truth.versions"
    ):
        versions.setdefault((number, created_at), set()).add((completed_at, status))
    present = source.run("SELECT id, created_at, completed_at FROM http_requests")
    missed = versions.keys() - counted.keys()
    doubled = [key for key, count in counted.items() if count > 1]
    invented = counted.keys() - versions.keys()
    complete = {(number, created_at) for number, created_at, completed_at, _ in final if completed_at is not None}
    incomplete = {(row[0], row[1]) for row in present if row[2] is not None} - complete
    wrong = [row for row in final if (row[2], row[3]) not in versions.get((row[0], row[1]), ())]
    late = sum(1 for found in versions.values() if len(found) > 1)
    figures = (
        f"{len(versions)} requests committed, {late} completed later, {len(versions) - len(present)} removed;"
        f" {len(missed)} missed, {len(doubled)} doubled, {len(invented)} invented, {len(incomplete)} completions missed"
    )
    assert not any((missed, doubled, invented, incomplete, wrong)), figures
    assert {(row[0], row[1]) for row in waiting}.isdisjoint(complete)
    _assert_counters(source, agent, len(final))
    return figures


# Each key once; archived rows are compared with committed ones without a Python object for any row.
_MANY = {
    "missed": "SELECT count(*) FROM (SELECT DISTINCT id, created_at FROM versions) ANTI JOIN here"
    " USING (id, created_at)",
    "doubled": "SELECT count(*) - count(DISTINCT (id, created_at)) FROM here",
    "invented": "SELECT count(*) FROM here ANTI JOIN versions USING (id, created_at)",
    "completions missed": "SELECT count(*) FROM (SELECT DISTINCT id, created_at FROM present WHERE completed)"
    " ANTI JOIN (FROM http_requests WHERE completed_at IS NOT NULL) USING (id, created_at)",
    "wrong": "SELECT count(*) FROM http_requests AS final WHERE NOT EXISTS (FROM versions WHERE"
    " versions.id = final.id AND versions.created_at = final.created_at"
    " AND versions.completed_at IS NOT DISTINCT FROM final.completed_at"
    " AND versions.status IS NOT DISTINCT FROM final.status)",
}


def assert_many_exactly_once(source: Source, agent: Agent, file: Path, tally: Tally) -> str:
    """Compare as assert_exactly_once does, with millions of requests; ``file`` is made for them. Return the figures."""
    columns = "id, created_at, completed_at, status"
    copies = {
        "versions": f"SELECT {columns} FROM truth.versions",
        "present": "SELECT id, created_at, completed_at IS NOT NULL AS completed FROM http_requests",
    }
    with duckdb.connect() as connection:
        for table, query in copies.items():
            _copy(source, query, file)
            connection.execute(f"CREATE TABLE {table} AS FROM read_csv('{file}', header = true)")
        rows, waiting = agent.copied(connection, "http_requests"), agent.copied(connection, "http_requests_open")
        connection.execute(
            "CREATE TABLE here AS SELECT id, created_at FROM http_requests"
            " UNION ALL SELECT id, created_at FROM http_requests_open"
        )
        committed = connection.execute("SELECT count(DISTINCT (id, created_at)) FROM versions").fetchall()[0][0]
        found = {name: int(connection.execute(query).fetchall()[0][0]) for name, query in _MANY.items()}
    figures = f"{committed} requests committed; " + ", ".join(f"{count} {name}" for name, count in found.items())
    tally.run(lost=found["missed"] + found["completions missed"], doubled=found["doubled"])
    assert not any(found.values()), figures
    assert rows + waiting == committed
    _assert_counters(source, agent, rows)
    return figures


def _copy(source: Source, query: str, file: Path) -> None:
    statement = f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER true)".encode()
    with file.open("wb") as out, source.connection.cursor() as cursor, cursor.copy(statement) as copy:
        for part in copy:
            out.write(part)


def _assert_counters(source: Source, agent: Agent, rows: int) -> None:
    """The counters are those of the final rows, counted by another way than the folding's."""
    sites = {number: namespace or "default" for number, namespace in source.run("SELECT id, url_namespace FROM sites")}
    grouped = agent.query(
        f"SELECT site_id, coalesce(controller, ''), coalesce(action, ''), {STATUS_CLASS}, count(*)"
        " FROM http_requests GROUP BY ALL"
    )
    expected = Counter[frozenset[tuple[str, str]]]()
    for site, controller, action, status_class, count in grouped:
        labels = {"site": sites.get(site, ""), "controller": controller, "action": action, "status_class": status_class}
        # To Prometheus an empty label is none.
        expected[frozenset((name, value) for name, value in labels.items() if value)] += count
    measured = agent.query("SELECT count(*) FROM http_requests WHERE completed_at >= created_at")[0][0]
    samples = agent.metrics()
    published = {labels: value for (name, labels), value in samples.items() if name == "tableau_http_requests_total"}
    assert published == expected
    assert samples["tableau_history_rows_total", frozenset({("table", "http_requests")})] == rows
    assert agent.total("tableau_http_request_duration_seconds_count") == measured
