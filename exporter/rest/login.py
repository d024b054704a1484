"""How to reach Tableau's APIs, and the two ways of saying who asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_SITE = "default"


@dataclass(frozen=True)
class Token:
    """A personal access token. It carries one session: whoever signs in with it ends the session before."""

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
class Login:
    """Where and as whom.

    ``sites`` are content URLs, ``default`` is the Default site; without any, every site that may be seen is read.
    ``credentials`` is asked at every sign-in, so that rotated ones are picked up; it may raise ExporterError.
    ``timeout`` bounds a whole request in seconds, however slowly it trickles.
    """

    url: str
    sites: tuple[str, ...]
    credentials: Callable[[], Token | ConnectedApp]
    ca_file: Path | None = None
    timeout: float = 60.0
    setting: str = "rest.token_name"
    """The key that names the token: what is to be looked at where Tableau refuses it."""


def content_url(site: str) -> str:
    """Return what the REST API calls a site: nothing is the Default site."""
    return "" if site == DEFAULT_SITE else site


def spelling(site: str) -> str:
    """Return a hint for a site that is not found and looks like the Default site."""
    is_meant = site != DEFAULT_SITE and site.casefold() == DEFAULT_SITE
    return f"; the Default site is written {DEFAULT_SITE}" if is_meant else ""


def label(url: str | None) -> str:
    """Return what everything else calls it."""
    return url or DEFAULT_SITE
