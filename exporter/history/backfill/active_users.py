"""Active users of the past: distinct users over trailing windows, from the times of their requests.

A request keeps its person active from the first step at or after it until its window has passed, or until the
user's next request replaces it: one more at the one step, one fewer at the other, however many steps lie between.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import duckdb

from exporter.collectors.active_users import ACTIVE, SERVER_ACTIVE, WINDOWS
from exporter.history.aggregation import USER, seen_query
from exporter.history.arrow import registered
from exporter.history.backfill.family_groups import HistorySlice
from exporter.history.backfill.steps import Steps
from exporter.metrics import Family

_LONGEST = timedelta(seconds=max(WINDOWS.values()))
_TABLES = ("http_requests", "http_requests_open")


class ActiveUsers:
    """The active users of each site and of the server."""

    table, at = "http_requests", "created_at"

    def __init__(self, wanted: Collection[Family] = (ACTIVE, SERVER_ACTIVE)) -> None:
        self.families: Sequence[Family] = [family for family in (ACTIVE, SERVER_ACTIVE) if family in wanted]
        self._sites: list[str] = []
        self._pruned_before: datetime | None = None
        self._named = False

    def begins(self, steps: Steps) -> datetime:
        """Return the beginning of the longest window of the first step."""
        return steps.at(steps.first) - _LONGEST

    def ends(self, steps: Steps) -> datetime | None:
        """Return the last step."""
        return steps.at(steps.last)

    def begin(self, first: HistorySlice) -> None:
        """Read whether the history names users at all, and its sites."""
        named = " OR ".join(f"EXISTS (FROM {table} WHERE {USER} IS NOT NULL)" for table in _TABLES)
        self._named = bool(first.history.execute(f"SELECT {named}").fetchall()[0][0])
        self._sites = sorted(set(first.lookups.sites.values()))
        self._pruned_before = first.lookups.pruned_before

    def read(self, rows: HistorySlice) -> None:
        """Read who made a request in which step, and when last."""
        columns = f"TRY_CAST(site_id AS BIGINT) AS site_id, TRY_CAST({USER} AS BIGINT) AS {USER}, created_at"
        made = f"SELECT {columns}, {rows.steps.holding('created_at')} AS step"
        made = " UNION ALL ".join(f"{made} FROM {table} WHERE {rows.holds('created_at')}" for table in _TABLES)
        query = seen_query(f"({made})", rows.steps.at(rows.steps.last), "step, ")
        with registered(rows.history, site_labels=rows.lookups.site_labels(), people=rows.lookups.people):
            seen = rows.history.sql(query).to_arrow_table()
        if seen.num_rows:
            with registered(rows.scratch, seen=seen):
                rows.scratch.execute(_FOUND)
            self._put(rows.scratch, rows.steps)

    def _put(self, scratch: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        for name, seconds in WINDOWS.items():
            for family in self.families:
                labels = f"['{name}']" if family is SERVER_ACTIVE else f"[site, '{name}']"
                kind = "whole" if family is SERVER_ACTIVE else "NOT whole AND site <> ''"
                scratch.execute(
                    f"""
                    INSERT INTO increments BY NAME
                    SELECT '{family.name}' AS family, labels, NULL AS le, step, sum(more) AS observations, 0 AS seconds
                    FROM (
                        SELECT {labels} AS labels, unnest([begins, ends]) AS step, unnest([1, -1]) AS more
                        FROM (
                            SELECT
                                site,
                                greatest(step, {steps.first}) AS begins,
                                least({steps.holding("seen_at", seconds)}, next_step, {steps.last + 1}) AS ends
                            FROM found
                            WHERE {kind}
                        )
                        WHERE begins < ends
                    )
                    GROUP BY ALL
                    """
                )
        scratch.execute(_REMEMBER)

    def finish(self, scratch: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        """Begin each window once it holds no time of which requests were pruned; a site without active users has 0."""
        if not self._named:
            return
        for name, seconds in WINDOWS.items():
            begins = steps.first
            if self._pruned_before is not None:
                begins = max(begins, steps.after(self._pruned_before + timedelta(seconds=seconds)))
            for family in self.families:
                labels = [[name]] if family is SERVER_ACTIVE else [[site, name] for site in self._sites]
                for row in labels:
                    scratch.execute("INSERT INTO series VALUES (?, ?, ?)", [family.name, row, begins])


# ``whole`` counts each person once over all sites.
_FOUND = """
    CREATE OR REPLACE TEMP TABLE found AS
    SELECT
        found.*,
        coalesce(
            lead(found.step) OVER (PARTITION BY found.whole, found.site, found.person ORDER BY found.step),
            visits.step,
            9223372036854775807
        ) AS next_step
    FROM (
        SELECT grouping(site) = 1 AS whole, coalesce(site, '') AS site, person, step, max(seen_at) AS seen_at
        FROM seen
        GROUP BY GROUPING SETS ((site, person, step), (person, step))
    ) AS found
    LEFT JOIN visits ON visits.whole = found.whole AND visits.site = found.site AND visits.person = found.person
"""
_REMEMBER = """
    CREATE OR REPLACE TEMP TABLE known AS
    SELECT whole, site, person, min(step) AS step
    FROM (SELECT * FROM visits UNION ALL SELECT whole, site, person, step FROM found)
    GROUP BY ALL;
    DELETE FROM visits;
    INSERT INTO visits BY NAME SELECT * FROM known;
    DROP TABLE known;
    DROP TABLE found
"""
