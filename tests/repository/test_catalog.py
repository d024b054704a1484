"""What a repository lacks of what a statement would read, without any repository."""

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
    """A column that Tableau may add is archived unless its name speaks of a secret, in whatever case."""
    secret = ("api_key", "ApiKey", "jwt", "user_jwt", "passwd", "credential_luid", "Authorization", "bearer", "ticket")
    ordinary = ("id", "authoring_mode", "author", "is_private", "currentsheet", "vizql_session")
    assert archivable(dict.fromkeys([*secret, *ordinary], "text")).keys() == set(ordinary)
