"""Jobs that the REST API or Admin Insights lists, as rows of the repository's jobs; what they do not report is NULL."""

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import columns_of
from exporter.collectors._arrow import number_of
from exporter.inventory import Inventory

# Where the repository's word is not the same in lower case.
JOB_TYPES = {"sendsinglesubscription": "single_subscription_notify"}
FINISH_CODES = {"success": 0, "failed": 1, "cancelled": 2}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def finished(row: type, inventory: Inventory) -> pa.Table | None:
    """Return the jobs of the REST API's list that are done; None where it could not be read."""
    if inventory.jobs is None:
        return None
    done = inventory.jobs.filter(pc.is_valid(inventory.jobs.column("completed_at")))
    return _rows(row, {name: done.column(name) for name in done.column_names}, done.column("job_id"))


def performed(row: type, jobs: pa.Table) -> pa.Table:
    """Return the jobs of Job Performance that are done, their types in the repository's words."""
    done = jobs.filter(pc.and_(jobs.column("completed_at").is_valid(), jobs.column("created_at").is_valid()))
    results = pc.utf8_lower(pc.coalesce(done.column("final_job_result"), done.column("job_result"))).to_pylist()
    known = {name: done.column(name) for name in ("created_at", "started_at", "completed_at")}
    types = [_job_type(name) for name in done.column("job_type").to_pylist()]
    known["job_type"] = pa.array(types, pa.string())
    known["finish_code"] = pa.array([FINISH_CODES.get(result) for result in results], pa.int64())
    return _rows(row, known, done.column("job_luid"))


def _job_type(name: str | None) -> str | None:
    """Return a type in the repository's words: ``RefreshExtractsViaBridge`` is refresh_extracts_via_bridge."""
    return name and JOB_TYPES.get(name.lower(), _HUMP.sub("_", name).lower())


def _rows(row: type, known: Mapping[str, pa.Array | pa.ChunkedArray], luids: pa.ChunkedArray) -> pa.Table:
    numbers = pa.array(map(number_of, luids.to_pylist()), pa.int64())
    known = {**known, "id": numbers, "luid": luids}
    return pa.table(
        {column.name: known.get(column.name, pa.nulls(len(luids), column.type.arrow)) for column in columns_of(row)}
    )
