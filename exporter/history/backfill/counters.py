"""Counters and histograms of the past: the aggregates of a table, step by step.

A row counts when it was final: at ``completed_at``, or without one a day after ``created_at``, when the agent gives it
up. What the live counters hold beside the rows that are read was counted before the first step: the last value is
that of the live counter at that instant.
"""

from collections.abc import Sequence
from datetime import datetime

import duckdb

from exporter.collector import Count, Distribution, Events, Fold, Latest
from exporter.history.aggregation import count_query, distribution_query, labelled, typed
from exporter.history.archive import OPEN_FOR
from exporter.history.arrow import registered
from exporter.history.backfill.family_groups import HistorySlice, oldest
from exporter.history.backfill.scratch import put
from exporter.history.backfill.steps import Steps
from exporter.history.tables import table_columns
from exporter.metrics import Family


class Counters:
    """Some of the folds of one table of events."""

    def __init__(self, events: Events, folds: Sequence[Fold]) -> None:
        self.table, self.at = events.table, "created_at"
        self.families: Sequence[Family] = [fold.family for fold in folds]
        self._folds = [fold for fold in folds if not isinstance(fold, Latest)]
        self._begins = 0

    def begins(self, steps: Steps) -> datetime:
        """Return the first step: what was counted up to then is what is left of the totals."""
        return steps.at(steps.first)

    def ends(self, _steps: Steps) -> datetime | None:
        """Return None: later rows are part of the totals."""
        return None

    def begin(self, first: HistorySlice) -> None:
        """Read the live totals, with the latest rows: what is archived after this opening counts in neither."""
        begun = oldest(first.history, self)
        self._begins = max(first.steps.first, first.steps.before(begun)) if begun else first.steps.first
        names = ", ".join(f"'{family.name}'" for family in self.families)
        put(
            first.scratch,
            "totals",
            first.history.sql(
                f"""
                SELECT family, labels, NULL::DOUBLE AS le, value AS observations, 0.0::DOUBLE AS seconds
                FROM counters
                WHERE family IN ({names})
                UNION ALL
                SELECT family, labels, le, observations::DOUBLE, seconds
                FROM histograms
                WHERE family IN ({names})
                """
            ).to_arrow_table(),
        )

    def read(self, rows: HistorySlice) -> None:
        """Count the rows of a slice by step; all steps after the last are one."""
        with registered(rows.history, site_labels=rows.lookups.site_labels()):
            relation = labelled(self._final(rows))
            for fold in self._folds:
                put(rows.scratch, "increments", rows.history.sql(_query(fold, relation)).to_arrow_table())

    def finish(self, scratch: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        """Keep of the totals what was counted before; a series begins then, or with a 0 one step before it counts."""
        names = ", ".join(f"'{family.name}'" for family in self.families)
        scratch.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE earlier AS
            SELECT
                totals.* EXCLUDE (observations, seconds),
                totals.observations - coalesce(read.observations, 0) AS observations,
                greatest(totals.seconds - coalesce(read.seconds, 0), 0) AS seconds
            FROM totals
            LEFT JOIN (
                SELECT family, labels, le, sum(observations) AS observations, sum(seconds) AS seconds
                FROM increments
                GROUP BY ALL
            ) AS read
                ON read.family = totals.family
                AND read.labels = totals.labels
                AND read.le IS NOT DISTINCT FROM totals.le
            WHERE totals.family IN ({names}) AND totals.observations > coalesce(read.observations, 0);
            DELETE FROM totals WHERE family IN ({names});
            INSERT INTO increments BY NAME SELECT *, {self._begins} AS step FROM earlier;
            INSERT INTO series
            SELECT family, labels, CASE
                WHEN (family, labels) IN (SELECT (family, labels) FROM earlier) THEN {self._begins}
                ELSE greatest(min(step) - 1, {steps.first}) END
            FROM increments
            WHERE family IN ({names})
            GROUP BY family, labels
            HAVING min(step) <= {steps.last};
            DROP TABLE earlier
            """
        )

    def _final(self, rows: HistorySlice) -> str:
        """Return the rows of a slice with their step. Each half reads by a column that its blocks are ordered by."""
        columns = typed(table_columns(rows.history, self.table))
        none = "(completed_at IS NULL OR NOT isfinite(completed_at))"
        return f"""(
            SELECT {columns}, {_step(rows.steps, "completed_at", 0)} AS step
            FROM {self.table}
            WHERE {rows.holds("completed_at")}
            UNION ALL
            SELECT {columns}, {_step(rows.steps, "created_at", OPEN_FOR.total_seconds())} AS step
            FROM {self.table}
            WHERE {rows.holds("created_at", OPEN_FOR)} AND {none}
        )"""


def _step(steps: Steps, instant: str, plus_seconds: float) -> str:
    return f"least({steps.holding(instant, plus_seconds)}, {steps.last + 1})"


def _query(fold: Count | Distribution, relation: str) -> str:
    if isinstance(fold, Count):
        counted = count_query(fold, relation, "step, ")
        return f"SELECT family, labels, step, value AS observations, 0.0::DOUBLE AS seconds FROM ({counted})"
    return distribution_query(fold, relation, "step, ")
