"""``tableau-exporter metrics``: the families of the design, each declared and in the table."""

import subprocess
import sys
from pathlib import Path

from exporter import collectors

ROOT = Path(__file__).parents[1]

ASSET = ("site", "project", "asset_type", "asset_id", "asset_name")
JOB = ("site", "job_type")
# The design: type and labels of each family.
FAMILIES = {
    "tableau_up": ("gauge", ("source",)),
    "tableau_collector_success": ("gauge", ("collector",)),
    "tableau_collector_duration_seconds": ("gauge", ("collector",)),
    "tableau_collector_last_success_timestamp_seconds": ("gauge", ("collector",)),
    "tableau_exporter_build_info": ("gauge", ("version", "python", "duckdb")),
    "tableau_server_info": ("gauge", ("source", "version")),
    "tableau_exporter_poll_started_timestamp_seconds": ("gauge", ("source",)),
    "tableau_exporter_config_last_reload_successful": ("gauge", ()),
    "tableau_exporter_config_last_reload_success_timestamp_seconds": ("gauge", ()),
    "tableau_http_requests_total": ("counter", ("site", "controller", "action", "status_class")),
    "tableau_http_request_duration_seconds": ("histogram", ("site", "action")),
    "tableau_view_requests_total": ("counter", ("site", "workbook", "view")),
    "tableau_view_load_duration_seconds": ("histogram", ("site", "workbook", "view")),
    "tableau_active_users": ("gauge", ("site", "window")),
    "tableau_server_active_users": ("gauge", ("window",)),
    "tableau_users": ("gauge", ("site", "site_role")),
    "tableau_content": ("gauge", ("site", "asset_type")),
    "tableau_content_bytes": ("gauge", ("site", "asset_type")),
    "tableau_logins_total": ("counter", ("site",)),
    "tableau_asset_hours_since_refresh": ("gauge", ASSET),
    "tableau_asset_last_refresh_timestamp_seconds": ("gauge", ASSET),
    "tableau_asset_sla_hours": ("gauge", (*ASSET, "severity")),
    "tableau_asset_next_refresh_timestamp_seconds": ("gauge", ASSET),
    "tableau_asset_refresh_interval_seconds": ("gauge", ASSET),
    "tableau_asset_refresh_consecutive_failures": ("gauge", ASSET),
    "tableau_asset_refresh_suspended": ("gauge", ASSET),
    "tableau_asset_info": ("gauge", (*ASSET, "content_owner", "connection", "freshness_source")),
    "tableau_background_jobs_finished_total": ("counter", (*JOB, "outcome")),
    "tableau_background_job_run_seconds": ("histogram", JOB),
    "tableau_background_job_queue_seconds": ("histogram", JOB),
    "tableau_background_jobs_waiting": ("gauge", JOB),
    "tableau_background_jobs_running": ("gauge", JOB),
    "tableau_history_rows_total": ("counter", ("table",)),
    "tableau_history_pruned_rows_total": ("counter", ("table",)),
    "tableau_history_last_poll_timestamp_seconds": ("gauge", ("mode",)),
    "tableau_history_newest_request_timestamp_seconds": ("gauge", ()),
    "tableau_history_oldest_request_timestamp_seconds": ("gauge", ()),
    "tableau_repository_oldest_request_timestamp_seconds": ("gauge", ()),
    "tableau_history_possibly_lost_requests_total": ("counter", ()),
    "tableau_history_incidents_total": ("counter", ("kind",)),
    "tableau_history_file_bytes": ("gauge", ()),
    "tableau_notifications_sent_total": ("counter", ("alertmanager",)),
    "tableau_notifications_failed_total": ("counter", ("alertmanager",)),
    "tableau_notifications_firing": ("gauge", ()),
    "tableau_series_dropped_total": ("counter", ("family",)),
    "tableau_activity_log_newest_event_timestamp_seconds": ("gauge", ("site",)),
    "tableau_events_total": ("counter", ("site", "action_type", "event")),
    "tableau_admin_insights_refresh_timestamp_seconds": ("gauge", ("site",)),
    "tableau_licensed_seats": ("gauge", ("site", "site_role")),
    "tableau_inactive_users": ("gauge", ("site", "site_role", "days")),
    "tableau_orphaned_assets": ("gauge", ("site", "project", "asset_type")),
    "tableau_token_expiry_timestamp_seconds": ("gauge", ("site", "kind")),
    "tableau_view_lifetime_requests_total": ("counter", ("site", "workbook", "view")),
    "tableau_server_process_up": ("gauge", ("node", "process", "port")),
    "tableau_server_process_status": ("gauge", ("node", "process", "port", "status")),
    "tableau_server_healthy": ("gauge", ()),
    "tableau_server_filestore_transfers": ("gauge", ("node", "port", "state")),
    "tableau_server_disk_used_bytes": ("gauge", ("node", "path")),
    "tableau_server_disk_total_bytes": ("gauge", ("node", "path")),
    "tableau_server_disk_state": ("gauge", ("node", "path", "state")),
    "tableau_activity_log_events_total": ("counter", ("site", "event_type")),
    "tableau_activity_log_files_total": ("counter", ("site",)),
    "tableau_activity_log_rejected_lines_total": ("counter", ("site",)),
    "tableau_bridge_jobs_finished_total": ("counter", ("site", "pool", "outcome")),
    "tableau_bridge_client_last_seen_timestamp_seconds": ("gauge", ("site", "pool", "client")),
    "tableau_subscriptions": ("gauge", ("site", "project", "state")),
    "tableau_subscription_consecutive_failures": ("gauge", ("site", "project")),
    "tableau_data_alerts": ("gauge", ("site", "project", "state")),
    "tableau_asset_users": ("gauge", ASSET),
    "tableau_asset_next_use_timestamp_seconds": ("gauge", ASSET),
    "tableau_asset_bytes": ("gauge", ASSET),
    "tableau_unused_assets": ("gauge", ("site", "project", "asset_type", "days")),
    "tableau_unused_asset_bytes": ("gauge", ("site", "project", "asset_type", "days")),
    "tableau_unused_refresh_seconds_per_week": ("gauge", ("site", "project")),
    # What we add.
    "tableau_asset_usual_bytes": ("gauge", ASSET),
    "tableau_asset_refresh_due_timestamp_seconds": ("gauge", ASSET),
    "tableau_rest_token_accepted": ("gauge", ()),
    "tableau_freshness_source_last_success_timestamp_seconds": ("gauge", ("site", "source")),
    "tableau_rest_sign_ins_total": ("counter", ()),
    "tableau_rest_sessions_lost_total": ("counter", ()),
    "tableau_rest_token_collisions_total": ("counter", ()),
    "tableau_exporter_web_certificate_expiry_timestamp_seconds": ("gauge", ()),
    "tableau_export_last_success_timestamp_seconds": ("gauge", ("table", "format", "destination")),
    "tableau_export_rows_total": ("counter", ("table", "format", "destination")),
    "tableau_export_failures_total": ("counter", ("table", "format", "destination")),
    "tableau_collector_missing_column": ("gauge", ("collector", "column")),
    "tableau_repository_http_requests_bytes": ("gauge", ()),
    "tableau_history_reading_duration_seconds": ("gauge", ("mode",)),
    "tableau_history_exact_interval_seconds": ("gauge", ()),
}


def table(*arguments: str) -> list[str]:
    """Run the command and return its lines."""
    command = [sys.executable, "-m", "exporter", "metrics", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_family_of_the_design_is_declared() -> None:
    """Names, types and labels are public: exactly these."""
    assert {family.name: (family.type, family.labels) for family in collectors.families()} == FAMILIES


def test_the_table_has_a_line_for_each_family() -> None:
    """Whatever is declared is in the table, once, with its type."""
    lines = table()
    assert [line.split()[:2] for line in lines[1:]] == [[family.name, family.type] for family in collectors.families()]
    head, rule, *rows = table("--format=markdown")
    assert head == "| name | type | labels | meaning | source |"
    assert set(rule) == {"|", "-"}
    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} == FAMILIES.keys()


def test_each_help_is_a_sentence_that_names_the_interval() -> None:
    """HELP has the source of a series and its interval."""
    for family in collectors.families():
        assert family.help.endswith("."), family.name
        assert "\n" not in family.help
        assert any(word in family.help for word in ("every", "constant while it runs")), family.name
