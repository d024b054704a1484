"""SQL on the repository: content with its last opening by Tableau's statistics, its size, and its tasks.

``views_stats`` has the last opening of each view by each user, whenever that was; ``content_usage`` the last use of a
workbook, a data source or a flow, to the day (docs/decisions/0026-unused-content.md).
"""

from exporter.collectors._projects import PATHS, PLACES
from exporter.collectors.assets.tasks_sql import TASKS

DEFAULT_SUSPENSION_DAYS = 30
"""After so many days without an opening a site suspends the refreshes of a workbook, unless it has another number."""

_OPENED = """
    stats AS (
        SELECT
            views.workbook_id AS workbook_id,
            max(views_stats.time) AS opened_at
        FROM views_stats
        JOIN views ON views.id = views_stats.view_id
        GROUP BY views.workbook_id
    ),
    recorded AS (
        SELECT
            CASE content_type WHEN 1 THEN 'workbook' WHEN 2 THEN 'datasource' WHEN 3 THEN 'flow' END AS asset_type,
            content_id AS id,
            max(last_recorded_at) AS opened_at
        FROM content_usage
        GROUP BY content_type, content_id
    ),
    runs AS (
        SELECT
            flow_id AS flow_id,
            max(completed_at) AS completed_at
        FROM flow_runs
        GROUP BY flow_id
    ),
    known AS (
        SELECT
            EXISTS (SELECT FROM views_stats) AS views,
            EXISTS (SELECT FROM content_usage WHERE content_type = 3) AS flows
    )
"""

# A published data source is named by its repository_url, which is unique on its site only.
_CONTENT = """
    books AS (
        SELECT
            workbooks.id AS id,
            workbooks.luid AS luid,
            workbooks.name AS name,
            workbooks.site_id AS site_id,
            workbooks.owner_id AS owner_id,
            workbooks.project_id AS project_id,
            workbooks.is_private AS is_private,
            workbooks.repository_url AS content_url,
            workbooks.created_at AS created_at,
            workbooks.size AS size,
            greatest(stats.opened_at, recorded.opened_at) AS opened_at
        FROM workbooks
        LEFT JOIN stats ON stats.workbook_id = workbooks.id
        LEFT JOIN recorded ON recorded.asset_type = 'workbook' AND recorded.id = workbooks.id
        WHERE workbooks.is_deleted IS NOT TRUE
    ),
    used AS (
        SELECT
            books.site_id AS site_id,
            links.dbname AS repository_url,
            string_agg(DISTINCT books.id::text, ',') AS workbook_ids,
            max(books.opened_at) AS opened_at
        FROM data_connections AS links
        JOIN books ON books.id = links.owner_id
        WHERE lower(links.owner_type) = 'workbook' AND lower(links.dbclass) = 'sqlproxy'
        GROUP BY books.site_id, links.dbname
    ),
    content AS (
        SELECT
            'workbook'::text AS asset_type,
            books.*,
            NULL::text AS workbook_ids,
            known.views AS covered
        FROM books
        CROSS JOIN known
        UNION ALL
        SELECT
            'datasource',
            datasources.id,
            datasources.luid,
            datasources.name,
            datasources.site_id,
            datasources.owner_id,
            datasources.project_id,
            false,
            NULL,
            datasources.created_at,
            datasources.size,
            greatest(used.opened_at, recorded.opened_at),
            used.workbook_ids,
            known.views
        FROM datasources
        CROSS JOIN known
        LEFT JOIN used
            ON used.site_id = datasources.site_id AND used.repository_url = datasources.repository_url
        LEFT JOIN recorded ON recorded.asset_type = 'datasource' AND recorded.id = datasources.id
        WHERE coalesce(datasources.connectable, datasources.parent_workbook_id IS NULL)
            AND lower(datasources.state) IS DISTINCT FROM 'archived'
        UNION ALL
        SELECT
            'flow',
            flows.id,
            flows.luid,
            flows.name,
            flows.site_id,
            flows.owner_id,
            flows.project_id,
            false,
            NULL,
            flows.created_at,
            flows.size,
            greatest(recorded.opened_at, runs.completed_at),
            NULL,
            known.flows
        FROM flows
        CROSS JOIN known
        LEFT JOIN recorded ON recorded.asset_type = 'flow' AND recorded.id = flows.id
        LEFT JOIN runs ON runs.flow_id = flows.id
        WHERE flows.is_deleted IS NOT TRUE AND lower(flows.state) IS DISTINCT FROM 'archived'
    ),
    extracted AS (
        SELECT
            CASE WHEN workbook_id IS NOT NULL THEN 'workbook' ELSE 'datasource' END AS asset_type,
            coalesce(workbook_id, datasource_id) AS id,
            CASE WHEN count(*) = count(size) THEN sum(size)::bigint END AS bytes
        FROM extracts
        GROUP BY 1, 2
    )
"""

SQL = f"""
    WITH RECURSIVE {PATHS}, {PLACES}, {TASKS}, {_OPENED}, {_CONTENT}
    SELECT
        content.id AS id,
        content.site_id AS site_id,
        content.asset_type AS asset_type,
        content.luid AS asset_id,
        content.name AS asset_name,
        CASE WHEN content.is_private THEN 'Personal Space' ELSE coalesce(paths.path, projects.name) END AS project,
        content.content_url AS content_url,
        content.workbook_ids AS workbook_ids,
        content.created_at AS created_at,
        content.opened_at AS opened_at,
        content.covered AS covered,
        coalesce(extracted.bytes, content.size) AS bytes,
        work.task_ids AS task_ids,
        CASE
            WHEN content.asset_type = 'workbook' AND sites.auto_suspend_refresh_enabled AND work.run_next_at IS NOT NULL
                THEN coalesce(sites.auto_suspend_refresh_inactivity_window, {DEFAULT_SUSPENSION_DAYS})
        END AS suspend_after_days,
        system_users.name AS content_owner
    FROM content
    LEFT JOIN extracted ON extracted.asset_type = content.asset_type AND extracted.id = content.id
    LEFT JOIN sites ON sites.id = content.site_id
    LEFT JOIN places ON places.content_type = content.asset_type AND places.content_id = content.id
    LEFT JOIN projects ON projects.id = coalesce(places.project_id, content.project_id)
    LEFT JOIN paths ON paths.id = projects.id
    LEFT JOIN users ON users.id = content.owner_id
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    LEFT JOIN work ON work.asset_type = content.asset_type AND work.id = content.id
"""
