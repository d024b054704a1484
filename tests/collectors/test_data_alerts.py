"""Data alerts: counted by project and state on every version of the repository, and who waits for them."""

from collections import Counter
from typing import Any

import psycopg
import pytest

from exporter.collector import columns_of
from exporter.collectors.data_alerts import COLLECTOR
from exporter.demo.simulation import Simulation
from tests.collectors.repositories import CONTEXT, SITES, Handmade, Samples, at, read, samples

ALERTS, RECIPIENTS = COLLECTOR.states
NAMES = {0: "active", 1: "suspended", 2: "suspended_by_user"}


def published(repository: Handmade) -> Samples:
    """Return the samples of a repository."""
    return samples(list(ALERTS.expose(read(repository.parameters(), ALERTS), CONTEXT)), "tableau_data_alerts")


def facts(simulation: Simulation) -> list[dict[str, Any]]:
    """Return every data alert as other queries have it."""
    with psycopg.connect(**simulation.parameters()) as connection:  # type: ignore[arg-type] # parameters of libpq
        return [row for (row,) in connection.execute("SELECT to_jsonb(data_alerts) FROM data_alerts").fetchall()]


def test_a_company_is_counted(simulation: Simulation) -> None:
    """The states of every site are those of another query, in each version; every state is there."""
    expected: Counter[tuple[str, str]] = Counter()
    for row in facts(simulation):
        state = "failing" if row["suspend_state"] == 0 and row["failure_count"] else NAMES[row["suspend_state"]]
        expected[SITES[row["site_id"]], state] += 1
    blocks = list(ALERTS.expose(read(simulation.parameters(), ALERTS), CONTEXT))
    found: Counter[tuple[str, str]] = Counter()
    for (site, project, state), count in samples(blocks, "tableau_data_alerts").items():
        assert project
        found[site, state] += count
    assert found == expected
    assert {state for _, state in found} == {"active", "failing", "suspended", "suspended_by_user"}


def test_the_users_who_wait_are_those_of_the_tables(simulation: Simulation) -> None:
    """Two for each data alert that fails or that Tableau suspended; none for those that a user suspended."""
    tables = simulation.company.tables
    logins = {row["id"]: row["name"] for row in tables["system_users"]}
    accounts = {row["id"]: logins[row["system_user_id"]] for row in tables["users"]}
    waiting = {row["id"] for row in facts(simulation) if row["suspend_state"] == 1 or row["failure_count"]}
    expected = Counter(
        accounts[row["recipient_id"]] for row in tables["data_alerts_recipients"] if row["data_alert_id"] in waiting
    )
    found = Counter(row["recipient"] for row in read(simulation.parameters(), RECIPIENTS).to_pylist())
    assert found == expected
    assert len(expected) > 3


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({"suspend_state": 0, "failure_count": 0}, "active"),
        ({"suspend_state": 0, "failure_count": 1}, "failing"),
        ({"suspend_state": 1, "failure_count": 9}, "suspended"),
        ({"suspend_state": 2, "failure_count": 0}, "suspended_by_user"),
        ({"suspend_state": 3, "failure_count": 0}, None),
        ({"suspend_state": None, "failure_count": 0}, None),
        ({"suspend_state": 0, "failure_count": None}, None),
    ],
    ids=["active", "failing", "suspended", "by a user", "unknown number", "no number", "failures unknown"],
)
def test_what_is_unknown_is_not_counted(any_version: Handmade, row: dict[str, object], state: str | None) -> None:
    """Neither another number nor none of it is a state."""
    any_version.add("data_alerts", id=1, site_id=1, **row)
    assert published(any_version) == ({("default", "", state): 1} if state else {})


def test_a_recipient_belongs_to_the_site(newest: Handmade) -> None:
    """A user of another site, or a group with the same number, is no recipient; the alert is listed all the same."""
    newest.add("projects", id=1, name="Finance", site_id=1)
    newest.add("workbooks", id=7, name="Month End", site_id=1, project_id=1)
    newest.add("system_users", id=4, name="priya", friendly_name="Priya Shah", email="priya@example.com")
    for number, site in ((5, 1), (6, 2)):
        newest.add("users", id=number, site_id=site, system_user_id=4)
    newest.add("data_alerts", id=1, site_id=1, suspend_state=0, failure_count=2, title="Low", workbook_id=7)
    for number, (recipient, kind) in enumerate([(5, "User"), (6, "User"), (5, "Group")]):
        newest.add(
            "data_alerts_recipients",
            id=number,
            data_alert_id=1,
            recipient_id=recipient,
            recipient_type=kind,
            last_sent=at(number + 1),
        )
    rows = {row["last_sent_at"]: row for row in newest.read(RECIPIENTS)}
    assert [rows[at(day)]["recipient_email"] for day in (1, 2, 3)] == ["priya@example.com", None, None]
    assert {(row["project"], row["content"], row["state"]) for row in rows.values()} == {
        ("Finance", "Month End", "failing")
    }


def test_without_rights_nothing_is_counted(newest: Handmade) -> None:
    """The user of the views alone may not read the table: absent, and no failure."""
    newest.add("data_alerts", id=1, site_id=1, suspend_state=1, failure_count=0)
    assert newest.read(ALERTS, "tableau") == []
    assert newest.read(RECIPIENTS, "tableau") == []


def test_no_user_is_in_a_label() -> None:
    """Names of users are personal columns, and no family has them."""
    people = {column.name for state in COLLECTOR.states for column in columns_of(state.row) if column.personal}
    assert people == {"recipient", "recipient_name", "recipient_email"}
    assert not people & {label for family in COLLECTOR.all_families() for label in family.labels}
