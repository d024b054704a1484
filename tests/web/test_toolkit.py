"""The rules of exporter-toolkit for a web configuration, form by form: accepted and refused alike, with exceptions.

``toolkit`` is what the toolkit does with a form, read in its source: ``Validate`` of web/tls_config.go, which calls
``getConfig`` (strict YAML by go.yaml.in/yaml/v2, ``validateHeaderConfig`` of web/handler.go), ``validateUsers``
(web/handler.go) and ``ConfigToTLSConfig``. ``source`` names the function that decides; where the agent differs,
``documented`` are the words by which docs/security.md lists the difference.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from exporter.errors import ConfigurationError
from exporter.web.web_config import load_access

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "cert_file: server.crt, key_file: server.key"
CLIENTS = f"{PAIR}, client_ca_file: ca.crt"
DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"


@dataclass(frozen=True)
class Form:
    """A file, the toolkit's verdict and its reason; ``documented`` is set where the agent's is the opposite."""

    name: str
    text: str
    toolkit: bool
    source: str
    documented: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the agent is to accept it."""
        return self.toolkit is not bool(self.documented)


def tls(keys: str) -> str:
    """Return a file with these keys of TLS."""
    return f"tls_server_config: {{{keys}}}"


def headers(keys: str) -> str:
    """Return a file with these headers."""
    return f"http_server_config: {{headers: {{{keys}}}}}"


def users(pairs: str) -> str:
    """Return a file with these users."""
    return f"basic_auth_users: {{{pairs}}}"


YAML, PATHS, CONFIG = "getConfig: yaml.UnmarshalStrict", "validateTLSPaths", "ConfigToTLSConfig"
HEADERS, USERS = "validateHeaderConfig", "validateUsers: bcrypt.Cost"
WITHOUT_CA = "without `client_ca_file`"
INLINE = "`cert`, `key`, `client_ca`"
GO_NAMES = "`cipher_suites`, `curve_preferences`, `prefer_server_cipher_suites`"
ANY_CERTIFICATE = "`RequireAnyClientCert`"
NO_PAIR = "without certificate and key"
NO_BCRYPT = "that bcrypt does not make"
OLD_TLS = "`min_version: TLS10`"
NO_USER = "a user whose name is empty or has a colon"
BLANK = "that is empty"
HTTP2_QUOTED = '`http2: "true"`'

FORMS = (
    # The file as a whole.
    Form("empty mapping", "{}", True, YAML),
    Form("empty file", "", True, YAML, "an empty file"),
    Form("comments alone", "# later\n", True, YAML, "an empty file"),
    Form("null", "null", True, YAML, "an empty file"),
    Form("junk", "k3Jh2\n9sLq8\n", False, YAML),
    Form("a list", "- tls_server_config", False, YAML),
    Form("an unknown key", "tls_config: {}", False, YAML),
    Form("an unknown key without a value", "tls_config:", False, YAML),
    Form("a key twice", "basic_auth_users: {}\nbasic_auth_users: {}", False, YAML),
    Form("two documents", "{}\n---\n{}", True, YAML, "two YAML documents"),
    Form("sections without a value", "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n", True, YAML),
    Form("an anchor and its alias", f"basic_auth_users: {{a: &hash {HASH}, b: *hash}}", True, YAML),
    Form("a merge key", f"basic_auth_users: {{<<: {{a: {HASH}}}}}", True, YAML, "merge key"),
    Form("a tag of YAML", f"basic_auth_users: {{a: !!str {HASH}}}", True, YAML),
    Form("a tag of nobody", f"basic_auth_users: {{a: !hash {HASH}}}", True, YAML, "a YAML tag"),
    # tls_server_config: the pair.
    Form("a pair", tls(PAIR), True, CONFIG),
    Form("absent keys as null", tls(f"{PAIR}, client_auth_type: , client_ca_file: , min_version: "), True, CONFIG),
    Form("unsupported keys as null", tls(f"{PAIR}, cert: , cipher_suites: , client_allowed_sans: "), True, CONFIG),
    Form("an unknown key of TLS", tls(f"{PAIR}, cert_filse: server.crt"), False, YAML),
    Form("no key", tls("cert_file: server.crt"), False, PATHS),
    Form("no certificate", tls("key_file: server.key"), False, PATHS),
    Form("an empty certificate", tls('cert_file: "", key_file: server.key'), False, PATHS),
    Form("an empty key", tls('cert_file: server.crt, key_file: ""'), False, PATHS),
    Form("neither", tls(""), True, f"{PATHS}: errNoTLSConfig", NO_PAIR),
    Form("neither, and a version", tls("min_version: TLS12"), True, f"{PATHS}: errNoTLSConfig", NO_PAIR),
    Form("both empty", tls('cert_file: "", key_file: ""'), True, f"{PATHS}: errNoTLSConfig", NO_PAIR),
    Form("a policy without a pair", tls("client_auth_type: NoClientCert"), False, PATHS),
    Form("a missing certificate", tls("cert_file: nowhere.crt, key_file: server.key"), False, CONFIG),
    Form("a missing key", tls("cert_file: server.crt, key_file: nowhere.key"), False, CONFIG),
    Form("a key of another", tls("cert_file: server.crt, key_file: other.key"), False, CONFIG),
    Form("a certificate that is none", tls("cert_file: text.crt, key_file: server.key"), False, CONFIG),
    Form("a folder as a certificate", tls("cert_file: ., key_file: server.key"), False, CONFIG),
    Form("a list as a path", tls("cert_file: [server.crt], key_file: server.key"), False, YAML),
    Form("a certificate in the file", tls('cert: "@certificate@", key_file: server.key'), True, CONFIG, INLINE),
    Form("a key in the file", tls('cert_file: server.crt, key: "@key@"'), True, CONFIG, INLINE),
    Form("an empty certificate in the file", tls('cert: "", key_file: server.key'), False, PATHS),
    Form("an empty key in the file", tls('cert_file: server.crt, key: ""'), False, PATHS),
    # tls_server_config: clients.
    Form("no client certificate", tls(f"{PAIR}, client_auth_type: NoClientCert"), True, CONFIG),
    Form("an empty policy", tls(f'{PAIR}, client_auth_type: ""'), True, CONFIG),
    Form("verified if given", tls(f"{CLIENTS}, client_auth_type: VerifyClientCertIfGiven"), True, CONFIG),
    Form("verified", tls(f"{CLIENTS}, client_auth_type: RequireAndVerifyClientCert"), True, CONFIG),
    Form("requested", tls(f"{PAIR}, client_auth_type: RequestClientCert"), True, CONFIG, "`client_auth_type: Request"),
    Form("any", tls(f"{PAIR}, client_auth_type: RequireAnyClientCert"), True, CONFIG, ANY_CERTIFICATE),
    Form("any, the old name", tls(f"{PAIR}, client_auth_type: RequireClientCert"), True, CONFIG, "`RequireClientCert`"),
    Form("an unknown policy", tls(f"{PAIR}, client_auth_type: Sometimes"), False, CONFIG),
    Form("a policy in small letters", tls(f"{PAIR}, client_auth_type: noclientcert"), False, CONFIG),
    Form("verified by nobody", tls(f"{PAIR}, client_auth_type: RequireAndVerifyClientCert"), True, CONFIG, WITHOUT_CA),
    Form("perhaps by nobody", tls(f"{PAIR}, client_auth_type: VerifyClientCertIfGiven"), True, CONFIG, WITHOUT_CA),
    Form("an authority without a policy", tls(CLIENTS), False, CONFIG),
    Form("an empty authority", tls(f'{PAIR}, client_ca_file: ""'), True, CONFIG),
    Form("an authority for nobody", tls(f"{CLIENTS}, client_auth_type: NoClientCert"), False, CONFIG),
    Form(
        "a missing authority",
        tls(f"{PAIR}, client_ca_file: nowhere.crt, client_auth_type: RequireAndVerifyClientCert"),
        False,
        CONFIG,
    ),
    Form(
        "an authority without certificates",
        tls(f"{PAIR}, client_ca_file: text.crt, client_auth_type: RequireAndVerifyClientCert"),
        True,
        f"{CONFIG}: the result of AppendCertsFromPEM is not used",
        "without a certificate in it",
    ),
    Form(
        "an authority in the file",
        tls(f'{PAIR}, client_ca: "@certificate@", client_auth_type: RequireAndVerifyClientCert'),
        True,
        CONFIG,
        INLINE,
    ),
    Form(
        "names of clients",
        tls(f"{CLIENTS}, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [one]"),
        True,
        CONFIG,
        "`client_allowed_sans`",
    ),
    # tls_server_config: versions, ciphers, curves.
    Form("versions", tls(f"{PAIR}, min_version: TLS13, max_version: TLS13"), True, "TLSVersion.UnmarshalYAML"),
    Form("TLS 1.1", tls(f"{PAIR}, min_version: TLS11"), True, "TLSVersion.UnmarshalYAML", "`TLS11`"),
    Form("TLS 1.0", tls(f"{PAIR}, max_version: TLS10"), True, "TLSVersion.UnmarshalYAML", OLD_TLS),
    Form("an unknown version", tls(f"{PAIR}, min_version: TLS111"), False, "TLSVersion.UnmarshalYAML"),
    Form("a version as a number", tls(f"{PAIR}, min_version: 1.2"), False, "TLSVersion.UnmarshalYAML"),
    Form(
        "no version left", tls(f"{PAIR}, min_version: TLS13, max_version: TLS12"), True, CONFIG, "above `max_version`"
    ),
    Form("ciphers", tls(f"{PAIR}, cipher_suites: [TLS_AES_128_GCM_SHA256]"), True, "Cipher.UnmarshalYAML", GO_NAMES),
    Form("an invented cipher", tls(f"{PAIR}, cipher_suites: [TLS_NO]"), False, "Cipher.UnmarshalYAML"),
    Form("order of ciphers", tls(f"{PAIR}, prefer_server_cipher_suites: false"), True, CONFIG, GO_NAMES),
    Form("curves", tls(f"{PAIR}, curve_preferences: [X25519]"), True, "Curve.UnmarshalYAML", GO_NAMES),
    Form("an invented curve", tls(f"{PAIR}, curve_preferences: [CurveP257]"), False, "Curve.UnmarshalYAML"),
    # http_server_config.
    Form("HTTP/2 on", "http_server_config: {http2: true}", True, YAML),
    Form("HTTP/2 off", "http_server_config: {http2: No}", True, YAML),
    Form("HTTP/2 in one letter", "http_server_config: {http2: y}", True, YAML),
    Form("HTTP/2 left open", "http_server_config: {http2: }", True, YAML),
    Form("HTTP/2 in mixed case", "http_server_config: {http2: tRue}", False, YAML),
    Form("HTTP/2 as a number", "http_server_config: {http2: 1}", False, YAML),
    Form("HTTP/2 in quotes", 'http_server_config: {http2: "true"}', False, YAML, HTTP2_QUOTED),
    Form("an unknown key of HTTP", "http_server_config: {http3: true}", False, YAML),
    Form(
        "every header",
        headers(
            "X-Frame-Options: deny, X-Content-Type-Options: nosniff, X-XSS-Protection: 1,"
            " Strict-Transport-Security: max-age=31536000; includeSubDomains,"
            " Content-Security-Policy: \"default-src 'self' *.example.net\""
        ),
        True,
        HEADERS,
    ),
    Form("framing by the same origin", headers("X-Frame-Options: sameorigin"), True, HEADERS),
    Form("framing in capitals", headers("X-Frame-Options: DENY"), False, HEADERS),
    Form("another word for framing", headers("X-Frame-Options: allow"), False, HEADERS),
    Form("another word for sniffing", headers("X-Content-Type-Options: sniff"), False, HEADERS),
    Form("no word for framing", headers("X-Frame-Options: "), False, HEADERS, BLANK),
    Form("an empty word for sniffing", headers('X-Content-Type-Options: ""'), False, HEADERS, BLANK),
    Form("an empty policy of content", headers('Content-Security-Policy: ""'), True, HEADERS),
    Form("a number", headers("X-XSS-Protection: 0"), True, HEADERS),
    Form("another header", headers("Content-Type: text/plain"), False, HEADERS),
    Form("another header without a value", headers("Content-Type: "), False, HEADERS),
    Form("a header in small letters", headers("x-frame-options: deny"), False, HEADERS),
    Form("a header that is a list", headers("X-XSS-Protection: [1]"), False, YAML),
    Form("a header of two lines", headers('X-XSS-Protection: "1\\n2"'), True, HEADERS, "printable ASCII"),
    # basic_auth_users.
    Form("a user", users(f"alice: {HASH}"), True, USERS),
    Form("a user and TLS", f"{tls(PAIR)}\n{users(f'alice: {HASH}')}", True, USERS),
    Form("no user", users(""), True, USERS),
    Form("a user who is a number", users(f"4711: {HASH}"), True, USERS),
    Form("a user twice", users(f"alice: {HASH}, alice: {HASH}"), False, YAML),
    Form("a password", users("john: doe"), False, USERS),
    Form("a user without a hash", users("john: "), False, USERS),
    Form("a number as a hash", users("john: 7"), False, USERS),
    Form("a hash of another kind", users(f"john: $6${'x' * 60}"), False, USERS),
    Form("a cost too low", users(f"john: {HASH.replace('$10$', '$03$')}"), False, USERS),
    Form("a cost too high", users(f"john: {HASH.replace('$10$', '$32$')}"), False, USERS),
    Form("a hash that is cut", users(f"john: {HASH[:40]}"), False, USERS),
    Form("a hash and more", users(f"john: {HASH}x"), True, USERS, NO_BCRYPT),
    Form("a hash with a blank", users(f"john: '{HASH[:-1]} '"), True, USERS, NO_BCRYPT),
    Form("a list of users", "basic_auth_users: [alice]", False, YAML),
    Form("a user without a name", users(f'"": {HASH}'), True, USERS, NO_USER),
    Form("a user with a colon", users(f'"a:b": {HASH}'), True, USERS, NO_USER),
    # rate_limit.
    Form("a rate", "rate_limit: {interval: 1s, burst: 1}", True, "Serve: rate.NewLimiter", "`rate_limit`"),
    Form("no rate", "rate_limit:", True, YAML),
    Form("a rate that is a text", "rate_limit: {interval: often}", False, YAML),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair, the key of another, an authority and a text."""
    folder, authority = tmp_path_factory.mktemp("toolkit"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for name in ("server", "other"):
        pair = authority.issue_cert("localhost")
        pair.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        pair.private_key_pem.write_to_path(folder / f"{name}.key")
    (folder / "text.crt").write_text("no certificate\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_a_form_is_accepted_as_by_the_toolkit(folder: Path, form: Form) -> None:
    """The agent accepts and refuses the files that the toolkit does, unless the row has an exception."""
    text = form.text
    for mark, name in (("@certificate@", "server.crt"), ("@key@", "server.key")):
        text = text.replace(mark, (folder / name).read_text(encoding="utf-8").replace("\n", "\\n"))
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    try:
        load_access(path)
    except ConfigurationError:
        assert not form.accepted
    else:
        assert form.accepted


def test_every_difference_is_documented() -> None:
    """Each form that the agent treats in another way stands in docs/security.md, by the words of its row."""
    document = DOCUMENT.read_text(encoding="utf-8")
    _, _, table = document.partition("### Where the web configuration differs")
    table = table.partition("\n### ")[0]
    missing = {form.documented for form in FORMS if form.documented not in table}
    assert missing == set()


def test_every_documented_difference_has_a_form() -> None:
    """Each line of that table is held by a form here."""
    _, _, table = DOCUMENT.read_text(encoding="utf-8").partition("### Where the web configuration differs")
    lines = [line for line in table.partition("\n### ")[0].splitlines() if line.startswith("| ")][1:]
    words = {form.documented for form in FORMS if form.documented}
    assert [line for line in lines if not any(word in line for word in words)] == []
