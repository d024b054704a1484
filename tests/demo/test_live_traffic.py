"""LiveTraffic traffic, driven step by step."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

import pytest

from exporter.demo.draft import SMALL
from exporter.demo.jobs import SUSPENDED
from exporter.demo.live_traffic import LiveTraffic, Movement
from exporter.demo.postgres import Postgres
from exporter.demo.rows import Row
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS
from exporter.repository.connection import connect

STEPS = 600


@pytest.fixture(scope="module", params=[VERSIONS[0], VERSIONS[-1]])
def simulated(request: pytest.FixtureRequest, postgres18: Postgres, now: datetime) -> Iterator[Simulation]:
    """A repository of the oldest or the newest version that these tests may change."""
    name = f"living_{request.param}"
    with Simulation(
        postgres=postgres18, database=name, version=request.param, scale=SMALL, days=1, requests_per_day=100, now=now
    ) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def after_traffic(simulated: Simulation) -> tuple[Simulation, Movement]:
    """The repository after some minutes of life, and all that has moved."""
    living = LiveTraffic(simulated.company, simulated.admin(), simulated.version, Random(1), lambda: simulated.now)
    moves = [living.step(simulated.now + timedelta(seconds=number)) for number in range(1, STEPS + 1)]
    living.stop()
    return simulated, Movement(*map(sum, zip(*moves, strict=True)))


def count(simulation: Simulation, query: str) -> int:
    """Count rows after the end of the simulated days."""
    with connect(simulation.admin()) as connection:
        (number,) = connection.execute(query.encode(), {"now": simulation.now}).fetchone() or (0,)
        return int(number)


def test_requests_come_at_a_few_a_second(after_traffic: tuple[Simulation, Movement]) -> None:
    """Every request that a step reports is in the table; there are some two to five a second."""
    simulation, moved = after_traffic
    query = "SELECT count(*) FROM http_requests WHERE created_at > %(now)s - interval '1 second' AND id > "
    past = count(simulation, "SELECT count(*) FROM http_requests WHERE created_at <= %(now)s - interval '10 seconds'")
    assert moved.requests <= count(simulation, f"{query} {past}")
    assert 1 * STEPS < moved.requests < 6 * STEPS


def test_some_requests_are_completed_later(after_traffic: tuple[Simulation, Movement]) -> None:
    """Slow requests are first written open; those that are not due yet still are."""
    simulation, moved = after_traffic
    assert moved.completed > 0
    assert (
        count(simulation, "SELECT count(*) FROM http_requests WHERE created_at > %(now)s AND completed_at IS NULL") < 20
    )


def test_people_log_in(after_traffic: tuple[Simulation, Movement]) -> None:
    """Logins of the present stand in users."""
    simulation, moved = after_traffic
    assert 0 < count(simulation, "SELECT count(*) FROM users WHERE login_at > %(now)s") <= moved.logins


def test_refreshes_run_and_make_content_fresh(after_traffic: tuple[Simulation, Movement]) -> None:
    """Jobs are queued, started and ended; success moves the extract, failure moves the count."""
    simulation, moved = after_traffic
    jobs = "SELECT count(*) FROM background_jobs WHERE created_at > %(now)s"
    assert 0 < moved.jobs == count(simulation, f"{jobs} AND completed_at IS NOT NULL AND started_at IS NOT NULL")
    succeeded = count(simulation, f"{jobs} AND completed_at IS NOT NULL AND finish_code = 0")
    fresh = sum(
        count(simulation, f"SELECT count(*) FROM {table} WHERE greatest({columns}) > %(now)s")
        for table in ("workbooks", "datasources")
        for columns in ("extracts_refreshed_at, extracts_incremented_at",)
    )
    assert 0 < fresh <= succeeded


def test_schedules_move_on(after_traffic: tuple[Simulation, Movement]) -> None:
    """After a run is due, run_next_at is in the future again."""
    simulation, _ = after_traffic
    end = simulation.now + timedelta(seconds=STEPS)
    assert count(simulation, f"SELECT count(*) FROM schedules WHERE run_next_at <= '{end}'") == 0


def test_the_same_seed_lives_the_same_life(simulated: Simulation) -> None:
    """Steps are a function of the company, the random numbers and the instants."""
    begin = simulated.now + timedelta(hours=1)
    lives = []
    for _ in range(2):
        living = LiveTraffic(simulated.company, simulated.admin(), simulated.version, Random(7), lambda: begin)
        lives.append([living.step(begin + timedelta(seconds=number)) for number in range(20)])
        living.stop()
    assert lives[0] == lives[1]


@pytest.mark.parametrize("kind", ["failing", "suspended", "disabled"])
def test_a_broken_refresh_can_be_mended(kind: str, simulated: Simulation) -> None:
    """Within some steps the extract is fresh, its task counts no failure, and nothing else was needed."""
    begin = simulated.now + timedelta(hours=2)
    task = next(
        task
        for task in simulated.company.tables["tasks"]
        if task["obj_type"] == "Workbook" and reported(task) == kind and task["type"] == "RefreshExtractTask"
    )
    (luid,) = [row["luid"] for row in simulated.company.tables["workbooks"] if row["id"] == task["obj_id"]]
    living = LiveTraffic(simulated.company, simulated.admin(), simulated.version, Random(1), lambda: begin)
    assert living.fix(str(luid))
    for number in range(5):
        living.step(begin + timedelta(seconds=number))
    living.stop()
    fresh = f"SELECT count(*) FROM workbooks WHERE luid = '{luid}' AND extracts_refreshed_at >= '{begin}'"
    assert count(simulated, fresh) == 1
    well = f"SELECT count(*) FROM tasks WHERE id = {task['id']} AND consecutive_failure_count = 0"
    assert count(simulated, well) == 1


def test_what_is_well_is_not_mended(simulated: Simulation) -> None:
    """No refresh that works, and no content without one, is fixed."""
    living = LiveTraffic(simulated.company, simulated.admin(), simulated.version, Random(1), lambda: simulated.now)
    tables = simulated.company.tables
    healthy = next(task for task in tables["tasks"] if reported(task) == "well" and task["obj_type"] == "FlowRunSpec")
    (flow_id,) = [row["flow_id"] for row in tables["flow_run_specs"] if row["id"] == healthy["obj_id"]]
    (luid,) = [row["luid"] for row in tables["flows"] if row["id"] == flow_id]
    assert not living.fix(str(luid))
    assert not living.fix("no such content")


def reported(task: Row) -> str:
    """Return the fault of a task."""
    if task["state"]:
        return "suspended" if task["state"] == SUSPENDED else "disabled"
    return "failing" if task["consecutive_failure_count"] else "well"


def test_a_restart_of_the_database_is_survived(restartable_server: Postgres) -> None:
    """The thread goes on writing after the database went away and came back."""
    with Simulation(
        postgres=restartable_server, database="restarted", scale=SMALL, days=0.1, requests_per_day=100
    ) as simulation:
        living = simulation.live(seed=1)
        simulation.postgres.restart("immediate")
        with connect(simulation.admin()) as connection:
            (before,) = connection.execute("SELECT max(id) FROM http_requests").fetchone() or (0,)
            after = before
            for _ in range(600):
                (after,) = connection.execute("SELECT max(id) FROM http_requests, pg_sleep(0.05)").fetchone() or (0,)
                if after > before:
                    break
        living.stop()
    assert after > before
