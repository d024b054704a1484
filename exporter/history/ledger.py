"""How many rows of each day were archived, and how many of them were pruned: written in the transaction of the rows.

So what stands in the file can be compared with what was ever put there. A row's day is that of its own key; rows
without a time have a day of their own, and so have those whose time is infinite.
"""

import duckdb

UNCOUNTED = "http_requests:uncounted"
"""The ledger of the imported requests that are in no counter; that of ``http_requests`` has them too."""
_SAME_DAY = "archived_days.source = new.source AND archived_days.day IS NOT DISTINCT FROM new.day"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table."""
    connection.execute('CREATE TABLE archived_days (source VARCHAR, day DATE, "rows" BIGINT, pruned BIGINT)')


def archived(connection: duckdb.DuckDBPyConnection, table: str, key: str, relation: str) -> None:
    """Add the rows of a relation, which have just been stored in a table; ``key`` is the column of their time."""
    connection.execute(
        f"""
        MERGE INTO archived_days USING ({_by_day(table, key, relation)}) AS new ON {_SAME_DAY}
        WHEN MATCHED THEN UPDATE SET "rows" = archived_days."rows" + new.count
        WHEN NOT MATCHED THEN INSERT (source, day, "rows", pruned) VALUES (new.source, new.day, new.count, 0)
        """
    )


def pruned(connection: duckdb.DuckDBPyConnection, table: str, key: str, relation: str) -> None:
    """Take note of rows that are about to be removed; a day that nobody wrote down becomes a fault, not an error."""
    connection.execute(
        f"""
        MERGE INTO archived_days USING ({_by_day(table, key, relation)}) AS new ON {_SAME_DAY}
        WHEN MATCHED THEN UPDATE SET pruned = archived_days.pruned + new.count
        WHEN NOT MATCHED THEN INSERT (source, day, "rows", pruned) VALUES (new.source, new.day, 0, new.count)
        """
    )


def _by_day(table: str, key: str, relation: str) -> str:
    return (
        f"SELECT '{table}' AS source, \"{key}\"::DATE AS day, count(*) AS count FROM {relation} AS stored GROUP BY ALL"
    )
