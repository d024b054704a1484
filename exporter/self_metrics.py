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


UP = _gauge("up", "Whether the source answered the agent when it last asked, at every poll.", "source")
COLLECTOR_SUCCESS = _gauge(
    "collector_success",
    "Whether the collector's last run gave data that can be trusted, by the agent at every poll.",
    "collector",
)
COLLECTOR_DURATION = _gauge(
    "collector_duration_seconds", "How long the collector's last run took, by the agent at every poll.", "collector"
)
COLLECTOR_LAST_SUCCESS = _gauge(
    "collector_last_success_timestamp_seconds",
    "When the collector last succeeded, by the agent at every poll.",
    "collector",
)
COLLECTOR_MISSING = _gauge(
    "collector_missing_column",
    "A column or table that should be there and cannot be read, by the agent at every poll.",
    "collector",
    "column",
)
BUILD_INFO = _gauge(
    "exporter_build_info", "The version of the agent, constant while it runs.", "version", "python", "duckdb"
)
SERVER_INFO = _gauge(
    "server_info", "The version of the source that answered, by the agent at every poll.", "source", "version"
)
POLL_STARTED = _gauge(
    "exporter_poll_started_timestamp_seconds",
    "When the poll of a source that is under way began, absent between polls; by the agent at every rendering.",
    "source",
)
RELOAD_SUCCESSFUL = _gauge(
    "exporter_config_last_reload_successful",
    "Whether the last reload of the configuration took, by the agent at every reload.",
)
RELOAD_TIMESTAMP = _gauge(
    "exporter_config_last_reload_success_timestamp_seconds",
    "When the configuration was last loaded with success, by the agent at every reload.",
)
WEB_CERTIFICATE_EXPIRY = _gauge(
    "exporter_web_certificate_expiry_timestamp_seconds",
    "When the certificate that the agent's web server serves expires (notAfter), by the agent at every rendering.",
)
HISTORY_ROWS = _counter(
    "history_rows_total", "Rows archived into the history since it was begun, at every poll.", "table"
)
HISTORY_PRUNED = _counter(
    "history_pruned_rows_total", "Rows removed from the history because of their age, at every poll.", "table"
)
HISTORY_LAST_POLL = _gauge(
    "history_last_poll_timestamp_seconds",
    "When requests were last archived, by how they were read, at every poll.",
    "mode",
)
HISTORY_NEWEST = _gauge(
    "history_newest_request_timestamp_seconds",
    "When the newest archived request was made, from the history at every poll.",
)
HISTORY_OLDEST = _gauge(
    "history_oldest_request_timestamp_seconds",
    "When the oldest archived request was made, from the history at every poll.",
)
REPOSITORY_OLDEST = _gauge(
    "repository_oldest_request_timestamp_seconds",
    "When the oldest request still in the repository was made, from the repository at every poll.",
    source="repository: http_requests",
)
REPOSITORY_BYTES = _gauge(
    "repository_http_requests_bytes",
    "The size of the repository's table of requests on its disk, from the repository at every poll.",
    source="repository: http_requests",
)
READING_SECONDS = _gauge(
    "history_reading_duration_seconds",
    "How long the last reading of requests took, by how they were read, at every poll.",
    "mode",
    source="repository: http_requests",
)
EXACT_INTERVAL = _gauge(
    "history_exact_interval_seconds",
    "The time from one exact reading of requests to the next: longer than configured while they take long, at every"
    " poll.",
)
POSSIBLY_LOST = _counter(
    "history_possibly_lost_requests_total",
    "Ids that requests may have had which were made and removed between two polls: an upper bound, at every poll.",
)
INCIDENTS = _counter(
    "history_incidents_total", "Things that befell the source or the history file, at every poll.", "kind"
)
FILE_BYTES = _gauge("history_file_bytes", "The size of the history file, at every poll.")
REST_TOKEN_ACCEPTED = _gauge(
    "rest_token_accepted",
    "Whether Tableau took the token, or the connected app, at the last sign-in; by the agent at every sign-in.",
    source="rest: auth/signin",
)
REST_SIGN_INS = _counter(
    "rest_sign_ins_total",
    "How often the agent signed in since it started, at every sign-in.",
    source="rest: auth/signin",
)
REST_SESSIONS_LOST = _counter(
    "rest_sessions_lost_total",
    "Sessions that Tableau ended before their time since the agent started, at every poll.",
    source="rest",
)
REST_COLLISIONS = _counter(
    "rest_token_collisions_total",
    "Sessions lost to another program that signs in with the same token, as far as can be told, since the agent"
    " started; at every poll.",
    source="rest",
)
FRESHNESS_SOURCE_LAST_SUCCESS = _gauge(
    "freshness_source_last_success_timestamp_seconds",
    "When a source of freshness was last read whole for a site: metadata, job, flow_run or task; from the REST and"
    " Metadata APIs at every poll.",
    "site",
    "source",
    source="Metadata API; rest: jobs, flows/runs, tasks",
)
NOTIFICATIONS_SENT = _counter(
    "notifications_sent_total",
    "Alerts that an Alertmanager took from the agent, each time, since the history was begun; at every sending.",
    "alertmanager",
)
NOTIFICATIONS_FAILED = _counter(
    "notifications_failed_total",
    "Alerts that an Alertmanager did not take from the agent, each once a minute, since the history was begun; at every"
    " sending.",
    "alertmanager",
)
NOTIFICATIONS_FIRING = _gauge(
    "notifications_firing", "Alerts that the agent itself raises and that fire, by the agent every 15 seconds."
)
SERIES_DROPPED = _counter(
    "series_dropped_total",
    "Series left out of the exposition by a limit or because they were not valid, at every rendering.",
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
    SERIES_DROPPED,
)
