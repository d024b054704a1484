"""Real Alertmanagers, plain and secured, the alerts that they hold, and alerts to send."""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import trustme
import yaml

from exporter.alerting.alertmanager import AlertmanagerOptions, Authorization
from exporter.alerting.notification import Notification, bounded_annotations, bounded_labels
from tests.support.prometheus import QUIET, run_alertmanager

PASSWORD = "canary-of-the-password/+= &é"
NAMES = iter(range(10**9))


def alert(name: str = "TableauAssetStale", seconds: float = 240.0, /, **labels: str) -> Notification:
    """Return an alert that fires from now on."""
    now = time.time()
    return Notification(
        bounded_labels({"alertname": name, **labels}), bounded_annotations({"summary": name}), now, now + seconds
    )


@pytest.fixture
def test_name() -> str:
    """A value that no other test's alerts have: they share an Alertmanager."""
    return f"test {next(NAMES)}"


@pytest.fixture(scope="package")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an Alertmanager without a login."""
    with run_alertmanager(tmp_path_factory.mktemp("plain")) as address:
        yield f"http://{address}"


def held(url: str, label: str, value: str) -> list[dict[str, Any]]:
    """Return the alerts with this label that an Alertmanager holds."""
    answer = httpx.get(f"{url}/api/v2/alerts", timeout=60)
    return [one for one in answer.json() if one["labels"].get(label) == value]


@dataclass(frozen=True)
class Secured:
    """An Alertmanager with TLS, a user, and certificates for its clients; and the files that its clients need."""

    url: str
    folder: Path

    def login(self, authorization: Authorization = ("exporter", PASSWORD), **changes: Any) -> AlertmanagerOptions:
        """Return a login that it accepts, or one that differs in something."""
        files = {name: self.folder / f"client.{name}" for name in ("crt", "key")}
        tls = {"ca_file": self.folder / "ca.crt", "cert_file": files["crt"], "key_file": files["key"], **changes}
        return AlertmanagerOptions(self.url, lambda: authorization, **tls)


@pytest.fixture(scope="package")
def authority() -> trustme.CA:
    """The certificate authority that client and server trust."""
    return trustme.CA()


def write_certificate(authority: trustme.CA, folder: Path, name: str) -> None:
    """Put a certificate for localhost and its key into a folder."""
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Secured]:
    """An Alertmanager that requires a login and a client certificate, below a path."""
    folder = tmp_path_factory.mktemp("secured")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for name in ("server", "client"):
        write_certificate(authority, folder, name)
    tls = {"cert_file": "server.crt", "key_file": "server.key", "client_ca_file": "ca.crt"}
    users = {"exporter": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}
    web = {"tls_server_config": {**tls, "client_auth_type": "RequireAndVerifyClientCert"}, "basic_auth_users": users}
    (folder / "web.yml").write_text(yaml.safe_dump(web))
    flags = (f"--web.config.file={folder / 'web.yml'}", "--web.route-prefix=/deep/er")
    with run_alertmanager(folder, QUIET, *flags) as address:
        yield Secured(f"https://localhost:{address.partition(':')[2]}/deep/er", folder)


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """TLS of another server in Alertmanager's place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context
