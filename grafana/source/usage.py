"""Usage: requests, active users, load times and errors, compared with a week ago."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import (
    GREEN,
    NO_DURATIONS,
    NO_LISTS,
    NO_REQUESTS,
    NO_STATUS,
    Label,
    Line,
    Value,
    stat,
    table,
    timeseries,
)
from grafana.source.queries import error_rate

NO_VIEWS = "No views loaded, or collectors.views is off in the agent's configuration"
NO_INSIGHTS = "rest.admin_insights is off in the agent's configuration (Tableau Cloud only)"
NO_TOTALS = "No REST API, or collectors.view_totals is off in the agent's configuration"
EXPORTS = 'action=~"exportcrosstab|sheetimage|viewData|vud"'
SLOW = ((None, "text"), (5, "orange"), (10, "red"))
FAILING = ((None, "text"), (0.05, "orange"), (0.25, "red"))


def load_time(quantile: float) -> str:
    """Return the query for a quantile of view load time; no result where no view was loaded."""
    return f"""
        histogram_quantile({quantile}, sum by (le) (
            rate(tableau_http_request_duration_seconds_bucket{{@site,action="bootstrapSession"}}[$__rate_interval])
        )) >= 0
    """


ERROR_RATE = stat(
    "Error rate (5xx)",
    "Fraction of requests with an HTTP status that Tableau answered with a server error (5xx).",
    "percentunit",
    error_rate("rate", "$__rate_interval"),
    thresholds=((None, "green"), (0.05, "orange"), (0.25, "red")),
    no_value=NO_STATUS,
    decimals=1,
)

VIEW_LOAD_TIME = stat(
    "View load time (p90)",
    "90th percentile of view load time (bootstrapSession requests, measured by Tableau).",
    "s",
    load_time(0.9),
    thresholds=((None, "green"), (5, "orange"), (10, "red")),
    no_value=NO_DURATIONS,
)

NOW = Row(
    "Now",
    (
        stat(
            "Requests",
            "Completed requests per second, of all kinds; of Tableau Cloud VizQL requests only.",
            "reqps",
            "sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))",
            no_value=NO_REQUESTS,
        ),
        stat(
            "Change from last week",
            """
                Change of the request rate since the same time a week ago. No value before Prometheus has a week of
                data.
            """,
            "percentunit",
            """
                sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))
                / (sum(rate(tableau_http_requests_total{@site}[$__rate_interval] offset 1w)) > 0)
                - 1
            """,
            no_value="No data a week ago",
            decimals=0,
        ),
        ERROR_RATE,
        VIEW_LOAD_TIME,
        stat(
            "Active users (server, 1d)",
            "Distinct users within the last day on all sites, whichever are selected; each is counted once.",
            "none",
            'sum(tableau_server_active_users{@here,window="1d"})',
            no_value=NO_REQUESTS,
            graph=False,
        ),
        stat(
            "Logins",
            """
                Logins within the dashboard's time range. Tableau Server stores only the last login of a user: of
                several between two polls one is counted. Tableau Cloud logs each that succeeded.
            """,
            "none",
            "sum(increase(tableau_logins_total{@site}[$__range]))",
            no_value=NO_REQUESTS,
            graph=False,
            decimals=0,
        ),
    ),
)

TRENDS = Row(
    "Trends",
    (
        timeseries(
            "Requests vs last week",
            "Completed requests per second. The dashed line is a week ago.",
            "reqps",
            (
                Line("sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))", "this week", "blue"),
                Line(
                    "sum(rate(tableau_http_requests_total{@site}[$__rate_interval] offset 1w))",
                    "last week",
                    "text",
                    dashed=True,
                ),
            ),
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "Active users (1h) vs last week",
            """
                Distinct users within an hour; a user of several sites is counted on each. The dashed line is a week
                ago.
            """,
            "none",
            (
                Line('sum(tableau_active_users{@site,window="1h"})', "this week", "blue"),
                Line('sum(tableau_active_users{@site,window="1h"} offset 1w)', "last week", "text", dashed=True),
            ),
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "View load time",
            "Median, 90th and 99th percentile of view load time (bootstrapSession requests, measured by Tableau).",
            "s",
            tuple(Line(load_time(quantile), name) for quantile, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))),
            no_value=NO_DURATIONS,
        ),
        timeseries(
            "Errors by status class",
            """
                Failed requests per second by status class: 4xx are client errors, 5xx server errors. Requests without
                an HTTP status are no errors; Tableau Cloud logs no status of any request.
            """,
            "reqps",
            tuple(
                Line(
                    f'sum(rate(tableau_http_requests_total{{@site,status_class="{status}"}}[$__rate_interval]))',
                    status,
                    color,
                )
                for status, color in (("4xx", "blue"), ("5xx", "red"))
            ),
            no_value=f"No errors. {NO_STATUS}",
        ),
    ),
)

SITES = Row(
    "By site",
    (
        table(
            "Sites",
            """
                Usage, error rate (of requests with an HTTP status) and view load time of each site within the
                dashboard's time range.
            """,
            (
                Label(
                    "site",
                    "Site",
                    200,
                    "/d/tableau-usage?${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&var-site=${__value.raw}",
                ),
                Value(
                    "sum by (site) (increase(tableau_http_requests_total{@site}[$__range]))",
                    "Requests",
                    "short",
                    decimals=0,
                ),
                Value(
                    error_rate("increase", "$__range", "site"),
                    "Error rate (5xx)",
                    "percentunit",
                    FAILING,
                    decimals=1,
                ),
                Value(
                    """
                        histogram_quantile(0.9, sum by (site, le) (
                            increase(tableau_http_request_duration_seconds_bucket{@site,action="bootstrapSession"}[$__range])
                        )) >= 0
                    """,
                    "View load time (p90)",
                    "s",
                    SLOW,
                ),
                Value('sum by (site) (tableau_active_users{@site,window="1d"})', "Active users (1d)", "none"),
                Value('sum by (site) (tableau_active_users{@site,window="30d"})', "Active users (30d)", "none"),
                Value("sum by (site) (tableau_users{@site})", "Licensed users", "none"),
                Value("sum by (site) (increase(tableau_logins_total{@site}[$__range]))", "Logins", "short", decimals=0),
            ),
            sort_by="Requests",
            no_value=NO_REQUESTS,
            width=16,
        ),
        timeseries(
            "Active users by window",
            """
                Distinct users of the last 5 minutes, hour, day, 7 and 30 days; a user of several sites is counted on
                each. Windows that are shorter than the delay of Tableau Cloud's Activity Log are unknown.
            """,
            "none",
            (Line("sum by (window) (tableau_active_users{@site})", "{{window}}"),),
            no_value=NO_REQUESTS,
            width=8,
        ),
    ),
)

PROBLEMS = Row(
    "Slow requests and errors",
    (
        table(
            "Slowest actions",
            "The 20 actions with the highest p90 duration within the dashboard's time range.",
            (
                Label("action", "Action"),
                Value(
                    """
                        topk(20, histogram_quantile(0.9, sum by (action, le) (
                            increase(tableau_http_request_duration_seconds_bucket{@site}[$__range])
                        )) >= 0)
                    """,
                    "p90",
                    "s",
                    SLOW,
                    width=130,
                ),
                Value(
                    """
                        sum by (action) (increase(tableau_http_request_duration_seconds_count{@site}[$__range]))
                        and topk(20, histogram_quantile(0.9, sum by (action, le) (
                            increase(tableau_http_request_duration_seconds_bucket{@site}[$__range])
                        )) >= 0)
                    """,
                    "Requests",
                    "short",
                    decimals=0,
                    width=110,
                ),
            ),
            sort_by="p90",
            no_value=NO_DURATIONS,
            width=8,
        ),
        table(
            "Errors by action",
            "The 20 actions with the most server errors (5xx) within the dashboard's time range.",
            (
                Label("site", "Site", 120),
                Label("controller", "Controller", 110),
                Label("action", "Action"),
                Value(
                    """
                        topk(20, sum by (site, controller, action) (
                            increase(tableau_http_requests_total{@site,status_class="5xx"}[$__range])
                        ) > 0)
                    """,
                    "Errors",
                    "short",
                    decimals=0,
                    width=90,
                ),
            ),
            sort_by="Errors",
            no_value=f"No errors. {NO_STATUS}",
            width=8,
        ),
        timeseries(
            "Exports",
            """
                Data and images exported from views: crosstabs, underlying data, images. Subscriptions and URLs that
                end in .pdf or .csv are not counted.
            """,
            "reqps",
            (
                Line(
                    f"sum by (action) (rate(tableau_http_requests_total{{@site,{EXPORTS}}}[$__rate_interval]))",
                    "{{action}}",
                ),
            ),
            no_value=f"No exports. {NO_REQUESTS}",
            width=8,
        ),
    ),
)

RENDERED = "topk(25, sum by (site, workbook, view) (increase(tableau_view_requests_total{@site}[$__range])) > 0)"

VIEWS = Row(
    "Views and content",
    (
        table(
            "Most used views",
            "The 25 views loaded most often within the dashboard's time range, with their p90 load time.",
            (
                Label("site", "Site", 120),
                Label("workbook", "Workbook"),
                Label("view", "View"),
                Value(
                    RENDERED,
                    "Loads",
                    "short",
                    decimals=0,
                    width=100,
                ),
                Value(
                    f"""
                        histogram_quantile(0.9, sum by (site, workbook, view, le) (
                            increase(tableau_view_load_duration_seconds_bucket{{@site}}[$__range])
                        ))
                        and {RENDERED}
                    """,
                    "p90",
                    "s",
                    SLOW,
                    width=130,
                ),
            ),
            sort_by="Loads",
            no_value=NO_VIEWS,
            width=12,
        ),
        table(
            "Content",
            "Number and size of content items of each type on the selected sites.",
            (
                Label("asset_type", "Type"),
                Value("sum by (asset_type) (tableau_content{@site})", "Count", "none", width=100),
                Value("sum by (asset_type) (tableau_content_bytes{@site})", "Size", "bytes", width=110),
            ),
            sort_by="Count",
            no_value=NO_LISTS,
            width=6,
        ),
        table(
            "Licences",
            """
                Users of the selected sites by site role; a user of several sites is counted on each.
            """,
            (
                Label("site_role", "Site role"),
                Value("sum by (site_role) (tableau_users{@site})", "Users", "none", GREEN, width=100),
            ),
            sort_by="Users",
            no_value=NO_LISTS,
            width=6,
        ),
    ),
)

INSIGHTS = Row(
    "Admin Insights of Tableau Cloud, and total counts of views",
    (
        table(
            "Events",
            "Events within the dashboard's time range by type, at most 50; Tableau publishes them once a day.",
            (
                Label("action_type", "Type", 100),
                Label("event", "Event"),
                Value(
                    "topk(50, sum by (action_type, event) (increase(tableau_events_total{@site}[$__range])))",
                    "Events",
                    "short",
                    decimals=0,
                    width=90,
                ),
            ),
            sort_by="Events",
            no_value=NO_INSIGHTS,
            width=7,
        ),
        table(
            "Licensed seats",
            "Licences that the selected sites may give to their users, by type of licence.",
            (
                Label("site_role", "Type"),
                Value("sum by (site_role) (tableau_licensed_seats{@site})", "Seats", "none", width=90),
            ),
            sort_by="Seats",
            no_value=NO_INSIGHTS,
            width=4,
        ),
        table(
            "Refreshes and tokens",
            """
                Age of the newest archived refresh of each site, and time until its next personal access token expires.
            """,
            (
                Label("site", "Site"),
                Value(
                    "max by (site) (time() - tableau_admin_insights_refresh_timestamp_seconds{@site})",
                    "Refreshed",
                    "s",
                    width=95,
                ),
                Value(
                    """
                        min by (site) (
                            tableau_token_expiry_timestamp_seconds{@site,kind="personal_access_token"} - time()
                        )
                    """,
                    "Expires in",
                    "s",
                    width=95,
                ),
            ),
            sort_by="Expires in",
            no_value=NO_INSIGHTS,
            width=5,
        ),
        table(
            "Growth of total counts",
            """
                The 25 views whose total count of requests grew most within the dashboard's time range, as the REST API
                reports it every hour.
            """,
            (
                Label("site", "Site", 100),
                Label("workbook", "Workbook"),
                Label("view", "View"),
                Value(
                    """
                        topk(25, sum by (site, workbook, view) (
                            increase(tableau_view_lifetime_requests_total{@site}[$__range])
                        ))
                    """,
                    "Requests",
                    "short",
                    decimals=0,
                    width=100,
                ),
            ),
            sort_by="Requests",
            no_value=NO_TOTALS,
            width=8,
        ),
    ),
)

DASHBOARD = Dashboard(
    "usage",
    "Usage",
    "Requests, active users, view load time and errors, compared with a week ago.",
    (NOW, TRENDS, SITES, PROBLEMS, VIEWS, INSIGHTS),
    since="now-24h",
)
