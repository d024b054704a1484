"""The JSON web token that a connected app signs for one sign-in."""

import secrets
from datetime import UTC, datetime, timedelta

import jwt

from exporter.rest.login import ConnectedApp

# What each method needs stands in Tableau's help, "Access Scopes for Connected Apps"
# (https://help.tableau.com/current/server/en-us/connected_apps_scopes.htm), and in the reference of each method; the
# Metadata API needs content:read ("How to Authenticate" in its own help).
SCOPES = (
    "tableau:content:read",
    "tableau:flows:read",
    "tableau:flow_runs:read",
    "tableau:jobs:read",
    "tableau:tasks:read",
    "tableau:users:read",
)
LIFE_SECONDS = 300


def assertion(app: ConnectedApp, now: float) -> str:
    """Return a token that is good for one sign-in within the next minutes."""
    return jwt.encode(
        {
            "iss": app.client_id,
            "sub": app.user,
            "aud": "tableau",
            "jti": secrets.token_hex(16),
            "exp": datetime.fromtimestamp(now, UTC) + timedelta(seconds=LIFE_SECONDS),
            "scp": list(SCOPES),
        },
        app.secret_value,
        algorithm="HS256",
        headers={"kid": app.secret_id, "iss": app.client_id},
    )
