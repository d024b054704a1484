"""Rows of the dashboard Governance on licences, tokens and owners."""

from grafana.source.dashboard import Row
from grafana.source.panels import Label, Value, stat, table
from grafana.source.queries import SEATS, USERS_OF_LICENCES

NO_USERS = "No users, or no repository"
NO_TOKENS = "No tokens or keys in use, or no repository"
NO_ORPHANS = "No content of unlicensed owners, or no repository"
DAYS_LEFT = ((None, "red"), (7 * 86_400, "orange"), (30 * 86_400, "green"))

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
