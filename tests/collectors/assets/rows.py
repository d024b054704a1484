"""Rows of assets, and the assets that are read from them."""

from datetime import datetime
from typing import Any

from exporter.collectors.assets import COLLECTOR
from tests.collectors.repositories import Handmade

(STATE,) = COLLECTOR.states
LUID = "00000000-0000-0000-0000-00000000000{}".format

Asset = dict[str, Any]


def workbook(repository: Handmade, **values: object) -> int:
    """Add a workbook with an extract, unless stated otherwise."""
    base = {"luid": LUID(1), "name": "Sales", "site_id": 1, "data_engine_extracts": True, "is_deleted": False}
    return repository.add("workbooks", **{**base, **values})


def source(repository: Handmade, **values: object) -> int:
    """Add a published data source with an extract, unless stated otherwise."""
    base = {
        "luid": LUID(2),
        "name": "Orders",
        "site_id": 1,
        "repository_url": "Orders",
        "data_engine_extracts": True,
        "connectable": True,
        "state": "active",
    }
    return repository.add("datasources", **{**base, **values})


def uses(repository: Handmade, owner: int, dbname: str = "Orders", **values: object) -> None:
    """Connect a workbook to a published data source, unless stated otherwise."""
    base = {"owner_type": "Workbook", "dbclass": "sqlproxy", "dbname": dbname, "has_extract": False}
    repository.add("data_connections", owner_id=owner, **{**base, **values})


def assets(repository: Handmade, asset_type: str) -> list[Asset]:
    """Read the assets of one type."""
    return [row for row in repository.read(STATE) if row["asset_type"] == asset_type]


def flow(repository: Handmade, **values: object) -> int:
    """Add a flow."""
    base = {"luid": LUID(3), "name": "Prepare", "site_id": 1, "is_deleted": False, "state": "active"}
    return repository.add("flows", **{**base, **values})


def task(repository: Handmade, obj_id: int, **values: object) -> int:
    """Add a task of a workbook."""
    base = {"obj_type": "Workbook", "active": True, "state": 0, "consecutive_failure_count": 0}
    return repository.add("tasks", obj_id=obj_id, **{**base, **values})


def run_spec(repository: Handmade, flow_id: int, **values: object) -> int:
    """Add a specification of how a flow is run."""
    return repository.add("flow_run_specs", flow_id=flow_id, **values)


def flow_task(repository: Handmade, spec: int, **values: object) -> int:
    """Add a task that runs a flow by a specification."""
    return task(repository, spec, obj_type="FlowRunSpec", **values)


def schedule(repository: Handmade, run_next_at: datetime | None, *, active: bool | None = True) -> int:
    """Add a schedule."""
    return repository.add("schedules", run_next_at=run_next_at, active=active)


def project(repository: Handmade, name: str, parent: int | None = None, **values: object) -> int:
    """Add a project."""
    return repository.add("projects", name=name, parent_project_id=parent, site_id=1, **values)
