"""Scenarios for secrets: the agent's peers in each, and what they quote of the requests."""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import trustme

from tests.end_to_end.canaries import FORMS, Canary
from tests.end_to_end.quoting_peers import Postgres, as_tableau, greeter, on
from tests.rest.tableau import Answer, Override, Tableau
from tests.rest.tableau import ReceivedRequest as AskedOfTableau
from tests.support.raw_server import Answer as ToAlertmanager
from tests.support.raw_server import RawServer, ReceivedRequest, raw, reply, reset

NO_PEERS = "127.0.0.1:1"
"""An address without a listener."""
ACTIVITY = Canary("activity_log.token_value")
"""The token of Tableau Cloud Manager."""
PUBLISHER, PUBLISHING = "publisher", Canary("exports.publish.token_value")
"""The name of the token of a publication, and its value."""


@dataclass
class Peers:
    """Where the sources, the Alertmanager and the proxies are."""

    repository: str = NO_PEERS
    sslmode: str = "disable"
    rest: str = f"http://{NO_PEERS}"
    alertmanager: str = f"http://{NO_PEERS}"
    proxies: dict[str, str] = field(default_factory=dict)
    received: Callable[[], bool] = lambda: True
    """Whether every peer was requested for its quotes."""
    notifications: Callable[[], Sequence[ReceivedRequest]] = tuple
    """The messages of an Alertmanager, which it may forward."""
    issued: Callable[[], set[str]] = set
    """Secrets derived while they were used: sessions and signatures."""
    database: str = "workgroup"
    forgets_files: bool = False
    """Whether the files of the secrets go away while the agent runs."""


@dataclass(frozen=True)
class Secrets:
    """The canaries of a configuration, by their receivers."""

    repository: Canary
    rest: Canary
    alertmanager: Canary
    proxy: Canary


Scenario = Callable[[Secrets], AbstractContextManager[Peers]]


@contextmanager
def no_peers(_: Secrets) -> Iterator[Peers]:
    """Every connection is refused."""
    yield Peers()


@contextmanager
def without_tls(_: Secrets) -> Iterator[Peers]:
    """TLS is required of peers without TLS."""
    with greeter(b"N") as repository, RawServer(reply()) as other:
        secure = other.url.replace("http:", "https:")
        yield Peers(repository, "verify-full", secure, secure)


@contextmanager
def untrusted(_: Secrets) -> Iterator[Peers]:
    """The certificates are from an authority that the agent does not trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with RawServer(reply(), context) as other:
        yield Peers(NO_PEERS, "require", other.url, other.url)


@contextmanager
def pages(secrets: Secrets) -> Iterator[Peers]:
    """Web servers answer everywhere, with pages that quote."""
    quote = _page(secrets.rest.value, secrets.repository.value, secrets.alertmanager.value, ACTIVITY.value)
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n"
    with greeter(head + quote.encode()) as repository, RawServer(reply(200, quote)) as other:
        yield Peers(repository, "disable", other.url, other.url)


def quoting(*forms: str) -> Scenario:
    """The password, the token and what proves who notifies are refused in words that quote them, in these forms."""

    @contextmanager
    def scenario(secrets: Secrets) -> Iterator[Peers]:
        rest = at_sign_in(secrets, lambda token: as_tableau(_text(token, forms)))
        with _peers(secrets, True, _text(secrets.repository, forms), (rest,), _refusal(secrets, forms, 401)) as peers:
            yield peers

    return scenario


def quoting_late(*forms: str) -> Scenario:
    """They are accepted, and quoted in later answers: to statements, lists and alerts."""

    @contextmanager
    def scenario(secrets: Secrets) -> Iterator[Peers]:
        text = _text(secrets.rest, forms)
        overrides = (
            on("/workbooks", as_tableau(text, 400, "400000")),
            on("/datasources", Answer(_page(text), 500)),
            on("/tasks", Answer(_page(text))),
            on("/graphql", Answer(f'{{"errors": [{{"message": "{escape(secrets.rest.halves[0])}"}}]}}')),
        )
        repository = _text(secrets.repository, forms)
        with _peers(secrets, False, repository, overrides, _refusal(secrets, forms, 400)) as peers:
            yield peers

    return scenario


@contextmanager
def redirects(secrets: Secrets) -> Iterator[Peers]:
    """Every peer redirects to an address that has the secrets in it."""
    secret = secrets.alertmanager
    address = f"https://{secret.halves[0]}:{FORMS['percent'](secret.value)}@{secret.halves[1]}.invalid/{secret.value}"

    def to_tableau(token: Canary) -> Answer:
        return Answer(
            status=302, headers={"Location": f"https://{token.halves[0]}.invalid/{FORMS['percent'](token.value)}"}
        )

    rest = at_sign_in(secrets, to_tableau)
    with _peers(secrets, True, address, (rest,), reply(307, Location=address)) as peers:
        yield peers


def cut(before: int) -> Scenario:
    """A long text comes before the secret, which so is where long texts are cut off."""

    @contextmanager
    def scenario(secrets: Secrets) -> Iterator[Peers]:
        padding = "x" * before
        rest = at_sign_in(secrets, lambda token: as_tableau(padding + token.value))
        quote = _json(padding + secrets.alertmanager.value)
        with _peers(secrets, True, padding + secrets.repository.value, (rest,), reply(400, quote)) as peers:
            yield peers

    return scenario


@contextmanager
def broken_off(secrets: Secrets) -> Iterator[Peers]:
    """Answers are none, or end in their midst, right behind a half of the secret."""
    quote = f"HTTP/1.1 200 {secrets.alertmanager.value}\r\n{secrets.alertmanager.value}"
    rest = at_sign_in(secrets, lambda token: Answer(token.value.partition("#")[0], missing=9))
    with _peers(secrets, True, "", (rest,), reset(quote.encode())) as peers:
        yield peers


@contextmanager
def proxy(secrets: Secrets) -> Iterator[Peers]:
    """A proxy refuses, and quotes the request in its answer: by its status, a header and a page."""
    values = [one.value for one in (secrets.proxy, secrets.rest, secrets.alertmanager, ACTIVITY)]
    forms = " ".join(form(value) for value in values for form in FORMS.values())
    head = f"HTTP/1.1 407 {FORMS['a pair'](values[0])} {values[0]}\r\nProxy-Authenticate: Basic realm={values[0]}\r\n"
    with RawServer(raw(f"{head}Content-Length: {len(forms.encode())}\r\n\r\n{forms}".encode())) as other_server:
        place = other_server.url.removeprefix("http://")
        url = f"http://exporter:{FORMS['percent'](values[0])}@{place}"
        variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url}
        yield Peers(
            rest="http://tableau.invalid",
            alertmanager="https://alertmanager.invalid",
            proxies=variables,
            # A sign-in without TLS passes the proxy as well, with its token.
            notifications=lambda: [received for received in other_server.received if "/api/v2/" in received.path],
        )


@contextmanager
def tunnel(secrets: Secrets) -> Iterator[Peers]:
    """As ``proxy``, with the other scheme for each."""
    with proxy(secrets) as peers:
        peers.rest, peers.alertmanager = "https://tableau.invalid", "http://alertmanager.invalid"
        yield peers


@contextmanager
def no_proxy(secrets: Secrets) -> Iterator[Peers]:
    """The proxy variables cannot be parsed: the password in them was not escaped."""
    url = f"http://exporter:{secrets.proxy.value}@proxy.invalid:3128"
    variables = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), url)
    yield Peers(rest="http://tableau.invalid", alertmanager="http://alertmanager.invalid", proxies=variables)


@contextmanager
def forgotten(_: Secrets) -> Iterator[Peers]:
    """The files of the secrets are removed while the agent runs."""
    yield Peers(forgets_files=True)


SCENARIOS: Mapping[str, Scenario] = {
    "nobody": no_peers,
    "plain speakers": without_tls,
    "untrusted": untrusted,
    "pages": pages,
    "quoting": quoting("plain", "in a path", "in a query"),
    "quoting percent": quoting("percent", "percent, lower case", "userinfo"),
    "quoting html": quoting("html", "json", "repr"),
    "quoting base64": quoting("base64", "a pair"),
    "quoting late": quoting_late("plain", "in a path", "in a query"),
    "quoting late, escaped": quoting_late("html", "percent, lower case", "a pair"),
    "redirects": redirects,
    "cut at the end": cut(280),
    "cut in the middle": cut(265),
    "broken off": broken_off,
    "proxy": proxy,
    "tunnel": tunnel,
    "no proxy": no_proxy,
    "forgotten": forgotten,
}


@contextmanager
def _peers(
    secrets: Secrets, at_login: bool, repository: str, rest: tuple[Override, ...], alertmanager: ToAlertmanager
) -> Iterator[Peers]:
    """Every peer is up, with the given answers; a sign-in is accepted by default."""
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(repository, at_login=at_login))
        token = escape(secrets.rest.value, {'"': "&quot;"})
        tableau = stack.enter_context(Tableau(tokens={"agent": token}))
        stack.enter_context(tableau.doing(*rest))
        other_server = stack.enter_context(RawServer(alertmanager))

        def received() -> bool:
            notified = any(one.method == "POST" for one in other_server.received)
            return bool(postgres.refusals and tableau.count("/auth/signin") and notified)

        yield Peers(
            postgres.place,
            "disable",
            tableau.url,
            other_server.url,
            received=received,
            notifications=lambda: other_server.received,
            issued=lambda: issued(tableau),
        )


def issued(tableau: Tableau) -> set[str]:
    """Return the sessions of a Tableau, and the signatures that it received."""
    found = {received.headers.get("x-tableau-auth", "") for received in tableau.received}
    for received in tableau.received:
        found |= {signed.rpartition(".")[2] for signed in re.findall(r'jwt="([^"]+)"', received.body.decode())}
    return found - {""}


def at_sign_in(secrets: Secrets, answer: Callable[[Canary], Answer]) -> Override:
    """Answer a sign-in with a text made of its token: that of a publication, or the agent's."""

    def override(received: AskedOfTableau) -> Answer | None:
        if "/auth/signin" not in received.path:
            return None
        return answer(PUBLISHING if PUBLISHER.encode() in received.body else secrets.rest)

    return override


def _text(secret: Canary, forms: tuple[str, ...]) -> str:
    return "; ".join(FORMS[form](secret.value) for form in forms)


def _refusal(secrets: Secrets, forms: tuple[str, ...], status: int) -> ToAlertmanager:
    return reply(status, _json(_text(secrets.alertmanager, forms)))


def _json(text: str) -> str:
    return f'{{"message": "{FORMS["json"](text)}"}}'


def _page(*texts: str) -> str:
    return (
        f"<!DOCTYPE html><html><body>{' '.join(form(text) for text in texts for form in FORMS.values())}</body></html>"
    )
