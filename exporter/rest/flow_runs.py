"""The last successful run of each flow; tableauserverclient's Pager does not work on this list."""

from datetime import UTC, datetime, timedelta

import tableauserverclient as tsc

from exporter.rest.answers import shape
from exporter.rest.columns import identity, instant
from exporter.rest.lists import pages
from exporter.rest.session import Session

RECENT = timedelta(days=30)
SUCCESS = "success"
# Some releases have the plural on the element itself, inside a list of the same name.
_RUNS = shape("flowRun", "flowRuns")

Row = tuple[str, str, str, datetime]


def last_runs(session: Session, now: datetime) -> list[Row]:
    """Return a row of Refresh for each flow that ran with success of late."""
    since = (now - RECENT).replace(tzinfo=UTC, microsecond=0).isoformat().replace("+00:00", "Z")
    names, operators = tsc.RequestOptions.Field, tsc.RequestOptions.Operator
    filters = (tsc.Filter(names.StartedAt, operators.GreaterThan, since),)
    latest: dict[str, Row] = {}
    for answer in pages(session, "flow_runs", _RUNS, (), filters):
        for entry in answer.entries:
            of = entry.attributes
            run_id, flow_id = identity(of.get("id")), identity(of.get("flowId"))
            completed_at = instant(of.get("completedAt"))
            if run_id and flow_id and completed_at and of.get("status", "").lower() == SUCCESS:
                before = latest.get(flow_id)
                if before is None or before[3] < completed_at:
                    latest[flow_id] = (run_id, "flow", flow_id, completed_at)
    return list(latest.values())
