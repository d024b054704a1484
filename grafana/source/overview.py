"""Overview: is all well, and what is not. Each figure leads to the dashboard that says more."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import NONE_IS_WELL, Label, Line, Value, course, figure, table

# TableauExporterDown apart, alerts carry neither job nor instance; some have no site, and concern every one.
ALERTS = 'ALERTS{alertname=~"Tableau.+",alertstate="firing",site=~"$site|"'
# Nothing fires only where somebody looks: the rules record their thresholds.
RULES_ARE_THERE = "0 * count(tableau:threshold)"
NO_RULES = "No rules"
NO_REPOSITORY = "No repository"
SEVERITIES = {3: ("critical", "red"), 2: ("warning", "orange"), 1: ("info", "blue")}

WELL = Row(
    "Is all well?",
    (
        figure(
            "Agents",
            """
                Whether Prometheus reaches every agent that it reached within the last day. An agent that is down
                watches nothing.
            """,
            "none",
            """
                min(up{@here} and on (job, instance) last_over_time(tableau_exporter_build_info{@here}[1d]))
            """,
            words={1: ("All answer", "green"), 0: ("One is down", "red")},
            no_value="No agent",
            link="agent",
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
            link="agent",
            graph=False,
        ),
        figure(
            "Collectors that fail",
            "How many collectors gave nothing at their last run that can be trusted.",
            "none",
            "sum(tableau_collector_success{@here} == bool 0)",
            thresholds=NONE_IS_WELL,
            link="agent",
        ),
        figure(
            "Archive is behind by",
            """
                How long ago requests were last archived. Tableau removes them some day: what is not archived by then is
                lost.
            """,
            "s",
            "max(time() - max by (job, instance) (tableau_history_last_poll_timestamp_seconds{@here}))",
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value=NO_REPOSITORY,
            link="agent",
        ),
        figure(
            "Critical alerts",
            """
                Alerts of the shipped rules that fire and wake somebody. No figure where Prometheus does not
                evaluate the rules; what the agent tells by itself is on the dashboard of the agent.
            """,
            "none",
            f'count({ALERTS},severity="critical"}}) or {RULES_ARE_THERE}',
            thresholds=NONE_IS_WELL,
            no_value=NO_RULES,
        ),
        figure(
            "Warnings",
            "Alerts of the shipped rules that fire and are for this working day.",
            "none",
            f'count({ALERTS},severity="warning"}}) or {RULES_ARE_THERE}',
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_RULES,
        ),
        figure(
            "Assets past their promise",
            """
                Workbooks, data sources and flows whose data is older than the critical promise of the agent's
                configuration.
            """,
            "none",
            """
                sum(
                    tableau_asset_hours_since_refresh{@site}
                    > bool ignoring (severity) tableau_asset_sla_hours{@site,severity="critical"}
                )
            """,
            thresholds=NONE_IS_WELL,
            no_value="No promises",
            link="freshness",
            graph=False,
        ),
        figure(
            "Refreshes suspended",
            "Assets whose refresh Tableau has suspended after too many failures. Somebody must resume them.",
            "none",
            "sum(tableau_asset_refresh_suspended{@site} == bool 1)",
            thresholds=NONE_IS_WELL,
            no_value="Not known",
            link="freshness",
            graph=False,
        ),
        figure(
            "Requests that fail",
            "The share of requests that Tableau answered with an error of its own (5xx).",
            "percentunit",
            """
                (
                    sum(rate(tableau_http_requests_total{@site,status_class="5xx"}[$__rate_interval]))
                    or 0 * sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))
                )
                / (sum(rate(tableau_http_requests_total{@site}[$__rate_interval])) > 0)
            """,
            thresholds=((None, "green"), (0.05, "orange"), (0.25, "red")),
            no_value="No requests",
            link="usage",
            decimals=1,
        ),
        figure(
            "Views load within",
            "Nine of ten views were rendered within this time (bootstrapSession requests, on Tableau's side).",
            "s",
            """
                histogram_quantile(0.9, sum by (le) (
                    rate(tableau_http_request_duration_seconds_bucket{@site,action="bootstrapSession"}[$__rate_interval])
                )) >= 0
            """,
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            no_value="No views",
            link="usage",
        ),
        figure(
            "People",
            "Distinct people who made a request within the last hour. Who uses several sites counts on each.",
            "none",
            'sum(tableau_active_users{@site,window="1h"})',
            no_value=NO_REPOSITORY,
            link="usage",
        ),
        figure(
            "Jobs waiting",
            "Background jobs that no backgrounder has begun.",
            "none",
            """
                sum(tableau_background_jobs_waiting{@site})
                or 0 * count(tableau_collector_success{@here,collector="background_jobs"} == 1)
            """,
            no_value=NO_REPOSITORY,
            link="background-jobs",
        ),
    ),
)

NOT_WELL = Row(
    "What is not well",
    (
        table(
            "Alerts that fire",
            """
                Every alert of the shipped rules that fires, at most 100, critical ones first. The name of an alert
                leads to its runbook.
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
            worst_first="Severity",
            no_value="Nothing fires, or Prometheus does not evaluate alerts/tableau.rules.yml",
        ),
    ),
)

WHERE = Row(
    "Which site",
    (
        table(
            "Sites",
            """
                Every site that is chosen: how much it is used, and what is not well there. Now, requests per second
                as of the last minutes.
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
                    "Past their promise",
                    "none",
                    NONE_IS_WELL,
                ),
                Value(
                    "sum by (site) (tableau_asset_refresh_suspended{@site} == bool 1)",
                    "Suspended",
                    "none",
                    NONE_IS_WELL,
                ),
                Value(
                    "sum by (site) (rate(tableau_http_requests_total{@site}[$__rate_interval]))", "Requests", "reqps"
                ),
                Value(
                    """
                        sum by (site) (rate(tableau_http_requests_total{@site,status_class="5xx"}[$__rate_interval]))
                        / (sum by (site) (rate(tableau_http_requests_total{@site}[$__rate_interval])) > 0)
                    """,
                    "Fail",
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
                    "Views load within",
                    "s",
                    ((None, "text"), (5, "orange"), (10, "red")),
                ),
                Value('sum by (site) (tableau_active_users{@site,window="1h"})', "People, an hour", "none"),
                Value("sum by (site) (tableau_background_jobs_waiting{@site})", "Jobs waiting", "none"),
            ),
            worst_first="Past their promise",
        ),
    ),
)

SINCE = Row(
    "Since when",
    (
        course(
            "Past their promise, over time",
            """
                How many assets are older than the configuration promises; a critical one is not counted among the
                warnings.
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
            no_value="No promises",
            points=60,
        ),
        course(
            "Alerts, over time",
            "How many alerts of the shipped rules fire, by severity.",
            "none",
            tuple(
                Line(f'count({ALERTS},severity="{severity}"}})', severity, color)
                for severity, color in SEVERITIES.values()
            ),
            no_value="Nothing fires, or Prometheus does not evaluate alerts/tableau.rules.yml",
        ),
        course(
            "Requests",
            "Requests per second, and how many of them Tableau answered with an error of its own (5xx).",
            "reqps",
            (
                Line("sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))", "all"),
                Line(
                    'sum(rate(tableau_http_requests_total{@site,status_class="5xx"}[$__rate_interval]))', "fail", "red"
                ),
            ),
            no_value=NO_REPOSITORY,
        ),
        course(
            "Background jobs",
            "Jobs that wait for a backgrounder, and jobs under way.",
            "none",
            (
                Line("sum(tableau_background_jobs_waiting{@site})", "waiting", "orange"),
                Line("sum(tableau_background_jobs_running{@site})", "running", "green"),
            ),
            no_value="Nothing waits or runs, or no repository is polled",
        ),
    ),
)

DASHBOARD = Dashboard(
    "overview",
    "Overview",
    "Is all well with Tableau, and what is not? Every figure leads to the dashboard that says more.",
    (WELL, NOT_WELL, WHERE, SINCE),
)
