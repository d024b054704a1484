"""Data alerts, tokens and activations of the company: some of each fail, are suspended, or expire soon."""

from datetime import timedelta

from exporter.demo.draft import Draft

CANARY_SECRET = "CANARY-secret"  # noqa: S105 - no secret, but the trace of one
# suspend_state and failure_count: well, failing, suspended by Tableau, suspended by a user.
ALERT_STATES = ((0, 0), (0, 3), (1, 5), (2, 0), (0, 0), (0, 0))
TOKEN_DAYS = (5, 90, 200, 330, -10)
ACTIVATION_DAYS = (3, 11)
LEASE_DAYS = 14
"""Tableau Desktop and Prep renew their activation long before it expires."""
KEY_DAYS = (10, 250)


def governance(draft: Draft) -> None:
    """Fill data_alerts and their recipients, refresh_tokens, activations and desktop_reporting."""
    for site in draft.tables["sites"]:
        _data_alerts(draft, site["id"])
        _activations(draft, site["id"])
    _tokens(draft)
    _desktops(draft)


def _data_alerts(draft: Draft, site_id: object) -> None:
    views, users = draft.of_site("views", site_id), draft.of_site("users", site_id)[2:]
    for number, (view, (state, failures)) in enumerate(zip(views, ALERT_STATES, strict=False)):
        made = draft.ago(30, 300)
        alert = draft.add(
            "data_alerts",
            {
                "title": f"{view['name']} above {number}00",
                "creator_id": users[0]["id"],
                "site_id": site_id,
                "workbook_id": view["workbook_id"],
                "view_id": view["id"],
                "luid": draft.luid(),
                "last_checked": draft.ago(0, 1),
                "notification_interval_in_minutes": 1440,
                "created_at": made,
                "updated_at": made,
                "suspend_state": state,
                "failure_count": failures,
                "public": True,
            },
        )
        for user in users[number : number + 2]:
            draft.add(
                "data_alerts_recipients",
                {
                    "recipient_id": user["id"],
                    "data_alert_id": alert["id"],
                    "recipient_type": "User",
                    "last_sent": draft.ago(1, 20),
                    "last_state": False,
                    "created_at": made,
                    "updated_at": made,
                    "site_id": site_id,
                },
            )


def _tokens(draft: Draft) -> None:
    people = draft.tables["system_users"][2:]
    for number, person in zip(range(10), people, strict=False):
        draft.add(
            "refresh_tokens",
            {
                "guid": draft.luid(),
                "client_name": "tabcmd",
                "system_user_id": person["id"],
                "expires_at": draft.now + timedelta(days=TOKEN_DAYS[number % len(TOKEN_DAYS)]),
                "last_used_at": draft.ago(0, 10),
                "issued_at": draft.ago(20, 100),
                "salt": CANARY_SECRET,
                "hashed_secret": CANARY_SECRET,
            },
        )


def _activations(draft: Draft, site_id: object) -> None:
    # This table has no key.
    rows = draft.tables.setdefault("identity_based_activation_admin_view", [])
    accounts = {account["id"]: account for account in draft.tables["system_users"]}
    user = accounts[draft.of_site("users", site_id)[2]["system_user_id"]]
    for days, product in zip(ACTIVATION_DAYS, ("Tableau Desktop", "Tableau Prep"), strict=True):
        rows.append(
            {
                "iba_user_id": draft.luid(),
                "site_id": site_id,
                "product_type": product,
                "server_user_name": user["name"],
                "user_role": "Creator",
                "host_name": f"LAPTOP-{site_id}",
                "atr_expiration_date": draft.now + timedelta(days=days),
                "date_atr_issued": draft.now + timedelta(days=days - LEASE_DAYS),
                "date_last_used": draft.ago(0, 5),
            }
        )


def _desktops(draft: Draft) -> None:
    for number, days in enumerate(KEY_DAYS):
        expires = (draft.now + timedelta(days=days)).date()
        draft.add(
            "desktop_reporting",
            {
                "host_name": f"LAPTOP-{number}",
                "product_name": "Tableau Desktop",
                "email": draft.tables["system_users"][2 + number]["email"],
                "expiration_date": expires,
                "maintenance_expiration": expires + timedelta(days=100),
                "last_report_date": draft.ago(0, 5),
                "product_keys": CANARY_SECRET,
            },
        )
