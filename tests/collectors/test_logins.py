"""Logins."""

import pytest

from exporter.collectors.logins import COLLECTOR
from exporter.demo.simulation import Simulation
from tests.collectors.folds import folded
from tests.collectors.repositories import read

assert COLLECTOR.events is not None
EVENTS = COLLECTOR.events


@pytest.mark.parametrize("role", ["readonly", "tableau"])
def test_the_latest_login_of_each_person_is_read(simulation: Simulation, role: str) -> None:
    """With the person's names; who never logged in is left out."""
    tables = simulation.company.tables
    people = {row["id"]: row for row in tables["system_users"]}
    expected = {
        (row["id"], row["login_at"]): (people[row["system_user_id"]]["name"], row["site_id"])
        for row in tables["users"]
        if row["login_at"] is not None
    }
    rows = read(simulation.parameters(role), EVENTS).to_pylist()
    assert {(row["user_id"], row["login_at"]): (row["name"], row["site_id"]) for row in rows} == expected
    assert len(rows) == len(expected) < len(tables["users"])


def test_its_key_is_the_person_and_the_time() -> None:
    """A login has no number of its own."""
    assert EVENTS.key == ("user_id", "login_at")


def test_logins_are_counted_by_site() -> None:
    """Each row once."""
    (fold,) = EVENTS.folds
    rows: list[dict[str, str | None]] = [{"site": "default"}, {"site": "default"}, {"site": None}]
    assert folded(fold, {"site": "VARCHAR"}, rows) == {("default",): 2, (None,): 1}
