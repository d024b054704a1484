"""Counters and histograms folded from rows, in the transaction that stores the rows: so they never fall."""

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from exporter.collector import Count, Distribution, Fold


def fold(connection: duckdb.DuckDBPyConnection, folds: Sequence[Fold], relation: str) -> None:
    """Fold the rows of a relation into the counters and histograms."""
    counts = [count_query(item, relation) for item in folds if isinstance(item, Count)]
    if counts:
        connection.execute(
            f"""
            MERGE INTO counters USING ({" UNION ALL ".join(counts)}) AS folded
            ON counters.family = folded.family AND counters.labels = folded.labels
            WHEN MATCHED THEN UPDATE SET value = counters.value + folded.value
            WHEN NOT MATCHED THEN INSERT (family, labels, value) VALUES (folded.family, folded.labels, folded.value)
            """
        )
    distributions = [distribution_query(item, relation) for item in folds if isinstance(item, Distribution)]
    if distributions:
        connection.execute(
            f"""
            MERGE INTO histograms USING ({" UNION ALL ".join(distributions)}) AS folded
            ON histograms.family = folded.family AND histograms.labels = folded.labels AND histograms.le = folded.le
            WHEN MATCHED THEN UPDATE SET
                observations = histograms.observations + folded.observations,
                seconds = histograms.seconds + folded.seconds
            WHEN NOT MATCHED THEN INSERT (family, labels, le, observations, seconds)
                VALUES (folded.family, folded.labels, folded.le, folded.observations, folded.seconds)
            """
        )


def read_by(folds: Sequence[Fold], columns: Iterable[str]) -> set[str]:
    """Return which columns the folds' expressions name; perhaps more, never fewer."""
    texts = [text for item in folds for text in (*item.by.values(), item.where)]
    texts += [item.seconds for item in folds if isinstance(item, Distribution)]
    return {name for name in columns if any(name in text for text in texts)}


def add(connection: duckdb.DuckDBPyConnection, family: str, labels: Sequence[str], value: float) -> None:
    """Add to one counter."""
    connection.execute(
        """
        MERGE INTO counters USING (SELECT ? AS family, ?::VARCHAR[] AS labels, ?::DOUBLE AS value) AS folded
        ON counters.family = folded.family AND counters.labels = folded.labels
        WHEN MATCHED THEN UPDATE SET value = counters.value + folded.value
        WHEN NOT MATCHED THEN INSERT (family, labels, value) VALUES (folded.family, folded.labels, folded.value)
        """,
        [family, list(labels), value],
    )


def count_query(item: Count, relation: str, by: str = "") -> str:
    """Return what a counter counts: family, labels, value; ``by`` are further columns, a comma behind each."""
    grouped, names = _labels(item.by, item.family.labels)
    return (
        f"SELECT '{item.family.name}' AS family, {names} AS labels, {by}value FROM"
        f" (SELECT {grouped}{by}count(*)::DOUBLE AS value FROM {relation} AS rows WHERE {item.where} GROUP BY ALL)"
    )


def distribution_query(item: Distribution, relation: str, by: str = "") -> str:
    """Return what a histogram counts: family, labels, le, observations, seconds; ``by`` as of a counter."""
    grouped, names = _labels(item.by, item.family.labels)
    bounds = " ".join(f"WHEN ({item.seconds}) <= {bound} THEN {bound}" for bound in item.family.buckets)
    return (
        f"SELECT '{item.family.name}' AS family, {names} AS labels, {by}le, observations, seconds FROM"
        f" (SELECT {grouped}{by}(CASE {bounds} ELSE 'infinity'::DOUBLE END)::DOUBLE AS le, count(*) AS observations,"
        f" sum({item.seconds})::DOUBLE AS seconds FROM {relation} AS rows WHERE {item.where} GROUP BY ALL)"
    )


def _labels(by: Mapping[str, str], order: Sequence[str]) -> tuple[str, str]:
    """Return the grouping expressions, named l0, l1, ..., and the list made of them afterwards: one list a group."""
    grouped = "".join(f"coalesce(({by[name]})::VARCHAR, '') AS l{index}, " for index, name in enumerate(order))
    names = "[" + ", ".join(f"l{index}" for index in range(len(order))) + "]"
    return grouped, names
