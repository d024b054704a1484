"""SQL on the history file: how often each asset is refreshed, and its last refreshes."""

from exporter.collectors.assets.refresh_jobs import IS_REFRESH, PLANNED_AND_NAMED, TASK


def _refreshes(jobs: str, newest_job: str, newest_report: str) -> str:
    """Return CTEs, of which the last is ``refreshes``: asset_id, completed_at, seconds, finish_code, of 30 days.

    A scheduled refresh has its task; one started by hand has a title, which counts where only one asset has it. Of an
    asset without a job in the repository, the refreshes that the APIs report count: those were successful.
    """
    return f"""
        {PLANNED_AND_NAMED}
        done AS (
            SELECT
                {TASK} AS task_id,
                site_id,
                title,
                lower(subtitle) AS asset_type,
                completed_at,
                CASE WHEN isfinite(started_at) THEN epoch(completed_at - started_at) END AS seconds,
                finish_code
            FROM background_jobs
            WHERE {jobs} AND isfinite(completed_at) AND {IS_REFRESH} AND completed_at >= {newest_job} - INTERVAL 30 DAY
        ),
        by_jobs AS (
            SELECT planned.asset_id, done.completed_at, done.seconds, done.finish_code
            FROM done JOIN planned ON planned.task_id = done.task_id
            UNION ALL
            SELECT named.asset_id, done.completed_at, done.seconds, done.finish_code
            FROM done
            JOIN named
                ON named.site_id = done.site_id AND named.asset_name = done.title AND named.asset_type = done.asset_type
            WHERE named.asset_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM planned WHERE planned.task_id = done.task_id)
        ),
        reported AS (
            SELECT DISTINCT asset_id, refreshed_at AS completed_at, NULL::DOUBLE AS seconds, 0 AS finish_code
            FROM asset_refreshes
            WHERE refreshed_at >= {newest_report} - INTERVAL 30 DAY
                AND (asset_type, asset_id) IN (SELECT asset_type, asset_id FROM state)
                AND asset_id NOT IN (SELECT asset_id FROM by_jobs)
        ),
        refreshes AS (SELECT * FROM by_jobs UNION ALL SELECT * FROM reported)
    """


# The interval depends on the time of the week: an asset that is refreshed on working days pauses for three days from
# Friday on. Where earlier weeks had refreshes at the hour of the week of the last one, the median of the pauses after
# those counts; else that of the last twenty. Two records of one refresh are no pause.
_SUCCEEDED = _refreshes(
    "finish_code = 0",
    "(SELECT max(completed_at) FROM background_jobs WHERE isfinite(completed_at))",
    "(SELECT max(refreshed_at) FROM asset_refreshes)",
)
REFRESH_INTERVALS = f"""
    WITH
        {_SUCCEEDED.strip()},
        pauses AS (
            SELECT
                asset_id,
                epoch(completed_at - lag(completed_at) OVER by_age) AS seconds,
                epoch(last_value(completed_at) OVER whole - lag(completed_at) OVER by_age) AS since_seconds,
                row_number() OVER (PARTITION BY asset_id ORDER BY completed_at DESC) AS place
            FROM refreshes
            WINDOW
                by_age AS (PARTITION BY asset_id ORDER BY completed_at),
                whole AS (by_age ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        ),
        weighed AS (
            SELECT
                asset_id,
                seconds,
                place < 20 AS recent,
                -- Begun in an earlier week, within an hour and a half of the last refresh's time of the week.
                since_seconds > 302400 AND abs((since_seconds + 302400) % 604800 - 302400) <= 5400 AS alike
            FROM pauses
            WHERE seconds >= 60
        )
    SELECT
        asset_id,
        CASE WHEN count(seconds) FILTER (WHERE alike) >= 2 THEN median(seconds) FILTER (WHERE alike)
            ELSE median(seconds) FILTER (WHERE recent) END::DOUBLE AS interval_seconds
    FROM weighed
    GROUP BY asset_id
    HAVING count(seconds) FILTER (WHERE recent) >= 2
"""

LAST_REFRESHES = f"""
    WITH
        {_refreshes("true", "$now::TIMESTAMP", "$now::TIMESTAMP").strip()}
    SELECT
        asset_id,
        epoch(completed_at)::DOUBLE AS ended_at,
        CASE WHEN seconds >= 0 THEN seconds END::DOUBLE AS seconds,
        coalesce(finish_code, -1)::TINYINT AS outcome
    FROM refreshes
    QUALIFY row_number() OVER (PARTITION BY asset_id ORDER BY completed_at DESC) <= 30
    ORDER BY asset_id, completed_at
"""
"""For the page of an asset, its last 30 refreshes of 30 days: (asset_id, ended_at, seconds, outcome), the oldest first.

``outcome`` is Tableau's finish code: 0 success, 1 failure, 2 cancelled, -1 where there is none.
"""
