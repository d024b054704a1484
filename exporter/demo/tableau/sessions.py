"""Sessions. A personal access token has one session: the next sign-in with it ends the one before."""

import secrets
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

from exporter.demo.tableau import errors, jwt, xml_writer
from exporter.demo.tableau.facts import Facts, Person, Site
from exporter.demo.tableau.failure_modes import FailureModes

# What Tableau lets a session live, in seconds: 240 minutes on Server, 120 on Cloud.
LIFE_SECONDS = {False: 14_400.0, True: 7_200.0}
EVERYTHING = frozenset({"*"})
# The scope that a connected app's token needs for a kind of call; the others need none here.
SCOPES = {
    **dict.fromkeys(("workbooks", "datasources", "projects", "metadata", "sites", "site"), "tableau:content:read"),
    "flows": "tableau:flows:read",
    "flow_runs": "tableau:flow_runs:read",
    "flow_tasks": "tableau:flow_tasks:read",
    "users": "tableau:users:read",
    "jobs": "tableau:jobs:read",
    "job": "tableau:jobs:read",
    "tasks": "tableau:tasks:read",
    **dict.fromkeys(("vds", "vds_query", "vds_metadata"), "tableau:viz_data_service:read"),
}


class Session(NamedTuple):
    """A sign-in; ``name`` is the token's or the app's user's."""

    token: str
    name: str
    site: str
    user: str
    ends_at: float
    scopes: frozenset[str] = EVERYTHING


class Sessions:
    """All that are signed in; ``clock`` is in seconds since 1970."""

    def __init__(
        self,
        tokens: Mapping[str, str],
        apps: tuple[jwt.App, ...],
        failure_modes: FailureModes,
        clock: Callable[[], float],
        life_seconds: float,
        *,
        cloud: bool = False,
    ) -> None:
        self.tokens = dict(tokens)
        self.rights: dict[str, set[str]] = {}
        """Content URLs that a token may see, by its name; a token that is not named may see every site."""
        self.refused: set[str] = set()
        """Kinds of calls that are answered 401 although the session is alive."""
        self.known_scopes: frozenset[str] | None = None
        """The scopes that the server knows: a token of a connected app with another one cannot sign in; None: all."""
        self.tells_expiry = True
        """Whether a sign-in is answered with the time that is left, which older servers do not send."""
        self._cloud = cloud
        self._apps = apps
        self._failure_modes = failure_modes
        self._clock = clock
        self._life_seconds = life_seconds
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._used: set[str] = set()

    def sign_in(self, body: bytes, facts: Facts) -> tuple[Session, bytes]:
        """Sign in with the credentials of a request; return the session and the answer."""
        credentials = _parsed(body).find("{*}credentials")
        if credentials is None:
            raise errors.Refusal("400000", "Bad Request", "The request has no credentials.")
        wanted = credentials.find("{*}site")
        url = (wanted.get("contentUrl") if wanted is not None else None) or ""
        if "jwt" in credentials.attrib:
            name, scopes = self._trusted(credentials.get("jwt", ""))
        else:
            name, scopes = self._known(credentials), EVERYTHING
        site = self._site(name, url, facts, errors.bad_credentials())
        return self._begin(name, site, scopes, _acting(site, name))

    def switch(self, session: Session, body: bytes, facts: Facts) -> tuple[Session, bytes]:
        """Leave one site for another: the old session ends. Tableau Cloud has no such call."""
        manner = self._failure_modes.switching or ("refused" if self._cloud else "works")
        if manner == "refused":
            raise errors.unsupported_on_cloud("Switch site")
        wanted = _parsed(body).find("{*}site")
        url = (wanted.get("contentUrl") if wanted is not None else None) or ""
        if url == session.site:
            raise errors.Refusal("403070", "Forbidden", "The session is on this site already.")
        refusal = errors.Refusal("401003", "Switch Site Error", "There was a problem switching sites.")
        site = self._site(session.name, session.site if manner == "ignored" else url, facts, refusal)
        self.end(session)
        return self._begin(session.name, site, session.scopes, _acting(site, session.name))

    def find(self, token: str | None) -> Session:
        """Return the session of a request, or refuse it."""
        if not token:
            raise errors.no_credentials()
        with self._lock:
            session = self._sessions.get(token)
        if session is None or session.ends_at <= self._clock():
            raise errors.session_ended()
        return session

    def admit(self, session: Session, kind: str) -> None:
        """Refuse a kind of call that lies outside a session's scopes, or that is refused to every user."""
        scope = SCOPES.get(kind)
        lacking = scope and session.scopes is not EVERYTHING and not _granted(scope, session.scopes)
        if lacking or kind in self.refused:
            raise errors.session_ended()

    def end(self, session: Session) -> None:
        """End one session."""
        with self._lock:
            self._sessions.pop(session.token, None)

    def end_all(self, name: str | None = None) -> None:
        """End the sessions of a token, or all: a collision, or a server that was restarted."""
        with self._lock:
            for session in list(self._sessions.values()):
                if name in {None, session.name}:
                    del self._sessions[session.token]

    def sees(self, name: str, url: str) -> bool:
        """Whether a token may read a site."""
        return name not in self.rights or url in self.rights[name]

    def _known(self, credentials: ET.Element) -> str:
        name = credentials.get("personalAccessTokenName", "")
        value = credentials.get("personalAccessTokenSecret", "")
        if not name or self.tokens.get(name) != value or name in self._failure_modes.tokens_expired:
            raise errors.bad_credentials()
        return name

    def _trusted(self, token: str) -> tuple[str, frozenset[str]]:
        claims = jwt.check(token, self._apps, self._clock())
        if self.known_scopes is not None and not claims.scopes <= self.known_scopes:
            raise errors.bad_credentials()
        with self._lock:
            if claims.id in self._used:
                raise errors.bad_credentials()
            self._used.add(claims.id)
        return claims.user, claims.scopes

    def _site(self, name: str, url: str, facts: Facts, refusal: errors.Refusal) -> Site:
        found = next((site for site in facts if site.url == url and self.sees(name, url)), None)
        if found is None:
            raise refusal
        return found

    def _begin(self, name: str, site: Site, scopes: frozenset[str], user: Person | None) -> tuple[Session, bytes]:
        if user is None or (scopes is not EVERYTHING and user.name != name):
            raise errors.bad_credentials()
        token = f"{secrets.token_urlsafe(16)}|{secrets.token_urlsafe(24)}|{site.luid}"
        session = Session(token, name, site.url, user.luid, self._clock() + self._life_seconds, scopes)
        if scopes is EVERYTHING:
            self.end_all(name)
        with self._lock:
            self._sessions[token] = session
        return session, self._granted(session, site)

    def _granted(self, session: Session, site: Site) -> bytes:
        left = int(self._life_seconds)
        attributes = {"token": session.token}
        if self.tells_expiry:
            attributes["estimatedTimeToExpiration"] = f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}"
        inside = (
            xml_writer.element("site", {"id": site.luid, "contentUrl": site.url}),
            xml_writer.element("user", {"id": session.user}),
        )
        return xml_writer.document(xml_writer.element("credentials", attributes, *inside))


def _acting(site: Site, name: str) -> Person | None:
    """Find who acts: the user that a connected app names, or the administrator to whom the tokens belong."""
    named = (user for user in site.users if user.name == name)
    administrators = (user for user in site.users if "Administrator" in user.role)
    return next(named, None) or next(administrators, None)


def _granted(scope: str, scopes: frozenset[str]) -> bool:
    whole, _, _ = scope.rpartition(":")
    return bool({scope, f"{whole}:*", "tableau:*"} & scopes)


def _parsed(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314 - from this machine's own client
    except ET.ParseError as error:
        raise errors.Refusal("400000", "Bad Request", "The request is no XML.") from error
