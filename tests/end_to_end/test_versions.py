"""Each schema of Tableau's repository, on the oldest and the newest PostgreSQL: the agent, and the command check."""

import subprocess
from collections.abc import Callable, Iterator

import httpx
import pytest

from exporter import collectors
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.workgroup import VERSIONS
from tests.end_to_end.scrapes import by_labels, check, missing
from tests.support.agent_process import Agent
from tests.support.components import require
from tests.support.wait import PATIENCE_SECONDS

Agents = Callable[..., Agent]
# What a version never had of what the collectors would use, by the collector that degrades.
LACKS = {
    "2019.3": {
        "assets": {
            "extracts.size",
            "flows.state",
            "linked_task_steps",
            "linked_task_triggers",
            "projects_contents",
            "sites.time_zone",
            "tasks.last_success_completed_at",
            "tasks.state",
            "workbooks.is_deleted",
            "workbooks.is_private",
        },
        "background_jobs": {"background_jobs.run_now", "background_jobs.task_id"},
        "content": {
            "extracts.site_id",
            "extracts.size",
            "flows.state",
            "projects_contents",
            "workbooks.is_deleted",
            "workbooks.is_private",
        },
        "data_alerts": {"projects_contents", "workbooks.is_private"},
        "http_requests": {"http_requests.flags_used"},
        "licences": {"flows.state", "projects_contents", "workbooks.is_deleted", "workbooks.is_private"},
        "subscriptions": {
            "projects_contents",
            "subscriptions.target_id",
            "subscriptions.target_type",
            "tasks.state",
            "workbooks.is_private",
        },
        "unused": {
            "content_usage",
            "extracts.size",
            "flows.state",
            "linked_task_steps",
            "linked_task_triggers",
            "projects_contents",
            "sites.auto_suspend_refresh_enabled",
            "sites.auto_suspend_refresh_inactivity_window",
            "tasks.last_success_completed_at",
            "tasks.state",
            "workbooks.is_deleted",
            "workbooks.is_private",
        },
    },
    "2021.2": {
        "assets": {"flows.state"},
        "content": {"flows.state"},
        "licences": {"flows.state"},
        "unused": {"flows.state"},
    },
    "2023.3": {
        "assets": {"flows.state"},
        "content": {"flows.state"},
        "licences": {"flows.state"},
        "unused": {"flows.state"},
    },
    "2025.3": {},
}
# Families without samples on a healthy repository; between polls, and without TLS.
NOTHING_TO_SHOW = {
    "tableau_exporter_poll_started_timestamp_seconds",
    # A week of openings, four weeks of them, and five refreshes.
    "tableau_asset_users",
    "tableau_asset_next_use_timestamp_seconds",
    "tableau_asset_usual_bytes",
    "tableau_exporter_web_certificate_expiry_timestamp_seconds",
    "tableau_export_failures_total",
    "tableau_export_last_success_timestamp_seconds",
    "tableau_export_rows_total",
    "tableau_notifications_failed_total",
    "tableau_notifications_firing",
    "tableau_notifications_sent_total",
    "tableau_collector_missing_column",
    "tableau_events_total",
    # Jobs of less than a week are in the history.
    "tableau_unused_refresh_seconds_per_week",
    "tableau_admin_insights_refresh_timestamp_seconds",
    "tableau_view_lifetime_requests_total",
    "tableau_rest_sessions_lost_total",
    "tableau_freshness_source_last_success_timestamp_seconds",
    "tableau_rest_sign_ins_total",
    "tableau_rest_token_accepted",
    "tableau_rest_token_collisions_total",
    # Of systeminfo.xml.
    "tableau_server_process_up",
    "tableau_server_process_status",
    "tableau_server_healthy",
    "tableau_server_filestore_transfers",
    # Of Tableau Cloud.
    "tableau_activity_log_newest_event_timestamp_seconds",
    "tableau_activity_log_events_total",
    "tableau_activity_log_files_total",
    "tableau_activity_log_rejected_lines_total",
    "tableau_bridge_jobs_finished_total",
    "tableau_bridge_client_last_seen_timestamp_seconds",
}


@pytest.fixture(scope="module", params=VERSIONS)
def simulation(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Simulation]:
    """A small company in each schema on each server."""
    version = str(request.param)
    database = f"version_{version.replace('.', '_')}"
    with Simulation(
        postgres=postgres, database=database, version=version, scale=SMALL, days=1, requests_per_day=300
    ) as simulation:
        yield simulation


def lint(exposition: str) -> list[str]:
    """Return promtool's findings in an exposition."""
    command = [str(require("promtool")), "check", "metrics"]
    checked = subprocess.run(command, input=exposition, capture_output=True, text=True, check=False)
    return (checked.stdout + checked.stderr).strip().splitlines()


def families_of(exposition: str) -> set[str]:
    """Name the families of an exposition that are ours."""
    names = {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE ")}
    return {name for name in names if name.startswith("tableau_")}


def test_every_collector_works_on_every_version(simulation: Simulation, agents: Agents) -> None:
    """Every collector succeeds and every family is there; check alone names the columns that the version lacks."""
    agent = agents(simulation.parameters(), COLLECTORS="{views: true}").start()
    agent.polled()
    success = by_labels(agent.metrics("tableau_collector_success"), "tableau_collector_success", "collector")
    assert success == {(name,): 1 for name, collector in collectors.discover().items() if collector.from_repository}
    assert missing(agent) == {}
    exposition = httpx.get(f"{agent.url}/metrics", timeout=PATIENCE_SECONDS).text
    expected = {family.name for family in collectors.families()} - NOTHING_TO_SHOW
    if simulation.version == VERSIONS[0]:
        expected -= {"tableau_asset_refresh_suspended"}
    assert families_of(exposition) - NOTHING_TO_SHOW == expected
    assert [line for line in lint(exposition) if line and 'base unit "seconds" instead of "hours"' not in line] == []
    assert agent.stop() == 0
    found = check(agent)
    assert (found.returncode, found.stderr) == (0, "")
    for collector, columns in LACKS[simulation.version].items():
        (line,) = [line for line in found.stdout.splitlines() if line.startswith(f"note   collector {collector}:")]
        assert line.endswith(": this version of Tableau never had " + ", ".join(sorted(columns)))


def test_nobody_misses_what_only_the_views_have(repository: Simulation, agents: Agents) -> None:
    """Where the tables may be read, a column that only the underscore views have is not missing."""
    agent = agents(repository.parameters()).start()
    agent.polled()
    assert missing(agent) == {}
