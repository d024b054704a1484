"""JSON Web Tokens of connected apps: the checks of a real server before a sign-in."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import NamedTuple

from exporter.demo.tableau.errors import Refusal, bad_credentials

LONGEST_SECONDS = 600


class App(NamedTuple):
    """A connected app with a direct trust."""

    client_id: str
    secret_id: str
    secret_value: str


class Claims(NamedTuple):
    """The claims of a valid token."""

    user: str
    scopes: frozenset[str]
    id: str


def check(token: str, apps: tuple[App, ...], now: float) -> Claims:
    """Read a token, or refuse the sign-in; ``now`` is in seconds since 1970."""
    try:
        signed, _, signature = token.rpartition(".")
        head, body = (json.loads(_decoded(part)) for part in signed.split("."))
        app = next(app for app in apps if app.secret_id == head["kid"] and app.client_id == body["iss"])
        expected = hmac.new(app.secret_value.encode(), signed.encode(), hashlib.sha256).digest()
        good = hmac.compare_digest(expected, _decoded(signature))
        timely = now < body["exp"] <= now + LONGEST_SECONDS
        if head["alg"] != "HS256" or not good or not timely or body["aud"] not in ("tableau", ["tableau"]):
            raise bad_credentials()
        return Claims(body["sub"], frozenset(body["scp"]), body["jti"])
    except Refusal:
        raise
    except (ValueError, KeyError, TypeError, StopIteration, binascii.Error) as error:
        raise bad_credentials() from error


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
