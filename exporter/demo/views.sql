-- The underscore views of the repository database: names and columns are Tableau's published facts, the queries are
-- this project's. What the base tables of the oldest version cannot tell is a typed NULL.

CREATE VIEW _background_tasks AS
SELECT
    backgrounder_id,
    id,
    created_at,
    completed_at,
    finish_code,
    job_type,
    progress,
    args,
    notes,
    started_at,
    job_name,
    priority,
    title,
    processed_on_worker,
    subtitle,
    language,
    site_id,
    locale,
    NULL::boolean AS subscriptions_attach_image,
    NULL::boolean AS subscriptions_attach_pdf
FROM background_jobs;

CREATE VIEW _comments AS
SELECT
    NULL::integer AS id,
    NULL::text AS title,
    NULL::text AS comment,
    NULL::character varying AS commentable_type,
    NULL::timestamp without time zone AS created_at,
    NULL::text AS drawing,
    NULL::integer AS commentable_id,
    NULL::integer AS user_id,
    NULL::integer AS site_id
WHERE false;

CREATE VIEW _customized_views AS
SELECT
    custom.name,
    custom.url_id AS repository_url,
    custom.id,
    custom.size,
    views.name AS view_name,
    views.sheet_id,
    workbooks.repository_url AS workbook_url,
    workbooks.name AS workbook_name,
    person.email,
    person.name AS user_name,
    custom.site_id
FROM customized_views AS custom
LEFT JOIN views ON views.id = custom.view_id
LEFT JOIN workbooks ON workbooks.id = views.workbook_id
LEFT JOIN users ON users.id = custom.creator_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _datasources AS
SELECT
    source.id,
    source.name,
    source.repository_url AS datasource_url,
    source.owner_id,
    person.name AS owner_name,
    source.created_at,
    source.updated_at,
    source.size,
    source.project_id,
    projects.name AS project_name,
    link.server,
    link.dbclass,
    link.port,
    link.username,
    link.dbname,
    link.owner_type,
    users.system_user_id,
    source.site_id,
    person.domain_id,
    domains.name AS domain_name
FROM datasources AS source
LEFT JOIN projects ON projects.id = source.project_id
LEFT JOIN data_connections AS link ON link.owner_type = 'Datasource' AND link.owner_id = source.id
LEFT JOIN users ON users.id = source.owner_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id
LEFT JOIN domains ON domains.id = person.domain_id
WHERE source.connectable;

CREATE VIEW _datasources_stats AS
SELECT
    NULL::bigint AS nviews,
    NULL::timestamp without time zone AS last_access_time,
    id AS datasource_id,
    site_id
FROM datasources
WHERE connectable;

CREATE VIEW _groups AS
SELECT
    groups.id,
    groups.name,
    sites.name AS site_name,
    domains.name AS domain_name,
    domains.short_name AS domain_short_name,
    domains.family AS domain_family
FROM groups
LEFT JOIN sites ON sites.id = groups.site_id
LEFT JOIN domains ON domains.id = groups.domain_id;

CREATE VIEW _http_requests AS
SELECT
    controller,
    action,
    http_referer,
    http_user_agent,
    http_request_uri,
    remote_ip,
    created_at,
    session_id,
    completed_at,
    port,
    user_id,
    worker,
    vizql_session,
    user_ip,
    currentsheet,
    site_id
FROM http_requests;

CREATE VIEW _projects AS
SELECT
    projects.id,
    projects.name,
    projects.created_at,
    projects.owner_id,
    person.name AS owner_name,
    users.system_user_id,
    projects.site_id
FROM projects
LEFT JOIN users ON users.id = projects.owner_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _schedules AS
SELECT
    id,
    name,
    active,
    priority,
    schedule_type,
    day_of_week_mask,
    day_of_month_mask,
    start_at_minute,
    minute_interval,
    end_at_minute,
    end_schedule_at,
    run_next_at,
    created_at,
    updated_at,
    hidden,
    serial_collection_id,
    lock_version,
    scheduled_action,
    NULL::text AS scheduled_action_type,
    defined_by
FROM schedules;

CREATE VIEW _sessions AS
SELECT
    sessions.session_id,
    sessions.updated_at,
    sessions.user_id,
    person.name AS user_name,
    users.system_user_id,
    sessions.site_id
FROM sessions
LEFT JOIN users ON users.id = sessions.user_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _sites AS
SELECT
    id,
    name,
    url_namespace,
    status
FROM sites;

CREATE VIEW _subscriptions AS
SELECT
    subscriptions.id,
    subscriptions.subject,
    NULL::text AS content_type,
    NULL::text AS view_url,
    NULL::text AS workbook_url,
    NULL::integer AS customized_view_id,
    subscriptions.last_sent,
    subscriptions.user_id,
    person.name AS user_name,
    subscriptions.site_id,
    sites.name AS site_name,
    schedules.name AS schedule_name,
    schedules.active AS schedule_active,
    schedules.run_next_at AS schedule_run_next_at,
    schedules.priority AS schedule_priority
FROM subscriptions
LEFT JOIN schedules ON schedules.id = subscriptions.schedule_id
LEFT JOIN sites ON sites.id = subscriptions.site_id
LEFT JOIN users ON users.id = subscriptions.user_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _system_users AS
SELECT
    person.id,
    person.name,
    person.email,
    person.friendly_name,
    person.custom_display_name,
    person.admin_level,
    domains.name AS domain_name,
    domains.short_name AS domain_short_name,
    domains.family AS domain_family
FROM system_users AS person
LEFT JOIN domains ON domains.id = person.domain_id;

CREATE VIEW _tags AS
SELECT
    tags.id AS tag_id,
    tags.name AS tag_name,
    taggings.taggable_type AS object_type,
    taggings.taggable_id,
    taggings.taggable_id AS object_id,
    coalesce(workbooks.name, views.name, datasources.name) AS object_name,
    taggings.user_id,
    person.name AS user_name,
    users.system_user_id,
    tags.site_id
FROM tags
JOIN taggings ON taggings.tag_id = tags.id
LEFT JOIN workbooks ON taggings.taggable_type = 'Workbook' AND workbooks.id = taggings.taggable_id
LEFT JOIN views ON taggings.taggable_type = 'View' AND views.id = taggings.taggable_id
LEFT JOIN datasources ON taggings.taggable_type = 'Datasource' AND datasources.id = taggings.taggable_id
LEFT JOIN users ON users.id = taggings.user_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _users AS
SELECT
    users.id,
    person.name,
    users.login_at,
    person.friendly_name,
    NULL::integer AS licensing_role_id,
    NULL::character varying AS licensing_role_name,
    person.domain_id,
    users.system_user_id,
    domains.name AS domain_name,
    domains.short_name AS domain_short_name,
    users.site_id
FROM users
LEFT JOIN system_users AS person ON person.id = users.system_user_id
LEFT JOIN domains ON domains.id = person.domain_id;

CREATE VIEW _views AS
SELECT
    views.id,
    views.name,
    views.repository_url AS view_url,
    views.created_at,
    views.owner_id,
    person.name AS owner_name,
    views.workbook_id,
    views.index,
    views.title,
    views.caption,
    views.site_id
FROM views
LEFT JOIN users ON users.id = views.owner_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id;

CREATE VIEW _views_stats AS
SELECT
    stats.user_id AS users_id,
    person.name AS system_users_name,
    users.login_at AS users_login_at,
    person.friendly_name AS system_users_friendly_name,
    stats.view_id AS views_id,
    users.system_user_id AS system_users_id,
    views.name AS views_name,
    views.repository_url AS views_url,
    views.workbook_id AS views_workbook_id,
    views.created_at AS views_created_at,
    views.owner_id AS views_owner_id,
    views.index AS views_index,
    views.title AS views_title,
    views.caption AS views_caption,
    stats.device_type,
    stats.nviews,
    stats.time AS last_view_time,
    stats.site_id
FROM views_stats AS stats
LEFT JOIN users ON users.id = stats.user_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id
LEFT JOIN views ON views.id = stats.view_id;

CREATE VIEW _workbooks AS
SELECT
    workbooks.id,
    workbooks.name,
    workbooks.repository_url AS workbook_url,
    workbooks.created_at,
    workbooks.updated_at,
    workbooks.owner_id,
    workbooks.project_id,
    workbooks.size,
    workbooks.view_count,
    person.name AS owner_name,
    projects.name AS project_name,
    users.system_user_id,
    workbooks.site_id,
    person.domain_id,
    domains.name AS domain_name
FROM workbooks
LEFT JOIN projects ON projects.id = workbooks.project_id
LEFT JOIN users ON users.id = workbooks.owner_id
LEFT JOIN system_users AS person ON person.id = users.system_user_id
LEFT JOIN domains ON domains.id = person.domain_id;
