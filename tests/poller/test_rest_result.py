"""No more jobs are requested in a day than allowed, also over a restart."""

from datetime import UTC, datetime

import pyarrow as pa

from exporter.inventory import REFRESHES
from exporter.poller.rest_result import DAY_SECONDS, REMEMBERED_SECONDS, JobLookupBudget

NOW = datetime(2025, 11, 19, tzinfo=UTC).timestamp()


def jobs(count: int, first: int = 0) -> pa.Table:
    """Return so many jobs."""
    row = {"asset_type": "workbook", "asset_id": "w", "completed_at": datetime(2025, 11, 19)}  # noqa: DTZ001
    rows = [{**row, "job_id": f"j{number}"} for number in range(first, first + count)]
    return pa.Table.from_pylist(rows, schema=REFRESHES)


def test_what_was_spent_is_missing() -> None:
    """Each request costs one for a day, also one without an asset; old jobs are forgotten."""
    look_ups = JobLookupBudget(10)
    look_ups.add(jobs(4), 4, NOW)
    look_ups.add(jobs(2, 4), 3, NOW + 100.0)
    assert look_ups.remaining(NOW + 200.0) == 3
    assert look_ups.remaining(NOW + DAY_SECONDS) == 7
    assert look_ups.remaining(NOW + DAY_SECONDS + 100.0) == 10
    assert look_ups.known.num_rows == 6
    look_ups.add(jobs(0), 0, NOW + REMEMBERED_SECONDS + DAY_SECONDS)
    assert look_ups.known.num_rows == 0


def test_a_restart_gives_nothing_back() -> None:
    """Requests from before a restart count as if they were just made."""
    look_ups = JobLookupBudget(10)
    look_ups.restore(jobs(50), 8, 0.0)
    assert (look_ups.remaining(0.0), look_ups.known.num_rows) == (2, 50)


def test_never_less_than_nothing() -> None:
    """An allowance that was lowered is spent, not owed."""
    look_ups = JobLookupBudget(5)
    look_ups.restore(jobs(0), 8, 0.0)
    assert look_ups.remaining(0.0) == 0
