"""TLS on real sockets: certificates of the server and of its clients."""

import ssl
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from structlog.testing import capture_logs

from exporter.self_metrics import WEB_CERTIFICATE_EXPIRY
from exporter.web.application import application
from exporter.web.server import WebServer
from exporter.web.tls import CertificateExpiry, Tls, TlsFiles
from exporter.web.web_config import Access, load_access
from tests.web.fake_endpoint import FakeEndpoint

Serve = Callable[[str], tuple[WebServer, Access]]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the certificate authority that client and server trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def other_authority() -> trustme.CA:
    """Return another certificate authority."""
    return trustme.CA()


def install(folder: Path, authority: trustme.CA, *, not_after: datetime | None = None) -> None:
    """Put a certificate for localhost into a folder, replacing whole files as renewals do."""
    certificate = authority.issue_cert("localhost", not_after=not_after)
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
    """Request once over a new connection; raise httpx.TransportError where the handshake fails."""
    context = ssl.create_default_context()
    trusted.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return httpx.get(f"https://localhost:{server.port}/-/healthy", verify=context).status_code


REQUIRED = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
IF_GIVEN = "client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.crt"


def test_the_certificate_of_the_server_is_verified(
    serve: Serve, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    """A client that trusts the authority is answered, one that trusts another one turns away."""
    server, _ = serve("")
    assert status(server, authority) == 200
    with pytest.raises(httpx.TransportError):
        status(server, other_authority)


def test_plain_http_is_not_answered(serve: Serve) -> None:
    """Over a TLS port no plain text is sent."""
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
    """A client without a version between the lowest and the highest is not answered."""
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


def test_a_required_client_certificate_is_verified(
    serve: Serve, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    """Where client certificates are required, only one of the configured authority is let in."""
    server, _ = serve(REQUIRED)
    assert status(server, authority, authority.issue_cert("prometheus")) == 200
    for certificate in (None, other_authority.issue_cert("prometheus")):
        with pytest.raises(httpx.TransportError):
            status(server, authority, certificate)


def test_an_optional_client_certificate_is_verified_if_given(
    serve: Serve, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    """Where client certificates are optional, none is as good as a valid one and a wrong one is refused."""
    server, _ = serve(IF_GIVEN)
    assert status(server, authority) == 200
    assert status(server, authority, authority.issue_cert("prometheus")) == 200
    with pytest.raises(httpx.TransportError):
        status(server, authority, other_authority.issue_cert("prometheus"))


def test_a_renewed_certificate_is_used_at_once(
    serve: Serve, tmp_path: Path, authority: trustme.CA, other_authority: trustme.CA
) -> None:
    """A certificate that was replaced on disk is served from the next connection on."""
    server, _ = serve("")
    assert status(server, authority) == 200
    install(tmp_path, other_authority)
    assert status(server, other_authority) == 200


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


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _replace_key(folder: Path, authority: trustme.CA) -> None:
    authority.issue_cert("localhost").private_key_pem.write_to_path(folder / "server.key.new")
    (folder / "server.key.new").replace(folder / "server.key")


def _make_folder(folder: Path, _: trustme.CA) -> None:
    (folder / "server.crt").unlink()
    (folder / "server.crt").mkdir()


Damage = Callable[[Path, trustme.CA], object]
BROKEN: dict[str, tuple[Damage, str]] = {
    "another key": (_replace_key, "the key does not belong to the certificate"),
    "garbage": (lambda folder, _: (folder / "server.crt").write_text("nothing\n"), "not PEM, or not complete"),
    "empty": (lambda folder, _: (folder / "server.crt").write_bytes(b""), "not PEM, or not complete"),
    "half a certificate": (lambda folder, _: _cut(folder / "server.crt"), "not PEM, or not complete"),
    "half a key": (lambda folder, _: _cut(folder / "server.key"), "not PEM, or not complete"),
    "missing": (
        lambda folder, _: (folder / "server.crt").rename(folder / "old.crt"),
        "cannot read {folder}/server.crt: No such file or directory",
    ),
    "a folder": (_make_folder, "cannot read {folder}/server.crt: Is a directory"),
}


@pytest.fixture
def tls(tmp_path: Path, authority: trustme.CA) -> Tls:
    """Return the certificate of a folder, loaded."""
    install(tmp_path, authority, not_after=BEFORE)
    return Tls(TlsFiles(tmp_path / "server.crt", tmp_path / "server.key"))


BEFORE, AFTER = datetime(2040, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)


def lines(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, str | None]]:
    """Return level and error of the logged events."""
    return [(log["log_level"], log.get("error")) for log in logs]


@pytest.mark.parametrize(("damage", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_renewal_is_logged_once(
    tls: Tls, tmp_path: Path, authority: trustme.CA, damage: Damage, error: str
) -> None:
    """While a renewed certificate cannot be used the previous one is served; one line has the reason, one the end."""
    before = tls.served()
    with capture_logs() as logs:
        damage(tmp_path, authority)
        assert [tls.served() for _ in range(100)] == [before] * 100
        if (tmp_path / "server.crt").is_dir():
            (tmp_path / "server.crt").rmdir()
        install(tmp_path, authority, not_after=AFTER)
        assert [tls.served().expires_at for _ in range(100)] == [AFTER.timestamp()] * 100
    assert lines(logs) == [("warning", error.format(folder=tmp_path)), ("info", None)]


def test_another_fault_is_another_line(tls: Tls, tmp_path: Path, authority: trustme.CA) -> None:
    """A renewal that is broken in another way than before is logged again; the same fault in other bytes is not."""
    with capture_logs() as logs:
        for text in ("nothing", "still nothing"):
            (tmp_path / "server.crt").write_text(text, encoding="utf-8")
            tls.served()
        (tmp_path / "server.crt").unlink()
        tls.served()
    assert [error for _, error in lines(logs)] == [
        "not PEM, or not complete",
        f"cannot read {tmp_path}/server.crt: No such file or directory",
    ]


def test_the_old_files_put_back_end_a_fault(tls: Tls, tmp_path: Path) -> None:
    """Where the files of before are put back in the place of broken ones, that is the end of the fault."""
    (tmp_path / "server.crt").rename(tmp_path / "kept.crt")
    with capture_logs() as logs:
        tls.served()
        (tmp_path / "kept.crt").rename(tmp_path / "server.crt")
        tls.served()
    assert [level for level, _ in lines(logs)] == ["warning", "info"]


def test_connections_log_no_broken_renewal_again(serve: Serve, tmp_path: Path, authority: trustme.CA) -> None:
    """However many connections are made while a renewal is broken, each is served and the log has one line."""
    server, _ = serve("")
    _replace_key(tmp_path, authority)
    with capture_logs() as logs:
        assert [status(server, authority) for _ in range(5)] == [200] * 5
    assert lines(logs) == [("warning", "the key does not belong to the certificate")]


def test_the_expiry_follows_the_file_where_nobody_connects(tmp_path: Path, authority: trustme.CA, tls: Tls) -> None:
    """The metric is the expiry of the certificate in use: of a renewed one at once, not of a broken one."""
    rendered = CertificateExpiry(Access(tls=tls))
    assert expiry(rendered) == BEFORE.timestamp()
    install(tmp_path, authority, not_after=AFTER)
    assert expiry(rendered) == AFTER.timestamp()
    _cut(tmp_path / "server.crt")
    with capture_logs() as logs:
        assert expiry(rendered) == AFTER.timestamp()
    assert lines(logs) == [("warning", "not PEM, or not complete")]


def expiry(rendered: CertificateExpiry) -> object:
    """Return the value of the one sample."""
    (block,) = rendered.at(0.0)
    assert block.family == WEB_CERTIFICATE_EXPIRY
    (value,) = block.at(0.0)
    return value


def test_without_tls_there_is_no_expiry() -> None:
    """A web server without TLS has no certificate, and no series."""
    assert not CertificateExpiry(Access()).at(0.0)


def test_unchanged_files_are_not_loaded_again(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no file changes, a connection or a rendering checks the files, and reads none."""
    monkeypatch.setattr(TlsFiles, "load", lambda _: pytest.fail("the files are read"))
    first = tls.served()
    assert all(tls.served() is first for _ in range(10))


def test_clients_that_must_show_a_certificate_do_not_hide_the_expiry(tmp_path: Path, authority: trustme.CA) -> None:
    """The expiry is known, too, where certificates of clients are required and TLS is at most 1.2."""
    install(tmp_path, authority, not_after=BEFORE)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    files = TlsFiles(
        tmp_path / "server.crt",
        tmp_path / "server.key",
        tmp_path / "ca.crt",
        ssl.CERT_REQUIRED,
        maximum_version=ssl.TLSVersion.TLSv1_2,
    )
    served = files.load()
    assert (served.expires_at, served.context.verify_mode) == (BEFORE.timestamp(), ssl.CERT_REQUIRED)
