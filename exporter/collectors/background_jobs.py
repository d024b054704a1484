"""Background jobs: what the backgrounders did, what they are doing, and what waits for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import (
    JOB_BUCKETS,
    Collector,
    Context,
    Count,
    Distribution,
    Events,
    InsightsHooks,
    RestHooks,
    State,
    relation,
)
from exporter.collectors._arrow import texts, values
from exporter.collectors._listed_jobs import finished, performed
from exporter.inventory import Inventory
from exporter.metrics import Block, Family, Labels


@dataclass(frozen=True)
class Job:
    """A job that is done. ``finish_code`` is 0 success, 1 failure, 2 cancelled.

    ``task_id`` is the task (since Tableau 2021.2); so is ``correlation_id``, but only of refreshes and flow runs.
    """

    id: int
    luid: str | None
    site_id: int | None
    job_type: str | None
    job_name: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    finish_code: int | None
    progress: int | None
    priority: int | None
    title: str | None
    subtitle: str | None
    notes: str | None
    backgrounder_id: str | None
    created_on_worker: str | None
    processed_on_worker: str | None
    attempts_remaining: int | None
    run_now: bool | None
    task_id: int | None
    correlation_id: int | None


JOBS = relation(
    "background_jobs",
    "id bigint, job_type text, created_at timestamp, started_at timestamp, completed_at timestamp, finish_code bigint",
    "luid text, site_id bigint, job_name text, progress bigint, priority bigint, title text, subtitle text, notes text,"
    " backgrounder_id text, created_on_worker text, processed_on_worker text, attempts_remaining bigint,"
    " correlation_id bigint",
    newer={"2021.2": "run_now boolean, task_id bigint"},
)

LABELS = ("site", "job_type")
BY = {"site": "site", "job_type": "job_type"}

FINISHED = Family(
    "tableau_background_jobs_finished_total",
    "counter",
    "Finished background jobs since the history was created, by outcome; from the repository at every poll,"
    " without one from the REST API.",
    (*LABELS, "outcome"),
    "repository: background_jobs; REST: jobs",
)
RUN = Family(
    "tableau_background_job_run_seconds",
    "histogram",
    "Run time of finished background jobs, from started_at to completed_at; from the repository at every poll, without"
    " one from the REST API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
    JOB_BUCKETS,
)
QUEUE = Family(
    "tableau_background_job_queue_seconds",
    "histogram",
    "Queue time of finished background jobs, from created_at to started_at; from the repository at every poll, without"
    " one from the REST API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
    JOB_BUCKETS,
)
WAITING = Family(
    "tableau_background_jobs_waiting",
    "gauge",
    "Background jobs waiting for a backgrounder, by type; from the repository at every poll, without one from the REST"
    " API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
)
RUNNING = Family(
    "tableau_background_jobs_running",
    "gauge",
    "Running background jobs, by type; from the repository at every poll, without one from the REST API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
)

OUTCOME = "CASE finish_code WHEN 0 THEN 'success' WHEN 1 THEN 'failure' WHEN 2 THEN 'cancelled' END"


def _between(begin: str, end: str) -> tuple[str, str]:
    """Return the seconds between two instants, and whether they are known."""
    return f"epoch({end} - {begin})", f"isfinite({begin}) AND isfinite({end}) AND {end} >= {begin}"


FOLDS = (
    Count(FINISHED, {**BY, "outcome": OUTCOME}, f"completed_at IS NOT NULL AND {OUTCOME} IS NOT NULL"),
    Distribution(RUN, BY, *_between("started_at", "completed_at")),
    Distribution(QUEUE, BY, *_between("created_at", "started_at")),
)


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


@dataclass(frozen=True)
class Unfinished:
    """The jobs of one type on one site that are not done."""

    site_id: int | None
    job_type: str | None
    waiting: int
    running: int


UNFINISHED_SQL = """
    SELECT
        background_jobs.site_id AS site_id,
        background_jobs.job_type AS job_type,
        count(*) FILTER (WHERE background_jobs.started_at IS NULL) AS waiting,
        count(*) FILTER (WHERE background_jobs.started_at IS NOT NULL) AS running
    FROM background_jobs
    WHERE background_jobs.completed_at IS NULL
    GROUP BY background_jobs.site_id, background_jobs.job_type
"""


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Show how many jobs of each type wait and run."""
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    labels = Labels(LABELS, (sites, texts(rows, "job_type")))
    return [Block(WAITING, labels, values(rows, "waiting")), Block(RUNNING, labels, values(rows, "running"))]


def expose_inventory(inventory: Inventory) -> Sequence[Block]:
    """Count the jobs of the REST API's list that wait and run; a list that could not be read is no count."""
    if inventory.jobs is None:
        return ()
    rows = inventory.jobs.filter(pc.is_null(inventory.jobs.column("completed_at")))
    types, started = texts(rows, "job_type"), rows.column("started_at").is_valid().to_pylist()
    counts = {name: [0, 0] for name in dict.fromkeys(types)}
    for name, running in zip(types, started, strict=True):
        counts[name][running] += 1
    labels = Labels(LABELS, ([inventory.site] * len(counts), list(counts)))
    return [
        Block(WAITING, labels, [waiting for waiting, _ in counts.values()]),
        Block(RUNNING, labels, [running for _, running in counts.values()]),
    ]


COLLECTOR = Collector(
    "background_jobs",
    "Background jobs: finished ones, archived and counted once, and those waiting or running now.",
    events=Events(table="background_jobs", reads=(JOBS,), row=Job, folds=FOLDS, alias="luid"),
    activity=(
        Events(
            table="cloud_jobs",
            reads=(),
            row=CloudJob,
            folds=(),
            key=("id", "event_time"),
            sql=CLOUD_SQL,
        ),
    ),
    states=(State(Unfinished, (JOBS,), UNFINISHED_SQL, (WAITING, RUNNING), expose),),
    # The Activity Log reports the same jobs, and more about them.
    rest=RestHooks(
        expose_inventory,
        partial(finished, Job),
        wants=frozenset({"jobs"}),
        beside=frozenset({"repository", "activity_log"}),
    ),
    insights=InsightsHooks(jobs=partial(performed, Job)),
)
