"""Governance: deliveries that fail, licences, tokens and owners.

A row for each subject, in the order of ``DASHBOARD``; further subjects (events, unused content) are further rows.
"""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import RED_ABOVE_0, Label, Line, Value, stat, table, timeseries

NO_SUBSCRIPTIONS = "No subscriptions, or no repository"
NO_DATA_ALERTS = "No data alerts, or no repository"
NO_FAILURES = "No failing subscriptions"


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

DASHBOARD = Dashboard(
    "governance",
    "Governance",
    "Subscriptions and data alerts that fail, licences, tokens, and content of unlicensed owners.",
    (SUBSCRIPTIONS, DATA_ALERTS),
    since="now-24h",
)
