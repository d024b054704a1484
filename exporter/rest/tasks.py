"""Scheduled refreshes: when they run next, how often they failed, whether they are suspended."""

import tableauserverclient as tsc

from exporter.errors import SourceIncomplete
from exporter.rest.answers import ANYWHERE, Answer, Entry, shape
from exporter.rest.columns import identity, instant
from exporter.rest.session import Session

Row = tuple[object, ...]

_EXTRACTS = shape("extractRefresh", schedule=ANYWHERE, workbook=ANYWHERE, datasource=ANYWHERE, texts=("lastRunAt",))
_FLOWS = shape("flowRun", "runFlow", schedule=ANYWHERE, flow=ANYWHERE, texts=("lastRunAt",))
_ASSET_TYPES = ("workbook", "datasource", "flow")


def extract_tasks(session: Session) -> list[Row]:
    """Return the refreshes of extracts, as rows of Task. This list has no pages."""
    return _rows(session, _read(session, "extractRefreshes", _EXTRACTS))


def flow_tasks(session: Session) -> list[Row]:
    """Return the runs of flows, as rows of Task."""
    return _rows(session, _read(session, "runFlow", _FLOWS))


def _read(session: Session, kind: str, wanted: object) -> Answer:
    def request(server: tsc.Server) -> object:
        return server.tasks.get_request(f"{server.tasks.baseurl}/{kind}")

    return session.read(request, wanted)  # type: ignore[arg-type]


def _rows(session: Session, answer: Answer) -> list[Row]:
    if "tasks" not in answer.lists:
        raise SourceIncomplete(f"{session.place}: an answer without a list of tasks")
    return [row for entry in answer.entries if (row := _row(entry))]


def _row(entry: Entry) -> Row | None:
    """Return a task; the state of its schedule is not told on Tableau Cloud."""
    schedule = entry.inside.get("schedule", {})
    state = schedule.get("state")
    suspended = None if state is None else state.lower() != "active"
    failures = entry.attributes.get("consecutiveFailedCount", "")
    for asset_type in _ASSET_TYPES:
        if asset_id := identity(entry.inside.get(asset_type, {}).get("id")):
            return (
                asset_type,
                asset_id,
                None if suspended else instant(schedule.get("nextRunAt")),
                instant(entry.texts.get("lastRunAt", "").strip()),
                int(failures) if failures.isdecimal() and len(failures) < 12 else None,
                suspended,
            )
    return None
