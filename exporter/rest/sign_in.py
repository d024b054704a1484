"""How a session begins: whether Tableau answers at all and in which version, then the sign-in at a site."""

from collections.abc import Callable

import tableauserverclient as tsc
from packaging.version import InvalidVersion, Version
from tableauserverclient.server.endpoint.exceptions import FailedSignInError

from exporter.errors import ExporterError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.rest import answers
from exporter.rest.assertion import OLDER_SCOPES, SCOPES, assertion
from exporter.rest.faults import RAISED, Forbidden, Secrets, SessionLost, as_whole, explained
from exporter.rest.life import Life
from exporter.rest.login import ConnectedApp, Login, Token, content_url, label, spelling
from exporter.rest.wire import Wire

# The first version that takes a personal access token, and the first that takes a JSON web token.
TOKEN_VERSION, ASSERTION_VERSION = "3.6", "3.17"

_INFO = answers.shape("serverInfo", texts=("productVersion", "restApiVersion"))

Credentials = Token | ConnectedApp


class NotAdmitted(SourceRefused):
    """Tableau says neither why nor whom: a wrong token and a wrong site look the same. ``told`` is its answer alone."""

    def __init__(self, told: str, advice: str) -> None:
        super().__init__(f"{told}: {advice}")
        self.told = told


def connect(url: str, wire: Callable[[], Wire], place: str, secrets: Secrets) -> tuple[tsc.Server, str]:
    """Return tableauserverclient's server, which speaks the version of the REST API that is there, and the product's.

    Raises SourceUnreachable or SourceRefused.
    """
    server = tsc.Server(url.rstrip("/"), session_factory=wire)
    try:
        response = server.server_info.get_unauthenticated_request(server.server_info.baseurl)
    except (*RAISED, Forbidden) as error:
        raise _without_tableau(explained(error, place, secrets)) from None
    try:
        answer = answers.read(response.content, _INFO, place)
        (entry,) = answer.entries
        version = Version(entry.texts["restApiVersion"].strip())
    except SourceIncomplete as error:
        raise SourceUnreachable(str(error)) from None
    except (KeyError, ValueError, InvalidVersion):
        raise SourceUnreachable(f"{place}: does not say which version it has; check rest.url") from None
    if version < Version(TOKEN_VERSION):
        raise SourceRefused(
            f"{place}: speaks version {version} of the REST API, at least {TOKEN_VERSION} is needed"
            " (Tableau Server 2019.4)"
        )
    server.version = str(version)
    return server, secrets.line(entry.texts.get("productVersion", "").strip()) or str(version)


class SignIn:
    """The sign-ins of one login; what comes of them is noted in the life of its token."""

    def __init__(self, login: Login, place: str, secrets: Secrets, life: Life, clock: Callable[[], float]) -> None:
        self._login = login
        self._place = place
        self._secrets = secrets
        self._life = life
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
            credentials = self._login.credentials()
        except ExporterError as error:
            raise SourceRefused(f"{self._place}: {error}") from None
        if credentials == self._used:
            return False
        self._used, self._scopes = credentials, (SCOPES, OLDER_SCOPES)
        return True

    def at(self, server: tsc.Server, site: str) -> None:
        """Sign in at a site with the credentials that were read last. Raises NotAdmitted where Tableau refuses."""
        credentials = self._used
        if isinstance(credentials, ConnectedApp) and not server.check_at_least_version(ASSERTION_VERSION):
            raise SourceRefused(
                f"{self._place}: speaks version {server.version} of the REST API, a connected app needs"
                f" {ASSERTION_VERSION}; use a personal access token"
            )
        try:
            if isinstance(credentials, ConnectedApp):
                self._life.offered(self._secrets.line(credentials.client_id))
                self._by_assertion(server, credentials, site)
            elif credentials is not None:
                self._life.offered(self._secrets.line(credentials.name))
                self._by_token(server, credentials, site)
        except (*RAISED, AttributeError) as error:
            raise self._refusal(error, site) from None
        self._life.accepted()

    def _by_token(self, server: tsc.Server, token: Token, site: str) -> None:
        self._secrets.forget_all_but(token.value)
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(token.name, token.value, site_id=content_url(site)))

    def _by_assertion(self, server: tsc.Server, app: ConnectedApp, site: str) -> None:
        """Sign in with every scope; where that is refused, once with those that are older, and from then on."""
        for scopes in self._scopes:
            signed = assertion(app, self._clock(), scopes)
            self._secrets.forget_all_but(app.secret_value, signed)
            try:
                server.auth.sign_in(tsc.JWTAuth(signed, site_id=content_url(site)))
            except FailedSignInError:
                if scopes is self._scopes[-1]:
                    raise
            else:
                self._scopes = (scopes,)
                return

    def _refusal(self, error: Exception, site: str) -> SourceError:
        told = explained(error, self._place, self._secrets)
        if not isinstance(told, SessionLost):
            return as_whole(told)
        if isinstance(self._used, Token):
            name, worked = self._secrets.line(self._used.name), self._life.known.signed_in_at is not None
            why = (
                "it has expired or was revoked, make a new one; check also"
                if worked
                else f"check {self._login.setting} and its value, and"
            )
            what = f"the token {name} is refused: {why}"
        else:
            what = "the connected app is refused: check its ids, its secret and its user, that it is enabled, and"
        where = f"whether its user belongs to the site {label(content_url(site))}{spelling(site)}"
        cloud = "" if self._login.sites else "; Tableau Cloud has no such site: name yours in rest.sites"
        return NotAdmitted(str(told), f"{what} {where}{cloud}")


def _without_tableau(error: SourceError) -> SourceError:
    """Return what it means that the first request, which everybody may make, is not answered."""
    whole = as_whole(error)
    return whole if "rest.url" in str(whole) or whole is error else SourceUnreachable(f"{whole}: check rest.url")
