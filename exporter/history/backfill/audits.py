"""Freshness of the past: each row of ``freshness_audit`` holds until its asset's next row.

Rows are written anew after a day, by the poll that comes then: one that has no successor holds so much longer as a list
of assets is published without a new one.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import duckdb

from exporter.collectors.assets.metrics import HOURS, LAST_REFRESH, SLA
from exporter.history.backfill.family_groups import HistorySlice
from exporter.history.backfill.scratch import put
from exporter.history.backfill.steps import Steps
from exporter.history.freshness_audit import REPEATED_AFTER
from exporter.history.tables import AUDIT
from exporter.metrics import Family

# Three intervals of the REST API, as configured by default.
LATE = timedelta(minutes=15)
HOLDS = REPEATED_AFTER + LATE


class Audits:
    """The freshness of assets."""

    table, at = AUDIT, "audit_timestamp"

    def __init__(self, wanted: Collection[Family] = (HOURS, LAST_REFRESH, SLA)) -> None:
        self.families: Sequence[Family] = [family for family in (HOURS, LAST_REFRESH, SLA) if family in wanted]

    def begins(self, steps: Steps) -> datetime:
        """Return the instant whose rows may hold at the first step."""
        return steps.at(steps.first) - HOLDS

    def ends(self, steps: Steps) -> datetime | None:
        """Return the last step."""
        return steps.at(steps.last)

    def begin(self, first: HistorySlice) -> None:
        """Read nothing: everything is in slices."""

    def read(self, rows: HistorySlice) -> None:
        """Read the rows of a slice."""
        put(
            rows.scratch,
            "audits",
            rows.history.sql(
                f"""
                SELECT
                    coalesce(site, '') AS site,
                    coalesce(project_name, '') AS project,
                    coalesce(asset_type, '') AS asset_type,
                    coalesce(asset_id, '') AS asset_id,
                    coalesce(asset_name, '') AS asset_name,
                    CASE WHEN isfinite(last_refresh_utc) THEN epoch_us(last_refresh_utc) END AS refreshed_us,
                    sla_hours,
                    audit_timestamp AS audited_at
                FROM {AUDIT}
                WHERE {rows.holds("audit_timestamp")}
                """
            ).to_arrow_table(),
        )

    def finish(self, scratch: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        """Find the steps at which each row holds."""
        scratch.execute(
            f"""
            CREATE TABLE spans AS
            SELECT *
            FROM (
                SELECT
                    * EXCLUDE (audited_at, until),
                    greatest({steps.holding("audited_at")}, {steps.first}) AS first,
                    least({steps.holding("until")} - 1, {steps.last}) AS last
                FROM (
                    SELECT *, least(
                        lead(audited_at) OVER (
                            PARTITION BY site, asset_type, coalesce(nullif(asset_id, ''), asset_name)
                            ORDER BY audited_at
                        ),
                        audited_at + INTERVAL {round(HOLDS.total_seconds())} SECOND
                    ) AS until
                    FROM audits
                )
            )
            WHERE first <= last
            ORDER BY first;
            DROP TABLE audits
            """
        )
