"""Licences on every version: users who do not sign in, seats, credentials that expire, content of unlicensed owners."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from exporter.collector import State, columns_of
from exporter.collectors.admin_insights import User, expose_users
from exporter.collectors.licences import COLLECTOR
from exporter.demo.governance import CANARY_SECRET
from exporter.demo.simulation import Simulation
from exporter.history.privacy import apply_privacy
from exporter.history.pseudonyms import Pseudonyms
from exporter.history.redaction import Privacy
from tests.collectors.conftest import NOW
from tests.collectors.repositories import CONTEXT, SITES, Handmade, Samples, at, read, samples

INACTIVE, SEATS, EXPIRY, ORPHANED = COLLECTOR.states
SECONDS = NOW.replace(tzinfo=UTC).timestamp()
DAY = timedelta(days=1)
PSEUDONYMS = Pseudonyms(b"k" * 32)

# Each table is asked for by its own query, and put together in Python.
ROWS = "SELECT to_jsonb({table}) FROM {table}"


def tables(simulation: Simulation, *names: str) -> list[list[dict[str, Any]]]:
    """Return the rows of tables."""
    with psycopg.connect(**simulation.parameters()) as connection:  # type: ignore[arg-type] # parameters of libpq
        return [[row for (row,) in connection.execute(ROWS.format(table=name).encode())] for name in names]


def published(parameters: dict[str, str | int], state: State, now: float = SECONDS) -> Samples:
    """Return the samples of a state's family."""
    (family,) = state.families
    return samples(list(state.expose(read(parameters, state), CONTEXT)), family.name, now)


def instant(text: str | None) -> datetime | None:
    """Parse an instant of JSON."""
    return datetime.fromisoformat(text) if text else None


def test_inactive_users_of_a_company(simulation: Simulation) -> None:
    """Every site and role that has a licence has three numbers, as Python counts them."""
    users, roles = tables(simulation, "users", "site_roles")
    named = {row["id"]: row for row in roles}
    expected: Counter[tuple[str, ...]] = Counter()
    for user in users:
        role = named[user["site_role_id"]]
        if role["name"] in {"Unlicensed", "Guest"}:
            continue
        seen = instant(user["login_at"]) or instant(user["created_at"])
        assert seen is not None
        for days in (30, 90, 180):
            expected[SITES[user["site_id"]], role["display_name"], str(days)] += seen < NOW - days * DAY
    assert published(simulation.parameters(), INACTIVE) == expected
    assert {days for (_, _, days), count in expected.items() if count} == {"30", "90", "180"}


def test_seats_of_a_company(simulation: Simulation) -> None:
    """A site with a limit has it for each type of licence; the first has none."""
    (sites,) = tables(simulation, "sites")
    of = {"Creator": "author", "Explorer": "interactor", "Viewer": "basic_user"}
    expected = {
        (SITES[site["id"]], role): site[f"tier_{tier}_capacity"]
        for site in sites
        for role, tier in of.items()
        if site[f"tier_{tier}_capacity"]
    }
    assert published(simulation.parameters(), SEATS) == expected
    assert {site for site, _ in expected} == {"marketing", "finance", "emea"}


def test_credentials_of_a_company(simulation: Simulation) -> None:
    """The next expiry of each kind, of those used within 15 days, as Python finds it."""
    names = ("users", "refresh_tokens", "identity_based_activation_admin_view", "desktop_reporting")
    users, tokens, activations, desktops = tables(simulation, *names)
    found: list[tuple[str, str, str, str]] = []
    for token in tokens:
        of = [user["site_id"] for user in users if user["system_user_id"] == token["system_user_id"]]
        found += [(SITES[site], "refresh_token", token["expires_at"], token["last_used_at"]) for site in of]
    for row in activations:
        found.append((SITES[row["site_id"]], "activation", row["atr_expiration_date"], row["date_last_used"]))
    for row in desktops:
        found.append(("", "product_key", row["expiration_date"], row["last_report_date"]))
        found.append(("", "maintenance", row["maintenance_expiration"], row["last_report_date"]))
    expected: dict[tuple[str, ...], float] = {}
    for site, kind, expires, used in found:
        expires_at, used_at = datetime.fromisoformat(expires), datetime.fromisoformat(used)
        if expires_at > NOW and used_at > NOW - 15 * DAY:
            seconds = expires_at.replace(tzinfo=UTC).timestamp()
            expected[site, kind] = min(seconds, expected.get((site, kind), seconds))
    assert published(simulation.parameters(), EXPIRY) == expected
    assert {kind for _, kind in expected} == {"refresh_token", "activation", "product_key", "maintenance"}


def path(projects: dict[int, dict[str, Any]], number: int | None) -> str:
    """Return the names of a project and those above it."""
    names: list[str] = []
    while number is not None:
        names.append(projects[number]["name"])
        number = projects[number]["parent_project_id"]
    return "/".join(reversed(names))


def test_orphans_of_a_company(simulation: Simulation) -> None:
    """Of each project and type the content of unlicensed owners is counted; 0 where there is none."""
    users, roles, listed = tables(simulation, "users", "site_roles", "projects")
    named, projects = {row["id"]: row["name"] for row in roles}, {row["id"]: row for row in listed}
    role_of = {user["id"]: named[user["site_role_id"]] for user in users}
    moved: dict[tuple[str, int], int] = {}
    if simulation.version != "2019.3":
        (places,) = tables(simulation, "projects_contents")
        moved = {(row["content_type"].lower(), row["content_id"]): row["project_id"] for row in places}
    expected: Counter[tuple[str, ...]] = Counter()
    for table in ("workbooks", "datasources", "flows"):
        asset_type = table.removesuffix("s")
        for row in tables(simulation, table)[0]:
            if row.get("is_deleted") or row.get("state") == "archived" or row.get("connectable") is False:
                continue
            project = path(projects, moved.get((asset_type, row["id"]), row["project_id"]))
            place = SITES[row["site_id"]], "Personal Space" if row.get("is_private") else project, asset_type
            expected[place] += role_of[row["owner_id"]] == "Unlicensed"
    assert published(simulation.parameters(), ORPHANED) == expected
    assert sum(expected.values()) > 0


def role(repository: Handmade, number: int, name: str, display_name: str = "") -> None:
    """Add a site role."""
    repository.add("site_roles", id=number, name=name, display_name=display_name)


def test_cumulative_to_the_second(newest: Handmade) -> None:
    """Exactly 30 days ago is within 30 days; later the same rows count more."""
    role(newest, 1, "Viewer")
    newest.add("users", site_id=1, site_role_id=1, login_at=NOW - 30 * DAY)
    parameters = newest.parameters()
    assert published(parameters, INACTIVE)["default", "Viewer", "30"] == 0
    later = published(parameters, INACTIVE, SECONDS + 61 * 86_400)
    assert later == {("default", "Viewer", "30"): 1, ("default", "Viewer", "90"): 1, ("default", "Viewer", "180"): 0}


def test_unknown_users_are_no_numbers(newest: Handmade) -> None:
    """Without a sign-in and a creation nothing is known of a user, nor of a role that has no other."""
    role(newest, 1, "Viewer")
    role(newest, 2, "unlicensed")
    newest.add("users", site_id=1, site_role_id=1)
    newest.add("users", site_id=1, site_role_id=2, login_at=at(1))
    newest.add("users", site_id=1, site_role_id=None, login_at=at(1))
    assert published(newest.parameters(), INACTIVE) == {}
    newest.add("users", site_id=1, site_role_id=1, created_at=at(18))
    assert set(published(newest.parameters(), INACTIVE).values()) == {0}


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_no_limit_is_absent(newest: Handmade, limit: int | None) -> None:
    """A type of licence without a positive limit has no sample."""
    newest.add("sites", id=1, tier_author_capacity=limit, tier_basic_user_capacity=7)
    assert published(newest.parameters(), SEATS) == {("default", "Viewer"): 7}


@pytest.mark.parametrize(
    ("expires", "used", "counts"),
    [(5, 1, True), (-1, 1, False), (5, 16, False), (5, None, False), (None, 1, False)],
    ids=["in use", "expired", "not used for 15 days", "never used", "never expires"],
)
def test_tokens_in_use(newest: Handmade, expires: int | None, used: int | None, counts: bool) -> None:
    """Only a token that is used and will expire has an expiry, on each site of its user."""
    for site in (1, 2):
        newest.add("users", site_id=site, system_user_id=4)
    expires_at = None if expires is None else NOW + expires * DAY
    used_at = None if used is None else NOW - used * DAY
    newest.add("refresh_tokens", system_user_id=4, expires_at=expires_at, last_used_at=used_at)
    found = published(newest.parameters(), EXPIRY)
    assert set(found) == ({("default", "refresh_token"), ("marketing", "refresh_token")} if counts else set())
    assert published(newest.parameters(), EXPIRY, SECONDS + 6 * 86_400) == {}


def test_owners_of_content(newest: Handmade) -> None:
    """Removed and unlicensed owners orphan content; an unknown owner or role does not, and is no number."""
    role(newest, 1, "Viewer")
    role(newest, 2, "Unlicensed")
    newest.add("projects", id=1, name="Finance", site_id=1)
    newest.add("system_users", id=4, name="priya", friendly_name="Priya Shah")
    newest.add("users", id=5, site_id=1, site_role_id=1)
    newest.add("users", id=6, site_id=1, site_role_id=2, system_user_id=4)
    newest.add("users", id=7, site_id=1, site_role_id=None)
    for name, owner in (("Live", 5), ("Left", 6), ("Gone", 99), ("Odd", 7), ("Nobody", None)):
        newest.add("workbooks", name=name, site_id=1, project_id=1, owner_id=owner, is_deleted=False)
    newest.add("workbooks", name="Deleted", site_id=1, project_id=1, owner_id=99, is_deleted=True)
    newest.add("flows", name="Only odd", site_id=1, project_id=1, owner_id=7)
    assert published(newest.parameters(), ORPHANED) == {("default", "Finance", "workbook"): 2}
    rows = {row["asset_name"]: row for row in newest.read(ORPHANED) if row["owner_state"] in {"unlicensed", "removed"}}
    assert {name: (row["owner_state"], row["owner"], row["owner_name"]) for name, row in rows.items()} == {
        "Left": ("unlicensed", "priya", "Priya Shah"),
        "Gone": ("removed", None, None),
    }


@pytest.mark.parametrize("missing", ["users", "site_roles"])
def test_without_users_or_roles_nobody_is_removed(newest: Handmade, missing: str) -> None:
    """What cannot be read makes no orphan: absent, not 0."""
    role(newest, 1, "Viewer") if missing == "users" else newest.add("users", id=5, site_id=1, site_role_id=1)
    newest.add("workbooks", name="Sales", site_id=1, owner_id=5)
    assert published(newest.parameters(), ORPHANED) == {}


@pytest.mark.parametrize("state", [INACTIVE, EXPIRY], ids=["users", "credentials"])
def test_without_rights_nothing_is_counted(newest: Handmade, state: State) -> None:
    """The user of the views alone may not read the tables: absent, and no failure."""
    role(newest, 1, "Viewer")
    newest.add("users", site_id=1, site_role_id=1, system_user_id=4, login_at=at(1))
    newest.add("refresh_tokens", system_user_id=4, expires_at=NOW + DAY, last_used_at=NOW)
    assert newest.read(state, "tableau") == []


def listed(repository: Handmade, state: State, users: str) -> list[dict[str, Any]]:
    """Return the rows of a state's list on the page, under a privacy option."""
    rows = read(repository.parameters(), state)
    rows = apply_privacy(rows, columns_of(state.row), Privacy(users=users), PSEUDONYMS)  # type: ignore[arg-type] # an option
    assert state.history.page_sql is not None
    with duckdb.connect() as connection:
        connection.register("state", rows)
        named = {"now": NOW} if "$now" in state.history.page_sql else {}
        answer = connection.execute(state.history.page_sql, named)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


@pytest.mark.parametrize("users", ["name", "pseudonym", "none"])
def test_the_lists_of_the_page(newest: Handmade, users: str) -> None:
    """Each has who was away for 30 days, what is in use, what lost its owner, in order, under the privacy options."""
    role(newest, 1, "Viewer")
    role(newest, 2, "Unlicensed")
    newest.add("system_users", id=4, name="priya", friendly_name="Priya Shah")
    for number, days in enumerate((29, 31, 100)):
        newest.add("users", site_id=1, site_role_id=1, system_user_id=4, login_at=NOW - days * DAY, id=10 + number)
    newest.add("users", site_id=2, site_role_id=2, system_user_id=5, id=20)
    newest.add("system_users", id=5, name="jo")
    newest.add("workbooks", name="Left", site_id=2, owner_id=20, is_deleted=False)
    newest.add("workbooks", name="Mine", site_id=1, owner_id=10, is_deleted=False)
    for days, used in ((9, 1), (5, 1), (2, 16), (-1, 1)):
        dates = {"expires_at": NOW + days * DAY, "last_used_at": NOW - used * DAY}
        newest.add("refresh_tokens", system_user_id=5, client_name="jo's script", **dates)
    shown = {
        "name": (("priya", "Priya Shah"), ("jo", None), "jo's script"),
        "pseudonym": ((PSEUDONYMS.of("priya"), None), (PSEUDONYMS.of("jo"), None), None),
        "none": ((None, None), (None, None), None),
    }
    priya, jo, script = shown[users]
    away, tokens, orphans = (listed(newest, state, users) for state in (INACTIVE, EXPIRY, ORPHANED))
    assert [(row["kind"], row["happens_at"], row["user"], row["user_name"]) for row in away] == [
        ("Viewer", SECONDS - days * 86_400, *priya) for days in (100, 31)
    ]
    assert [(row["site_id"], row["happens_at"], row["name"], row["user"], row["user_name"]) for row in tokens] == [
        (2, SECONDS + days * 86_400, script, *jo) for days in (5, 9)
    ]
    assert [(row["site_id"], row["name"], row["reason"], row["user"], row["user_name"]) for row in orphans] == [
        (2, "Left", "unlicensed", *jo)
    ]
    assert {tuple(row) for rows in (away, tokens, orphans) for row in rows} == {tuple(away[0])}


def test_users_of_tableau_cloud() -> None:
    """Of TS Users those with a licence count, under the repository's names of roles; unlicensed and unknown do not."""
    roles = ["ExplorerCanPublish", "Unlicensed", "Guest", None, "Viewer", "Viewer"]
    seen = [NOW - 40 * DAY] * 5 + [None]
    schema = pa.schema([(column.name, column.type.arrow) for column in columns_of(User)])
    rows = [
        dict.fromkeys(schema.names) | {"user_site_role": role, "last_login_date": at_}
        for role, at_ in zip(roles, seen, strict=True)
    ]
    blocks = list(expose_users("sales", pa.Table.from_pylist(rows, schema), SECONDS))
    assert samples(blocks, "tableau_inactive_users", SECONDS) == {
        ("sales", role, days): int(days == "30")
        for role in ("Explorer (can publish)", "Viewer")
        for days in ("30", "90", "180")
    }


def test_no_user_is_in_a_label_and_no_secret_is_read(simulation: Simulation) -> None:
    """Names of users and of tokens are personal columns, no family has them, and no row has a secret."""
    personal = {column.name for state in COLLECTOR.states for column in columns_of(state.row) if column.personal}
    assert personal == {"user", "user_name", "name", "owner", "owner_name"}
    assert not personal & {label for state in COLLECTOR.states for family in state.families for label in family.labels}
    for state in COLLECTOR.states:
        rows = read(simulation.parameters(), state).to_pylist()
        assert rows
        assert CANARY_SECRET not in str(rows)
