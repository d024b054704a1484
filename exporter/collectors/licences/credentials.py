"""Tokens, activations and product keys that are in use, and when they expire; never a secret.

One that was not used for 15 days does not count: a personal access token ends after 15 days without use anyway, and
nobody misses what nobody uses. An activation (``atr_expiration_date``) is a lease of some days that Tableau Desktop and
Prep renew themselves: it always expires soon, which is no reason for an alert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from exporter.collector import Context, personal, relation
from exporter.collectors._arrow import Instants, instants, texts
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

IN_USE_DAYS = 15
IN_USE_SECONDS = IN_USE_DAYS * 86_400.0
ACTIVATION = "activation"
"""The kind that renews itself."""
CREDENTIALS = "credentials"
"""The page: ``StateHistory.page``."""


@dataclass(frozen=True)
class Credential:
    """A token, an activation or a product key; the name of a token may be that of its user."""

    site_id: int | None
    kind: str
    expires_at: datetime | None
    used_at: datetime | None
    name: str | None = personal(pseudonymous=False)
    user: str | None = personal()
    user_name: str | None = personal(pseudonymous=False)


CREDENTIALS_READS = (
    relation(
        "refresh_tokens",
        "system_user_id bigint, expires_at timestamp, last_used_at timestamp",
        "client_name text",
        optional=True,
    ),
    relation(
        "identity_based_activation_admin_view",
        "site_id bigint, atr_expiration_date timestamp, date_last_used timestamp",
        "product_type text, server_user_name text",
        optional=True,
    ),
    relation(
        "desktop_reporting",
        "expiration_date timestamp, maintenance_expiration timestamp, last_report_date timestamp",
        "product_name text, email text",
        optional=True,
    ),
    relation("users", "id bigint, site_id bigint, system_user_id bigint", optional=True),
    relation("system_users", "id bigint, name text", "friendly_name text", optional=True),
)
# A token belongs to an account, which may be a user of several sites: it is one of each. A key is of no site.
CREDENTIALS_SQL = """
    SELECT
        users.site_id AS site_id,
        'refresh_token' AS kind,
        refresh_tokens.expires_at AS expires_at,
        refresh_tokens.last_used_at AS used_at,
        refresh_tokens.client_name AS name,
        system_users.name AS "user",
        nullif(system_users.friendly_name, '') AS user_name
    FROM refresh_tokens
    LEFT JOIN users ON users.system_user_id = refresh_tokens.system_user_id
    LEFT JOIN system_users ON system_users.id = refresh_tokens.system_user_id
    UNION ALL
    SELECT
        site_id,
        'activation',
        atr_expiration_date,
        date_last_used,
        product_type,
        server_user_name,
        NULL
    FROM identity_based_activation_admin_view
    UNION ALL
    SELECT
        NULL,
        'product_key',
        expiration_date,
        last_report_date,
        product_name,
        email,
        NULL
    FROM desktop_reporting
    UNION ALL
    SELECT
        NULL,
        'maintenance',
        maintenance_expiration,
        last_report_date,
        product_name,
        email,
        NULL
    FROM desktop_reporting
"""
CREDENTIALS_PAGE_SQL = f"""
    SELECT
        site_id AS site_id,
        NULL::VARCHAR AS project,
        kind AS kind,
        name AS name,
        NULL::VARCHAR AS reason,
        epoch(expires_at) AS happens_at,
        epoch(used_at) AS used_at,
        "user" AS "user",
        user_name AS user_name
    FROM state
    WHERE isfinite(expires_at) AND expires_at > $now::TIMESTAMP
        AND used_at > $now::TIMESTAMP - INTERVAL {IN_USE_DAYS} DAY
    ORDER BY expires_at, site_id, kind, name, "user"
"""

TOKEN_EXPIRY = Family(
    "tableau_token_expiry_timestamp_seconds",
    "gauge",
    "Next expiry of a token, activation or product key that was used within 15 days, of the site's users; from the"
    " repository every hour, or of its personal access tokens from Admin Insights every day.",
    ("site", "kind"),
    "repository: refresh_tokens, identity_based_activation_admin_view, desktop_reporting; Admin Insights: Tokens",
)


def expose_credentials(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Return the next expiry of each site and kind; those that have expired no longer count."""
    places: dict[tuple[str, str], list[int]] = {}
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    for place, key in enumerate(zip(sites, texts(rows, "kind"), strict=True)):
        places.setdefault(key, []).append(place)
    expires_at, used_at = instants(rows, "expires_at"), instants(rows, "used_at")
    of_kind = {key: (expires_at[found], used_at[found]) for key, found in places.items()}

    def next_expiry(now: float) -> Sequence[Value]:
        return [_next(*both, now) for both in of_kind.values()]

    return [Block(TOKEN_EXPIRY, Labels.of(TOKEN_EXPIRY.labels, of_kind), next_expiry)]


def _next(expires_at: Instants, used_at: Instants, now: float) -> float | None:
    coming = expires_at[(expires_at > now) & (used_at > now - IN_USE_SECONDS)]
    return float(np.min(coming)) if len(coming) else None
