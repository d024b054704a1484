"""What is odd about a real Tableau, as its own client library is tested with it; on by default.

Content that its user may not see whole, tasks of nothing, totals that are wrong: a test switches off what it has no use
for. The first half changes the facts of an estate (``odd``), the second half only how they are written (``markup``).
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from exporter.demo.tableau.facts import (
    Content,
    Facts,
    FlowRun,
    LinkedTask,
    Schedule,
    Site,
    Task,
    VirtualConnection,
)

# Content that is made odd is at the end of its list; a list that is shorter than this stays as it is.
ROOM = 4
NAMESPACE = uuid.UUID("0c6f5d0e-4a55-4f0e-9d3f-5d8f7f6c2a10")


@dataclass(frozen=True)
class Oddities:
    """Switches, all on; ``Oddities.none()`` has all of them off. Each names where it was seen.

    ``asset`` is a file of tableauserverclient's ``test/assets``.
    """

    limited_visibility: bool = True
    """A data source without project and owner: user visibility is "Limited" (datasource_get_no_owner)."""
    placeless: bool = True
    """A data source with an owner, but with neither project nor location."""
    personal_space: bool = True
    """A workbook in a Personal Space: a location of that type, no project (workbook_get_all_fields)."""
    invalid_date: bool = True
    """A workbook whose createdAt is the 31st of June (workbook_get_invalid_date)."""
    task_of_nothing: bool = True
    """An extract task with neither workbook nor data source (tasks_no_workbook_or_datasource)."""
    task_without_schedule: bool = True
    """An extract task without a schedule (tasks_without_schedule)."""
    acceleration_task: bool = True
    """A dataAcceleration task in the list of extract tasks (tasks_with_dataacceleration_task)."""
    running_flow: bool = True
    """A flow run that has not ended (flow_runs_get_by_id_inprogress)."""
    linked_task: bool = True
    """A linked task that runs a flow (linked_tasks_get)."""
    virtual_connection: bool = True
    """A virtual connection with an extract, which a workbook uses (virtual_connections_get)."""

    flow_runs_without_pages: bool = True
    """flows/runs has no pagination and refuses a second page (flow_runs_get); off: as the API's XSD declares it."""
    empty_completed_at: bool = True
    """A run that has not ended has completedAt="" (flow_runs_get_by_id_inprogress); off: no such attribute."""
    untagged_flows: bool = True
    """A flow without tags has no tags element (flow_get); off: an empty one, as workbooks and data sources have."""
    untitled_jobs: bool = True
    """Some jobs of the list have neither title nor subtitle (job_get); off: all have both, as the XSD allows."""
    prefixed: bool = True
    """A list that is requested with fields comes with the prefix ns0 (the assets that end in all_fields)."""
    promised: frozenset[str] = frozenset({"users", "projects", "subscriptions"})
    """Kinds whose totalAvailable counts one entry more than there is, on every page."""
    promised_linked_tasks: int = 4
    """How many more linked tasks totalAvailable counts (linked_tasks_get: five for one)."""

    @classmethod
    def none(cls) -> "Oddities":
        """Return a Tableau without any."""
        return cls(
            **{name: False for name, field in cls.__dataclass_fields__.items() if field.default is True},
            promised=frozenset(),
            promised_linked_tasks=0,
        )


def odd(facts: Facts, oddities: Oddities) -> Facts:
    """Return the facts with their oddities."""
    return tuple(_odd_site(site, oddities) for site in facts)


def _odd_site(site: Site, oddities: Oddities) -> Site:
    changed = site._replace(
        datasources=_odd_datasources(site.datasources, oddities), workbooks=_odd_workbooks(site.workbooks, oddities)
    )
    if oddities.virtual_connection and len(site.workbooks) >= ROOM:
        changed = _with_virtual_connection(changed)
    if site.tasks and changed.workbooks:
        changed = changed._replace(tasks=[*site.tasks, *_odd_tasks(changed, oddities)])
    if changed.flows and oddities.running_flow:
        changed = changed._replace(flow_runs=[*site.flow_runs, _running(changed)])
    schedule = next((task.schedule for task in site.tasks if task.schedule), None)
    if changed.flows and schedule and oddities.linked_task:
        changed = changed._replace(linked_tasks=[_linked(changed, schedule)])
    return changed


def _odd_datasources(items: Sequence[Content], oddities: Oddities) -> Sequence[Content]:
    if len(items) < ROOM:
        return items
    *others, placeless, limited = items
    if oddities.limited_visibility:
        limited = limited._replace(project=None, project_name=None, owner=None, personal=False)
    if oddities.placeless:
        placeless = placeless._replace(project=None, project_name=None, personal=False)
    return [*others, placeless, limited]


def _odd_workbooks(items: Sequence[Content], oddities: Oddities) -> Sequence[Content]:
    if len(items) < ROOM:
        return items
    *others, undated, private = items
    if oddities.invalid_date:
        undated = undated._replace(created_at=None)
    if oddities.personal_space and not any(item.personal for item in items):
        private = private._replace(project=None, project_name=None, personal=True)
    return [*others, undated, private]


def _with_virtual_connection(site: Site) -> Site:
    *before, user, undated, private = site.workbooks
    luid = _luid(site, "virtual connection")
    made_at = user.published_at
    connection = VirtualConnection(luid, "Warehouse", made_at, made_at, (("ORDERS", user.updated_at), ("LIVE", None)))
    return site._replace(
        workbooks=[*before, user._replace(virtual=(luid,)), undated, private], virtual_connections=[connection]
    )


def _odd_tasks(site: Site, oddities: Oddities) -> Iterable[Task]:
    first = site.workbooks[0]
    schedule = next((task.schedule for task in site.tasks if task.schedule), None)
    if oddities.task_of_nothing:
        yield Task(_luid(site, "nothing"), "RefreshExtractTask", None, None, "", 50, 0, schedule)
    if oddities.acceleration_task:
        ran_at = first.updated_at
        luid = _luid(site, "acceleration")
        yield Task(luid, "MaterializeViewsTask", "workbook", first.luid, first.name, 50, 0, schedule, ran_at)
    scheduled = {task.asset for task in site.tasks}
    bare = next((item for item in site.workbooks if item.has_extracts and item.luid not in scheduled), None)
    if bare and oddities.task_without_schedule:
        yield Task(_luid(site, "no schedule"), "RefreshExtractTask", bare.kind, bare.luid, bare.name, 50, 0, None)


def _running(site: Site) -> FlowRun:
    flow = site.flows[-1]
    began_at = max((run.completed_at for run in site.flow_runs if run.completed_at), default=flow.updated_at)
    job = _luid(site, "running job")
    return FlowRun(_luid(site, "running"), flow.luid, "InProgress", began_at + timedelta(minutes=1), None, 50, job)


def _linked(site: Site, schedule: Schedule) -> LinkedTask:
    flow = site.flows[-1]
    return LinkedTask(
        _luid(site, "linked"), _luid(site, "step"), _luid(site, "linked run"), flow.luid, flow.name, schedule
    )


def _luid(site: Site, what: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{site.luid} {what}"))
