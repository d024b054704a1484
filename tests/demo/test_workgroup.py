"""The schema of the simulated repository."""

from collections.abc import Mapping

import pytest

from exporter.demo import workgroup
from exporter.demo.postgres import Postgres
from exporter.demo.workgroup import VERSIONS, schema
from exporter.repository.connection import Connection, connect
from tests.support.postgres import PASSWORDS, restore_passwords

# How many columns each underscore view has, by Tableau's data dictionary.
VIEWS = {
    "_background_tasks": 20,
    "_comments": 9,
    "_customized_views": 11,
    "_datasources": 20,
    "_datasources_stats": 4,
    "_groups": 6,
    "_http_requests": 16,
    "_projects": 7,
    "_schedules": 20,
    "_sessions": 6,
    "_sites": 4,
    "_subscriptions": 15,
    "_system_users": 9,
    "_tags": 10,
    "_users": 11,
    "_views": 11,
    "_views_stats": 18,
    "_workbooks": 15,
}

COLUMNS = """
    SELECT
        attrelid::regclass::text AS relation,
        attname AS name,
        format_type(atttypid, NULL) AS type
    FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind = %s AND attnum > 0
    ORDER BY attrelid::regclass::text, attnum
"""


def create(database: Mapping[str, str | int], version: str) -> None:
    """Create the schema with passwords that need quoting."""
    with connect(database) as connection:
        workgroup.create(connection, version, readonly_password="it's % \\", tableau_password='"; DROP')


def columns(database: Mapping[str, str | int], kind: bytes) -> dict[str, dict[str, str]]:
    """Query the columns of tables (r) or views (v) from PostgreSQL."""
    found: dict[str, dict[str, str]] = {}
    with connect(database) as connection:
        for relation, name, data_type in connection.execute(COLUMNS, [kind.decode()]):
            found.setdefault(relation, {})[name] = data_type
    return found


def test_roles_have_their_passwords_again(database: dict[str, str | int], postgres: Postgres) -> None:
    """Roles are the whole server's: the passwords that a test sets are not those of the tests that follow."""
    create(database, "2025.3")
    restore_passwords(postgres)
    for role, password in PASSWORDS.items():
        connect({**database, "user": role, "password": password}).close()


@pytest.mark.parametrize("version", VERSIONS)
def test_tables_and_views_stand_as_published(database: dict[str, str | int], version: str) -> None:
    """PostgreSQL ends up with exactly the tables, columns and types of the facts, and with every underscore view."""
    create(database, version)
    assert columns(database, b"r") == {table: dict(found) for table, found in schema(version).items()}
    assert {view: len(found) for view, found in columns(database, b"v").items()} == VIEWS


def test_versions_differ_as_published() -> None:
    """Columns added, dropped and widened over the years are in the facts."""
    added = {(table, name) for table, found in schema("2021.2").items() for name in found}
    oldest = {(table, name) for table, found in schema("2019.3").items() for name in found}
    assert {("http_requests", "flags_used"), ("tasks", "state"), ("workbooks", "is_deleted")} <= added - oldest
    assert "projects_contents" not in schema("2019.3")
    assert "data" not in schema("2023.3")["sessions"]
    assert schema("2021.2")["http_requests"]["id"] == "integer"
    assert schema("2023.3")["http_requests"]["id"] == "bigint"


def test_only_a_column_named_id_is_a_key() -> None:
    """Three relations have no id and no key, all the others have one."""
    keyless = [table for table, found in schema("2025.3").items() if "id" not in found]
    assert keyless == ["historical_event_types", "schema_migrations", "identity_based_activation_admin_view"]
    assert workgroup.ddl("2025.3").count("PRIMARY KEY") == len(schema("2025.3")) - len(keyless)


def test_readonly_reads_everything_and_writes_nothing(database: dict[str, str | int]) -> None:
    """The role readonly may read tables and views, and change none."""
    create(database, "2025.3")
    with connect({**database, "user": "readonly", "password": "it's % \\"}) as connection:
        for relation in ("http_requests", "_http_requests", "system_users"):
            assert connection.execute(f"SELECT count(*) FROM {relation}".encode()).fetchone() == (0,)
        with pytest.raises(Connection.Error, match="permission denied"):
            connection.execute("DELETE FROM http_requests")
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_tableau_reads_the_views_alone(database: dict[str, str | int]) -> None:
    """The role tableau may read the underscore views and no base table."""
    create(database, "2025.3")
    with connect({**database, "user": "tableau", "password": '"; DROP'}) as connection:
        for view in VIEWS:
            connection.execute(f"SELECT count(*) FROM {view}".encode())
        with pytest.raises(Connection.Error, match="permission denied"):
            connection.execute("SELECT count(*) FROM http_requests")


def test_roles_are_made_once_and_renewed(database: dict[str, str | int]) -> None:
    """A second database of the same server gives the roles that are there new passwords."""
    create(database, "2023.3")
    with connect(database) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        workgroup.create(connection, "2019.3", readonly_password="new", tableau_password="new")
    with connect({**database, "user": "readonly", "password": "new"}) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_ids_start_again_after_a_truncation(database: dict[str, str | int]) -> None:
    """TRUNCATE ... RESTART IDENTITY hands out id 1 again, as after a cleanup of a real repository."""
    create(database, "2025.3")
    insert = "INSERT INTO http_requests (action) VALUES ('show') RETURNING id"
    with connect(database) as connection:
        assert [connection.execute(insert).fetchone() for _ in range(2)] == [(1,), (2,)]
        connection.execute("TRUNCATE http_requests RESTART IDENTITY")
        assert connection.execute(insert).fetchone() == (1,)
