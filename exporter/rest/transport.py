"""Single requests to Tableau: tableauserverclient on an HTTP session of ours, its errors translated into ours."""

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tableauserverclient as tsc

from exporter.errors import ExporterError, SourceError, SourceRefused, SourceUnreachable
from exporter.proxies import through
from exporter.rest import response_xml
from exporter.rest.abort import AbortableConnections
from exporter.rest.credentials import RestOptions
from exporter.rest.errors import RAISED, NotFound, NotTableau, Redactor, SessionLost, is_answer, translated
from exporter.rest.http_client import ANSWER_BYTES, TOO_MANY_REQUESTS, HTTPSession, RequestLimits, ssl_context
from exporter.rest.refusals import KEPT_SECONDS, METADATA, Refusals
from exporter.rest.sign_in import connect

# How long the end of the agent may wait for the sign-out.
SIGN_OUT_SECONDS = 5.0
_UNAUTHORIZED, _NOT_FOUND, _TOO_LARGE = 401, 404, 413

# Requests that any session may make, to check whether it is alive: the endpoint and the element of its answer.
_ALLOWED = (("sites/*", response_xml.shape("site")), ("workbooks", response_xml.shape("workbook")))

T = TypeVar("T")


@dataclass
class PollState:
    """The events of one poll."""

    answered: bool = False
    """Whether Tableau answered anything as Tableau does, and not just that we are not let in."""
    unanswered: bool = False
    """Whether a request had no answer: an outage may have begun or ended in the middle of the poll."""
    renewed: bool = False
    """Whether a lost session was replaced by a new one."""
    reopened: bool = False
    """Whether a session that lives was replaced, because it was refused an endpoint that it had been allowed before."""
    lost: SourceRefused | None = None
    """Why nothing more can be read: the session was lost twice."""


class Transport:
    """Sends requests to one Tableau. Each error is one of ours, with one line."""

    def __init__(
        self,
        options: RestOptions,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        stopping: Callable[[], bool],
        moved: Callable[[], None],
    ) -> None:
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._sockets = AbortableConnections(stopping, moved)
        self._server: tsc.Server | None = None
        self._without_options_since = clock()
        self.redactor = Redactor()
        self.refusals = Refusals(clock)
        self.poll = PollState()
        self.without_options: set[str] = set()
        """The lists whose order or filter Tableau refuses."""
        self.server_version: str | None = None

    @property
    def address(self) -> str:
        """The URL of Tableau."""
        return self.redactor.redact(self._options.url.rstrip("/"))

    @property
    def place(self) -> str:
        """The beginning of every line: Tableau, and the proxy on the way."""
        return f"rest {self.address}{through(self._options.url)}"

    @property
    def server(self) -> tsc.Server:
        """Return tableauserverclient's server; its endpoints know the site that was entered."""
        if self._server is None:
            context = ssl_context(self._options.ca_file)
            self._server, self.server_version = connect(
                self._options.url, lambda: self._http_session(context), self.place, self.redactor
            )
        return self._server

    def begin(self) -> None:
        """Begin a poll. A server that refused an order or a filter may know it after an upgrade."""
        self.poll = PollState()
        self._sockets.waited = 0.0
        if self._clock() - self._without_options_since >= KEPT_SECONDS:
            self.without_options.clear()
            self._without_options_since = self._clock()

    def send(self, request: Callable[[tsc.Server], T]) -> T:
        """Make a request once. Raises SessionLost where Tableau does not know the session."""
        try:
            return request(self.server)
        except RAISED as error:
            self.poll.answered = self.poll.answered or is_answer(error)
            translation = self._translated(error)
            self.poll.unanswered = self.poll.unanswered or isinstance(translation, SourceUnreachable)
            raise translation from None

    def is_session_alive(self, refused: str) -> bool:
        """Check whether Tableau knows the session, by another endpoint than the one that is ``refused``.

        It does where it answers anything but a 401.
        """
        for endpoint, wanted in _ALLOWED:
            if endpoint == refused or self.refusals.reason(endpoint):
                continue
            server = self.server
            url = f"{server.sites.baseurl}/{server.site_id}"
            url += "" if endpoint == "sites/*" else f"/{endpoint}?pageSize=1"
            try:
                response_xml.read_page(server.sites.get_request(url).content, wanted, self.place)
            except RAISED as error:
                if not is_answer(error):
                    translation = self._translated(error)
                    if isinstance(translation, SessionLost):
                        continue
                    raise translation from None
            self.poll.answered = True
            return True
        return False

    def sign_out(self, token: str) -> None:
        """End a session that was left for another one: a connected app's does not end by itself."""
        server = self.server
        with contextlib.suppress(*RAISED, ExporterError):
            server.session.post(f"{server.auth.baseurl}/signout", headers={"x-tableau-auth": token})

    def forget_session(self) -> None:
        """Drop a session that is not ours any more."""
        if self._server is not None:
            self._server.close()
            self._server._clear_auth()  # noqa: SLF001 - signing out would send a token that is known to be dead

    def close(self, *, signed_in: bool) -> None:
        """Sign out, also where the agent ends: an unused session is not left behind."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(*RAISED, ExporterError), self._sockets.last_request(SIGN_OUT_SECONDS):
            if signed_in:
                server.auth.sign_out()
        server.close()

    def _http_session(self, context: ssl.SSLContext) -> HTTPSession:
        limits = RequestLimits(self._options.timeout, ANSWER_BYTES)
        return HTTPSession(self._options.url, limits, self._sockets, self._sleep, context, self.refusals, self.redactor)

    def _translated(self, error: Exception) -> SourceError:
        """Return the error as one of ours; an answer that is no XML of Tableau's is known by its status alone.

        The Metadata API reports so, in JSON or with an empty body, an unknown session, or that it is not there.
        """
        found, status = translated(error, self.place, self.redactor), self.refusals.status
        if not isinstance(found, NotTableau | NotFound):
            return found
        if status == TOO_MANY_REQUESTS:
            return SourceUnreachable(f"{self.place}: too many requests: retried at the next poll")
        if status == _TOO_LARGE:
            return SourceRefused(
                f"{self.place}: {_TOO_LARGE}: Tableau, or a proxy before it, accepts no request of this size"
            )
        if self.refusals.endpoint == METADATA and status == _UNAUTHORIZED:
            return SessionLost(f"{self.place}: {_UNAUTHORIZED}: the Metadata API does not know the session")
        if self.refusals.endpoint == METADATA and status == _NOT_FOUND:
            return NotFound(f"{self.place}: {_NOT_FOUND}: no Metadata API")
        return found
