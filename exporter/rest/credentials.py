"""Connection options of Tableau's APIs, and the two kinds of credentials: access tokens and connected apps."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

DEFAULT_SITE = "default"

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
# Flow tasks have a scope of their own since Tableau Server 2025.3. It is not documented whether a server that does
# not know a scope refuses the sign-in; if it does, the sign-in is repeated with the older scopes.
OLDER_SCOPES = tuple(scope for scope in SCOPES if scope != "tableau:flow_tasks:read")
LIFE_SECONDS = 300


@dataclass(frozen=True)
class Token:
    """A personal access token. It carries one session: each sign-in with it ends the session before."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True)
class ConnectedApp:
    """A connected app with direct trust, which speaks for ``user`` by signing a JSON web token at each sign-in."""

    client_id: str
    secret_id: str
    secret_value: str = field(repr=False)
    user: str


@dataclass(frozen=True)
class RestOptions:
    """Connection options.

    ``sites`` are content URLs, ``default`` is the Default site; without any, every visible site is read.
    ``credentials`` is called at every sign-in, so that rotated ones are used at once; it may raise ExporterError.
    ``timeout`` bounds a whole request in seconds, however slowly it trickles.
    """

    url: str
    sites: tuple[str, ...]
    credentials: Callable[[], Token | ConnectedApp]
    ca_file: Path | None = None
    timeout: float = 60.0
    setting: str = "rest.token_name"
    """The key that names the token, for the line about a refused one."""


def content_url(site: str) -> str:
    """Return the content URL of a site: it is empty for the Default site."""
    return "" if site == DEFAULT_SITE else site


def spelling(site: str) -> str:
    """Return a hint for a site that is not found and looks like the Default site."""
    is_meant = site != DEFAULT_SITE and site.casefold() == DEFAULT_SITE
    return f"; the Default site is written {DEFAULT_SITE}" if is_meant else ""


def label(url: str | None) -> str:
    """Return the label of a content URL."""
    return url or DEFAULT_SITE


def assertion(app: ConnectedApp, now: float, scopes: Sequence[str] = SCOPES) -> str:
    """Return a token that is good for one sign-in within the next minutes."""
    import jwt  # noqa: PLC0415 - it imports cryptography, for which access tokens have no use

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
