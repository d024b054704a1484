"""SQL on the history file: the later of Tableau's and our own last opening, and the seconds of refreshes each week.

Our own openings are counted by day: an opening counts as late as its day allows.
"""

from exporter.collectors.assets.refresh_jobs import IS_REFRESH, PLANNED_AND_NAMED, TASK

WEEKS = 4
"""Over how many weeks refreshes are averaged; with less than one nothing is known."""


def _last_opened(newest_job: str) -> str:
    """Return the query about the rows of OpenedContent: a row each.

    ``known_since`` is since when openings are known, NULL where they are not.
    """
    return f"""
    WITH
        {PLANNED_AND_NAMED.strip()}
        loads AS (
            SELECT site_id, workbook, day FROM views_by_day
            UNION ALL
            SELECT site_id, workbook, day FROM views_waiting
        ),
        reach AS (SELECT min(day)::TIMESTAMP AS since FROM loads),
        books AS (
            SELECT state.id AS id, max(loads.day) AS day
            FROM state JOIN loads ON loads.site_id = state.site_id AND loads.workbook = state.content_url
            WHERE state.asset_type = 'workbook'
            GROUP BY state.id
        ),
        links AS (
            SELECT id, unnest(string_split(workbook_ids, ','))::BIGINT AS workbook_id
            FROM state
            WHERE asset_type = 'datasource' AND workbook_ids <> ''
        ),
        archived AS (
            SELECT 'workbook' AS asset_type, id, day FROM books
            UNION ALL
            SELECT 'datasource', links.id, max(books.day)
            FROM links JOIN books ON books.id = links.workbook_id
            GROUP BY links.id
        ),
        done AS (
            SELECT
                {TASK} AS task_id,
                site_id,
                title,
                lower(subtitle) AS asset_type,
                epoch(completed_at - started_at) AS seconds
            FROM background_jobs
            WHERE isfinite(completed_at) AND isfinite(started_at) AND started_at <= completed_at AND {IS_REFRESH}
                AND completed_at >= {newest_job} - INTERVAL {7 * WEEKS} DAY
        ),
        spans AS (
            SELECT least(span, {WEEKS}) AS weeks
            FROM (
                SELECT epoch({newest_job} - min(completed_at)) / 604800 AS span
                FROM background_jobs
                WHERE isfinite(completed_at)
            )
            WHERE span >= 1
        ),
        by_task AS (SELECT DISTINCT task_id FROM planned),
        spent AS (
            SELECT planned.asset_id, done.seconds FROM done JOIN planned ON planned.task_id = done.task_id
            UNION ALL
            SELECT named.asset_id, done.seconds
            FROM done
            JOIN named
                ON named.site_id = done.site_id AND named.asset_name = done.title AND named.asset_type = done.asset_type
            ANTI JOIN by_task ON by_task.task_id = done.task_id
        ),
        costs AS (SELECT asset_id, sum(seconds) AS seconds FROM spent GROUP BY asset_id)
    SELECT
        state.site_id AS site_id,
        state.asset_type AS asset_type,
        state.asset_id AS asset_id,
        state.asset_name AS asset_name,
        state.project AS project,
        state.content_owner AS content_owner,
        state.created_at AS created_at,
        greatest(state.opened_at, archived.day + INTERVAL '23:59:59') AS opened_at,
        CASE
            WHEN state.covered THEN TIMESTAMP '1970-01-01'
            WHEN state.asset_type <> 'flow' THEN reach.since
        END AS known_since,
        state.bytes AS bytes,
        coalesce(costs.seconds, 0) / spans.weeks AS refresh_seconds_per_week,
        state.suspend_after_days AS suspend_after_days
    FROM state
    CROSS JOIN reach
    LEFT JOIN spans ON true
    LEFT JOIN archived ON archived.asset_type = state.asset_type AND archived.id = state.id
    LEFT JOIN costs ON costs.asset_id = state.asset_id
    """


LAST_OPENED = _last_opened("(SELECT max(completed_at) FROM background_jobs WHERE isfinite(completed_at))")
PAGE = _last_opened("$now::TIMESTAMP")
