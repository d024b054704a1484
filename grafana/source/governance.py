"""Governance: deliveries that fail, licences, tokens, owners, the audit log, unused content: a row for each."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.licences import LICENCES, OWNERS, TOKENS
from grafana.source.panels import RED_ABOVE_0, Label, Line, Value, stat, table, timeseries

NO_SUBSCRIPTIONS = "No subscriptions, or no repository"
NO_DATA_ALERTS = "No data alerts, or no repository"
NO_FAILURES = "No failing subscriptions"
NO_EVENTS = "No events, or no repository and no Admin Insights"
NO_UNUSED = "No repository, or openings are not known for so long"


def in_state(family: str, state: str) -> str:
    """Return the query for the number in a state; 0 where the family is known and has none in it."""
    return f'sum({family}{{@site,state="{state}"}}) or 0 * sum({family}{{@site}})'


SUBSCRIPTIONS = Row(
    "Subscriptions",
    (
        stat(
            "Failing subscriptions",
            "Subscriptions whose last run failed, and that are not suspended. Their users wait for a mail.",
            "none",
            in_state("tableau_subscriptions", "failing"),
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_SUBSCRIPTIONS,
            width=6,
        ),
        stat(
            "Suspended subscriptions",
            "Subscriptions that Tableau suspended after too many failures. They must be resumed in Tableau.",
            "none",
            in_state("tableau_subscriptions", "suspended"),
            thresholds=RED_ABOVE_0,
            no_value=NO_SUBSCRIPTIONS,
            width=6,
        ),
        timeseries(
            "Subscriptions by state",
            "Subscriptions that are active, failing, or suspended by Tableau. Disabled ones are not counted.",
            "none",
            (Line("sum by (state) (tableau_subscriptions{@site})", "{{state}}"),),
            no_value=NO_SUBSCRIPTIONS,
        ),
        table(
            "Failing subscriptions by project",
            """
                The 50 projects with the most failing or suspended subscriptions, and the most consecutive failures of
                a subscription that is not suspended. The page Undelivered of the agent lists each subscription.
            """,
            (
                Label("site", "Site", 130),
                Label("project", "Project"),
                Value(
                    """
                        topk(50, sum by (site, project) (
                            tableau_subscriptions{@site,state=~"failing|suspended"}
                        ) > 0)
                    """,
                    "Not sent",
                    "none",
                    RED_ABOVE_0,
                    width=100,
                ),
                Value(
                    """
                        max by (site, project) (tableau_subscription_consecutive_failures{@site})
                        and on (site, project) topk(50, sum by (site, project) (
                            tableau_subscriptions{@site,state=~"failing|suspended"}
                        ) > 0)
                    """,
                    "Consecutive failures",
                    "none",
                    width=160,
                ),
            ),
            sort_by="Not sent",
            no_value=NO_FAILURES,
            width=24,
        ),
    ),
)

DATA_ALERTS = Row(
    "Data alerts",
    (
        stat(
            "Failing data alerts",
            "Data alerts whose last check failed, and that are not suspended.",
            "none",
            in_state("tableau_data_alerts", "failing"),
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_DATA_ALERTS,
            width=6,
        ),
        stat(
            "Suspended data alerts",
            "Data alerts that Tableau suspended after too many failures. They must be resumed in Tableau.",
            "none",
            in_state("tableau_data_alerts", "suspended"),
            thresholds=RED_ABOVE_0,
            no_value=NO_DATA_ALERTS,
            width=6,
        ),
        timeseries(
            "Data alerts by state",
            "Data alerts that are active, failing, suspended by Tableau, or suspended by a user.",
            "none",
            (Line("sum by (state) (tableau_data_alerts{@site})", "{{state}}"),),
            no_value=NO_DATA_ALERTS,
        ),
        table(
            "Failing data alerts by project",
            """
                The 50 projects with the most data alerts that fail or that Tableau suspended. The page Undelivered of
                the agent lists each of them.
            """,
            (
                Label("site", "Site", 130),
                Label("project", "Project"),
                Value(
                    """
                        topk(50, sum by (site, project) (
                            tableau_data_alerts{@site,state=~"failing|suspended"}
                        ) > 0)
                    """,
                    "Not delivered",
                    "none",
                    RED_ABOVE_0,
                    width=120,
                ),
            ),
            sort_by="Not delivered",
            no_value="No failing data alerts",
            width=24,
        ),
    ),
)

EVENTS = Row(
    "Audit log",
    (
        timeseries(
            "Events by type",
            """
                Events of the audit log each hour, by type of action: access, create, delete, publish and others. From
                Admin Insights, where there is no repository, they come once a day.
            """,
            "none",
            (Line("topk(10, sum by (action_type) (increase(tableau_events_total{@site}[1h])))", "{{action_type}}"),),
            no_value=NO_EVENTS,
            width=10,
        ),
        table(
            "Most frequent events",
            """
                The 50 most frequent events within the dashboard's time range. The page Events of the agent lists each
                event, with its user where the web server has users.
            """,
            (
                Label("site", "Site", 130),
                Label("action_type", "Type", 120),
                Label("event", "Event"),
                Value(
                    """
                        topk(50, sum by (site, action_type, event) (increase(tableau_events_total{@site}[$__range])))
                    """,
                    "Events",
                    "short",
                    decimals=0,
                    width=90,
                ),
            ),
            sort_by="Events",
            no_value=NO_EVENTS,
            width=14,
        ),
    ),
)

UNUSED = Row(
    "Unused content",
    (
        timeseries(
            "Unused content",
            """
                Workbooks, published data sources and flows that nobody opened for 30, 90 and 365 days: each line
                contains the next one. A data source is used when a workbook on it is.
            """,
            "none",
            (Line("sum by (days) (tableau_unused_assets{@site})", "{{days}} days"),),
            no_value=NO_UNUSED,
            width=8,
        ),
        timeseries(
            "Size of unused content",
            "Size of the content that nobody opened for 30, 90 and 365 days: each line contains the next one.",
            "bytes",
            (Line("sum by (days) (tableau_unused_asset_bytes{@site})", "{{days}} days"),),
            no_value=NO_UNUSED,
            width=8,
        ),
        stat(
            "Refreshes of unused content",
            """
                Backgrounder time each week of the refreshes of content that nobody opened for 30 days, the mean of the
                last four weeks. No value before the history has the jobs of a week.
            """,
            "s",
            "sum(tableau_unused_refresh_seconds_per_week{@site})",
            no_value="Jobs of less than a week, or no repository",
            width=8,
        ),
        table(
            "Unused content by project",
            """
                The 50 projects with the most content that nobody opened for 90 days, its size, and the backgrounder
                time each week of what nobody opened for 30 days. The page Usage of the agent lists the content.
            """,
            (
                Label("site", "Site", 130),
                Label("project", "Project"),
                Value(
                    'topk(50, sum by (site, project) (tableau_unused_assets{@site,days="90"}) > 0)',
                    "Unused for 90 days",
                    "none",
                    width=150,
                ),
                Value(
                    """
                        sum by (site, project) (tableau_unused_asset_bytes{@site,days="90"})
                        and on (site, project)
                        topk(50, sum by (site, project) (tableau_unused_assets{@site,days="90"}) > 0)
                    """,
                    "Size",
                    "bytes",
                    width=110,
                ),
                Value(
                    """
                        sum by (site, project) (tableau_unused_refresh_seconds_per_week{@site})
                        and on (site, project)
                        topk(50, sum by (site, project) (tableau_unused_assets{@site,days="90"}) > 0)
                    """,
                    "Refreshes each week",
                    "s",
                    width=160,
                ),
            ),
            sort_by="Unused for 90 days",
            no_value="No unused content, or no repository",
            width=24,
        ),
    ),
)

DASHBOARD = Dashboard(
    "governance",
    "Governance",
    "Subscriptions and data alerts that fail, licences, tokens, owners, the audit log, and unused content.",
    (SUBSCRIPTIONS, DATA_ALERTS, LICENCES, TOKENS, OWNERS, EVENTS, UNUSED),
    since="now-24h",
)
