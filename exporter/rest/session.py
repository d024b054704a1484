"""One session of one token: signed in once, taken from site to site, signed in again once in a poll when it is lost.

It is kept from poll to poll: a sign-in is an event in Tableau's logs, and it ends the session of whoever else uses the
same token.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import tableauserverclient as tsc
from packaging.version import InvalidVersion, Version
from tableauserverclient.server.endpoint.exceptions import FailedSignInError

from exporter.errors import ExporterError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.rest import answers
from exporter.rest.assertion import assertion
from exporter.rest.faults import RAISED, Forbidden, Secrets, SessionLost, as_whole, explained, is_answer
from exporter.rest.life import Life, TokenLife
from exporter.rest.line import Line
from exporter.rest.login import ConnectedApp, Login, Token, content_url, label, spelling
from exporter.rest.wire import ANSWER_BYTES, Bounds, Wire, trust

# The first version that takes a personal access token, and the first that takes a JSON web token.
TOKEN_VERSION, ASSERTION_VERSION = "3.6", "3.17"
# How long the end of the agent may wait for Tableau's good-bye.
LEAVING_SECONDS = 5.0
_SESSION_ENDED = "401002"

_INFO = answers.shape("serverInfo", texts=("productVersion", "restApiVersion"))

T = TypeVar("T")

# Not structlog's: a command that has not set up any log must not print lines of it among its own.
log = logging.getLogger(__name__)


class Session:
    """A conversation with one Tableau; what it raises is an ExporterError with one line."""

    def __init__(
        self,
        login: Login,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
        life: TokenLife | None = None,
    ) -> None:
        self._login = login
        self._clock = clock
        self._sleep = sleep
        self._line = Line(stopping)
        self._bounds = Bounds(login.timeout, ANSWER_BYTES)
        self._secrets = Secrets()
        self._server: tsc.Server | None = None
        self._site: str | None = None
        self._by_assertion = False
        self._renewed = self._given_up = self._answered = False
        self._life = Life(clock, life)
        self.plainly: set[str] = set()
        """The lists whose order or filter Tableau refuses."""
        self.server_version: str | None = None

    @property
    def place(self) -> str:
        """What every line begins with."""
        return f"rest {self._secrets.line(self._login.url.rstrip('/'))}"

    @property
    def life(self) -> TokenLife:
        """What is known of the token."""
        return self._life.known

    @property
    def server(self) -> tsc.Server:
        """Return tableauserverclient's server; its endpoints know the site that was entered."""
        if self._server is None:
            self._server = self._connected()
        return self._server

    @property
    def site(self) -> str | None:
        """The content URL of the site that the session is on, as Tableau writes it."""
        return self._site

    @property
    def lost(self) -> bool:
        """Whether the session was lost twice in this poll: nothing more is to be had in it."""
        return self._given_up

    @property
    def answered(self) -> bool:
        """Whether Tableau answered anything in this poll as Tableau does, and not just that we are not let in."""
        return self._answered

    def begin(self) -> None:
        """Begin a poll: a session may be lost once in it."""
        self._renewed = self._given_up = self._answered = False

    def enter(self, site: str) -> None:
        """Be signed in, and on this site. Raises Forbidden where the site is not there or not for us."""
        if self._site is None:
            self._sign_in(site)
        elif content_url(site).casefold() != self._site.casefold():
            self._switch(site)

    def call(self, request: Callable[[tsc.Server], T]) -> T:
        """Make a request; a session that is lost is signed in again once in a poll, and the request repeated."""
        if self._site is None:
            raise SourceRefused(f"{self.place}: not signed in any more")
        try:
            return self._attempt(request)
        except SessionLost as error:
            self._renew(error)
        try:
            return self._attempt(request)
        except SessionLost as error:
            raise self._still_refused(error) from None

    def read(self, request: Callable[[tsc.Server], Any], wanted: answers.Shape) -> answers.Answer:
        """Make a request of the REST API and read its answer."""
        response = self.call(request)
        answer = answers.read(response.content, wanted, self.place)
        self._answered = True
        return answer

    def close(self) -> None:
        """Sign out, also where the agent ends: a session that nobody uses any more is not left behind."""
        server, self._server, site, self._site = self._server, None, self._site, None
        if server is None:
            return
        with contextlib.suppress(*RAISED, ExporterError), self._line.leaving(LEAVING_SECONDS):
            if site is not None:
                server.auth.sign_out()
        server.close()

    def _connected(self) -> tsc.Server:
        """Find out whether this is Tableau, and which version; speak in it from now on."""
        login, context = self._login, trust(self._login.ca_file)
        server = tsc.Server(
            login.url.rstrip("/"),
            session_factory=lambda: Wire(login.url, self._bounds, self._line, self._sleep, context),
        )
        try:
            response = server.server_info.get_unauthenticated_request(server.server_info.baseurl)
            answer = answers.read(response.content, _INFO, self.place)
            (entry,) = answer.entries
            version = Version(entry.texts["restApiVersion"].strip())
        except (*RAISED, Forbidden) as error:
            raise _without_tableau(explained(error, self.place, self._secrets)) from None
        except SourceIncomplete as error:
            raise SourceUnreachable(str(error)) from None
        except (KeyError, ValueError, InvalidVersion):
            raise SourceUnreachable(f"{self.place}: does not say which version it has; check rest.url") from None
        if version < Version(TOKEN_VERSION):
            raise SourceRefused(
                f"{self.place}: speaks version {version} of the REST API, at least {TOKEN_VERSION} is needed"
                " (Tableau Server 2019.4)"
            )
        server.version = str(version)
        self.server_version = self._secrets.line(entry.texts.get("productVersion", "").strip()) or str(version)
        return server

    def _sign_in(self, site: str, *, further: bool = False) -> None:
        """Sign in at a site, perhaps a further one, with the credentials as they are now."""
        credentials = self._credentials()
        self._forget()
        server = self.server
        if isinstance(credentials, ConnectedApp) and not server.check_at_least_version(ASSERTION_VERSION):
            raise SourceRefused(
                f"{self.place}: speaks version {server.version} of the REST API, a connected app needs"
                f" {ASSERTION_VERSION}; use a personal access token"
            )
        request = self._request(credentials, site)
        name = credentials.name if isinstance(credentials, Token) else credentials.client_id
        self._life.offered(self._secrets.line(name))
        try:
            server.auth.sign_in(request)
        except (*RAISED, AttributeError) as error:
            refusal = self._not_signed_in(error, credentials, site)
            if isinstance(refusal, NotAdmitted) and not further:
                self._life.refused()
            raise refusal from None
        self._arrived(server)
        self._by_assertion = isinstance(credentials, ConnectedApp)
        self._life.accepted()

    def _credentials(self) -> Token | ConnectedApp:
        try:
            return self._login.credentials()
        except ExporterError as error:
            raise SourceRefused(f"{self.place}: {error}") from None

    def _request(self, credentials: Token | ConnectedApp, site: str) -> tsc.PersonalAccessTokenAuth | tsc.JWTAuth:
        if isinstance(credentials, Token):
            self._secrets.forget_all_but(credentials.value)
            return tsc.PersonalAccessTokenAuth(credentials.name, credentials.value, site_id=content_url(site))
        signed = assertion(credentials, self._clock())
        self._secrets.forget_all_but(credentials.secret_value, signed)
        return tsc.JWTAuth(signed, site_id=content_url(site))

    def _not_signed_in(self, error: Exception, credentials: Token | ConnectedApp, site: str) -> SourceError:
        told = explained(error, self.place, self._secrets)
        if not isinstance(told, SessionLost):
            return as_whole(told)
        if isinstance(credentials, Token):
            name, worked = self._secrets.line(credentials.name), self.life.signed_in_at is not None
            why = (
                "it has expired or was revoked, make a new one; check also"
                if worked
                else "check rest.token_name and its value, and"
            )
            what = f"the token {name} is refused: {why}"
        else:
            what = "the connected app is refused: check its ids, its secret and its user, that it is enabled, and"
        where = f"whether its user belongs to the site {label(content_url(site))}{spelling(site)}"
        cloud = "" if self._login.sites else "; Tableau Cloud has no such site: name yours in rest.sites"
        return NotAdmitted(f"{told}: {what} {where}{cloud}")

    def _arrived(self, server: tsc.Server) -> None:
        self._secrets.hide(server.auth_token)
        self._answered = True
        self._site = server._site_url or ""  # noqa: SLF001 - its property raises for the Default site of some servers

    def _switch(self, site: str) -> None:
        target = SimpleNamespace(content_url=content_url(site))
        try:
            self.call(lambda server: self._switched(server, target))
        except Forbidden:
            if not self._by_assertion:
                raise
            # A connected app may belong to a site: what it may not switch to it may still sign in to.
            self._sign_in(site, further=True)
            return
        except AttributeError:
            self._forget()
            raise SourceIncomplete(f"{self.place}: an answer without a site; check rest.url") from None
        self._arrived(self.server)
        if self._site is not None and self._site.casefold() != content_url(site).casefold():
            raise Forbidden(f"{self.place}: Tableau stayed on the site {label(self._site)}")

    def _switched(self, server: tsc.Server, target: SimpleNamespace) -> None:
        """Switch; a 401 that does not speak of the session speaks of the site (401003)."""
        try:
            server.auth.switch_site(target)  # type: ignore[arg-type]
        except FailedSignInError as error:
            if error.code == _SESSION_ENDED:
                raise
            raise Forbidden(f"{self.place}: {self._secrets.line(f'{error.code}: {error.summary}')}") from None

    def _attempt(self, request: Callable[[tsc.Server], T]) -> T:
        try:
            return request(self.server)
        except RAISED as error:
            self._answered = self._answered or is_answer(error)
            raise explained(error, self.place, self._secrets) from None

    def _renew(self, error: SessionLost) -> None:
        """Sign in again where the session was; raise where that was done in this poll already."""
        collided = self._life.lost(again=self._renewed, shared=not self._by_assertion)
        if self._renewed:
            raise self._collided(error)
        if collided:
            log.warning(
                "another program seems to sign in with the same token (%s), %d sessions were lost within a day:"
                " give each program a token of its own",
                self.life.name,
                self._life.lost_of_late,
            )
        self._renewed = True
        log.info("%s: the session was lost, signing in again", self.place)
        self._sign_in(label(self._site))

    def _still_refused(self, error: SessionLost) -> SourceError:
        """Return what a refusal right after signing in means."""
        if self._by_assertion:
            # The session is as fresh as can be: the request lies outside the scopes of the connected app.
            self._renewed = False
            return Forbidden(f"{error}: not within the scopes of the connected app")
        self._life.lost(again=True, shared=True)
        return self._collided(error)

    def _collided(self, error: SessionLost) -> SourceRefused:
        self._given_up = True
        self._forget()
        return SourceRefused(
            f"{error}: the session was lost twice in one poll; another program signs in with the same token"
            f" ({self.life.name}): give each program a token of its own"
        )

    def _forget(self) -> None:
        """Forget a session that is not ours any more."""
        self._site = None
        if self._server is not None:
            self._server.close()
            self._server._clear_auth()  # noqa: SLF001 - signing out would send a token that is known to be dead


class NotAdmitted(SourceRefused):
    """Tableau knows neither why nor whom: a wrong token and a wrong site look the same."""


def _without_tableau(error: SourceError) -> SourceError:
    """Return what it means that the first question of all, which everybody may ask, is not answered."""
    whole = as_whole(error)
    return whole if "rest.url" in str(whole) or whole is error else SourceUnreachable(f"{whole}: check rest.url")
