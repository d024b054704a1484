"""Usage: how much Tableau is used, how well it answers, and how that compares with a week ago."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import CALM, Label, Line, Value, course, figure, table

NO_REPOSITORY = "No repository"
VIEWS_ARE_OFF = "No view was rendered, or the collector is off: collectors.views in the agent's configuration"
EXPORTS = 'action=~"exportcrosstab|sheetimage|viewData|vud"'
SLOW = ((None, "text"), (5, "orange"), (10, "red"))
FAILING = ((None, "text"), (0.05, "orange"), (0.25, "red"))


def load_time(quantile: float) -> str:
    """Return the question within which time so many views were rendered; no answer where none was."""
    return f"""
        histogram_quantile({quantile}, sum by (le) (
            rate(tableau_http_request_duration_seconds_bucket{{@site,action="bootstrapSession"}}[$__rate_interval])
        )) >= 0
    """


NOW = Row(
    "How much, and how well",
    (
        figure(
            "Requests",
            "Completed requests per second, whatever their kind.",
            "reqps",
            "sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))",
            no_value=NO_REPOSITORY,
        ),
        figure(
            "Against last week",
            """
                By how much there are more or fewer requests than at the same time a week ago. No figure before
                Prometheus has watched for a week.
            """,
            "percentunit",
            """
                sum(rate(tableau_http_requests_total{@site}[$__rate_interval]))
                / (sum(rate(tableau_http_requests_total{@site}[$__rate_interval] offset 1w)) > 0)
                - 1
            """,
            no_value="No last week",
            decimals=0,
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
            decimals=1,
        ),
        figure(
            "Views load within",
            "Nine of ten views were rendered within this time (bootstrapSession requests, on Tableau's side).",
            "s",
            load_time(0.9),
            thresholds=((None, "green"), (5, "orange"), (10, "red")),
            no_value="No views",
        ),
        figure(
            "People on the server",
            "Distinct people within the last day, each counted once over all sites, whichever are chosen.",
            "none",
            'sum(tableau_server_active_users{@here,window="1d"})',
            no_value=NO_REPOSITORY,
            graph=False,
        ),
        figure(
            "Logins",
            "Logins within the time that is shown, the latest of each person as the agent saw it.",
            "none",
            "sum(increase(tableau_logins_total{@site}[$__range]))",
            no_value=NO_REPOSITORY,
            graph=False,
            decimals=0,
        ),
    ),
)

COURSE = Row(
    "Against last week",
    (
        course(
            "Requests, this week and last",
            "Completed requests per second. The dashed line is the same time a week ago.",
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
            no_value=NO_REPOSITORY,
        ),
        course(
            "People, this week and last",
            """
                Distinct people within an hour; who uses several sites counts on each. The dashed line is the same
                time a week ago.
            """,
            "none",
            (
                Line('sum(tableau_active_users{@site,window="1h"})', "this week", "blue"),
                Line('sum(tableau_active_users{@site,window="1h"} offset 1w)', "last week", "text", dashed=True),
            ),
            no_value=NO_REPOSITORY,
        ),
        course(
            "How long views take to load",
            """
                Half of the views, nine of ten, and all but one in a hundred were rendered within this time
                (bootstrapSession requests, on Tableau's side).
            """,
            "s",
            tuple(
                Line(load_time(quantile), name)
                for quantile, name in ((0.5, "half"), (0.9, "9 of 10"), (0.99, "99 of 100"))
            ),
            no_value="No views",
        ),
        course(
            "Requests that end in an error",
            """
                Requests per second by the class of their status: 4xx is the visitor's fault, 5xx Tableau's; unknown
                had no status.
            """,
            "reqps",
            tuple(
                Line(
                    f'sum(rate(tableau_http_requests_total{{@site,status_class="{status}"}}[$__rate_interval]))',
                    status,
                    color,
                )
                for status, color in (("4xx", "blue"), ("5xx", "red"), ("unknown", "text"))
            ),
            no_value="No errors, or no repository",
        ),
    ),
)

SITES = Row(
    "Who",
    (
        table(
            "Sites",
            "How much each site was used within the time that is shown, and how well Tableau answered it.",
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
                    """
                        sum by (site) (increase(tableau_http_requests_total{@site,status_class="5xx"}[$__range]))
                        / (sum by (site) (increase(tableau_http_requests_total{@site}[$__range])) > 0)
                    """,
                    "Fail",
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
                    "Load, 9 of 10",
                    "s",
                    SLOW,
                ),
                Value('sum by (site) (tableau_active_users{@site,window="1d"})', "People, 1d", "none"),
                Value('sum by (site) (tableau_active_users{@site,window="30d"})', "People, 30d", "none"),
                Value("sum by (site) (tableau_users{@site})", "With a role", "none"),
                Value("sum by (site) (increase(tableau_logins_total{@site}[$__range]))", "Logins", "short", decimals=0),
            ),
            worst_first="Requests",
            no_value=NO_REPOSITORY,
            width=16,
        ),
        course(
            "People by window",
            """
                Distinct people over the trailing 5 minutes, hour, day, 7 and 30 days; who uses several sites counts
                on each.
            """,
            "none",
            (Line("sum by (window) (tableau_active_users{@site})", "{{window}}"),),
            no_value=NO_REPOSITORY,
            width=8,
        ),
    ),
)

WHAT = Row(
    "Slow, and in error",
    (
        table(
            "Slowest kinds of requests",
            "The 20 actions whose slowest tenth took longest within the time that is shown.",
            (
                Label("action", "Action"),
                Value(
                    """
                        topk(20, histogram_quantile(0.9, sum by (action, le) (
                            increase(tableau_http_request_duration_seconds_bucket{@site}[$__range])
                        )) >= 0)
                    """,
                    "9 of 10 within",
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
            worst_first="9 of 10 within",
            no_value=NO_REPOSITORY,
            width=8,
        ),
        table(
            "Where errors are",
            """
                The 20 kinds of requests that Tableau answered most often with an error of its own (5xx) within the
                time that is shown.
            """,
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
            worst_first="Errors",
            no_value="No errors, or no repository",
            width=8,
        ),
        course(
            "Exports",
            """
                Data and pictures that people took out of views: crosstabs, underlying data, images. Subscriptions and
                addresses that end in .pdf or .csv are not among them.
            """,
            "reqps",
            (
                Line(
                    f"sum by (action) (rate(tableau_http_requests_total{{@site,{EXPORTS}}}[$__rate_interval]))",
                    "{{action}}",
                ),
            ),
            no_value="No exports, or no repository",
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
            "The 25 views that were rendered most often within the time that is shown, and how long that took.",
            (
                Label("site", "Site", 120),
                Label("workbook", "Workbook"),
                Label("view", "View"),
                Value(
                    RENDERED,
                    "Rendered",
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
                    "9 of 10 within",
                    "s",
                    SLOW,
                    width=130,
                ),
            ),
            worst_first="Rendered",
            no_value=VIEWS_ARE_OFF,
            width=12,
        ),
        table(
            "Content",
            "How much content there is of each kind on the sites that are chosen, and how large it is.",
            (
                Label("asset_type", "Kind"),
                Value("sum by (asset_type) (tableau_content{@site})", "How many", "none", width=100),
                Value("sum by (asset_type) (tableau_content_bytes{@site})", "Size", "bytes", width=110),
            ),
            worst_first="How many",
            no_value=NO_REPOSITORY,
            width=6,
        ),
        table(
            "Licences",
            """
                People with a role on the sites that are chosen, by site role; who has one on several sites counts
                on each.
            """,
            (
                Label("site_role", "Site role"),
                Value("sum by (site_role) (tableau_users{@site})", "People", "none", CALM, width=100),
            ),
            worst_first="People",
            no_value=NO_REPOSITORY,
            width=6,
        ),
    ),
)

DASHBOARD = Dashboard(
    "usage",
    "Usage",
    "Who uses Tableau, how much, what is slow, what fails, and how that compares with a week ago.",
    (NOW, COURSE, SITES, WHAT, VIEWS),
    since="now-24h",
)
