"""Metric families about the agent itself: its sources, its collectors, its history, its notifications."""

from exporter.metrics import Family

INCIDENT_KINDS = (
    "truncated",
    "restored",
    "server_changed",
    "rewritten",
    "id_reuse",
    "schema_changed",
    "file_busy",
    "file_unwritable",
    "file_replaced",
    "file_damaged",
    "log_quarantined",
)
"""Everything that is counted as an incident; a closed set, so that each kind has a series from the start."""


def _gauge(name: str, text: str, *labels: str, source: str = "the agent") -> Family:
    return Family(f"tableau_{name}", "gauge", text, labels, source)


def _counter(name: str, text: str, *labels: str, source: str = "the agent") -> Family:
    return Family(f"tableau_{name}", "counter", text, labels, source)


UP = _gauge("up", "Whether the agent's last query of the source succeeded, at every poll.", "source")
COLLECTOR_SUCCESS = _gauge(
    "collector_success",
    "Whether the collector's last run succeeded, at every poll.",
    "collector",
)
COLLECTOR_DURATION = _gauge(
    "collector_duration_seconds", "Duration of the collector's last run, at every poll.", "collector"
)
COLLECTOR_LAST_SUCCESS = _gauge(
    "collector_last_success_timestamp_seconds",
    "Last success of the collector, at every poll.",
    "collector",
)
COLLECTOR_MISSING = _gauge(
    "collector_missing_column",
    "A column or table that the collector needs and cannot read, at every poll.",
    "collector",
    "column",
)
BUILD_INFO = _gauge(
    "exporter_build_info", "Version of the agent, constant while it runs.", "version", "python", "duckdb"
)
SERVER_INFO = _gauge("server_info", "Version of the source, at every poll.", "source", "version")
POLL_STARTED = _gauge(
    "exporter_poll_started_timestamp_seconds",
    "Start of the running poll of the source, absent between polls; at every rendering.",
    "source",
)
RELOAD_SUCCESSFUL = _gauge(
    "exporter_config_last_reload_successful",
    "Whether the last configuration reload succeeded, at every reload.",
)
RELOAD_TIMESTAMP = _gauge(
    "exporter_config_last_reload_success_timestamp_seconds",
    "Last successful configuration load, at every reload.",
)
WEB_CERTIFICATE_EXPIRY = _gauge(
    "exporter_web_certificate_expiry_timestamp_seconds",
    "Expiry (notAfter) of the certificate of the agent's web server, at every rendering.",
)
HISTORY_ROWS = _counter("history_rows_total", "Rows archived since the history was created, at every poll.", "table")
HISTORY_PRUNED = _counter(
    "history_pruned_rows_total", "Rows deleted from the history because of their age, at every poll.", "table"
)
HISTORY_LAST_POLL = _gauge(
    "history_last_poll_timestamp_seconds",
    "Last time that requests were archived, by read mode, at every poll.",
    "mode",
)
HISTORY_NEWEST = _gauge(
    "history_newest_request_timestamp_seconds",
    "Creation of the newest archived request, from the history at every poll.",
)
HISTORY_OLDEST = _gauge(
    "history_oldest_request_timestamp_seconds",
    "Creation of the oldest archived request, from the history at every poll.",
)
REPOSITORY_OLDEST = _gauge(
    "repository_oldest_request_timestamp_seconds",
    "Creation of the oldest request still in the repository, at every poll.",
    source="repository: http_requests",
)
REPOSITORY_BYTES = _gauge(
    "repository_http_requests_bytes",
    "Size on disk of the repository's table http_requests, at every poll.",
    source="repository: http_requests",
)
READING_SECONDS = _gauge(
    "history_reading_duration_seconds",
    "Duration of the last http_requests read, by mode, at every poll.",
    "mode",
    source="repository: http_requests",
)
EXACT_INTERVAL = _gauge(
    "history_exact_interval_seconds",
    "Interval between exact reads of http_requests, longer than configured while they are slow; at every poll.",
)
POSSIBLY_LOST = _counter(
    "history_possibly_lost_requests_total",
    "Upper bound of requests created and deleted between polls, never archived; at every poll.",
)
INCIDENTS = _counter(
    "history_incidents_total", "Incidents detected in the source or history file, by kind, at every poll.", "kind"
)
FILE_BYTES = _gauge("history_file_bytes", "Size of the history file, at every poll.")
REST_TOKEN_ACCEPTED = _gauge(
    "rest_token_accepted",
    "Whether Tableau accepted the token, or the connected app, at the last sign-in; at every sign-in.",
    source="rest: auth/signin",
)
REST_SIGN_INS = _counter(
    "rest_sign_ins_total",
    "Sign-ins since the agent started, at every sign-in.",
    source="rest: auth/signin",
)
REST_SESSIONS_LOST = _counter(
    "rest_sessions_lost_total",
    "REST sessions that ended early since the agent started, at every poll.",
    source="rest",
)
REST_COLLISIONS = _counter(
    "rest_token_collisions_total",
    "REST sessions ended by another program that signs in with the same token, as far as detected, since the agent"
    " started; at every poll.",
    source="rest",
)
FRESHNESS_SOURCE_LAST_SUCCESS = _gauge(
    "freshness_source_last_success_timestamp_seconds",
    "Last complete read of the freshness source of the site: metadata, job, flow_run or task; from the REST and"
    " Metadata APIs at every poll.",
    "site",
    "source",
    source="Metadata API; rest: jobs, flows/runs, tasks",
)
NOTIFICATIONS_SENT = _counter(
    "notifications_sent_total",
    "Alerts accepted by the Alertmanager, counted at every sending, since the history was created.",
    "alertmanager",
)
NOTIFICATIONS_FAILED = _counter(
    "notifications_failed_total",
    "Alerts not accepted by the Alertmanager, each counted once a minute, since the history was created; at every"
    " sending.",
    "alertmanager",
)
NOTIFICATIONS_FIRING = _gauge("notifications_firing", "Firing alerts that the agent raises itself, every 15 seconds.")
_OF_EXPORTS = ("table", "format", "destination")
EXPORT_LAST_SUCCESS = _gauge(
    "export_last_success_timestamp_seconds",
    "When the agent last exported the table to the destination with success since it started, by the agent at every"
    " export.",
    *_OF_EXPORTS,
)
EXPORT_ROWS = _counter(
    "export_rows_total",
    "Rows written by the agent's successful exports since it started, by the agent at every export.",
    *_OF_EXPORTS,
)
EXPORT_FAILURES = _counter(
    "export_failures_total",
    "Exports by the agent that failed since it started, each attempt, by the agent at every export.",
    *_OF_EXPORTS,
)
SERIES_DROPPED = _counter(
    "series_dropped_total",
    "Series dropped from the exposition because of a limit or because they are invalid, at every rendering.",
    "family",
)

FAMILIES = (
    UP,
    COLLECTOR_SUCCESS,
    COLLECTOR_DURATION,
    COLLECTOR_LAST_SUCCESS,
    COLLECTOR_MISSING,
    BUILD_INFO,
    SERVER_INFO,
    POLL_STARTED,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    WEB_CERTIFICATE_EXPIRY,
    HISTORY_ROWS,
    HISTORY_PRUNED,
    HISTORY_LAST_POLL,
    HISTORY_NEWEST,
    HISTORY_OLDEST,
    REPOSITORY_OLDEST,
    REPOSITORY_BYTES,
    READING_SECONDS,
    EXACT_INTERVAL,
    POSSIBLY_LOST,
    INCIDENTS,
    FILE_BYTES,
    REST_TOKEN_ACCEPTED,
    REST_SIGN_INS,
    REST_SESSIONS_LOST,
    REST_COLLISIONS,
    FRESHNESS_SOURCE_LAST_SUCCESS,
    NOTIFICATIONS_SENT,
    NOTIFICATIONS_FAILED,
    NOTIFICATIONS_FIRING,
    EXPORT_LAST_SUCCESS,
    EXPORT_ROWS,
    EXPORT_FAILURES,
    SERIES_DROPPED,
)
