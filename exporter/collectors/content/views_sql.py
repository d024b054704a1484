"""SQL on the history file: loads of workbooks and views, for the usage page.

A load is one rendering of a view; days count up to the last one that was aggregated.
"""

RECALLED_SECONDS = 3600.0
"""Loads are counted by day: the query costs seconds on a large server, and within an hour little changes."""

_DAYS = (7, 30, 90)
_TODAY = "today AS (SELECT least($now::DATE, (SELECT max(day) FROM views_by_day)) AS day)"
_SUMS = ", ".join(f"sum(loads) FILTER (views_by_day.day > today.day - {days}) AS loads_{days}d" for days in _DAYS)
_SEEN = """seen AS (
            SELECT site_id, workbook, count(DISTINCT user_id) AS users
            FROM workbook_opens
            WHERE slot > $now - INTERVAL 30 DAY AND user_id IS NOT NULL
            GROUP BY site_id, workbook
        )"""
_LOADS = ", ".join(f"coalesce(used.loads_{days}d, 0)::BIGINT AS loads_{days}d" for days in _DAYS)

WORKBOOKS_RECALL = f"""
    WITH
        {_TODAY},
        used AS (
            SELECT site_id, workbook, max(views_by_day.day) AS last_day, {_SUMS}
            FROM views_by_day, today
            GROUP BY site_id, workbook
        ),
        {_SEEN}
    SELECT
        state.site_id AS site_id,
        state.luid AS asset_id,
        state.name AS name,
        state.repository_url AS workbook,
        state.created_at AS created_at,
        used.last_day AS last_day,
        {_LOADS},
        seen.users AS users_30d
    FROM state
    LEFT JOIN used ON used.site_id = state.site_id AND used.workbook = state.repository_url
    LEFT JOIN seen ON seen.site_id = state.site_id AND seen.workbook = state.repository_url
    WHERE NOT coalesce(state.is_deleted, false)
"""
"""A row for each workbook; ``workbook`` is its name in addresses."""

VIEWS_RECALL = f"""
    WITH
        {_TODAY},
        used AS (
            SELECT
                site_id,
                workbook || '/' || "view" AS view_url,
                workbook,
                max(views_by_day.day) AS last_day,
                {_SUMS}
            FROM views_by_day, today
            GROUP BY site_id, workbook, "view"
            HAVING loads_30d > 0
        )
    SELECT
        state.site_id AS site_id,
        state.luid AS asset_id,
        state.name AS name,
        used.workbook AS workbook,
        state.created_at AS created_at,
        used.last_day AS last_day,
        {_LOADS},
        NULL::BIGINT AS users_30d
    FROM state
    JOIN used ON used.site_id = state.site_id AND used.view_url = state.view_url
    WHERE NOT coalesce(state.is_deleted, false)
    ORDER BY used.loads_30d DESC, state.site_id, state.id
    LIMIT 1000
"""
"""A row for each of the most loaded views; to count their users, all requests of 30 days would have to be read."""

# Nothing lists the views of Tableau Cloud: their names come with the requests. Sites of Server have other numbers.
_OPENED = """
            FROM cloud_requests, today
            WHERE created_at > today.day - 30 AND action = 'bootstrapSession'"""

CLOUD_WORKBOOKS = f"""
    WITH
        {_TODAY},
        used AS (
            SELECT site_id, workbook, max(views_by_day.day) AS last_day, {_SUMS}
            FROM views_by_day, today
            GROUP BY site_id, workbook
            HAVING loads_30d > 0
        ),
        {_SEEN},
        opened AS (
            SELECT
                site_id,
                workbook,
                max_by(workbook_title, created_at) AS name,
                max_by(workbook_luid, created_at) AS asset_id
            {_OPENED.strip()}
            GROUP BY site_id, workbook
        ),
        books AS (
            SELECT
                sites.id AS site_id,
                state.content_url AS workbook,
                state.asset_name AS name,
                state.asset_id AS asset_id
            FROM state
            JOIN latest_sites AS sites ON coalesce(nullif(sites.url_namespace, ''), 'default') = state.site
            WHERE state.asset_type = 'workbook' AND state.content_url <> ''
        )
    SELECT
        used.site_id AS site_id,
        coalesce(books.asset_id, opened.asset_id) AS asset_id,
        coalesce(books.name, opened.name) AS name,
        used.workbook AS workbook,
        NULL::TIMESTAMP AS created_at,
        used.last_day AS last_day,
        {_LOADS},
        seen.users AS users_30d
    FROM used
    JOIN opened USING (site_id, workbook)
    LEFT JOIN seen USING (site_id, workbook)
    LEFT JOIN books USING (site_id, workbook)
    ORDER BY used.loads_30d DESC, used.site_id, used.workbook
    LIMIT 1000
"""
"""The same of Tableau Cloud, of the most loaded workbooks; ``state`` are the assets of the REST API."""

CLOUD_VIEWS = f"""
    WITH
        {_TODAY},
        used AS (
            SELECT site_id, workbook, "view", max(views_by_day.day) AS last_day, {_SUMS}
            FROM views_by_day, today
            GROUP BY site_id, workbook, "view"
            HAVING loads_30d > 0
        ),
        opened AS (
            SELECT
                site_id,
                workbook,
                "view",
                max_by(view_title, created_at) AS name,
                max_by(view_luid, created_at) AS asset_id,
                nullif(count(DISTINCT user_id), 0) AS users
            {_OPENED.strip()}
            GROUP BY site_id, workbook, "view"
        )
    SELECT
        used.site_id AS site_id,
        opened.asset_id AS asset_id,
        opened.name AS name,
        used.workbook AS workbook,
        NULL::TIMESTAMP AS created_at,
        used.last_day AS last_day,
        {_LOADS},
        opened.users AS users_30d
    FROM used
    JOIN opened USING (site_id, workbook, "view")
    ORDER BY used.loads_30d DESC, used.site_id, used.workbook, used."view"
    LIMIT 1000
"""
"""The same of Tableau Cloud; ``state`` is not read."""
