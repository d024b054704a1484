"""Columns and tables that a repository lacks for a statement, without any repository."""

from exporter.collector import relation
from exporter.repository.catalog import Catalog, archivable


def test_what_not_every_server_has_is_not_missed() -> None:
    """A table of a feature that this version lacks is empty and unreported; any other is reported."""
    catalog = Catalog({"tasks": {"id": "integer"}})
    relations = [
        relation("tasks", "id bigint", "state bigint"),
        relation("flow_run_specs", "id bigint", optional=True),
        relation("linked_task_steps", "task_id bigint", optional=True, reported=False),
    ]
    assert catalog.missing(relations) == ["tasks.state", "flow_run_specs"]
    assert '"linked_task_steps" AS (SELECT NULL::bigint AS "task_id" WHERE false)' in catalog.with_clause(
        relations, inline=False
    )


def test_columns_called_like_secrets() -> None:
    """A column that Tableau may add is archived unless its name suggests a secret, in any case."""
    secret = ("api_key", "ApiKey", "jwt", "user_jwt", "passwd", "credential_luid", "Authorization", "bearer", "ticket")
    ordinary = ("id", "authoring_mode", "author", "is_private", "currentsheet", "vizql_session")
    assert archivable(dict.fromkeys([*secret, *ordinary], "text")).keys() == set(ordinary)


def test_what_a_version_never_had_is_not_missed() -> None:
    """A newer column is missing only where it may not be read, or where later columns prove that it has gone."""
    flows = relation("flows", "id bigint", newer={"2025.3": "state text"})
    books = relation("workbooks", "id bigint", newer={"2021.2": "is_deleted boolean"})
    columns = {"flows": {"id": "integer"}, "workbooks": {"id": "integer"}}
    old = Catalog(columns)
    assert (old.missing([flows, books]), old.never_had([flows, books])) == ([], ["flows.state", "workbooks.is_deleted"])
    later = Catalog({**columns, "flows": {"id": "integer", "hidden": "boolean"}})
    assert (later.missing([flows, books]), later.never_had([flows, books])) == (
        ["workbooks.is_deleted"],
        ["flows.state"],
    )
    revoked = Catalog(columns, {"flows": {"state"}})
    assert revoked.missing([flows]) == ["flows.state"]


def test_a_table_that_may_not_be_read_is_missed() -> None:
    """A table of a newer feature that is there and may not be read is missing: a right was revoked."""
    steps = relation("linked_task_steps", "task_id bigint", optional=True, reported=False)
    assert Catalog({}).never_had([steps]) == ["linked_task_steps"]
    assert Catalog({}, {"linked_task_steps": {"task_id"}}).missing([steps]) == ["linked_task_steps"]
