"""Of which asset a job is: it tells its task, or, where it was started by hand, a title that only one asset has."""

PLANNED_AND_NAMED = """
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
"""
