"""Users and their roles."""

from collections import Counter

import pytest

from exporter.collectors.users import COLLECTOR
from exporter.demo.simulation import Simulation
from tests.collectors.repositories import CONTEXT, SITES, Handmade, read, samples

(STATE,) = COLLECTOR.states


def test_people_are_counted_by_site_and_role(simulation: Simulation) -> None:
    """Against the company's own tables; the numbers of roles are arbitrary."""
    tables = simulation.company.tables
    roles = {row["id"]: str(row["display_name"]) for row in tables["site_roles"]}
    seats = [(SITES[int(str(row["site_id"]))], roles[row["site_role_id"]]) for row in tables["users"]]
    blocks = list(STATE.expose(read(simulation.parameters(), STATE), CONTEXT))
    assert samples(blocks, "tableau_users") == Counter(seats)


@pytest.mark.parametrize("role", ["readonly", "tableau"])
def test_both_roles_read_the_names_of_people(simulation: Simulation, role: str) -> None:
    """From the tables, or from the views that stand in for them."""
    tables = simulation.company.tables
    people = {row["id"]: row for row in tables["system_users"]}
    domains = {row["id"]: (row["name"], row["short_name"]) for row in tables["domains"]}
    names = ("name", "friendly_name", "email")
    expected = {
        row["id"]: (
            *(people[row["system_user_id"]][name] for name in names),
            *domains[people[row["system_user_id"]]["domain_id"]],
        )
        for row in tables["users"]
    }
    found = {
        row["id"]: tuple(row[name] for name in (*names, "domain_name", "domain_short_name"))
        for row in read(simulation.parameters(role), STATE).to_pylist()
    }
    assert found == expected


def test_without_the_roles_nobody_is_counted(simulation: Simulation) -> None:
    """The views lack them: unknown is absent."""
    blocks = list(STATE.expose(read(simulation.parameters("tableau"), STATE), CONTEXT))
    assert samples(blocks, "tableau_users") == {}


@pytest.mark.parametrize(("display_name", "expected"), [("Explorer", "Explorer"), ("", "Exp"), (None, "Exp")])
def test_a_role_is_called_as_it_is_shown(newest: Handmade, display_name: str | None, expected: str) -> None:
    """Its internal name is the second choice."""
    newest.add("site_roles", id=17, name="Exp", display_name=display_name)
    newest.add("users", site_id=1, system_user_id=None, site_role_id=17)
    (row,) = newest.read(STATE)
    assert (row["site_role"], row["name"]) == (expected, None)


def test_no_secret_is_read() -> None:
    """Passwords, salts and keys stay where they are."""
    columns = {name for relation in STATE.reads for name in relation.columns}
    assert not {name for name in columns if any(word in name for word in ("password", "salt", "keychain"))}
