"""One session of one token: signed in once, moved from site to site, signed in again once in a poll when it is lost.

It is kept from poll to poll: a sign-in is an event in Tableau's logs, and it ends any other session of the same token.
Where Tableau switches no site, as Tableau Cloud does not, each site is entered by a sign-in of its own.
"""

import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import tableauserverclient as tsc
from tableauserverclient.server.endpoint.exceptions import FailedSignInError

from exporter.errors import SourceError, SourceIncomplete, SourceRefused
from exporter.rest import response_xml
from exporter.rest.credentials import RestOptions, content_url, label
from exporter.rest.errors import BadRequest, Forbidden, OutOfScope, SessionLost
from exporter.rest.refusals import ASSETS, SWITCH
from exporter.rest.sign_in import SignIn, SignInRefused
from exporter.rest.token_stats import TokenStats, TokenTracker
from exporter.rest.transport import Transport

_SESSION_ENDED = "401002"

T = TypeVar("T")

# Not structlog's: a command that has not set up any log must not print lines of it among its own.
log = logging.getLogger(__name__)


class RestSession:
    """A session with one Tableau; what it raises is an ExporterError with one line."""

    def __init__(
        self,
        options: RestOptions,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
        token: TokenTracker | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.transport = Transport(options, clock, sleep, stopping, moved)
        self._site: str | None = None
        self.site_luid = ""
        """The LUID of the site that the session is on."""
        self._has_switched = False
        self._allowed: set[str] = set()
        self._token = token or TokenTracker(clock)
        self._signing = SignIn(options, self.place, self.transport.redactor, self._token, clock)

    @property
    def place(self) -> str:
        """The beginning of every line: Tableau, and the proxy on the way."""
        return self.transport.place

    @property
    def token_stats(self) -> TokenStats:
        """The sign-ins and lost sessions of the token."""
        return self._token.stats

    @property
    def site(self) -> str | None:
        """The content URL of the site that the session is on, as Tableau writes it."""
        return self._site

    @property
    def switches(self) -> bool:
        """Whether a switch to another site is worth trying; otherwise each site costs a sign-in."""
        return self.transport.refusals.reason(SWITCH) is None

    def enter(self, site: str) -> None:
        """Be signed in, and on this site. Raises Forbidden where the site is not there or not for us."""
        if self._site is None:
            self._sign_in(site)
        elif content_url(site).casefold() != self._site.casefold():
            self._change_site(site)

    def call(self, request: Callable[[tsc.Server], T]) -> T:
        """Make a request; a session that is lost is signed in again once in a poll, and the request repeated.

        Raises OutOfScope where the endpoint is refused although the session lives. That is remembered for an hour, in
        which the endpoint is not requested, unless it is a list of assets.
        """
        if self._site is None:
            raise SourceRefused(f"{self.place}: not signed in any more")
        refused_alive = False
        while True:
            try:
                result = self.transport.send(request)
            except SessionLost as error:
                refused_alive = self._recover(error, again=refused_alive)
            else:
                self._allowed.add(self.transport.refusals.endpoint)
                return result

    def read(self, request: Callable[[tsc.Server], Any], wanted: response_xml.XmlShape) -> response_xml.XmlPage:
        """Make a request of the REST API and read its answer."""
        response = self.call(request)
        place = f"{self.place}: {self.transport.refusals.endpoint}"
        answer = response_xml.read_page(response.content, wanted, place)
        self.transport.poll.answered = True
        return answer

    def close(self) -> None:
        """Sign out."""
        site, self._site = self._site, None
        self.transport.close(signed_in=site is not None)

    def _sign_in(self, site: str) -> None:
        """Begin a session at a site."""
        self._renew_credentials()
        self._forget()
        try:
            self._signing.at(self.transport.server, site)
        except SignInRefused:
            self._token.refused()
            raise
        self._entered()

    def _sign_in_elsewhere(self, site: str) -> None:
        """Go to another site by a sign-in there; where that is refused, the session stays where it is."""
        server, before = self.transport.server, self.transport.server.auth_token
        self._renew_credentials()
        try:
            self._signing.at(server, site)
        except SignInRefused as error:
            self.transport.redactor.add(before)
            raise Forbidden(error.answer) from None
        except SourceError:
            # It may have succeeded, which would have ended the session.
            self._forget()
            raise
        self._entered()
        if self._signing.by_assertion and before:
            self.transport.sign_out(before)

    def _renew_credentials(self) -> None:
        if self._signing.renew_credentials():
            # What others were refused does not hold for these.
            self.transport.refusals.forget()

    def _entered(self) -> None:
        server = self.transport.server
        self.transport.redactor.add(server.auth_token)
        self.transport.poll.answered = True
        self._allowed.clear()
        self._site = server._site_url or ""  # noqa: SLF001 - its property raises for the Default site of some servers
        self.transport.refusals.site = self._site
        self.site_luid = server.site_id or ""

    def _change_site(self, site: str) -> None:
        """Go to another site: by a switch, or by a sign-in there where Tableau switches none.

        Where a switch worked before, one that is refused concerns the site. A connected app may belong to a site: it
        may sign in to some sites that it may not switch to.
        """
        if not self.switches:
            self._sign_in_elsewhere(site)
            return
        try:
            self._switch(site)
        except (Forbidden, BadRequest) as error:
            if self._has_switched and not self._signing.by_assertion:
                raise
            self._sign_in_elsewhere(site)
            self.transport.refusals.remember(SWITCH, str(error))
        else:
            self._has_switched = True

    def _switch(self, site: str) -> None:
        target = SimpleNamespace(content_url=content_url(site))
        try:
            self.call(lambda server: self._switched(server, target))
        except AttributeError:
            self._forget()
            raise SourceIncomplete(f"{self.place}: an answer without a site; check rest.url") from None
        self._entered()
        if self._site is not None and self._site.casefold() != content_url(site).casefold():
            raise Forbidden(f"{self.place}: Tableau stayed on the site {label(self._site)}")

    def _switched(self, server: tsc.Server, target: SimpleNamespace) -> None:
        """Switch; a 401 that does not concern the session concerns the site (401003)."""
        try:
            server.auth.switch_site(target)  # type: ignore[arg-type]
        except FailedSignInError as error:
            if error.code == _SESSION_ENDED:
                raise
            text = self.transport.redactor.redact(f"{error.code}: {error.summary}")
            raise Forbidden(f"{self.place}: {text}") from None

    def _recover(self, error: SessionLost, *, again: bool) -> bool:
        """Prepare for a request to be repeated that found no session; return whether the session lives.

        Raises where the session was lost in this poll before, and where it lives and the request is refused ``again``.
        An endpoint that the session was allowed before is worth one sign-in in a poll; that is no session lost.
        """
        endpoint = self.transport.refusals.endpoint
        if not self.transport.is_session_alive(endpoint):
            self._renew(error)
            return False
        if again:
            raise self._out_of_scope(error, endpoint)
        if endpoint in self._allowed and not self.transport.poll.reopened:
            self.transport.poll.reopened = True
            self._sign_in(label(self._site))
        return True

    def _out_of_scope(self, error: SessionLost, endpoint: str) -> OutOfScope:
        why = "not within the scopes of the connected app" if self._signing.by_assertion else "refused to this token"
        again = "at the next poll" if endpoint in ASSETS else "after an hour or a reload"
        line = f"{error}: {endpoint} is {why}, though the session is alive; retried {again}"
        self.transport.refusals.remember(endpoint, line)
        return OutOfScope(line)

    def _renew(self, error: SessionLost) -> None:
        """Sign in again where the session was; raise where that was done in this poll already."""
        poll = self.transport.poll
        collided = self._token.lost(again=poll.renewed, shared=not self._signing.by_assertion)
        if poll.renewed:
            raise self._lost_twice(error)
        if collided:
            log.warning(
                "another program seems to sign in with the same token (%s), %d sessions were lost within a day:"
                " give each program a token of its own",
                self.token_stats.name,
                len(self.token_stats.lost_at),
            )
        poll.renewed = True
        log.info("%s: the session was lost, signing in again", self.place)
        self._sign_in(label(self._site))

    def _lost_twice(self, error: SessionLost) -> SourceRefused:
        self._forget()
        if self._signing.by_assertion:
            why = "check that Tableau is not restarting, and the connected app's access level"
        else:
            name = self.token_stats.name
            why = f"another program signs in with the same token ({name}): give each program a token of its own"
        lost = SourceRefused(f"{error}: the session was lost twice in one poll; {why}")
        self.transport.poll.lost = lost
        return lost

    def _forget(self) -> None:
        """Drop a session that is not ours any more."""
        self._site = None
        self.transport.forget_session()
