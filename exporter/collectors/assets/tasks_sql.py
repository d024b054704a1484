"""SQL on the repository: the scheduled tasks of each asset, as common table expressions."""

# tasks.state: 0 is active, 1 suspended, 2 disabled; NULL before 2019.4.
_RUNS_BY_ITSELF = "tasks.active IS NOT FALSE AND coalesce(tasks.state, 0) = 0"

# A flow is run by a specification of which it may have several. The steps of a linked task have no schedule of their
# own: they run after what starts it, a task that triggers it or one of its own.
TASKS = f"""
    planned AS (
        SELECT
            tasks.id AS task_id,
            CASE lower(tasks.obj_type) WHEN 'flowrunspec' THEN 'flow' ELSE lower(tasks.obj_type) END AS asset_type,
            CASE lower(tasks.obj_type) WHEN 'flowrunspec' THEN flow_run_specs.flow_id ELSE tasks.obj_id END AS id
        FROM tasks
        LEFT JOIN flow_run_specs ON lower(tasks.obj_type) = 'flowrunspec' AND flow_run_specs.id = tasks.obj_id
        WHERE lower(tasks.obj_type) IN ('workbook', 'datasource', 'flow', 'flowrunspec')
    ),
    starters AS (
        SELECT
            linked_task_id AS linked_task_id,
            task_id AS task_id
        FROM linked_task_triggers
        UNION
        SELECT
            obj_id,
            id
        FROM tasks
        WHERE lower(obj_type) = 'linkedtask'
    ),
    linked AS (
        SELECT
            step.task_id AS task_id,
            min(schedules.run_next_at) AS run_next_at
        FROM linked_task_steps AS step
        JOIN starters ON starters.linked_task_id = step.linked_task_id
        JOIN tasks ON tasks.id = starters.task_id AND {_RUNS_BY_ITSELF}
        JOIN schedules ON schedules.id = tasks.schedule_id AND schedules.active IS NOT FALSE
        GROUP BY step.task_id
    ),
    work AS (
        SELECT
            planned.asset_type AS asset_type,
            planned.id AS id,
            min(
                least(CASE WHEN schedules.active IS NOT FALSE THEN schedules.run_next_at END, linked.run_next_at)
            ) FILTER (WHERE {_RUNS_BY_ITSELF}) AS run_next_at,
            max(tasks.consecutive_failure_count) AS failures,
            max(tasks.last_success_completed_at) AS last_success_at,
            bool_or(tasks.state = 1) AS suspended,
            string_agg(tasks.id::text, ',' ORDER BY tasks.id) AS task_ids
        FROM planned
        JOIN tasks ON tasks.id = planned.task_id
        LEFT JOIN schedules ON schedules.id = tasks.schedule_id
        LEFT JOIN linked ON linked.task_id = tasks.id
        GROUP BY planned.asset_type, planned.id
    ),
    readable AS (
        SELECT
            EXISTS (SELECT FROM tasks) AS tasks,
            bool_and(id IS NOT NULL) IS NOT FALSE OR EXISTS (SELECT FROM flow_run_specs) AS tasks_of_flows
        FROM planned
        WHERE asset_type = 'flow'
    )
"""
