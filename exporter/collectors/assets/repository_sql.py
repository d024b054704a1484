"""SQL on the repository: the assets with their freshness, owner, project, tags and tasks.

An extract is as old as its last refresh, full or incremental (``refreshed_at``); one that was never refreshed is as old
as its publishing (``made_at``). An asset is as fresh as the stalest of its extracts, a flow as its last successful run.
It is live only where the repository shows that it has no extract and reads a database. Where a part of it is unknown,
it has no connection, and its age is that of the other parts, at least: the unknown one may be the stalest
(docs/decisions/0015-assumptions-repository.md). The page of a data source in
Tableau has the number of its first connection.
"""

from exporter.collectors._projects import PATHS, PLACES
from exporter.collectors.assets.tasks_sql import TASKS

# NULL in data_engine_extracts: there is an extract if it was ever refreshed; else it is unknown.
_HAS_EXTRACT = """coalesce(
                data_engine_extracts,
                CASE WHEN greatest(extracts_refreshed_at, extracts_incremented_at) IS NOT NULL THEN true END
            )"""
_EXTRACT = """
            greatest(extracts_refreshed_at, extracts_incremented_at) AS refreshed_at,
            coalesce(last_published_at, created_at) AS made_at
"""

# A virtual connection may be extracted, and so may the published data source that another one extends; the repository
# has no column for their refreshes.
_CONTENT = f"""
    extracted AS (
        SELECT
            CASE WHEN workbook_id IS NOT NULL THEN 'workbook' ELSE 'datasource' END AS asset_type,
            coalesce(workbook_id, datasource_id) AS id,
            CASE WHEN count(*) = count(size) THEN sum(size)::bigint END AS bytes
        FROM extracts
        GROUP BY 1, 2
    ),
    books AS (
        SELECT
            id AS id,
            luid AS luid,
            name AS name,
            site_id AS site_id,
            owner_id AS owner_id,
            project_id AS project_id,
            is_private AS is_private,
            repository_url AS repository_url,
            size AS size,
            {_HAS_EXTRACT} AS has_extract,
            {_EXTRACT}
        FROM workbooks
        WHERE is_deleted IS NOT TRUE
    ),
    connections AS (
        SELECT
            owner_id AS datasource_id,
            min(id) AS url_id,
            bool_or(dbclass IS NULL OR lower(dbclass) IN ('publishedconnection', 'sqlproxy')) AS are_opaque
        FROM data_connections
        WHERE lower(owner_type) = 'datasource'
        GROUP BY owner_id
    ),
    published AS (
        SELECT
            id AS id,
            luid AS luid,
            name AS name,
            site_id AS site_id,
            owner_id AS owner_id,
            project_id AS project_id,
            repository_url AS repository_url,
            connections.url_id AS url_id,
            datasources.size AS size,
            CASE WHEN {_HAS_EXTRACT} OR connections.are_opaque IS NOT TRUE THEN {_HAS_EXTRACT} END AS has_extract,
            {_EXTRACT}
        FROM datasources
        LEFT JOIN connections ON connections.datasource_id = datasources.id
        WHERE coalesce(connectable, parent_workbook_id IS NULL)
            AND lower(state) IS DISTINCT FROM 'archived'
    )
"""

# A published data source is named by its repository_url, which is unique on its site only; a connection to one that is
# not there is ignored. A connection to the file of an extract is not live, regardless of its other columns.
_USED = """
    links AS (
        SELECT
            books.id AS workbook_id,
            published.luid COLLATE "C" AS source_luid,
            coalesce(published.has_extract, false) AS has_extract,
            published.refreshed_at AS refreshed_at,
            published.made_at AS made_at,
            lower(link.dbclass) = 'sqlproxy' AND published.id IS NULL AS is_missing,
            CASE
                WHEN lower(link.dbclass) = 'sqlproxy' THEN published.id IS NOT NULL AND published.has_extract IS NULL
                WHEN books.has_extract AND coalesce(link.has_extract, true) THEN false
                ELSE link.dbclass IS NULL OR lower(link.dbclass) = 'publishedconnection'
            END AS is_unknown,
            CASE
                WHEN lower(link.dbclass) = 'sqlproxy' THEN NOT published.has_extract
                WHEN lower(link.dbclass) IN ('dataengine', 'hyper') THEN false
                ELSE NOT (books.has_extract AND coalesce(link.has_extract, true))
            END AS is_live
        FROM data_connections AS link
        JOIN books ON books.id = link.owner_id
        LEFT JOIN published
            ON published.repository_url = link.dbname
            AND published.site_id = books.site_id
            AND lower(link.dbclass) = 'sqlproxy'
        WHERE lower(link.owner_type) = 'workbook'
    ),
    used AS (
        SELECT
            workbook_id AS workbook_id,
            string_agg(DISTINCT source_luid, chr(31) ORDER BY source_luid) AS source_luids,
            bool_or(has_extract) AS has_extract,
            bool_or(is_live) AS is_live,
            bool_or(is_missing) AS is_missing,
            bool_or(is_unknown) AS is_unknown,
            min(refreshed_at) FILTER (WHERE has_extract) AS refreshed_at,
            min(made_at) FILTER (WHERE has_extract AND refreshed_at IS NULL) AS made_at
        FROM links
        GROUP BY workbook_id
    )
"""

_RUNS = """
    runs AS (
        SELECT
            flow_id AS flow_id,
            max(completed_at) AS completed_at
        FROM flow_runs
        WHERE finish_code = 0
        GROUP BY flow_id
    )
"""

_UNKNOWN = "(books.has_extract IS NULL OR used.is_unknown)"
_ASSETS = f"""
    assets AS (
        SELECT
            'workbook'::text AS asset_type,
            books.id AS id,
            books.luid AS luid,
            books.name AS name,
            books.site_id AS site_id,
            books.owner_id AS owner_id,
            books.project_id AS project_id,
            books.is_private AS is_private,
            CASE
                WHEN {_UNKNOWN} THEN NULL
                WHEN books.has_extract OR used.has_extract THEN CASE WHEN used.is_live THEN 'mixed' ELSE 'extract' END
                WHEN used.is_live AND NOT used.is_missing THEN 'live'
            END AS connection,
            least(CASE WHEN books.has_extract THEN books.refreshed_at END, used.refreshed_at) AS refreshed_at,
            least(
                CASE WHEN books.has_extract AND books.refreshed_at IS NULL THEN books.made_at END,
                used.made_at
            ) AS made_at,
            CASE WHEN books.has_extract THEN coalesce(books.refreshed_at, books.made_at) END AS own_refresh_at,
            CASE
                WHEN books.has_extract THEN CASE WHEN books.refreshed_at IS NULL THEN 'created' ELSE 'repository' END
            END AS own_source,
            used.source_luids AS uses,
            books.id AS url_id,
            books.repository_url AS content_url,
            books.size AS size
        FROM books
        LEFT JOIN used ON used.workbook_id = books.id
        UNION ALL
        SELECT
            'datasource',
            id,
            luid,
            name,
            site_id,
            owner_id,
            project_id,
            false,
            CASE WHEN has_extract THEN 'extract' WHEN NOT has_extract THEN 'live' END,
            CASE WHEN has_extract THEN refreshed_at END,
            CASE WHEN has_extract AND refreshed_at IS NULL THEN made_at END,
            NULL,
            NULL,
            NULL,
            url_id,
            NULL,
            size
        FROM published
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
            runs.completed_at,
            NULL,
            NULL,
            NULL,
            NULL,
            flows.id,
            NULL,
            flows.size
        FROM flows
        LEFT JOIN runs ON runs.flow_id = flows.id
        WHERE flows.is_deleted IS NOT TRUE
            AND lower(flows.state) IS DISTINCT FROM 'archived'
    )
"""

_TAGGED = """
    tagged AS (
        SELECT
            lower(taggings.taggable_type) AS asset_type,
            taggings.taggable_id AS id,
            string_agg(tags.name, chr(31) ORDER BY tags.name) AS names
        FROM taggings
        JOIN tags ON tags.id = taggings.tag_id
        WHERE lower(taggings.taggable_type) IN ('workbook', 'datasource', 'flow')
        GROUP BY lower(taggings.taggable_type), taggings.taggable_id
    )
"""

SQL = f"""
    WITH RECURSIVE {PATHS}, {PLACES}, {_CONTENT}, {_USED}, {_RUNS}, {_ASSETS}, {TASKS}, {_TAGGED}
    SELECT
        assets.site_id AS site_id,
        CASE WHEN sites.id IS NOT NULL THEN coalesce(nullif(sites.url_namespace, ''), 'default') END AS site,
        assets.asset_type AS asset_type,
        assets.luid AS asset_id,
        assets.name AS asset_name,
        CASE WHEN assets.is_private THEN 'Personal Space' ELSE coalesce(paths.path, projects.name) END AS project,
        users.luid AS owner_id,
        tagged.names AS tags,
        assets.connection AS connection,
        CASE
            WHEN assets.asset_type = 'flow' THEN CASE WHEN assets.refreshed_at IS NOT NULL THEN 'job' END
            WHEN assets.made_at < assets.refreshed_at THEN 'created'
            WHEN assets.refreshed_at IS NOT NULL THEN 'repository'
            WHEN assets.made_at IS NOT NULL THEN 'created'
        END AS freshness_source,
        least(assets.refreshed_at, assets.made_at) AS last_refresh_at,
        work.run_next_at AS next_refresh_at,
        work.last_success_at AS last_success_at,
        work.failures AS consecutive_failures,
        work.suspended AS suspended,
        work.task_ids AS task_ids,
        readable.tasks AND (assets.asset_type <> 'flow' OR readable.tasks_of_flows) AS tasks_known,
        assets.uses AS uses,
        assets.own_refresh_at AS own_refresh_at,
        assets.own_source AS own_source,
        assets.url_id AS url_id,
        assets.content_url AS content_url,
        coalesce(extracted.bytes, assets.size) AS bytes,
        nullif(sites.time_zone, '') AS time_zone,
        system_users.name AS content_owner,
        nullif(system_users.friendly_name, '') AS owner_name,
        nullif(system_users.email, '') AS owner_email
    FROM assets
    CROSS JOIN readable
    LEFT JOIN sites ON sites.id = assets.site_id
    LEFT JOIN places ON places.content_type = assets.asset_type AND places.content_id = assets.id
    LEFT JOIN projects ON projects.id = coalesce(places.project_id, assets.project_id)
    LEFT JOIN paths ON paths.id = projects.id
    LEFT JOIN users ON users.id = assets.owner_id
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    LEFT JOIN work ON work.asset_type = assets.asset_type AND work.id = assets.id
    LEFT JOIN extracted ON extracted.asset_type = assets.asset_type AND extracted.id = assets.id
    LEFT JOIN tagged ON tagged.asset_type = assets.asset_type AND tagged.id = assets.id
"""
