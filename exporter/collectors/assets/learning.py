"""What the history teaches about an asset: how often its data is refreshed."""

# A job tells its task; one that was started by hand tells a title, which counts where only one asset has it.
LEARNS = """
    WITH
        planned AS (
            SELECT asset_id, unnest(string_split(task_ids, ','))::BIGINT AS task_id
            FROM state
            WHERE task_ids <> '' AND asset_id IS NOT NULL
        ),
        named AS (
            SELECT any_value(asset_id) AS asset_id, site_id, asset_type, asset_name
            FROM state
            GROUP BY site_id, asset_type, asset_name
            HAVING count(*) = 1
        ),
        done AS (
            SELECT
                coalesce(task_id, correlation_id) AS task_id,
                site_id,
                title,
                lower(subtitle) AS asset_type,
                completed_at,
                job_name IN ('Refresh Extracts', 'Increment Extracts', 'Run Flow') AS refreshes
            FROM background_jobs
            WHERE finish_code = 0 AND isfinite(completed_at)
                AND completed_at >= (
                    SELECT max(completed_at) - INTERVAL 30 DAY FROM background_jobs WHERE isfinite(completed_at)
                )
        ),
        refreshes AS (
            SELECT planned.asset_id, done.completed_at
            FROM done JOIN planned ON planned.task_id = done.task_id
            UNION ALL
            SELECT named.asset_id, done.completed_at
            FROM done
            JOIN named
                ON named.site_id = done.site_id AND named.asset_name = done.title AND named.asset_type = done.asset_type
            WHERE done.refreshes AND named.asset_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM planned WHERE planned.task_id = done.task_id)
        ),
        latest AS (
            SELECT asset_id, completed_at
            FROM refreshes
            QUALIFY row_number() OVER (PARTITION BY asset_id ORDER BY completed_at DESC) <= 20
        ),
        gaps AS (
            SELECT
                asset_id,
                epoch(completed_at - lag(completed_at) OVER (PARTITION BY asset_id ORDER BY completed_at)) AS seconds
            FROM latest
        )
    SELECT asset_id, median(seconds)::DOUBLE AS interval_seconds
    FROM gaps
    GROUP BY asset_id
    HAVING count(seconds) >= 2
"""
