"""Governance: deliveries that fail, licences, tokens and owners.

A row for each subject, in the order of ``DASHBOARD``; further subjects (events, unused content) are further rows.
"""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import RED_ABOVE_0, Label, Line, Value, stat, table, timeseries
from grafana.source.queries import SEATS, USERS_OF_LICENCES

NO_SUBSCRIPTIONS = "No subscriptions, or no repository"
NO_DATA_ALERTS = "No data alerts, or no repository"
NO_FAILURES = "No failing subscriptions"
NO_USERS = "No users, or no repository"
NO_TOKENS = "No tokens or keys in use, or no repository"
NO_ORPHANS = "No content of unlicensed owners, or no repository"
DAYS_LEFT = ((None, "red"), (7 * 86_400, "orange"), (30 * 86_400, "green"))


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

LICENCES = Row(
    "Licences",
    (
        stat(
            "Inactive users",
            "Users with a licence who have not signed in for 90 days, over the selected sites.",
            "none",
            'sum(tableau_inactive_users{@site,days="90"})',
            no_value=NO_USERS,
            width=4,
        ),
        table(
            "Seats",
            """
                Users by the licence that their site role needs, and the limit of the site where it has one. A role
                without the name of a licence, as Server Administrator, is not among them.
            """,
            (
                Label("site", "Site"),
                Label("site_role", "Licence", 90),
                Value(USERS_OF_LICENCES, "Users", "none", width=80),
                Value(SEATS, "Seats", "none", width=80),
                Value(
                    f"({USERS_OF_LICENCES}) / {SEATS}",
                    "Used",
                    "percentunit",
                    ((None, "green"), (0.9, "orange"), (1, "red")),
                    decimals=0,
                    width=80,
                ),
            ),
            sort_by="Used",
            no_value=NO_USERS,
            width=10,
        ),
        table(
            "Inactive users by site role",
            """
                Users with a licence who have not signed in for 30, 90 and 180 days. Who was away for 180 days counts in
                each column. The page Licences of the agent lists each user.
            """,
            (
                Label("site", "Site"),
                Label("site_role", "Site role"),
                *(
                    Value(
                        f'sum by (site, site_role) (tableau_inactive_users{{@site,days="{days}"}})',
                        f"{days} days",
                        "none",
                        width=80,
                    )
                    for days in (30, 90, 180)
                ),
            ),
            sort_by="90 days",
            no_value=NO_USERS,
            width=10,
        ),
    ),
)

TOKENS = Row(
    "Tokens and keys",
    (
        stat(
            "Next expiry",
            "Time until the next token or product key in use expires. Activations are renewed, and do not count.",
            "s",
            'min(tableau_token_expiry_timestamp_seconds{@here,kind!="activation"}) - time()',
            thresholds=DAYS_LEFT,
            no_value=NO_TOKENS,
            width=6,
        ),
        table(
            "Expiry by kind",
            """
                Time until the next token, activation or product key of each site expires, of those used within 15 days.
                A product key has no site. The page Licences of the agent lists each of them.
            """,
            (
                Label("site", "Site"),
                Label("kind", "Kind"),
                Value(
                    "min by (site, kind) (tableau_token_expiry_timestamp_seconds{@here}) - time()",
                    "Expires in",
                    "s",
                    DAYS_LEFT,
                    width=120,
                ),
            ),
            sort_by="Expires in",
            no_value=NO_TOKENS,
            width=18,
        ),
    ),
)

OWNERS = Row(
    "Owners",
    (
        stat(
            "Content without an owner",
            "Workbooks, data sources and flows whose owner is unlicensed or was removed.",
            "none",
            "sum(tableau_orphaned_assets{@site})",
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_ORPHANS,
            width=6,
        ),
        table(
            "Content of unlicensed owners by project",
            """
                The 50 projects with the most content whose owner is unlicensed or was removed. The page Licences of the
                agent lists it.
            """,
            (
                Label("site", "Site", 130),
                Label("project", "Project"),
                Label("asset_type", "Type", 110),
                Value(
                    "topk(50, sum by (site, project, asset_type) (tableau_orphaned_assets{@site}) > 0)",
                    "Content",
                    "none",
                    width=100,
                ),
            ),
            sort_by="Content",
            no_value=NO_ORPHANS,
            width=18,
        ),
    ),
)

DASHBOARD = Dashboard(
    "governance",
    "Governance",
    "Subscriptions and data alerts that fail, licences, tokens, and content of unlicensed owners.",
    (SUBSCRIPTIONS, DATA_ALERTS, LICENCES, TOKENS, OWNERS),
    since="now-24h",
)
