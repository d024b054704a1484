"""Scheduled refreshes (next run, failures in a row, suspension) and the runs of flows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import tableauserverclient as tsc

from exporter.errors import SourceIncomplete
from exporter.rest.arrow import parse_instant, to_luid
from exporter.rest.errors import BadRequest, NotFound
from exporter.rest.lists import PAGE_SIZE, page
from exporter.rest.response_xml import ANYWHERE, Entry, XmlPage, XmlShape, shape
from exporter.rest.session import RestSession

Row = tuple[object, ...]

_EXTRACTS = shape("extractRefresh", schedule=ANYWHERE, workbook=ANYWHERE, datasource=ANYWHERE, texts=("lastRunAt",))
_FLOWS = shape("flowRun", "runFlow", schedule=ANYWHERE, flow=ANYWHERE, texts=("lastRunAt",))
_LINKED = shape("linkedTasks", schedule=1, flow=ANYWHERE, flowRun=ANYWHERE)
_ASSET_TYPES = ("workbook", "datasource", "flow")

RECENT = timedelta(days=30)
SUCCESS = "success"
# The list has the name of its entries.
_RUNS = shape("flowRun", "flowRuns")

Run = tuple[str, str, str, datetime]


def extract_tasks(session: RestSession) -> list[Row]:
    """Return the refreshes of extracts, as rows of Task. This list has no pages."""
    return _tasks(session, "extractRefreshes", _EXTRACTS)


def flow_tasks(session: RestSession) -> list[Row]:
    """Return the runs of flows, as rows of Task."""
    return _tasks(session, "runFlow", _FLOWS)


def linked_tasks(session: RestSession) -> list[Row]:
    """Return the flows that run one after another, as rows of Task: the schedule is that of all of them.

    Tableau's own count of this list may be wrong, so it is not checked. Releases before version 3.15 have none.
    """
    try:
        answer = _read(session, "linked", _LINKED)
    except NotFound:
        return []
    if "linkedTasks" not in answer.lists:
        raise SourceIncomplete(f"{session.place}: an answer without a list of linked tasks")
    return [row for entry in answer.entries for row in _linked(entry)]


def last_runs(session: RestSession, since: datetime | None) -> tuple[list[Run], str | None]:
    """Return a row of Refresh for each flow that ran with success (since then), and what may be missing.

    The list has no pages and no count (tableauserverclient's Pager fails on it): one that fills a page may be cut.
    """
    answer = _runs(session, since)
    if "flowRuns" not in answer.lists and not answer.entries:
        raise SourceIncomplete(f"{session.place}: an answer without a list of flow runs")
    latest: dict[str, Run] = {}
    for entry in answer.entries:
        of = entry.attributes
        run_id, flow_id = to_luid(of.get("id")), to_luid(of.get("flowId"))
        completed_at = parse_instant(of.get("completedAt"))
        if run_id and flow_id and completed_at and of.get("status", "").lower() == SUCCESS:
            before = latest.get(flow_id)
            if before is None or before[3] < completed_at:
                latest[flow_id] = (run_id, "flow", flow_id, completed_at)
    cut = len(answer.entries) >= PAGE_SIZE or (answer.total or 0) > len(answer.entries)
    return list(
        latest.values()
    ), f"only {len(answer.entries)} flow runs came, the oldest may be missing" if cut else None


def _runs(session: RestSession, since: datetime | None) -> XmlPage:
    """Read the runs; a server that does not know the filter is requested in full."""
    names, operators = tsc.RequestOptions.Field, tsc.RequestOptions.Operator
    options = tsc.RequestOptions(pagenumber=1, pagesize=PAGE_SIZE)
    if since is not None and "flow_runs" not in session.transport.without_options:
        text = since.replace(tzinfo=UTC, microsecond=0).isoformat().replace("+00:00", "Z")
        options.filter.add(tsc.Filter(names.StartedAt, operators.GreaterThan, text))
        try:
            return page(session, "flow_runs", _RUNS, options)
        except BadRequest:
            session.transport.without_options.add("flow_runs")
            options.filter.clear()
    return page(session, "flow_runs", _RUNS, options)


def _tasks(session: RestSession, kind: str, wanted: XmlShape) -> list[Row]:
    answer = _read(session, kind, wanted)
    if "tasks" not in answer.lists:
        raise SourceIncomplete(f"{session.place}: an answer without a list of tasks")
    return [row for entry in answer.entries if (row := _row(entry))]


def _read(session: RestSession, kind: str, wanted: XmlShape) -> XmlPage:
    def request(server: tsc.Server) -> object:
        return server.tasks.get_request(f"{server.tasks.baseurl}/{kind}")

    return session.read(request, wanted)


def _row(entry: Entry) -> Row | None:
    """Return a task; Tableau Cloud does not report the state of its schedule."""
    for asset_type in _ASSET_TYPES:
        if asset_id := to_luid(entry.inside.get(asset_type, {}).get("id")):
            suspended, next_run_at = _scheduled(entry)
            last_run_at = parse_instant(entry.texts.get("lastRunAt", "").strip())
            failures = _count(entry.attributes.get("consecutiveFailedCount"))
            return asset_type, asset_id, next_run_at, last_run_at, failures, suspended
    return None


def _linked(entry: Entry) -> Iterator[Row]:
    suspended, next_run_at = _scheduled(entry)
    flows, runs = entry.every.get("flow", ()), entry.every.get("flowRun", ())
    for place, flow in enumerate(flows):
        if asset_id := to_luid(flow.get("id")):
            run = runs[place] if len(runs) == len(flows) else {}
            yield "flow", asset_id, next_run_at, None, _count(run.get("consecutiveFailedCount")), suspended


def _scheduled(entry: Entry) -> tuple[bool | None, datetime | None]:
    """Return whether the schedule is suspended, None where that is unknown, and when it runs next."""
    schedule = entry.inside.get("schedule", {})
    state = schedule.get("state")
    suspended = None if state is None else state.lower() != "active"
    return suspended, None if suspended else parse_instant(schedule.get("nextRunAt"))


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 12 else None
