"""What the history knows of each asset's last refreshes, for the page of the asset."""

from exporter.collectors.assets.of_jobs import IS_REFRESH, PLANNED_AND_NAMED, TASK

# As in learning: a refresh tells its task, one that was started by hand a title. What the APIs told ended well.
RECALLS = f"""
    WITH
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
            WHERE isfinite(completed_at) AND completed_at >= $now::TIMESTAMP - INTERVAL 30 DAY AND {IS_REFRESH}
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
        told AS (
            SELECT DISTINCT asset_id, refreshed_at AS completed_at, NULL::DOUBLE AS seconds, 0 AS finish_code
            FROM asset_refreshes
            WHERE refreshed_at >= $now::TIMESTAMP - INTERVAL 30 DAY
                AND (asset_type, asset_id) IN (SELECT asset_type, asset_id FROM state)
                AND asset_id NOT IN (SELECT asset_id FROM by_jobs)
        ),
        refreshes AS (SELECT * FROM by_jobs UNION ALL SELECT * FROM told)
    SELECT
        asset_id,
        epoch(completed_at)::DOUBLE AS ended_at,
        CASE WHEN seconds >= 0 THEN seconds END::DOUBLE AS seconds,
        coalesce(finish_code, -1)::TINYINT AS outcome
    FROM refreshes
    QUALIFY row_number() OVER (PARTITION BY asset_id ORDER BY completed_at DESC) <= 30
    ORDER BY asset_id, completed_at
"""
"""Rows of (asset_id, ended_at, seconds, outcome): the last 30 of 30 days, the oldest of each asset first.

``outcome`` is Tableau's finish code: 0 success, 1 failure, 2 cancelled, -1 where none was said.
"""
