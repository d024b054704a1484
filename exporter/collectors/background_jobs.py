"""Background jobs: finished, running and queued jobs of the backgrounders."""

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
    Latest,
    RestHooks,
    State,
    relation,
)
from exporter.collectors import _cloud_jobs as cloud
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
    "Finished background jobs since the history was created, by outcome; from the repository or the Activity Log at"
    " every poll, without either from the REST API, and from Admin Insights every day.",
    (*LABELS, "outcome"),
    "repository: background_jobs; activity log; REST: jobs; Admin Insights: Job Performance",
)
RUN = Family(
    "tableau_background_job_run_seconds",
    "histogram",
    "Run time of finished background jobs, from started_at to completed_at; from the repository or the Activity Log at"
    " every poll, without either from the REST API, and from Admin Insights every day.",
    LABELS,
    "repository: background_jobs; activity log; REST: jobs; Admin Insights: Job Performance",
    JOB_BUCKETS,
)
QUEUE = Family(
    "tableau_background_job_queue_seconds",
    "histogram",
    "Queue time of finished background jobs, from created_at to started_at; from the repository at every poll; of"
    " Tableau Cloud of started jobs, from the Activity Log; without either from the REST API, and from Admin Insights"
    " every day.",
    LABELS,
    "repository: background_jobs; activity log; REST: jobs; Admin Insights: Job Performance",
    JOB_BUCKETS,
)
WAITING = Family(
    "tableau_background_jobs_waiting",
    "gauge",
    "Background jobs waiting for a backgrounder, by type; from the repository at every poll; without one, and"
    " without the Activity Log, from the REST API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
)
RUNNING = Family(
    "tableau_background_jobs_running",
    "gauge",
    "Running background jobs, by type; from the repository at every poll; without one, and without the Activity Log,"
    " from the REST API.",
    LABELS,
    "repository: background_jobs; REST: jobs",
)

BRIDGE_FINISHED = Family(
    "tableau_bridge_jobs_finished_total",
    "counter",
    "Finished jobs of Tableau Bridge since the history was created, by outcome; from the Activity Log at every poll.",
    ("site", "pool", "outcome"),
    "activity log",
)
BRIDGE_SEEN = Family(
    "tableau_bridge_client_last_seen_timestamp_seconds",
    "gauge",
    "Time of the last event of a client of Tableau Bridge within 31 days; from the Activity Log at every poll.",
    ("site", "pool", "client"),
    "activity log",
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


CLOUD_BY = {"site": "site", "job_type": cloud.JOB_TYPE}
ON_CLOUD, BY_BRIDGE = f"event_type = '{cloud.BACKGROUND}'", f"event_type = '{cloud.BRIDGE}'"
_RUN_TIME, _RAN = _between("started_at", "event_time")
_QUEUE_TIME, _QUEUED = _between("initiated_at", "event_time")
# Of clients whose names may not be stored the device's LUID is.
CLIENT = "coalesce(bridge_client_computer_name, bridge_client_device_luid)"

CLOUD_FOLDS = (
    Count(FINISHED, {**CLOUD_BY, "outcome": cloud.OUTCOME}, f"{ON_CLOUD} AND {cloud.ENDED}"),
    Distribution(RUN, CLOUD_BY, _RUN_TIME, f"{ON_CLOUD} AND {cloud.ENDED} AND {_RAN}", verifiable=False),
    Distribution(QUEUE, CLOUD_BY, _QUEUE_TIME, f"{ON_CLOUD} AND event_state = '{cloud.STARTED}' AND {_QUEUED}"),
    Count(
        BRIDGE_FINISHED,
        {"site": "site", "pool": "pool_name", "outcome": cloud.OUTCOME},
        f"{BY_BRIDGE} AND {cloud.ENDED}",
    ),
    Latest(
        BRIDGE_SEEN,
        {"site": "site", "pool": "pool_name", "client": CLIENT},
        "event_time",
        f"{BY_BRIDGE} AND {CLIENT} IS NOT NULL",
    ),
)


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
    events=Events(
        table="background_jobs", reads=(JOBS,), row=Job, folds=FOLDS, alias="luid", elsewhere=cloud.IN_ACTIVITY_LOG
    ),
    activity=(
        Events(
            table=cloud.TABLE,
            reads=(),
            row=cloud.CloudJob,
            folds=CLOUD_FOLDS,
            key=("id", "event_time"),
            sql=cloud.CLOUD_SQL,
            joined=cloud.WITH_START,
            elsewhere=cloud.LISTED,
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
