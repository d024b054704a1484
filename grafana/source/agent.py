"""Agent: health of polls and sources, archive lag, collectors, notifications, and the process itself."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import GREEN, NO_REQUESTS, RED_ABOVE_0, Label, Line, Value, stat, table, timeseries

NO_REPOSITORY = "No repository"
NO_REST = "No REST API"
NO_LOG = "No Activity Log (Tableau Cloud only)"
NO_EXPORTS = "The agent exports nothing"
LAST_POLL = "max by (job, instance) (tableau_history_last_poll_timestamp_seconds{@here})"
OLDEST = "tableau_repository_oldest_request_timestamp_seconds{@here}"
YES_NO = {1: ("yes", "green"), 0: ("no", "red")}


def grown(family: str, by: str = "") -> str:
    """Return the query for a counter's increase within the dashboard's time range."""
    return f"sum{f' by ({by})' if by else ''}(increase({family}{{@here}}[$__range]))"


SOURCES = stat(
    "Sources",
    """
        Whether the agent's last query of Tableau's repository, REST API and Activity Log succeeded; the worst
        of several agents.
    """,
    "none",
    "min by (source) (tableau_up{@here})",
    legend="{{source}}",
    words={1: ("Up", "green"), 0: ("Down", "red")},
    graph=False,
)

HEALTH = Row(
    "Health",
    (
        stat(
            "Agents",
            "Whether Prometheus scrapes every agent that it scraped within the last day.",
            "none",
            "min(up{@here} and on (job, instance) last_over_time(tableau_exporter_build_info{@here}[1d]))",
            words={1: ("All up", "green"), 0: ("Some down", "red")},
            no_value="No agent",
            graph=False,
        ),
        SOURCES,
        stat(
            "Token accepted",
            "Whether Tableau accepted the token, or the connected app, at the last sign-in.",
            "none",
            "min(tableau_rest_token_accepted{@here})",
            words=YES_NO,
            no_value=NO_REST,
            graph=False,
        ),
        stat(
            "Configuration reload",
            "Whether the last configuration reload succeeded. If it failed, the previous configuration stays active.",
            "none",
            "min(tableau_exporter_config_last_reload_successful{@here})",
            words={1: ("OK", "green"), 0: ("failed", "red")},
            graph=False,
        ),
        stat(
            "Agent alerts",
            "Firing alerts that the agent raises itself. No value without the section alertmanager.",
            "none",
            "sum(tableau_notifications_firing{@here})",
            thresholds=((None, "green"), (1, "orange")),
            no_value="Not configured",
        ),
        stat(
            "Dropped series",
            "Series dropped since the agent started, because of the series limit or invalid names.",
            "none",
            "sum(tableau_series_dropped_total{@here})",
            thresholds=RED_ABOVE_0,
            graph=False,
            decimals=0,
        ),
    ),
)

ARCHIVE = Row(
    "Archive",
    (
        stat(
            "Archive lag",
            "Time since requests were last archived.",
            "s",
            f"max(time() - {LAST_POLL})",
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value=NO_REPOSITORY,
        ),
        stat(
            "Time until data loss",
            """
                How long archiving may stay interrupted before Tableau deletes requests that are not archived: the
                time span that the repository held at the last poll, less the time since that poll.
            """,
            "s",
            f"min({LAST_POLL} - on (job, instance) {OLDEST} - on (job, instance) (time() - {LAST_POLL}))",
            thresholds=((None, "red"), (7200, "orange"), (43200, "green")),
            no_value=NO_REPOSITORY,
        ),
        stat(
            "Oldest archived request",
            "Time of the oldest archived request.",
            "dateTimeFromNow",
            "min(1000 * tableau_history_oldest_request_timestamp_seconds{@here})",
            no_value=NO_REPOSITORY,
            graph=False,
        ),
        stat(
            "Possibly lost",
            """
                Upper bound of requests created and deleted between two polls within the dashboard's time range; the
                actual number may be 0.
            """,
            "none",
            grown("tableau_history_possibly_lost_requests_total"),
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_REPOSITORY,
            graph=False,
            decimals=0,
        ),
        stat(
            "Incidents",
            """
                Incidents detected in the source or the history file within the dashboard's time range; see the table
                below.
            """,
            "none",
            grown("tableau_history_incidents_total"),
            thresholds=((None, "green"), (1, "orange")),
            graph=False,
            decimals=0,
        ),
        stat(
            "History file",
            "Size of the history file; the sum of several agents.",
            "bytes",
            "sum(tableau_history_file_bytes{@here})",
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "Archive position",
            """
                Age of the newest archived request, of the last poll, and of the oldest request still in the
                repository: requests are lost where the first two approach the third. The worst of several agents.
            """,
            "s",
            (
                Line(
                    "max(time() - tableau_history_newest_request_timestamp_seconds{@here})",
                    "newest archived",
                    "blue",
                ),
                Line(f"max(time() - {LAST_POLL})", "last poll", "green"),
                Line(f"min(time() - {OLDEST})", "oldest in the repository", "red", dashed=True),
            ),
            no_value=NO_REPOSITORY,
            logarithmic=True,
        ),
        timeseries(
            "Rows archived",
            "Archived rows per second, by table of the history.",
            "cps",
            (Line("sum by (table) (rate(tableau_history_rows_total{@here}[$__rate_interval]))", "{{table}}"),),
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "Read duration",
            """
                Duration of the last read of http_requests, by mode, and the interval between exact reads: longer than
                configured while reads are slow.
            """,
            "s",
            (
                Line("max by (mode) (tableau_history_reading_duration_seconds{@here})", "{{mode}}"),
                Line("max(tableau_history_exact_interval_seconds{@here})", "interval", "text", dashed=True),
            ),
            no_value=NO_REPOSITORY,
        ),
        timeseries(
            "Sizes",
            "Size of the history file, and of the table http_requests in the repository.",
            "bytes",
            (
                Line("sum(tableau_history_file_bytes{@here})", "history file", "blue"),
                Line("sum(tableau_repository_http_requests_bytes{@here})", "http_requests in the repository", "text"),
            ),
            no_value=NO_REQUESTS,
        ),
    ),
)

COLLECTORS = Row(
    "Polls and incidents",
    (
        timeseries(
            "Running polls",
            """
                Duration of the running poll of each source; no line between polls. A poll without progress is logged
                with the stack of each thread.
            """,
            "s",
            (
                Line(
                    "max by (source) (time() - tableau_exporter_poll_started_timestamp_seconds{@here})",
                    "{{source}}",
                ),
            ),
            no_value="No poll running",
            width=24,
        ),
        table(
            "Collectors",
            """
                Whether the last run of each collector succeeded, its duration, and the last success.
            """,
            (
                Label("instance", "Agent", 180),
                Label("collector", "Collector"),
                Value("tableau_collector_success{@here}", "Success", "none", words=YES_NO, width=90),
                Value("tableau_collector_duration_seconds{@here}", "Duration", "s", width=90),
                Value(
                    "1000 * tableau_collector_last_success_timestamp_seconds{@here}",
                    "Last success",
                    "dateTimeFromNow",
                    width=140,
                ),
            ),
            sort_by="Duration",
            width=12,
        ),
        table(
            "Missing columns",
            """
                Columns and tables that collectors need and do not find: the agent's user has no privilege on them, or
                an upgrade removed them; at most 50.
            """,
            (
                Label("collector", "Collector"),
                Label("column", "Column or table"),
                Value(
                    "topk(50, sum by (collector, column) (tableau_collector_missing_column{@here}))",
                    "Agents",
                    "none",
                    width=80,
                ),
            ),
            sort_by="Agents",
            no_value="Nothing missing",
            width=6,
        ),
        table(
            "Incidents by kind",
            """
                Incidents detected in the source or the history file within the dashboard's time range, by kind.
            """,
            (
                Label("kind", "Kind"),
                Value(
                    grown("tableau_history_incidents_total", "kind"),
                    "Count",
                    "none",
                    ((None, "text"), (1, "orange")),
                    decimals=0,
                    width=100,
                ),
            ),
            sort_by="Count",
            no_value="No incidents",
            width=6,
        ),
    ),
)

ACTIVITY_LOG = Row(
    "Activity Log of Tableau Cloud",
    (
        table(
            "Sites of the Activity Log",
            """
                The newest archived event of each site, and what was archived within the dashboard's time range.
                Rejected lines are no events: the history keeps them in activity_rejects.
            """,
            (
                Label("site", "Site"),
                Value(
                    "max by (site) (time() - tableau_activity_log_newest_event_timestamp_seconds{@site})",
                    "Newest event",
                    "s",
                    width=130,
                ),
                Value(
                    "sum by (site) (increase(tableau_activity_log_files_total{@site}[$__range]))",
                    "Files",
                    "short",
                    decimals=0,
                    width=90,
                ),
                Value(
                    "sum by (site) (increase(tableau_activity_log_rejected_lines_total{@site}[$__range]))",
                    "Rejected lines",
                    "short",
                    ((None, "text"), (1, "orange")),
                    decimals=0,
                    width=130,
                ),
            ),
            sort_by="Newest event",
            no_value=NO_LOG,
            width=12,
        ),
        table(
            "Events by type",
            "Archived events within the dashboard's time range, by type; at most 50.",
            (
                Label("event_type", "Type"),
                Value(
                    """
                        topk(50, sum by (event_type) (
                            increase(tableau_activity_log_events_total{@site}[$__range])
                        ))
                    """,
                    "Events",
                    "short",
                    decimals=0,
                    width=110,
                ),
            ),
            sort_by="Events",
            no_value=NO_LOG,
            width=12,
        ),
    ),
)

REST = Row(
    "REST API and notifications",
    (
        timeseries(
            "REST sessions",
            """
                Per second: sign-ins, sessions that ended early, and those of them ended by another program that signs
                in with the same token.
            """,
            "ops",
            (
                Line("sum(rate(tableau_rest_sign_ins_total{@here}[$__rate_interval]))", "sign-ins", "blue"),
                Line("sum(rate(tableau_rest_sessions_lost_total{@here}[$__rate_interval]))", "lost", "orange"),
                Line(
                    "sum(rate(tableau_rest_token_collisions_total{@here}[$__rate_interval]))", "token collisions", "red"
                ),
            ),
            no_value=NO_REST,
        ),
        timeseries(
            "Notifications",
            """
                Alerts per second that each Alertmanager accepted from the agent, and that failed to be sent; each
                attempt counts.
            """,
            "ops",
            (
                Line(
                    "sum by (alertmanager) (rate(tableau_notifications_sent_total{@here}[$__rate_interval]))",
                    "sent to {{alertmanager}}",
                ),
                Line(
                    "sum by (alertmanager) (rate(tableau_notifications_failed_total{@here}[$__rate_interval]))",
                    "failed to {{alertmanager}}",
                    "red",
                ),
            ),
            no_value="No Alertmanager configured",
        ),
    ),
)

EXPORTS = Row(
    "Exports",
    (
        timeseries(
            "Exported rows",
            "Rows per second that the agent exported by itself, by table and destination.",
            "short",
            (
                Line(
                    """
                        sum by (table, format, destination) (
                            rate(tableau_export_rows_total{@here}[$__rate_interval])
                        )
                    """,
                    "{{table}} to {{destination}}",
                ),
            ),
            no_value=NO_EXPORTS,
            width=12,
        ),
        table(
            "Exports",
            """
                Each export of the agent's own: when it last succeeded, and how many attempts failed within the time
                that is shown.
            """,
            (
                Label("table", "Table", 140),
                Label("format", "Format", 80),
                Label("destination", "Destination"),
                Value(
                    """
                        1000 * max by (table, format, destination) (
                            tableau_export_last_success_timestamp_seconds{@here}
                        )
                    """,
                    "Last success",
                    "dateTimeFromNow",
                    width=140,
                ),
                Value(
                    grown("tableau_export_failures_total", "table, format, destination"),
                    "Failed",
                    "none",
                    ((None, "text"), (1, "orange")),
                    decimals=0,
                    width=80,
                ),
            ),
            sort_by="Failed",
            no_value=NO_EXPORTS,
            width=12,
        ),
    ),
)

PROCESS = Row(
    "Process",
    (
        timeseries(
            "Memory",
            "Resident memory of each agent's process.",
            "bytes",
            (
                Line(
                    "process_resident_memory_bytes{@here} and on (job, instance) tableau_exporter_build_info{@here}",
                    "{{instance}}",
                ),
            ),
            width=8,
        ),
        timeseries(
            "CPU",
            "CPU time of each agent's process: 100% is one core.",
            "percentunit",
            (
                Line(
                    """
                        rate(process_cpu_seconds_total{@here}[$__rate_interval])
                        and on (job, instance) tableau_exporter_build_info{@here}
                    """,
                    "{{instance}}",
                ),
            ),
            width=8,
        ),
        table(
            "Versions",
            "Version of each agent, of Python and of DuckDB.",
            (
                Label("instance", "Agent"),
                Label("version", "Version"),
                Label("python", "Python"),
                Label("duckdb", "DuckDB"),
                Value("tableau_exporter_build_info{@here}", "Runs", "none", words={1: ("yes", "green")}, width=70),
            ),
            sort_by="Runs",
            width=8,
            height=8,
        ),
        table(
            "Tableau",
            "Version of each source.",
            (
                Label("source", "Source"),
                Label("version", "Version"),
                Value("count by (source, version) (tableau_server_info{@here})", "Agents", "none", GREEN, width=80),
            ),
            sort_by="Agents",
            width=8,
            height=4,
        ),
        stat(
            "Configuration loaded",
            "Last successful configuration load; the oldest of several agents.",
            "dateTimeFromNow",
            "min(1000 * tableau_exporter_config_last_reload_success_timestamp_seconds{@here})",
            graph=False,
        ),
        stat(
            "Certificate expires in",
            """
                Time until the certificate of the agent's web server expires, negative once it has expired; the first
                of several agents.
            """,
            "s",
            "min(tableau_exporter_web_certificate_expiry_timestamp_seconds{@here} - time())",
            thresholds=((None, "red"), (86_400, "orange"), (604_800, "green")),
            no_value="No TLS",
            graph=False,
        ),
        stat(
            "Rows pruned",
            """
                Rows deleted from the history because of their age within the dashboard's time range. No value without
                a retention.
            """,
            "short",
            grown("tableau_history_pruned_rows_total"),
            no_value="Nothing pruned",
            graph=False,
            width=8,
            decimals=0,
        ),
    ),
)

DASHBOARD = Dashboard(
    "agent",
    "Agent",
    "Health of the agent: sources, archive lag and time until data loss, collectors, notifications, resources.",
    (HEALTH, ARCHIVE, ACTIVITY_LOG, COLLECTORS, REST, EXPORTS, PROCESS),
)
