"""The health check of the image, as the command that it is: whatever stands before the agent's answers."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
import trustme

from exporter.web.application import application
from exporter.web.healthcheck import check_health
from exporter.web.server import WebServer
from exporter.web.web_config import Access, load_access
from tests.web.fake_endpoint import FakeEndpoint, Started
from tests.web.test_tls import install

Serve = Callable[[str, str], WebServer]
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"
MUTUAL = f"{TLS}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
USERS = f"basic_auth_users: {{prometheus: '{bcrypt.hashpw(b'hush', bcrypt.gensalt(4)).decode()}'}}\n"


@pytest.fixture
def serve(tmp_path: Path, started: Started) -> Serve:
    """Return a function that serves on a host with a web configuration, which it leaves in the test's folder."""
    authority = trustme.CA()
    install(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")

    def start(host: str, text: str) -> WebServer:
        (tmp_path / "web.yml").write_text(text, encoding="utf-8")
        access = load_access(tmp_path / "web.yml") if text else Access()
        server = WebServer(application(FakeEndpoint(), access), host, 0, access)
        return started(server)

    return start


def check(
    folder: Path, host: str, port: int, *, configured: bool, prefix: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command behind a proxy that never answers."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    environment = {
        "TABLEAU_EXPORTER_WEB__LISTEN_ADDRESS": address,
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:1"),
    }
    flags = ["--web.config.file", "web.yml"] if configured else []
    flags += ["--web.route-prefix", prefix] if prefix else []
    command = [sys.executable, "-m", "exporter", "healthcheck", *flags]
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.mark.parametrize(
    ("host", "text", "expected"),
    [
        ("127.0.0.1", "", "healthy"),
        ("", "", "healthy"),
        ("0.0.0.0", "", "healthy"),
        ("::1", "", "healthy"),
        ("127.0.0.1", USERS, "requires a user"),
        ("127.0.0.1", TLS + "}\n", "healthy"),
        ("127.0.0.1", f"{TLS}}}\n{USERS}", "requires a user"),
        ("127.0.0.1", MUTUAL + "}\n", "requires a certificate"),
        ("127.0.0.1", MUTUAL + ", max_version: TLS12}\n", "requires a certificate"),
    ],
    # The hash of a password is another in every process, and those that run the tests must agree on their names.
    ids=[
        "loopback",
        "all",
        "all, by IPv4",
        "loopback, by IPv6",
        "users",
        "TLS",
        "TLS and users",
        "mutual",
        "mutual, TLS 1.2",
    ],
)
def test_an_agent_that_answers_is_healthy(serve: Serve, tmp_path: Path, host: str, text: str, expected: str) -> None:
    """By TLS, before users and certificates, on any address, and whatever proxy the environment names."""
    server = serve(host, text)
    result = check(tmp_path, host, server.port, configured=bool(text))
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(f":{server.port}/-/healthy: {expected}\n")


def test_nobody_listens(tmp_path: Path) -> None:
    """A port without a listener is one line and the exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = check(tmp_path, "127.0.0.1", port, configured=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"http://127.0.0.1:{port}/-/healthy: Connection refused: check that the agent runs")
    assert result.stderr.count("\n") == 1


def test_an_agent_that_does_not_answer(tmp_path: Path) -> None:
    """A server that accepts a connection and sends nothing is not healthy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = check(tmp_path, "127.0.0.1", listener.getsockname()[1], configured=False)
    assert result.returncode == 1
    assert "timed out: check that the agent runs" in result.stderr


def test_the_name_that_is_listened_on_need_not_be_allowed(serve: Serve) -> None:
    """On a loopback address that the configuration names in another way, the check is answered all the same."""
    assert check_health("127.1", serve("127.0.0.1", "").port, None).endswith(": healthy")


def test_the_check_knows_the_prefix(tmp_path: Path, started: Started) -> None:
    """The request goes below the prefix of the configuration or of the flag."""
    port = started(WebServer(application(FakeEndpoint(), route_prefix="/tableau"), "127.0.0.1", 0)).port
    result = check(tmp_path, "127.0.0.1", port, configured=False, prefix="tableau")
    assert (result.returncode, result.stdout) == (0, f"http://127.0.0.1:{port}/tableau/-/healthy: healthy\n")
