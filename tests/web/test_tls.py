"""TLS on real sockets: certificates of the server and of its clients."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.web.access import Access, load_access
from exporter.web.application import application
from exporter.web.server import WebServer
from tests.web.fakes import FakeEndpoint

Serve = Callable[[str], tuple[WebServer, Access]]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the certificate authority that everybody here trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def stranger() -> trustme.CA:
    """Return another certificate authority."""
    return trustme.CA()


def install(folder: Path, authority: trustme.CA) -> None:
    """Put a certificate for localhost into a folder, replacing whole files as renewals do."""
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.crt.new")
    certificate.private_key_pem.write_to_path(folder / "server.key.new")
    for name in ("server.crt", "server.key"):
        (folder / f"{name}.new").replace(folder / name)


@pytest.fixture
def serve(tmp_path: Path, authority: trustme.CA) -> Iterator[Serve]:
    """Return a function that serves over TLS with some more keys in tls_server_config."""
    install(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    servers: list[WebServer] = []

    def start(keys: str) -> tuple[WebServer, Access]:
        config = tmp_path / "web.yml"
        config.write_text(
            f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {keys}}}", encoding="utf-8"
        )
        access = load_access(config)
        server = WebServer(application(FakeEndpoint(), access), "localhost", 0, access)
        server.start()
        servers.append(server)
        return server, access

    yield start
    for server in servers:
        server.stop()


def status(server: WebServer, trusted: trustme.CA, certificate: trustme.LeafCert | None = None) -> int:
    """Ask once over a connection of its own; raise httpx.TransportError where the handshake fails."""
    context = ssl.create_default_context()
    trusted.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return httpx.get(f"https://localhost:{server.port}/-/healthy", verify=context).status_code


REQUIRED = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
IF_GIVEN = "client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.crt"


def test_the_certificate_of_the_server_is_verified(serve: Serve, authority: trustme.CA, stranger: trustme.CA) -> None:
    """A client that trusts the authority is answered, one that trusts another one turns away."""
    server, _ = serve("")
    assert status(server, authority) == 200
    with pytest.raises(httpx.TransportError):
        status(server, stranger)


def test_plain_http_is_not_answered(serve: Serve) -> None:
    """Over a TLS port nothing is said in clear."""
    server, _ = serve("")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{server.port}/-/healthy")


@pytest.mark.parametrize(
    ("keys", "version", "answered"),
    [
        ("min_version: TLS12", ssl.TLSVersion.TLSv1_2, True),
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_2, False),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_3, False),
    ],
)
def test_versions_are_kept(
    serve: Serve, authority: trustme.CA, keys: str, version: ssl.TLSVersion, answered: bool
) -> None:
    """A client that speaks no version between the lowest and the highest is not answered."""
    server, _ = serve(keys)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    try:
        assert httpx.get(f"https://localhost:{server.port}/", verify=context).status_code == 200
    except httpx.TransportError:
        assert not answered
    else:
        assert answered


def test_a_required_client_certificate_is_verified(serve: Serve, authority: trustme.CA, stranger: trustme.CA) -> None:
    """Where client certificates are required, only one of the configured authority is let in."""
    server, _ = serve(REQUIRED)
    assert status(server, authority, authority.issue_cert("prometheus")) == 200
    for certificate in (None, stranger.issue_cert("prometheus")):
        with pytest.raises(httpx.TransportError):
            status(server, authority, certificate)


def test_an_optional_client_certificate_is_verified_if_given(
    serve: Serve, authority: trustme.CA, stranger: trustme.CA
) -> None:
    """Where client certificates are optional, none is as good as a valid one and a wrong one is refused."""
    server, _ = serve(IF_GIVEN)
    assert status(server, authority) == 200
    assert status(server, authority, authority.issue_cert("prometheus")) == 200
    with pytest.raises(httpx.TransportError):
        status(server, authority, stranger.issue_cert("prometheus"))


def test_a_renewed_certificate_is_used_at_once(
    serve: Serve, tmp_path: Path, authority: trustme.CA, stranger: trustme.CA
) -> None:
    """A certificate that was replaced on disk is shown from the next connection on."""
    server, _ = serve("")
    assert status(server, authority) == 200
    install(tmp_path, stranger)
    assert status(server, stranger) == 200


def test_a_renewal_in_progress_disturbs_nobody(serve: Serve, tmp_path: Path, authority: trustme.CA) -> None:
    """While key and certificate on disk do not fit, or one is missing, the last pair that fitted is used."""
    server, _ = serve("")
    authority.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "server.key")
    assert status(server, authority) == 200
    (tmp_path / "server.crt").unlink()
    assert status(server, authority) == 200


def test_an_adopted_access_requires_certificates_at_once(serve: Serve, tmp_path: Path, authority: trustme.CA) -> None:
    """A reload that requires client certificates holds from the next connection on."""
    server, access = serve("")
    assert status(server, authority) == 200
    text = f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {REQUIRED}}}"
    (tmp_path / "web.yml").write_text(text, encoding="utf-8")
    access.adopt(load_access(tmp_path / "web.yml"))
    with pytest.raises(httpx.TransportError):
        status(server, authority)
    assert status(server, authority, authority.issue_cert("prometheus")) == 200
