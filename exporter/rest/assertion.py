"""The JSON web token that a connected app signs for one sign-in."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import jwt

from exporter.rest.login import ConnectedApp

# What each request needs: the table with its sources stands in docs/decisions/0010-rest.md.
SCOPES = (
    "tableau:content:read",
    "tableau:flows:read",
    "tableau:flow_runs:read",
    "tableau:flow_tasks:read",
    "tableau:jobs:read",
    "tableau:tasks:read",
    "tableau:users:read",
)
# Flow tasks have a scope of their own since Tableau Server 2025.3. Nothing published says whether a server that does
# not know a scope refuses the sign-in; should one do so, it is asked once more with those that are older.
OLDER_SCOPES = tuple(scope for scope in SCOPES if scope != "tableau:flow_tasks:read")
LIFE_SECONDS = 300


def assertion(app: ConnectedApp, now: float, scopes: Sequence[str] = SCOPES) -> str:
    """Return a token that is good for one sign-in within the next minutes."""
    return jwt.encode(
        {
            "iss": app.client_id,
            "sub": app.user,
            "aud": "tableau",
            "jti": secrets.token_hex(16),
            "exp": datetime.fromtimestamp(now, UTC) + timedelta(seconds=LIFE_SECONDS),
            "scp": list(scopes),
        },
        app.secret_value,
        algorithm="HS256",
        headers={"kid": app.secret_id, "iss": app.client_id},
    )
