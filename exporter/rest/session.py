"""One session of one token: signed in once, taken from site to site, signed in again once in a poll when it is lost.

It is kept from poll to poll: a sign-in is an event in Tableau's logs, and it ends the session of whoever else uses the
same token. Where Tableau switches no site, as Tableau Cloud does not, each site is entered by a sign-in of its own.
"""

import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import tableauserverclient as tsc
from tableauserverclient.server.endpoint.exceptions import FailedSignInError

from exporter.errors import ExporterError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.proxies import through
from exporter.rest import answers
from exporter.rest.faults import (
    RAISED,
    Forbidden,
    Foreign,
    NotThere,
    OutOfScope,
    Rejected,
    Secrets,
    SessionLost,
    explained,
    is_answer,
)
from exporter.rest.life import Life, TokenLife
from exporter.rest.line import Line
from exporter.rest.login import Login, content_url, label
from exporter.rest.refusals import ASSETS, KEPT_SECONDS, METADATA, SWITCH, Refusals
from exporter.rest.sign_in import NotAdmitted, SignIn, connect
from exporter.rest.wire import ANSWER_BYTES, TOO_MANY_REQUESTS, Bounds, Wire, trust

# How long the end of the agent may wait for Tableau's good-bye.
LEAVING_SECONDS = 5.0
_SESSION_ENDED = "401002"
_UNAUTHORIZED, _NOT_FOUND, _TOO_LARGE = 401, 404, 413

# What any session may ask for, to find out whether it is alive: the endpoint and the element of its answer.
_ALLOWED = (("sites/*", answers.shape("site")), ("workbooks", answers.shape("workbook")))

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
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._login = login
        self._sleep = sleep
        self._line = Line(stopping, moved)
        self._secrets = Secrets()
        self._server: tsc.Server | None = None
        self._site: str | None = None
        self._has_switched = False
        self._renewed = self._reopened = self._answered = self._silent = False
        self._lost: SourceRefused | None = None
        self._refusals = Refusals(clock)
        self._open: set[str] = set()
        self._life = Life(clock, life)
        self._signing = SignIn(login, self.place, self._secrets, self._life, clock)
        self._clock = clock
        self._plain_since = clock()
        self.plainly: set[str] = set()
        """The lists whose order or filter Tableau refuses."""
        self.server_version: str | None = None

    @property
    def address(self) -> str:
        """The URL of Tableau."""
        return self._secrets.line(self._login.url.rstrip("/"))

    @property
    def place(self) -> str:
        """What every line begins with: Tableau, and the proxy on the way."""
        return f"rest {self.address}{through(self._login.url)}"

    @property
    def life(self) -> TokenLife:
        """What is known of the token."""
        return self._life.known

    @property
    def server(self) -> tsc.Server:
        """Return tableauserverclient's server; its endpoints know the site that was entered."""
        if self._server is None:
            context = trust(self._login.ca_file)
            self._server, self.server_version = connect(
                self._login.url, lambda: self._wire(context), self.place, self._secrets
            )
        return self._server

    @property
    def site(self) -> str | None:
        """The content URL of the site that the session is on, as Tableau writes it."""
        return self._site

    @property
    def switches(self) -> bool:
        """Whether a switch to another site is worth trying; otherwise each site costs a sign-in."""
        return self._refusals.line(SWITCH) is None

    @property
    def lost(self) -> SourceRefused | None:
        """Why nothing more is to be had in this poll: the session was lost twice in it."""
        return self._lost

    @property
    def answered(self) -> bool:
        """Whether Tableau answered anything in this poll as Tableau does, and not just that we are not let in."""
        return self._answered

    @property
    def silent(self) -> bool:
        """Whether a request of this poll had no answer: an outage may have begun or ended in its midst."""
        return self._silent

    def begin(self) -> None:
        """Begin a poll: a session may be lost once in it."""
        self._renewed = self._reopened = self._answered = self._silent = False
        self._lost = None
        self._line.waited = 0.0
        # A server that refused an order or a filter once may know it after an upgrade.
        if self._clock() - self._plain_since >= KEPT_SECONDS:
            self.plainly.clear()
            self._plain_since = self._clock()

    def enter(self, site: str) -> None:
        """Be signed in, and on this site. Raises Forbidden where the site is not there or not for us."""
        if self._site is None:
            self._sign_in(site)
        elif content_url(site).casefold() != self._site.casefold():
            self._change(site)

    def call(self, request: Callable[[tsc.Server], T]) -> T:
        """Make a request; a session that is lost is signed in again once in a poll, and the request repeated.

        Raises OutOfScope where the endpoint is refused although the session lives. That is remembered for an hour, in
        which the endpoint is not asked, unless it is a list of assets.
        """
        if self._site is None:
            raise SourceRefused(f"{self.place}: not signed in any more")
        refused_alive = False
        while True:
            try:
                return self._attempt(request)
            except SessionLost as error:
                refused_alive = self._recover(error, again=refused_alive)

    def read(self, request: Callable[[tsc.Server], Any], wanted: answers.Shape) -> answers.Answer:
        """Make a request of the REST API and read its answer."""
        response = self.call(request)
        answer = answers.read(response.content, wanted, f"{self.place}: {self._refusals.endpoint}")
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

    def _wire(self, context: ssl.SSLContext) -> Wire:
        bounds = Bounds(self._login.timeout, ANSWER_BYTES)
        return Wire(self._login.url, bounds, self._line, self._sleep, context, self._refusals, self._secrets)

    def _sign_in(self, site: str) -> None:
        """Begin a session at a site."""
        self._renew_credentials()
        self._forget()
        try:
            self._signing.at(self.server, site)
        except NotAdmitted:
            self._life.refused()
            raise
        self._arrived()

    def _sign_in_further(self, site: str) -> None:
        """Go to another site by a sign-in there; where that is refused, the session stays where it is."""
        server, before = self.server, self.server.auth_token
        self._renew_credentials()
        try:
            self._signing.at(server, site)
        except NotAdmitted as error:
            self._secrets.hide(before)
            raise Forbidden(error.told) from None
        except SourceError:
            # It may have taken place, which would have ended the session.
            self._forget()
            raise
        self._arrived()
        if self._signing.by_assertion and before:
            self._end(before)

    def _renew_credentials(self) -> None:
        if self._signing.renew_credentials():
            # What others were refused says nothing of these.
            self._refusals.forget()

    def _arrived(self) -> None:
        server = self.server
        self._secrets.hide(server.auth_token)
        self._answered = True
        self._open.clear()
        self._site = server._site_url or ""  # noqa: SLF001 - its property raises for the Default site of some servers
        self._refusals.site = self._site

    def _change(self, site: str) -> None:
        """Go to another site: by a switch, or by a sign-in there where Tableau switches none.

        Where a switch worked before, one that is refused speaks of the site. A connected app may belong to a site: what
        it may not switch to it may still sign in to.
        """
        if not self.switches:
            self._sign_in_further(site)
            return
        try:
            self._switch(site)
        except (Forbidden, Rejected) as error:
            if self._has_switched and not self._signing.by_assertion:
                raise
            self._sign_in_further(site)
            self._refusals.remember(SWITCH, str(error))
        else:
            self._has_switched = True

    def _switch(self, site: str) -> None:
        target = SimpleNamespace(content_url=content_url(site))
        try:
            self.call(lambda server: self._switched(server, target))
        except AttributeError:
            self._forget()
            raise SourceIncomplete(f"{self.place}: an answer without a site; check rest.url") from None
        self._arrived()
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
            answer = request(self.server)
        except RAISED as error:
            self._answered = self._answered or is_answer(error)
            understood = self._understood(error)
            self._silent = self._silent or isinstance(understood, SourceUnreachable)
            raise understood from None
        self._open.add(self._refusals.endpoint)
        return answer

    def _understood(self, error: Exception) -> SourceError:
        """Return the error as one of ours; what is no XML of Tableau's is known by its status alone.

        So the Metadata API says, in JSON or in nothing, that it knows no session, or is not there.
        """
        told, status = explained(error, self.place, self._secrets), self._refusals.status
        if not isinstance(told, Foreign | NotThere):
            return told
        if status == TOO_MANY_REQUESTS:
            return SourceUnreachable(f"{self.place}: too many requests: asked again at the next poll")
        if status == _TOO_LARGE:
            return SourceRefused(
                f"{self.place}: {_TOO_LARGE}: Tableau, or a proxy before it, takes no request so large"
            )
        if self._refusals.endpoint == METADATA and status == _UNAUTHORIZED:
            return SessionLost(f"{self.place}: {_UNAUTHORIZED}: the Metadata API does not know the session")
        if self._refusals.endpoint == METADATA and status == _NOT_FOUND:
            return NotThere(f"{self.place}: {_NOT_FOUND}: no Metadata API")
        return told

    def _recover(self, error: SessionLost, *, again: bool) -> bool:
        """Prepare for a request to be repeated that found no session; return whether the session lives.

        Raises where the session was lost in this poll before, and where it lives and the request is refused ``again``.
        What such a session was allowed before is worth one sign-in in a poll; that is no session lost.
        """
        endpoint = self._refusals.endpoint
        if not self._lives(endpoint):
            self._renew(error)
            return False
        if again:
            raise self._out_of_scope(error, endpoint)
        if endpoint in self._open and not self._reopened:
            self._reopened = True
            self._sign_in(label(self._site))
        return True

    def _lives(self, refused: str) -> bool:
        """Find out whether Tableau knows the session: it does where it answers anything but a 401."""
        for endpoint, wanted in _ALLOWED:
            if endpoint == refused or self._refusals.line(endpoint):
                continue
            server = self.server
            base = server.sites.baseurl
            url = f"{base}/{server.site_id}" + ("" if endpoint == "sites/*" else f"/{endpoint}?pageSize=1")
            try:
                answers.read(server.sites.get_request(url).content, wanted, self.place)
            except RAISED as error:
                if not is_answer(error):
                    told = self._understood(error)
                    if isinstance(told, SessionLost):
                        continue
                    raise told from None
            self._answered = True
            return True
        return False

    def _out_of_scope(self, error: SessionLost, endpoint: str) -> OutOfScope:
        why = "not within the scopes of the connected app" if self._signing.by_assertion else "refused to this token"
        again = "at the next poll" if endpoint in ASSETS else "after an hour or a reload"
        line = f"{error}: {endpoint} is {why}, though the session is alive; asked again {again}"
        self._refusals.remember(endpoint, line)
        return OutOfScope(line)

    def _renew(self, error: SessionLost) -> None:
        """Sign in again where the session was; raise where that was done in this poll already."""
        collided = self._life.lost(again=self._renewed, shared=not self._signing.by_assertion)
        if self._renewed:
            raise self._lost_twice(error)
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

    def _lost_twice(self, error: SessionLost) -> SourceRefused:
        self._forget()
        if self._signing.by_assertion:
            why = "check that Tableau is not restarting, and the connected app's access level"
        else:
            name = self.life.name
            why = f"another program signs in with the same token ({name}): give each program a token of its own"
        self._lost = SourceRefused(f"{error}: the session was lost twice in one poll; {why}")
        return self._lost

    def _end(self, token: str) -> None:
        """Sign a session out that was left for another one: a connected app's does not end by itself."""
        server = self.server
        with contextlib.suppress(*RAISED, ExporterError):
            server.session.post(f"{server.auth.baseurl}/signout", headers={"x-tableau-auth": token})

    def _forget(self) -> None:
        """Forget a session that is not ours any more."""
        self._site = None
        if self._server is not None:
            self._server.close()
            self._server._clear_auth()  # noqa: SLF001 - signing out would send a token that is known to be dead
