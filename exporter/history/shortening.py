"""The history shortened from outside the agent: step by step, so that a running agent gets in between."""

from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from exporter.collector import Events
from exporter.errors import HistoryUnwritable
from exporter.history.file import HOLD_SECONDS, HistoryFile
from exporter.history.pruning import Pruned
from exporter.history.schema import STEPS, table_columns
from exporter.history.transaction import Transaction


def newest_request(file: HistoryFile) -> datetime | None:
    """Return when the newest request was made (UTC, naive), where there are none when the newest audit was.

    Raises HistoryError where the tables are not ours.
    """
    with file.open() as connection:
        refuse_other_versions(connection, file.path)
        rows = connection.execute(
            "SELECT marked_at FROM marks WHERE name IN ('newest', 'audited') ORDER BY name DESC"
        ).fetchall()
    return rows[0][0] if rows else None


def refuse_other_versions(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise HistoryUnwritable where the tables are not this program's."""
    columns = table_columns(connection, "schema_version")
    version = connection.execute("SELECT max(version) FROM schema_version").fetchall()[0][0] if columns else None
    if version != len(STEPS):
        message = f"{path}: not written by this version; let the agent of this version open it once"
        raise HistoryUnwritable(message)


def prune_in_steps(
    file: HistoryFile, events: Sequence[Events], before: datetime, now: datetime
) -> Generator[Pruned, None, None]:
    """Remove what is older than an instant (UTC, naive), a transaction at a time; yield what became of each."""
    with file.kept_open(HOLD_SECONDS):
        while True:
            pruned = _step(file, events, before, now)
            yield pruned
            if pruned.finished:
                return


def _step(file: HistoryFile, events: Sequence[Events], before: datetime, now: datetime) -> Pruned:
    with file.open() as connection:
        there = [item for item in events if table_columns(connection, item.table)]
        connection.execute("BEGIN")
        pruned = Transaction(connection, (), there, now).prune(before)
        connection.execute("COMMIT")
    return pruned
