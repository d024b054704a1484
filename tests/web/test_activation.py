"""Sockets that systemd passes, by its protocol: the variables and descriptor 3, without systemd itself."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from exporter.errors import WebError
from exporter.web.activation import inherited_sockets
from tests.support.wait import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
ACTIVATION = """
import fcntl, os, sys
end = sys.argv.index("--")
kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:end]]
for place, descriptor in enumerate(kept, 3):
    os.dup2(descriptor, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept))}
os.execv(sys.executable, [sys.executable, "-m", "exporter", *sys.argv[end + 1 :]])
"""


class Descriptor(Protocol):
    """A socket or a file."""

    def fileno(self) -> int:
        """Return its number."""


def activated(folder: Path, sockets: Sequence[Descriptor], *flags: str) -> "subprocess.Popen[bytes]":
    """Start the agent, whose repository is not there, with the sockets as its descriptors from 3 on."""
    numbers = [str(one.fileno()) for one in sockets]
    command = [sys.executable, "-c", ACTIVATION, *numbers, "--", "run", "--web.systemd-socket", *flags]
    ours = {"REPOSITORY__HOSTS": str(folder), "HISTORY__PATH": str(folder / "history.duckdb")}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **{f"TABLEAU_EXPORTER_{key}": text for key, text in ours.items()}},
            pass_fds=[one.fileno() for one in sockets],
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )


def test_the_agent_serves_on_the_sockets_of_systemd(tmp_path: Path) -> None:
    """TCP and Unix sockets that were open before the agent are the ones it answers on, below its prefix."""
    path = tmp_path / "agent.sock"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    with socket.create_server(("127.0.0.1", 0)) as tcp, unix:
        url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        flags = ("--web.external-url=https://monitoring.example.com/tableau/", "--web.telemetry-path=/scrape")
        process = activated(tmp_path, [tcp, unix], *flags)
        try:
            host = {"Host": "monitoring.example.com"}
            metrics = httpx.get(f"{url}/tableau/scrape", headers=host, timeout=PATIENCE_SECONDS)
            assert "tableau_exporter_build_info" in metrics.text
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE_SECONDS) as client:
                assert client.get("http://proxy/tableau/-/healthy").status_code == httpx.codes.OK
            assert httpx.get(f"{url}/metrics", timeout=PATIENCE_SECONDS).status_code == httpx.codes.NOT_FOUND
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
    logged = (tmp_path / "log").read_text()
    assert f"address={url.removeprefix('http://')}" in logged
    assert str(path) in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "own", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "own", "LISTEN_FDS": "-1"},
        {"LISTEN_PID": "own", "LISTEN_FDS": "²"},
    ],
    ids=["nothing", "no process", "another process", "none", "negative", "no number"],
)
def test_without_a_socket_of_its_own_the_agent_does_not_start(environ: dict[str, str]) -> None:
    """Sockets of another process are not used, and the line leads to the unit; children inherit no variable."""
    given = {name: str(os.getpid()) if text == "own" else text for name, text in environ.items()}
    with pytest.raises(WebError, match=r"^systemd passed no socket: start the \.socket unit, or leave out"):
        inherited_sockets(given)
    assert given == {}


@pytest.mark.parametrize("kind", ["connected", "datagram", "file"])
def test_other_descriptors_are_refused(tmp_path: Path, kind: str) -> None:
    """A descriptor that cannot accept connections is refused in one line."""
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    with one, two, (tmp_path / "file").open("wb") as file:
        process = activated(tmp_path, [file if kind == "file" else one])
        try:
            assert process.wait(PATIENCE_SECONDS) == 1
        finally:
            process.kill()
            process.wait()
    logged = (tmp_path / "log").read_text()
    expected = "is no socket" if kind == "file" else "is no listening stream"
    assert logged.startswith("descriptor 3 of systemd ")
    assert expected in logged
    assert logged.count("\n") == 1
