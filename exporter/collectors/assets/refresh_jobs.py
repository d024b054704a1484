"""Job types that refresh data, and SQL that matches a background job to its asset."""

# One kind of job in every spelling: job_name of the repository is "Refresh Extracts", job_type and the REST API have
# refresh_extracts, Admin Insights RefreshExtracts. Sources: ts_background_tasks of Tableau's community SQL
# (github.com/tableau/community-tableau-server-insights) for the first two and flows, the job types of Admin Insights
# (github.com/tableau/tableau-mcp) for Bridge.
EXTRACT_REFRESHES = (
    "refreshextracts",
    "incrementextracts",
    "refreshextractsviabridge",
    "incrementextractsviabridge",
)
FLOW_RUNS = ("runflow",)
_MARKS = " _:-"


def is_refresh(job_type: str) -> bool:
    """Return whether jobs of a type refresh an extract or run a flow."""
    return _plain(job_type) in (*EXTRACT_REFRESHES, *FLOW_RUNS)


def refreshes_extracts(job_type: str) -> bool:
    """Return whether jobs of a type refresh the extract of a workbook or data source."""
    return _plain(job_type) in EXTRACT_REFRESHES


def _plain(job_type: str) -> str:
    return job_type.lower().translate(dict.fromkeys(map(ord, _MARKS)))


def _is_one_of(column: str) -> str:
    kinds = ", ".join(f"'{kind}'" for kind in (*EXTRACT_REFRESHES, *FLOW_RUNS))
    return f"translate(lower({column}), '{_MARKS}', '') IN ({kinds})"


IS_REFRESH = f"({_is_one_of('job_name')} OR {_is_one_of('job_type')})"
"""The condition that a row of ``background_jobs`` is a refresh or the run of a flow.

Only of these does ``correlation_id`` name a task: a subscription has its own number there (Tableau's data dictionary).
A job of another type is no refresh of an asset, even if it has a ``task_id``.
"""

TASK = "coalesce(task_id, correlation_id)"
"""The task of a refresh; before Tableau 2021.2 there is no ``task_id``."""

PLANNED_AND_NAMED = """
        planned AS (
            SELECT asset_id, unnest(string_split(task_ids, ','))::BIGINT AS task_id
            FROM state
            WHERE task_ids <> '' AND asset_id IS NOT NULL
        ),
        named AS (
            SELECT any_value(asset_id) AS asset_id, site_id, asset_type, asset_name
            FROM state
            GROUP BY site_id, asset_type, asset_name
            HAVING count(*) = 1
        ),
"""
"""Assets by the tasks that refresh them, and by a title that only one of them has: for jobs that were run by hand."""
