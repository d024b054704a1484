"""Sites, domains, users and their roles on the sites."""

import unicodedata
from typing import NamedTuple

from exporter.demo.draft import Draft
from exporter.demo.names import FIRST, LAST
from exporter.demo.rows import Row

CANARY_PASSWORD = "CANARY-hashed-password"  # noqa: S105 - no user's password, never found downstream
CANARY_SALT = "CANARY-salt"
CANARY_KEYCHAIN = "CANARY-keychain"


class Site(NamedTuple):
    """A site; ``offset`` is its distance from UTC in hours.

    A fixed offset, because slim systems come without time zone data and a rhythm needs none.
    """

    name: str
    url_namespace: str
    zone: str
    offset: int
    share: int


SITES = (
    Site("Default", "", "Europe/London", 0, 40),
    Site("Marketing", "marketing", "America/New_York", -5, 25),
    Site("Finance", "finance", "Europe/Berlin", 1, 20),
    Site("EMEA <Region>", "emea", "Asia/Dubai", 4, 15),
)

# Tableau's published role names, their display names, and how common they are here.
SITE_ROLES = (
    ("SiteAdministratorCreator", "Site Administrator Creator", 1),
    ("SiteAdministratorExplorer", "Site Administrator Explorer", 2),
    ("ServerAdministrator", "Server Administrator", 1),
    ("Creator", "Creator", 12),
    ("ExplorerCanPublish", "Explorer (can publish)", 8),
    ("Explorer", "Explorer", 25),
    ("Viewer", "Viewer", 44),
    ("Unlicensed", "Unlicensed", 7),
    ("Guest", "Guest", 0),
)


def add_users(draft: Draft) -> None:
    """Fill sites, site_roles, domains, system_users, users, groups and group_users."""
    for site in SITES:
        _site(draft, site)
    _roles(draft)
    for name, short_name, family in (("local", "local", "local"), ("corp.example.com", "CORP", "ActiveDirectory")):
        draft.add("domains", {"name": name, "short_name": short_name, "active": True, "family": family})
    for name, display_name in (("_system", "System"), ("guest", "Guest")):
        account = _account(draft, name, display_name, domain=1)
        for site_row in draft.tables["sites"]:
            _seat(draft, account, site_row, role="Guest")
    # Twice the same login name: only the domain differs.
    _everywhere(draft, _account(draft, "jsmith", "Jo Smith", domain=1))
    _everywhere(draft, _account(draft, "jsmith", "John Smith", domain=2))
    while len(draft.tables["system_users"]) < draft.scale.people:
        first, last = draft.random.choice(FIRST), draft.random.choice(LAST)
        account = _account(draft, _login(draft, first, last), f"{first} {last}", domain=2)
        homes = 1 + (draft.random.random() < 0.3) + (draft.random.random() < 0.1)
        for site_row in _pick_sites(draft, homes):
            _seat(draft, account, site_row)
    _groups(draft)


def _site(draft: Draft, site: Site) -> None:
    # The first site has no limit of its own.
    seats = draft.scale.people if site.url_namespace else None
    draft.add(
        "sites",
        {
            "name": site.name,
            "url_namespace": site.url_namespace,
            "status": "active",
            "created_at": draft.ago(1400, 1500),
            "updated_at": draft.ago(10, 100),
            "luid": draft.luid(),
            "time_zone": site.zone,
            "flows_enabled": True,
            "personal_space_enabled": True,
            "auto_suspend_refresh_enabled": True,
            "subscriptions_enabled": True,
            "tier_author_capacity": seats and seats // 12,
            "tier_interactor_capacity": seats and seats // 4,
            "tier_basic_user_capacity": seats and seats // 4,
        },
    )


def _roles(draft: Draft) -> None:
    # The numbers are shuffled on purpose: a program that hard-codes them is wrong here.
    ids = draft.random.sample(range(1, 30), len(SITE_ROLES))
    for rank, (key, (name, display_name, _)) in enumerate(zip(ids, SITE_ROLES, strict=True)):
        row = draft.add("site_roles", {"name": name, "licensing_rank": 100 - rank, "display_name": display_name})
        row["id"] = key
    for rank, name in enumerate(("Unlicensed", "Viewer", "Explorer", "Creator")):
        draft.add("licensing_roles", {"name": name, "rank": rank, "licensing_roles_count": None})


def _account(draft: Draft, name: str, display_name: str, *, domain: int) -> Row:
    number = len(draft.tables.get("system_users", ())) + 1
    return draft.add(
        "system_users",
        {
            "name": name,
            "email": f"{name}@example.com",
            "hashed_password": f"{CANARY_PASSWORD}-{number}",
            "salt": f"{CANARY_SALT}-{number}",
            "keychain": f"{CANARY_KEYCHAIN}-{number}",
            "protected_password": f"{CANARY_PASSWORD}-protected-{number}",
            "domain_id": domain,
            "friendly_name": display_name,
            "custom_display_name": False,
            "admin_level": 10 if name == "jsmith" and domain == 1 else 0,
            "created_at": draft.ago(300, 1400),
            "updated_at": draft.ago(0, 300),
            "lock_version": 1,
        },
    )


def _login(draft: Draft, first: str, last: str) -> str:
    used = {row["name"] for row in draft.tables["system_users"]}
    # Most login names are plain ASCII; the rest keep what their owners are called, apostrophes and all.
    plain = unicodedata.normalize("NFKD", f"{first}.{last}").encode("ascii", "ignore").decode().replace("'", "")
    stem = (plain if draft.random.random() < 0.9 else f"{first}.{last}").lower()
    return next(name for name in (stem, *(f"{stem}{n}" for n in range(2, 1000))) if name not in used)


def _pick_sites(draft: Draft, count: int) -> list[Row]:
    rows = draft.tables["sites"]
    chosen: list[Row] = []
    while len(chosen) < count:
        (row,) = draft.random.choices(rows, [site.share for site in SITES])
        if row not in chosen:
            chosen.append(row)
    return chosen


def _everywhere(draft: Draft, account: Row) -> None:
    for site in draft.tables["sites"]:
        _seat(draft, account, site, role="SiteAdministratorExplorer")


def _seat(draft: Draft, account: Row, site: Row, role: str | None = None) -> None:
    name = role or draft.random.choices([name for name, *_ in SITE_ROLES], [weight for *_, weight in SITE_ROLES])[0]
    roles = {row["name"]: row["id"] for row in draft.tables["site_roles"]}
    silent = name in {"Unlicensed", "Guest"} or draft.random.random() < 0.05
    login_at = None if silent else draft.ago(0, 1) if draft.random.random() < 0.5 else draft.ago(1, 90)
    draft.add(
        "users",
        {
            "login_at": login_at,
            "created_at": draft.ago(100, 1400),
            "updated_at": login_at or draft.ago(90, 100),
            "site_id": site["id"],
            "system_user_id": account["id"],
            "system_admin_auto": False,
            "luid": draft.luid(),
            "lock_version": 1,
            "site_role_id": roles[name],
        },
    )


def _groups(draft: Draft) -> None:
    for site in draft.tables["sites"]:
        members = draft.of_site("users", site["id"])
        for name, share in (("All Users", 1.0), ("Analysts", 0.2), ("Management", 0.05)):
            group = draft.add(
                "groups",
                {
                    "name": name,
                    "created_at": draft.ago(500, 1400),
                    "updated_at": draft.ago(0, 500),
                    "system": name == "All Users",
                    "domain_id": 1,
                    "site_id": site["id"],
                    "luid": draft.luid(),
                },
            )
            for member in members:
                if draft.random.random() < share:
                    draft.add("group_users", {"group_id": group["id"], "user_id": member["id"], "site_id": site["id"]})
