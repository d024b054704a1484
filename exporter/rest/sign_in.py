"""Sign-in: the version of Tableau's API, then the credentials at a site."""

from collections.abc import Callable

import tableauserverclient as tsc
from packaging.version import InvalidVersion, Version
from tableauserverclient.server.endpoint.exceptions import FailedSignInError

from exporter.errors import ExporterError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.rest import response_xml
from exporter.rest.credentials import (
    OLDER_SCOPES,
    SCOPES,
    ConnectedApp,
    RestOptions,
    Token,
    assertion,
    content_url,
    label,
    spelling,
)
from exporter.rest.errors import RAISED, Forbidden, Redactor, SessionLost, as_poll_error, translated
from exporter.rest.http_client import HTTPSession
from exporter.rest.token_stats import TokenTracker

# The first version that takes a personal access token, and the first that takes a JSON web token.
TOKEN_VERSION, ASSERTION_VERSION = "3.6", "3.17"

_INFO = response_xml.shape("serverInfo", texts=("productVersion", "restApiVersion"))

Credentials = Token | ConnectedApp


class SignInRefused(SourceRefused):
    """Tableau gives no reason: a wrong token and a wrong site get the same response. ``answer`` is Tableau's alone."""

    def __init__(self, answer: str, advice: str) -> None:
        super().__init__(f"{answer}: {advice}")
        self.answer = answer


def connect(
    url: str, http_session: Callable[[], HTTPSession], place: str, redactor: Redactor
) -> tuple[tsc.Server, str]:
    """Return tableauserverclient's server, which speaks the version of the REST API that is there, and the product's.

    Raises SourceUnreachable or SourceRefused.
    """
    server = tsc.Server(url.rstrip("/"), session_factory=http_session)
    try:
        response = server.server_info.get_unauthenticated_request(server.server_info.baseurl)
    except (*RAISED, Forbidden) as error:
        raise _without_tableau(translated(error, place, redactor)) from None
    try:
        answer = response_xml.read_page(response.content, _INFO, place)
        (entry,) = answer.entries
        version = Version(entry.texts["restApiVersion"].strip())
    except SourceIncomplete as error:
        raise SourceUnreachable(str(error)) from None
    except (KeyError, ValueError, InvalidVersion):
        raise SourceUnreachable(f"{place}: reports no version; check rest.url") from None
    if version < Version(TOKEN_VERSION):
        raise SourceRefused(
            f"{place}: speaks version {version} of the REST API, at least {TOKEN_VERSION} is needed"
            " (Tableau Server 2019.4)"
        )
    server.version = str(version)
    return server, redactor.redact(entry.texts.get("productVersion", "").strip()) or str(version)


class SignIn:
    """Signs in with the credentials of one configuration; the results are counted for the token."""

    def __init__(
        self, options: RestOptions, place: str, redactor: Redactor, token: TokenTracker, clock: Callable[[], float]
    ) -> None:
        self._options = options
        self._place = place
        self._redactor = redactor
        self._token = token
        self._clock = clock
        self._used: Credentials | None = None
        self._scopes: tuple[tuple[str, ...], ...] = ()

    @property
    def by_assertion(self) -> bool:
        """Whether a connected app is used, whose sessions nobody else can end."""
        return isinstance(self._used, ConnectedApp)

    def renew_credentials(self) -> bool:
        """Read the credentials as they are now; return whether they are others than before."""
        try:
            credentials = self._options.credentials()
        except ExporterError as error:
            raise SourceRefused(f"{self._place}: {error}") from None
        if credentials == self._used:
            return False
        self._used, self._scopes = credentials, (SCOPES, OLDER_SCOPES)
        return True

    def at(self, server: tsc.Server, site: str) -> None:
        """Sign in at a site with the credentials that were read last. Raises SignInRefused where Tableau refuses."""
        credentials = self._used
        if isinstance(credentials, ConnectedApp) and not server.check_at_least_version(ASSERTION_VERSION):
            raise SourceRefused(
                f"{self._place}: speaks version {server.version} of the REST API, a connected app needs"
                f" {ASSERTION_VERSION}; use a personal access token"
            )
        try:
            if isinstance(credentials, ConnectedApp):
                self._token.offered(self._redactor.redact(credentials.client_id))
                self._by_assertion(server, credentials, site)
            elif credentials is not None:
                self._token.offered(self._redactor.redact(credentials.name))
                self._by_token(server, credentials, site)
        except (*RAISED, AttributeError) as error:
            raise self._refusal(error, site) from None
        self._token.accepted()

    def _by_token(self, server: tsc.Server, token: Token, site: str) -> None:
        self._redactor.keep_only(token.value)
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(token.name, token.value, site_id=content_url(site)))

    def _by_assertion(self, server: tsc.Server, app: ConnectedApp, site: str) -> None:
        """Sign in with every scope; where that is refused, once with those that are older, and from then on."""
        for scopes in self._scopes:
            signed = assertion(app, self._clock(), scopes)
            self._redactor.keep_only(app.secret_value, signed)
            try:
                server.auth.sign_in(tsc.JWTAuth(signed, site_id=content_url(site)))
            except FailedSignInError:
                if scopes is self._scopes[-1]:
                    raise
            else:
                self._scopes = (scopes,)
                return

    def _refusal(self, error: Exception, site: str) -> SourceError:
        error_of_ours = translated(error, self._place, self._redactor)
        if not isinstance(error_of_ours, SessionLost):
            return as_poll_error(error_of_ours)
        if isinstance(self._used, Token):
            name, worked = self._redactor.redact(self._used.name), self._token.stats.signed_in_at is not None
            why = (
                "it has expired or was revoked, make a new one; check also"
                if worked
                else f"check {self._options.setting} and its value, and"
            )
            what = f"the token {name} is refused: {why}"
        else:
            what = "the connected app is refused: check its ids, its secret and its user, that it is enabled, and"
        where = f"whether its user belongs to the site {label(content_url(site))}{spelling(site)}"
        cloud = "" if self._options.sites else "; Tableau Cloud has no such site: name yours in rest.sites"
        return SignInRefused(str(error_of_ours), f"{what} {where}{cloud}")


def _without_tableau(error: SourceError) -> SourceError:
    """Return the error of the first request, which needs no rights: Tableau is not reachable."""
    whole = as_poll_error(error)
    return whole if "rest.url" in str(whole) or whole is error else SourceUnreachable(f"{whole}: check rest.url")
