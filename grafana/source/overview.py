"""Overview: health, firing alerts, sites and trends. Each stat links to the dashboard with the details."""

from grafana.source.agent import SOURCES
from grafana.source.background_jobs import SUSPENDED_REFRESHES
from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import (
    NO_DISKS,
    NO_PROCESSES,
    NO_QUEUE,
    NO_REQUESTS,
    RED_ABOVE_0,
    Label,
    Line,
    Value,
    linked,
    stat,
    table,
    timeseries,
)
from grafana.source.queries import error_rate
from grafana.source.usage import ERROR_RATE, VIEW_LOAD_TIME

# Except TableauExporterDown, alerts have neither job nor instance; an alert without a site concerns every site.
ALERTS = 'ALERTS{alertname=~"Tableau.+",alertstate="firing",site=~"$site|"'
# 0 is shown only where the rules are evaluated: they record their thresholds.
RULES_ARE_THERE = "0 * count(tableau:threshold)"
NO_RULES = "No rules"
NO_REPOSITORY = "No repository"
NO_ALERTS = "No alerts, or Prometheus does not evaluate alerts/tableau.rules.yml"
SEVERITIES = {3: ("critical", "red"), 2: ("warning", "orange"), 1: ("info", "blue")}

HEALTH = Row(
    "Health",
    (
        stat(
            "Agents",
            """
                Whether Prometheus scrapes every agent that it scraped within the last day. An agent that is down
                monitors nothing.
            """,
            "none",
            """
                min(up{@here} and on (job, instance) last_over_time(tableau_exporter_build_info{@here}[1d]))
            """,
            words={1: ("All up", "green"), 0: ("Some down", "red")},
            no_value="No agent",
            link="agent",
            graph=False,
        ),
        linked(SOURCES, "agent"),
        stat(
            "Failing collectors",
            "Number of collectors whose last run failed.",
            "none",
            "sum(tableau_collector_success{@here} == bool 0)",
            thresholds=RED_ABOVE_0,
            link="agent",
        ),
        stat(
            "Archive lag",
            """
                Time since requests were last archived. Tableau deletes old requests; those not archived by then are
                lost.
            """,
            "s",
            "max(time() - max by (job, instance) (tableau_history_last_poll_timestamp_seconds{@here}))",
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value=NO_REPOSITORY,
            link="agent",
        ),
        stat(
            "Critical alerts",
            """
                Firing critical alerts of the shipped rules. No value where Prometheus does not evaluate the rules;
                alerts that the agent raises itself are on the Agent dashboard.
            """,
            "none",
            f'count({ALERTS},severity="critical"}}) or {RULES_ARE_THERE}',
            thresholds=RED_ABOVE_0,
            no_value=NO_RULES,
        ),
        stat(
            "Warnings",
            "Firing warnings of the shipped rules.",
            "none",
            f'count({ALERTS},severity="warning"}}) or {RULES_ARE_THERE}',
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_RULES,
        ),
        stat(
            "Assets past SLA",
            """
                Workbooks, data sources and flows whose data is older than their critical SLA in the agent's
                configuration.
            """,
            "none",
            """
                sum(
                    tableau_asset_hours_since_refresh{@site}
                    > bool ignoring (severity) tableau_asset_sla_hours{@site,severity="critical"}
                )
            """,
            thresholds=RED_ABOVE_0,
            no_value="No SLA",
            link="freshness",
            graph=False,
        ),
        linked(SUSPENDED_REFRESHES, "freshness"),
        linked(ERROR_RATE, "usage"),
        linked(VIEW_LOAD_TIME, "usage"),
        stat(
            "Active users (1h)",
            "Distinct users with a request within the last hour. A user of several sites is counted on each.",
            "none",
            'sum(tableau_active_users{@site,window="1h"})',
            no_value=NO_REQUESTS,
            link="usage",
        ),
        stat(
            "Jobs waiting",
            "Background jobs waiting for a backgrounder.",
            "none",
            """
                sum(tableau_background_jobs_waiting{@site}) or 0 * count(@jobs_known)
            """,
            no_value=NO_QUEUE,
            link="background-jobs",
        ),
        stat(
            "Server",
            "Whether Tableau Server reports itself as running; the worst of several.",
            "none",
            "min(tableau_server_healthy{@here})",
            words={1: ("Running", "green"), 0: ("Not running", "red")},
            no_value=NO_PROCESSES,
            link="server",
            width=8,
            graph=False,
        ),
        stat(
            "Processes down",
            "Processes of the cluster of Tableau Server that are not up.",
            "none",
            "sum(tableau_server_process_up{@here} == bool 0)",
            thresholds=RED_ABOVE_0,
            no_value=NO_PROCESSES,
            link="server",
            width=8,
        ),
        stat(
            "Fullest disk",
            "Used share of the disk of Tableau Server with the least free share.",
            "percentunit",
            "max(tableau_server_disk_used_bytes{@here} / tableau_server_disk_total_bytes{@here})",
            thresholds=((None, "green"), (0.85, "orange"), (0.95, "red")),
            no_value=NO_DISKS,
            link="server",
            width=8,
            decimals=1,
        ),
        stat(
            "Subscriptions not sent",
            "Subscriptions whose last run failed, or that Tableau suspended after too many failures.",
            "none",
            'sum(tableau_subscriptions{@site,state=~"failing|suspended"}) or 0 * sum(tableau_subscriptions{@site})',
            thresholds=RED_ABOVE_0,
            no_value="No subscriptions",
            link="governance",
            graph=False,
        ),
    ),
)

FIRING = Row(
    "Firing alerts",
    (
        table(
            "Firing alerts by severity",
            """
                Firing alerts of the shipped rules, critical ones first, at most 100. The name of an alert links to
                its runbook.
            """,
            (
                Value(
                    f"""
                        topk(100,
                            3 * {ALERTS},severity="critical"}}
                            or 2 * {ALERTS},severity="warning"}}
                            or {ALERTS},severity="info"}}
                        )
                    """,
                    "Severity",
                    "none",
                    words=SEVERITIES,
                    width=100,
                ),
                Label("alertname", "Alert", 300, "https://tableau-exporter.example/runbooks/${__value.raw}.md"),
                Label("site", "Site", 130),
                Label("project", "Project", 220),
                Label(
                    "asset_name",
                    "Asset",
                    link="/d/tableau-freshness?${__url_time_range}&${__all_variables}&var-asset_id=${__data.fields.asset_id}",
                ),
                Label("content_owner", "Owner", 140),
                Label("job_type", "Jobs", 140),
                Label("collector", "Collector", 140),
                Label("asset_id", "Asset id", 300),
            ),
            sort_by="Severity",
            no_value=NO_ALERTS,
        ),
    ),
)

SITES = Row(
    "By site",
    (
        table(
            "Sites",
            """
                Usage and problems of every selected site, now. Requests are per second over the last minutes; the error
                rate is of those with an HTTP status.
            """,
            (
                Label(
                    "site",
                    "Site",
                    220,
                    "/d/tableau-overview?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&var-site=${__value.raw}",
                ),
                Value(
                    """
                        sum by (site) (
                            tableau_asset_hours_since_refresh{@site}
                            > bool ignoring (severity) tableau_asset_sla_hours{@site,severity="critical"}
                        )
                    """,
                    "Past SLA",
                    "none",
                    RED_ABOVE_0,
                ),
                Value(
                    "sum by (site) (tableau_asset_refresh_suspended{@site} == bool 1)",
                    "Suspended",
                    "none",
                    RED_ABOVE_0,
                ),
                Value(
                    "sum by (site) (rate(tableau_http_requests_total{@site}[$__rate_interval]))", "Requests", "reqps"
                ),
                Value(
                    error_rate("rate", "$__rate_interval", "site"),
                    "Error rate (5xx)",
                    "percentunit",
                    ((None, "text"), (0.05, "orange"), (0.25, "red")),
                    decimals=1,
                ),
                Value(
                    """
                        histogram_quantile(0.9, sum by (site, le) (
                            rate(tableau_http_request_duration_seconds_bucket{@site,action="bootstrapSession"}[$__rate_interval])
                        )) >= 0
                    """,
                    "View load time (p90)",
                    "s",
                    ((None, "text"), (5, "orange"), (10, "red")),
                ),
                Value('sum by (site) (tableau_active_users{@site,window="1h"})', "Active users (1h)", "none"),
                Value("sum by (site) (tableau_background_jobs_waiting{@site})", "Jobs waiting", "none"),
            ),
            sort_by="Past SLA",
        ),
    ),
)

TRENDS = Row(
    "Trends",
    (
        timeseries(
            "Assets past SLA over time",
            """
                Number of assets whose data is older than their SLA. An asset past its critical SLA is not counted
                as a warning.
            """,
            "none",
            (
                Line(
                    """
                        sum(
                            tableau_asset_hours_since_refresh{@site}
                            > bool ignoring (severity) tableau_asset_sla_hours{@site,severity="critical"}
                        )
                    """,
                    "critical",
                    "red",
                ),
                Line(
                    """
                        sum(
                            (
                                tableau_asset_hours_since_refresh{@site}
                                > bool ignoring (severity) tableau_asset_sla_hours{@site,severity="warning"}
                            )
                            unless (
                                tableau_asset_hours_since_refresh{@site}
                                > ignoring (severity) tableau_asset_sla_hours{@site,severity="critical"}
                            )
                        )
                    """,
                    "warning",
                    "orange",
                ),
            ),
            no_value="No SLA",
            points=60,
        ),
        timeseries(
            "Firing alerts over time",
            "Number of firing alerts of the shipped rules, by severity.",
            "none",
            tuple(
                Line(f'count({ALERTS},severity="{severity}"}})', severity, color)
                for severity, color in SEVERITIES.values()
            ),
            no_value=NO_ALERTS,
        ),
        timeseries(
            "Requests",
            "Requests per second, and those that Tableau answered with a server error (5xx).",
            "reqps",
            (
                Line("sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))", "all"),
                Line(
                    'sum(rate(tableau_http_requests_total{@site,status_class="5xx"}[$__rate_interval]))', "5xx", "red"
                ),
            ),
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "Background jobs",
            "Jobs waiting for a backgrounder, and running jobs.",
            "none",
            (
                Line("sum(tableau_background_jobs_waiting{@site})", "waiting", "orange"),
                Line("sum(tableau_background_jobs_running{@site})", "running", "green"),
            ),
            no_value=f"No jobs waiting or running. {NO_QUEUE}",
        ),
    ),
)

DASHBOARD = Dashboard(
    "overview",
    "Overview",
    "Health of Tableau, firing alerts, and the sites they concern. Each stat links to the dashboard with the details.",
    (HEALTH, FIRING, SITES, TRENDS),
)
