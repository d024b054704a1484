"""Users of each site, by site role."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from exporter.collector import Collector, Context, RestHooks, State, StateHistory, personal, relation, volatile
from exporter.collectors._arrow import texts
from exporter.inventory import Inventory
from exporter.metrics import Block, Family, Labels

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class User:
    """A person on one site. ``system_user_id`` is the same on every site; the role is its displayed name."""

    id: int
    luid: str | None
    site_id: int | None
    system_user_id: int | None
    domain_id: int | None
    domain_name: str | None
    domain_short_name: str | None
    site_role: str | None
    licensing_role_id: int | None
    licensing_role_name: str | None
    admin_level: int | None
    created_at: datetime | None
    name: str | None = personal()
    friendly_name: str | None = personal()
    email: str | None = personal()
    updated_at: datetime | None = volatile()
    login_at: datetime | None = volatile()


READS = (
    relation(
        "users",
        "id bigint, site_id bigint, system_user_id bigint",
        "luid text, site_role_id bigint, login_at timestamp, created_at timestamp, updated_at timestamp",
        only_in_view="licensing_role_id bigint, licensing_role_name text, domain_id bigint",
    ),
    relation(
        "system_users",
        "id bigint, name text",
        "friendly_name text, email text, domain_id bigint, admin_level bigint",
        only_in_view="domain_name text, domain_short_name text",
    ),
    relation("domains", "id bigint, name text", "short_name text", optional=True),
    relation("site_roles", "id bigint, name text", "display_name text", optional=True),
)

# The view _system_users names the domain of each person itself.
SQL = """
    SELECT
        users.id AS id,
        users.luid AS luid,
        users.site_id AS site_id,
        users.system_user_id AS system_user_id,
        coalesce(system_users.domain_id, users.domain_id) AS domain_id,
        coalesce(domains.name, system_users.domain_name) AS domain_name,
        coalesce(domains.short_name, system_users.domain_short_name) AS domain_short_name,
        coalesce(nullif(site_roles.display_name, ''), site_roles.name) AS site_role,
        users.licensing_role_id AS licensing_role_id,
        users.licensing_role_name AS licensing_role_name,
        system_users.admin_level AS admin_level,
        users.created_at AS created_at,
        system_users.name AS name,
        system_users.friendly_name AS friendly_name,
        system_users.email AS email,
        users.updated_at AS updated_at,
        users.login_at AS login_at
    FROM users
    LEFT JOIN system_users ON system_users.id = users.system_user_id
    LEFT JOIN domains ON domains.id = system_users.domain_id
    LEFT JOIN site_roles ON site_roles.id = users.site_role_id
"""

USERS = Family(
    "tableau_users",
    "gauge",
    "Users with a role on the site, by site role; from the repository at every poll, without one from the REST API.",
    ("site", "site_role"),
    "repository: users, site_roles; REST: users",
)


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Count users by site and role; without a known role a user is not counted."""
    people = zip(rows.column("site_id").to_pylist(), texts(rows, "site_role"), strict=True)
    found = Counter((context.site(site_id), role) for site_id, role in people if role)
    sites, roles = zip(*found, strict=True) if found else ((), ())
    return [Block(USERS, Labels(USERS.labels, (sites, roles)), list(found.values()))]


# How the repository displays the roles that it and the REST API name as one word.
REST_ROLES = {
    "ServerAdministrator": "Server Administrator",
    "SiteAdministratorCreator": "Site Administrator Creator",
    "SiteAdministratorExplorer": "Site Administrator Explorer",
    "ExplorerCanPublish": "Explorer (can publish)",
    "ReadOnly": "Read Only",
}


def expose_inventory(inventory: Inventory) -> Sequence[Block]:
    """Count the users that the REST API lists; an incomplete list is no count."""
    people = inventory.listed.get("users")
    if people is None:
        return ()
    found = Counter(REST_ROLES.get(role, role) for role in texts(people, "site_role") if role)
    return [Block(USERS, Labels(USERS.labels, ([inventory.site] * len(found), list(found))), list(found.values()))]


COLLECTOR = Collector(
    "users",
    "Users of each site and their site roles.",
    states=(State(User, READS, SQL, (USERS,), expose, history=StateHistory("users")),),
    rest=RestHooks(expose_inventory),
)
