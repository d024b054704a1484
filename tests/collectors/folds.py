"""Folds evaluated in plain DuckDB, on rows made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from exporter.collector import Distribution, Fold

Folded = dict[tuple[str | None, ...], Any]

REQUEST = {
    "site": "VARCHAR",
    "controller": "VARCHAR",
    "action": "VARCHAR",
    "status": "BIGINT",
    "created_at": "TIMESTAMP",
    "completed_at": "TIMESTAMP",
    "workbook": "VARCHAR",
    "view": "VARCHAR",
}
JOB = {
    "site": "VARCHAR",
    "job_type": "VARCHAR",
    "finish_code": "BIGINT",
    "created_at": "TIMESTAMP",
    "started_at": "TIMESTAMP",
    "completed_at": "TIMESTAMP",
}


def folded(fold: Fold, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Folded:
    """Return the values of a counter, or the observed seconds of a histogram, by labels in the family's order."""
    assert tuple(fold.by) == fold.family.labels
    labels = ", ".join(f"({expression})::VARCHAR" for expression in fold.by.values())
    value = f"list({fold.seconds} ORDER BY {fold.seconds})" if isinstance(fold, Distribution) else "count(*)"
    with duckdb.connect() as connection:
        listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f"CREATE TABLE rows ({listed})")
        for row in rows:
            values = [row.get(name) for name in columns]
            connection.execute(f"INSERT INTO rows VALUES ({', '.join('?' * len(columns))})", values)
        found = connection.execute(f"SELECT {labels}, {value} FROM rows WHERE {fold.where} GROUP BY ALL").fetchall()
    return {tuple(row[:-1]): row[-1] for row in found}
