"""Jobs of Tableau Cloud and of Tableau Bridge in the Activity Log: a row for each state of a job.

States of jobs are those of Tableau's own loader (docs/decisions/0022-activity-log.md); others are archived and not
counted.
"""

from dataclasses import dataclass
from datetime import datetime

from exporter.collector import Elsewhere

TABLE = "cloud_jobs"
BACKGROUND, BRIDGE = "background_job", "bridge_job"
STARTED = "JobStarted"
OUTCOMES = {"JobSuccess": "success", "JobFailed": "failure", "Failed": "failure"}
# The repository calls these otherwise; all others are the same words, there with underscores.
JOB_TYPES = {"SendSingleSubscription": "single_subscription_notify"}


@dataclass(frozen=True)
class CloudJob:
    """One state of a job of Tableau Cloud, or of Tableau Bridge: each state is an event of its own."""

    id: int
    event_time: datetime
    event_type: str
    event_outcome: str | None
    site_id: int
    job_id: int | None
    job_luid: str | None
    job_type: str | None
    event_state: str | None
    initiated_at: datetime | None
    duration: int | None
    run_now: bool | None
    notes: str | None
    args: str | None
    obj_luid: str | None
    obj_name: str | None
    obj_type: str | None
    obj_repository_url: str | None
    obj_revision: str | None
    obj_size: int | None
    obj_owner_luid: str | None
    obj_owner_name: str | None
    project_luid: str | None
    project_name: str | None
    project_owner_luid: str | None
    project_owner_email: str | None
    schedule_luid: str | None
    schedule_name: str | None
    task_id: int | None
    task_luid: str | None
    time_zone: str | None
    pod_name: str | None
    bridge_client_computer_name: str | None
    bridge_client_device_luid: str | None
    bridge_client_owner_luid: str | None
    bridge_client_owner_name: str | None
    bridge_client_version: str | None
    pool_id: str | None
    pool_name: str | None


CLOUD_SQL = """
    SELECT
        id AS id,
        event_time AS event_time,
        event_type AS event_type,
        event_outcome AS event_outcome,
        site_id AS site_id,
        fields.jobId AS job_id,
        fields.jobLuid AS job_luid,
        fields.jobType AS job_type,
        fields.eventState AS event_state,
        fields.eventInitiatedTime AS initiated_at,
        fields.duration AS duration,
        fields.isRunNow AS run_now,
        fields.notes AS notes,
        fields.args AS args,
        fields.objLuid AS obj_luid,
        fields.objName AS obj_name,
        fields.objType AS obj_type,
        fields.objRepositoryUrl AS obj_repository_url,
        fields.objRevision AS obj_revision,
        fields.objSize AS obj_size,
        fields.objOwnerLuid AS obj_owner_luid,
        fields.objOwnerName AS obj_owner_name,
        fields.projectLuid AS project_luid,
        fields.projectName AS project_name,
        fields.projectOwnerLuid AS project_owner_luid,
        fields.projectOwnerEmail AS project_owner_email,
        fields.scheduleLuid AS schedule_luid,
        fields.scheduleName AS schedule_name,
        fields.taskId AS task_id,
        fields.taskLuid AS task_luid,
        fields.timeZone AS time_zone,
        fields.podName AS pod_name,
        fields.bridgeClientComputerName AS bridge_client_computer_name,
        fields.bridgeClientDeviceLuid AS bridge_client_device_luid,
        fields.bridgeClientOwnerLuid AS bridge_client_owner_luid,
        fields.bridgeClientOwnerName AS bridge_client_owner_name,
        fields.bridgeClientVersion AS bridge_client_version,
        fields.poolId AS pool_id,
        fields.poolName AS pool_name
    FROM (
        SELECT
            *,
            json_transform(details, '{
                "jobId": "BIGINT",
                "jobLuid": "VARCHAR",
                "jobType": "VARCHAR",
                "eventState": "VARCHAR",
                "eventInitiatedTime": "TIMESTAMP",
                "duration": "BIGINT",
                "isRunNow": "BOOLEAN",
                "notes": "VARCHAR",
                "args": "VARCHAR",
                "objLuid": "VARCHAR",
                "objName": "VARCHAR",
                "objType": "VARCHAR",
                "objRepositoryUrl": "VARCHAR",
                "objRevision": "VARCHAR",
                "objSize": "BIGINT",
                "objOwnerLuid": "VARCHAR",
                "objOwnerName": "VARCHAR",
                "projectLuid": "VARCHAR",
                "projectName": "VARCHAR",
                "projectOwnerLuid": "VARCHAR",
                "projectOwnerEmail": "VARCHAR",
                "scheduleLuid": "VARCHAR",
                "scheduleName": "VARCHAR",
                "taskId": "BIGINT",
                "taskLuid": "VARCHAR",
                "timeZone": "VARCHAR",
                "podName": "VARCHAR",
                "bridgeClientComputerName": "VARCHAR",
                "bridgeClientDeviceLuid": "VARCHAR",
                "bridgeClientOwnerLuid": "VARCHAR",
                "bridgeClientOwnerName": "VARCHAR",
                "bridgeClientVersion": "VARCHAR",
                "poolId": "VARCHAR",
                "poolName": "VARCHAR"
            }') AS fields
        FROM activity
        WHERE event_type IN ('background_job', 'bridge_job')
    )
"""

_STATES = " ".join(f"WHEN '{state}' THEN '{outcome}'" for state, outcome in OUTCOMES.items())
_TYPES = " ".join(f"WHEN '{name}' THEN '{word}'" for name, word in JOB_TYPES.items())
OUTCOME = f"CASE event_state {_STATES} END"
ENDED = f"({OUTCOME}) IS NOT NULL"
JOB_TYPE = f"CASE job_type {_TYPES} ELSE lower(regexp_replace(job_type, '([a-z0-9])([A-Z])', '\\1_\\2', 'g')) END"

# A job that was retried has several starts: the last one before its end counts.
WITH_START = f"""
    SELECT
        rows.*,
        started.event_time AS started_at
    FROM {{rows}} AS rows
    ASOF LEFT JOIN (
        SELECT site_id, job_luid, event_type, event_time
        FROM {TABLE}
        WHERE event_state = '{STARTED}' AND job_luid IN (SELECT job_luid FROM {{rows}} AS ended WHERE {ENDED})
    ) AS started
        ON started.site_id = rows.site_id
        AND started.event_type = rows.event_type
        AND started.job_luid = rows.job_luid
        AND started.event_time <= rows.event_time
"""

# A source may replace another: what the jobs of both are recognised by is their LUID.
LISTED = Elsewhere(
    ("site_id", "job_luid", "event_type"),
    "background_jobs AS listed ON listed.site_id = keys.site_id AND listed.luid = keys.job_luid"
    f" AND keys.event_type = '{BACKGROUND}'",
)
"""Jobs that the REST API or Admin Insights listed while there was no Activity Log."""
IN_ACTIVITY_LOG = Elsewhere(
    ("site_id", "luid"),
    f"(FROM {TABLE} WHERE event_type = '{BACKGROUND}' AND {ENDED}) AS logged"
    " ON logged.site_id = keys.site_id AND logged.job_luid = keys.luid",
)
"""Jobs whose end the Activity Log reported while there was one."""
