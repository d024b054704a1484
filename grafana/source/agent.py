"""The agent: does it poll, how far is the archive, when would Tableau throw away what is not archived, who is told."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import CALM, NONE_IS_WELL, Label, Line, Value, course, figure, table

NO_REPOSITORY = "No repository"
NO_REST = "No REST API"
NO_EXPORTS = "The agent exports nothing"
LAST_POLL = "max by (job, instance) (tableau_history_last_poll_timestamp_seconds{@here})"
OLDEST = "tableau_repository_oldest_request_timestamp_seconds{@here}"
YES_NO = {1: ("yes", "green"), 0: ("no", "red")}


def grown(family: str, by: str = "") -> str:
    """Return the question by how much a counter grew within the time that is shown."""
    return f"sum{f' by ({by})' if by else ''}(increase({family}{{@here}}[$__range]))"


WELL = Row(
    "Does it poll?",
    (
        figure(
            "Agents",
            "Whether Prometheus reaches every agent that it reached within the last day.",
            "none",
            "min(up{@here} and on (job, instance) last_over_time(tableau_exporter_build_info{@here}[1d]))",
            words={1: ("All answer", "green"), 0: ("One is down", "red")},
            no_value="No agent",
            graph=False,
        ),
        figure(
            "Sources",
            """
                Whether Tableau's repository and its REST API answered the agent when it last asked; of several
                agents the worst.
            """,
            "none",
            "min by (source) (tableau_up{@here})",
            legend="{{source}}",
            words={1: ("Answers", "green"), 0: ("Silent", "red")},
            graph=False,
        ),
        figure(
            "Token accepted",
            "Whether Tableau took the token, or the connected app, at the last sign-in.",
            "none",
            "min(tableau_rest_token_accepted{@here})",
            words=YES_NO,
            no_value=NO_REST,
            graph=False,
        ),
        figure(
            "Configuration",
            "Whether the last reload of the configuration took. If it was refused, the one before it is in force.",
            "none",
            "min(tableau_exporter_config_last_reload_successful{@here})",
            words={1: ("in force", "green"), 0: ("refused", "red")},
            graph=False,
        ),
        figure(
            "Its own alerts",
            "Alerts that the agent raises by itself and that fire. No figure without the section alertmanager.",
            "none",
            "sum(tableau_notifications_firing{@here})",
            thresholds=((None, "green"), (1, "orange")),
            no_value="Not asked to",
        ),
        figure(
            "Series left out",
            "Series that the agent left out since it started, because there are too many or their names are not valid.",
            "none",
            "sum(tableau_series_dropped_total{@here})",
            thresholds=NONE_IS_WELL,
            graph=False,
            decimals=0,
        ),
    ),
)

ARCHIVE = Row(
    "The archive",
    (
        figure(
            "Behind by",
            "How long ago requests were last archived.",
            "s",
            f"max(time() - {LAST_POLL})",
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value=NO_REPOSITORY,
        ),
        figure(
            "Until the purge horizon",
            """
                How long archiving may still be away before Tableau removes what is not archived: the repository
                keeps as much as it held at the last poll, less the time since then.
            """,
            "s",
            f"min({LAST_POLL} - on (job, instance) {OLDEST} - on (job, instance) (time() - {LAST_POLL}))",
            thresholds=((None, "red"), (7200, "orange"), (43200, "green")),
            no_value=NO_REPOSITORY,
        ),
        figure(
            "The history goes back to",
            "When the oldest archived request was made.",
            "dateTimeFromNow",
            "min(1000 * tableau_history_oldest_request_timestamp_seconds{@here})",
            no_value=NO_REPOSITORY,
            graph=False,
        ),
        figure(
            "Possibly lost",
            """
                Requests that may have come and been removed between two polls within the time that is shown: an
                upper bound, the truth may be 0.
            """,
            "none",
            grown("tableau_history_possibly_lost_requests_total"),
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_REPOSITORY,
            graph=False,
            decimals=0,
        ),
        figure(
            "Incidents",
            """
                Things that befell the source or the history file within the time that is shown; the table below
                says which.
            """,
            "none",
            grown("tableau_history_incidents_total"),
            thresholds=((None, "green"), (1, "orange")),
            graph=False,
            decimals=0,
        ),
        figure(
            "History file",
            "The size of the history file; of several agents together.",
            "bytes",
            "sum(tableau_history_file_bytes{@here})",
            no_value=NO_REPOSITORY,
        ),
        course(
            "Positions of the archive",
            """
                How old the newest archived request is, how old the last poll, and how old the oldest request that
                the repository still has: where the first two come near the third, requests are lost. Of several
                agents the worst.
            """,
            "s",
            (
                Line(
                    "max(time() - tableau_history_newest_request_timestamp_seconds{@here})",
                    "newest in the history",
                    "blue",
                ),
                Line(f"max(time() - {LAST_POLL})", "last poll", "green"),
                Line(f"min(time() - {OLDEST})", "oldest in the repository", "red", dashed=True),
            ),
            no_value=NO_REPOSITORY,
            logarithmic=True,
        ),
        course(
            "Rows archived",
            "Rows per second that were archived, by table of the history.",
            "cps",
            (Line("sum by (table) (rate(tableau_history_rows_total{@here}[$__rate_interval]))", "{{table}}"),),
            no_value=NO_REPOSITORY,
        ),
        course(
            "How long reading takes",
            """
                How long the last reading of requests took, by how they were read, and how long the agent waits from one
                exact reading to the next: longer than configured while readings take long.
            """,
            "s",
            (
                Line("max by (mode) (tableau_history_reading_duration_seconds{@here})", "{{mode}}"),
                Line("max(tableau_history_exact_interval_seconds{@here})", "interval", "text", dashed=True),
            ),
            no_value=NO_REPOSITORY,
        ),
        course(
            "Sizes",
            "The size of the history file, and that of the repository's table of requests on its disk.",
            "bytes",
            (
                Line("sum(tableau_history_file_bytes{@here})", "history file", "blue"),
                Line("sum(tableau_repository_http_requests_bytes{@here})", "http_requests in the repository", "text"),
            ),
            no_value=NO_REPOSITORY,
        ),
    ),
)

COLLECTORS = Row(
    "Polls, and what befell them",
    (
        course(
            "Polls under way",
            """
                How long the poll of each source that is under way has been running; no line between polls. A poll that
                makes no progress is in the agent's log, with where each thread stands.
            """,
            "s",
            (
                Line(
                    "max by (source) (time() - tableau_exporter_poll_started_timestamp_seconds{@here})",
                    "{{source}}",
                ),
            ),
            no_value="No poll under way",
            width=24,
        ),
        table(
            "Collectors",
            """
                Each collector: whether its last run gave data that can be trusted, how long it took, and when it
                last succeeded.
            """,
            (
                Label("instance", "Agent", 180),
                Label("collector", "Collector"),
                Value("tableau_collector_success{@here}", "Success", "none", words=YES_NO, width=90),
                Value("tableau_collector_duration_seconds{@here}", "Took", "s", width=90),
                Value(
                    "1000 * tableau_collector_last_success_timestamp_seconds{@here}",
                    "Last success",
                    "dateTimeFromNow",
                    width=140,
                ),
            ),
            worst_first="Took",
            width=12,
        ),
        table(
            "What is missing",
            """
                Columns and tables that should be there: the agent's user may not read them, or they have gone with an
                upgrade; at most 50.
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
            worst_first="Agents",
            no_value="Nothing is missing",
            width=6,
        ),
        table(
            "Incidents by kind",
            """
                What befell the source or the history file since the history was begun within the time that is
                shown, by kind.
            """,
            (
                Label("kind", "Kind"),
                Value(
                    grown("tableau_history_incidents_total", "kind"),
                    "How often",
                    "none",
                    ((None, "text"), (1, "orange")),
                    decimals=0,
                    width=100,
                ),
            ),
            worst_first="How often",
            no_value="No incident",
            width=6,
        ),
    ),
)

TOLD = Row(
    "The REST API, and who is told",
    (
        course(
            "Sessions of the token",
            """
                Per second: sign-ins, sessions that Tableau ended before their time, and among them those lost to
                another program that signs in with the same token.
            """,
            "ops",
            (
                Line("sum(rate(tableau_rest_sign_ins_total{@here}[$__rate_interval]))", "sign-ins", "blue"),
                Line("sum(rate(tableau_rest_sessions_lost_total{@here}[$__rate_interval]))", "lost", "orange"),
                Line(
                    "sum(rate(tableau_rest_token_collisions_total{@here}[$__rate_interval]))", "lost to another", "red"
                ),
            ),
            no_value=NO_REST,
        ),
        course(
            "Notifications",
            """
                Alerts per second that Alertmanagers took from the agent, and that they did not take, each time that
                they were told.
            """,
            "ops",
            (
                Line(
                    "sum by (alertmanager) (rate(tableau_notifications_sent_total{@here}[$__rate_interval]))",
                    "to {{alertmanager}}",
                ),
                Line(
                    "sum by (alertmanager) (rate(tableau_notifications_failed_total{@here}[$__rate_interval]))",
                    "not to {{alertmanager}}",
                    "red",
                ),
            ),
            no_value="The agent tells no Alertmanager",
        ),
    ),
)

EXPORTS = Row(
    "Exports",
    (
        course(
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
            worst_first="Failed",
            no_value=NO_EXPORTS,
            width=12,
        ),
    ),
)

PROCESS = Row(
    "The process",
    (
        course(
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
        course(
            "Processor",
            "Processor time of each agent's process: 100% is one core.",
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
            "The version of each agent, and of what it runs on.",
            (
                Label("instance", "Agent"),
                Label("version", "Version"),
                Label("python", "Python"),
                Label("duckdb", "DuckDB"),
                Value("tableau_exporter_build_info{@here}", "Runs", "none", words={1: ("yes", "green")}, width=70),
            ),
            worst_first="Runs",
            width=8,
            height=8,
        ),
        table(
            "Tableau",
            "The version of each source that answered.",
            (
                Label("source", "Source"),
                Label("version", "Version"),
                Value("count by (source, version) (tableau_server_info{@here})", "Agents", "none", CALM, width=80),
            ),
            worst_first="Agents",
            width=8,
            height=4,
        ),
        figure(
            "Configuration loaded",
            "When the configuration was last loaded with success; of several agents the one that did so first.",
            "dateTimeFromNow",
            "min(1000 * tableau_exporter_config_last_reload_success_timestamp_seconds{@here})",
            graph=False,
        ),
        figure(
            "Certificate expires in",
            """
                How long the certificate of the agent's web server is still valid, negative once it has expired; of
                several agents the one that expires first.
            """,
            "s",
            "min(tableau_exporter_web_certificate_expiry_timestamp_seconds{@here} - time())",
            thresholds=((None, "red"), (86_400, "orange"), (604_800, "green")),
            no_value="No TLS",
            graph=False,
        ),
        figure(
            "Rows pruned",
            """
                Rows removed from the history because of their age, within the time that is shown. No figure without
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
    "Does the agent poll, how far is its archive, when would Tableau throw away what is not archived, and who is told?",
    (WELL, ARCHIVE, COLLECTORS, TOLD, EXPORTS, PROCESS),
)
