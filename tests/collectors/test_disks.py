"""Disks of the nodes, as Tableau records them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from exporter.collectors.disks import COLLECTOR
from exporter.demo.simulation import Simulation, utc_now
from exporter.repository.connection import connect
from tests.collectors.repositories import CONTEXT, Handmade, Samples, read, samples

(STATE,) = COLLECTOR.states
TABLE = "historical_disk_usage"


def published(repository: Handmade, user: str = "readonly") -> Mapping[str, Samples]:
    """Return the samples of each family."""
    blocks = list(STATE.expose(read(repository.parameters(user), STATE), CONTEXT))
    return {family.name.removeprefix("tableau_server_disk_"): samples(blocks, family.name) for family in STATE.families}


def record(repository: Handmade, node: str | None, at: datetime, path: str | None = "/data", **values: Any) -> None:
    """Have Tableau record a disk."""
    usual = {"total_space_bytes": 1000, "used_space_bytes": 500, "state": 1, "resource_type": 1}
    repository.add(TABLE, worker_id=node, path=path, record_timestamp=at, **{**usual, **values})


def test_the_newest_record_of_each_disk_counts(any_version: Handmade) -> None:
    """By node and path, in whatever order the rows were written."""
    now = utc_now()
    record(any_version, "node1", now - timedelta(minutes=5), used_space_bytes=700, state=2)
    record(any_version, "node1", now - timedelta(hours=3))
    record(any_version, "node1", now - timedelta(hours=2), path="/other", used_space_bytes=5_000_000_000_000)
    record(any_version, "node2", now - timedelta(hours=1), used_space_bytes=950, state=3)
    assert published(any_version) == {
        "used_bytes": {
            ("node1", "/data"): 700,
            ("node1", "/other"): 5_000_000_000_000,
            ("node2", "/data"): 950,
        },
        "total_bytes": {("node1", "/data"): 1000, ("node1", "/other"): 1000, ("node2", "/data"): 1000},
        "state": {
            ("node1", "/data", "warning"): 1,
            ("node1", "/other", "normal"): 1,
            ("node2", "/data", "critical"): 1,
        },
    }


def test_of_two_records_of_one_instant_the_later_row_counts(newest: Handmade) -> None:
    """The result does not depend on the plan of the query."""
    at = utc_now()
    for used in (1, 2, 3):
        record(newest, "node1", at, used_space_bytes=used)
    assert published(newest)["used_bytes"] == {("node1", "/data"): 3}


@pytest.mark.parametrize("hours", [25, 24 * 400, -2])
def test_a_record_of_another_day_is_none(newest: Handmade, hours: int) -> None:
    """A node that was removed must not stay, and a wrong clock must not hide what is recorded now."""
    record(newest, "node1", utc_now() - timedelta(hours=hours), used_space_bytes=1)
    assert published(newest)["used_bytes"] == {}
    record(newest, "node1", utc_now(), used_space_bytes=2)
    assert published(newest)["used_bytes"] == {("node1", "/data"): 2}


def test_the_last_records_alone_are_read(newest: Handmade) -> None:
    """What is read of the table does not grow with it."""
    now = utc_now()
    record(newest, "node1", now, id=1)
    record(newest, "node2", now, id=10_002)
    record(newest, "node3", now, id=20_001)
    assert {node for node, _ in published(newest)["used_bytes"]} == {"node2", "node3"}


def test_what_is_not_recorded_is_absent(newest: Handmade) -> None:
    """No size is not a size of 0, and an unknown state is ``other``."""
    now = utc_now()
    record(newest, "node1", now, used_space_bytes=None, state=None)
    record(newest, "node2", now, total_space_bytes=0, used_space_bytes=0, state=17)
    record(newest, None, now, used_space_bytes=-1)
    record(newest, "node4", now, path=None)
    assert published(newest) == {
        "used_bytes": {("node2", "/data"): 0},
        "total_bytes": {("node1", "/data"): 1000, ("", "/data"): 1000},
        "state": {("node2", "/data", "other"): 1, ("", "/data", "normal"): 1},
    }


def test_who_reads_the_views_alone_has_none(newest: Handmade) -> None:
    """No view stands in for the table: nothing is published, and the collector does not fail."""
    record(newest, "node1", utc_now())
    assert published(newest, "tableau") == {"used_bytes": {}, "total_bytes": {}, "state": {}}


def test_the_values_are_those_of_the_repository(simulation: Simulation) -> None:
    """Against SQL of another kind, when a day of the company is taken for today."""
    by = utc_now() - simulation.now
    with connect(simulation.admin()) as connection:
        moved = "UPDATE historical_disk_usage SET record_timestamp = record_timestamp + %s"
        connection.execute(moved, [by])
        rows = connection.execute(
            """
            SELECT worker_id, path, used_space_bytes, total_space_bytes
            FROM historical_disk_usage AS one
            WHERE NOT EXISTS (
                SELECT FROM historical_disk_usage AS later
                WHERE (later.worker_id, later.path) = (one.worker_id, one.path)
                    AND later.record_timestamp > one.record_timestamp
            )
            """
        ).fetchall()
        blocks = list(STATE.expose(read(simulation.parameters(), STATE), CONTEXT))
        connection.execute(moved, [-by])
    assert len(rows) == 3
    assert samples(blocks, "tableau_server_disk_used_bytes") == {(node, path): used for node, path, used, _ in rows}
    assert samples(blocks, "tableau_server_disk_total_bytes") == {(node, path): total for node, path, _, total in rows}
