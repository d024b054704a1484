"""SQL on projects: the full path of each project, and the project of each asset."""

from exporter.collector import relation

PROJECTS = relation(
    "projects",
    "id bigint, name text",
    "luid text, site_id bigint, owner_id bigint, parent_project_id bigint, description text, state text,"
    " created_at timestamp, updated_at timestamp",
)
PROJECTS_CONTENTS = relation(
    "projects_contents",
    "project_id bigint, content_id bigint, content_type text",
    "id bigint",
    optional=True,
    reported=False,
)

# Walked from the roots, so that a circle of parents, which has none, is never entered.
PATHS = """
    paths AS (
        SELECT
            root.id AS id,
            root.name AS path
        FROM projects AS root
        LEFT JOIN projects AS parent ON parent.id = root.parent_project_id
        WHERE parent.id IS NULL
        UNION ALL
        SELECT
            child.id AS id,
            paths.path || '/' || child.name AS path
        FROM paths
        JOIN projects AS child ON child.parent_project_id = paths.id
    )
"""

# Valid since 2020.3; the project_id of the content itself may name the previous project.
PLACES = """
    places AS (
        SELECT DISTINCT ON (lower(content_type), content_id)
            lower(content_type) AS content_type,
            content_id AS content_id,
            project_id AS project_id
        FROM projects_contents
        ORDER BY lower(content_type), content_id, id DESC
    )
"""
