"""Users of the real command: reloads of a web configuration file."""

import itertools
import signal
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import bcrypt
import httpx
import pytest

from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS

Agents = Callable[..., Agent]
NOWHERE = {"host": "127.0.0.1", "port": 1, "dbname": "workgroup", "user": "readonly"}
PROMETHEUS = ("prometheus", "right")


def hashed(password: str, cost: int = 4) -> str:
    """Return a hash as htpasswd writes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def status(agent: Agent, user: tuple[str, str] | None = None, path: str = "/-/healthy") -> int:
    """Request once, on a new connection."""
    return httpx.get(agent.url + path, auth=user, timeout=PATIENCE_SECONDS).status_code


@pytest.mark.attack("rewrite")
@pytest.mark.parametrize("rewritten", ["", "basic_auth_users:\n", "http_server_config: {http2: true}\n"])
def test_a_reload_in_the_middle_of_a_rewrite_opens_nothing(agents: Agents, tmp_path: Path, rewritten: str) -> None:
    """A file that lost its users is refused by SIGHUP and by POST, and its users are required as before."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{prometheus: {hashed('right')}}}")
    agent = agents(NOWHERE, WEB__CONFIG_FILE=str(path)).start()
    path.write_text(rewritten)
    agent.process.send_signal(signal.SIGHUP)
    agent.until(lambda: "was not reloaded" in agent.logged(), "the reload was refused")
    assert "was reloaded" not in agent.logged()
    (line,) = [line for line in agent.logged().splitlines() if "was not reloaded" in line]
    assert str(path) in line if not rewritten else "basic_auth_users" in line
    assert (status(agent), status(agent, PROMETHEUS)) == (401, 200)
    answer = httpx.post(f"{agent.url}/-/reload", auth=PROMETHEUS, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 400
    assert (status(agent), status(agent, PROMETHEUS)) == (401, 200)


class Guessers:
    """100 that guess passwords until they are stopped: half wait for each answer, half leave at once."""

    def __init__(self, agent: Agent) -> None:
        self.answers: set[int] = set()
        self._agent = agent
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=guess, args=(number,))
            for number in range(50)
            for guess in (self._wait, self._leave)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _wait(self, number: int) -> None:
        with httpx.Client(base_url=self._agent.url, timeout=PATIENCE_SECONDS) as client:
            for guess in itertools.takewhile(lambda _: not self._stopping.is_set(), itertools.count()):
                user = ("prometheus", "mallory")[guess % 2]
                self.answers.add(client.get("/metrics", auth=(user, f"wrong {number} {guess}")).status_code)
                self._stopping.wait(0.05)

    def _leave(self, number: int) -> None:
        address = httpx.URL(self._agent.url)
        credentials = b64encode(f"prometheus:wrong {number}".encode()).decode()
        while not self._stopping.wait(1):
            with socket.create_connection((address.host, address.port or 0), PATIENCE_SECONDS) as connection:
                connection.sendall(
                    f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\n\r\n".encode()
                )


@pytest.mark.attack("guesses")
def test_guessers_keep_no_user_out(agents: Agents, tmp_path: Path) -> None:
    """While 100 guess, a remembered user is let in at each request and after a reload, and a new one at the first."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{prometheus: {hashed('right', 10)}, jane: {hashed('doe', 10)}}}")
    agent = agents(NOWHERE, WEB__CONFIG_FILE=str(path)).start()
    assert status(agent, PROMETHEUS) == 200
    with Guessers(agent) as guessers:
        agent.until(lambda: guessers.answers == {401, 503}, "more guess than can be hashed")
        assert [status(agent, PROMETHEUS, path) for path in ("/-/healthy", "/metrics") * 5] == [200] * 10
        assert status(agent, ("jane", "doe")) == 200
        answer = httpx.post(f"{agent.url}/-/reload", auth=PROMETHEUS, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200
        assert [status(agent, user) for user in (PROMETHEUS, ("jane", "doe")) * 5] == [200] * 10


class Gate:
    """Where an agent announces each hash that it computes, and waits until it may."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE_SECONDS)
        self._listener.bind(str(path))
        self._listener.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def wait(self) -> tuple[socket.socket, bytes]:
        """Wait for the next computation; return how to let it go on, and the password."""
        announced, _ = self._listener.accept()
        announced.settimeout(PATIENCE_SECONDS)
        return announced, announced.makefile("rb").readline().rstrip(b"\n")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate for the hashes of an agent."""
    with Gate(tmp_path / "gate") as made:
        yield made


@pytest.mark.attack("guesses")
def test_a_user_waits_for_one_computation(agents: Agents, tmp_path: Path, gate: Gate) -> None:
    """Of 100 guesses that came before, a configured user waits for the one that is being hashed: the next is theirs."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{prometheus: {hashed('right')}, jane: {hashed('doe')}}}")
    agent = agents(NOWHERE, WEB__CONFIG_FILE=str(path))
    agent.environment["GATE"] = str(tmp_path / "gate")
    agent.module = "tests.support.gated_bcrypt"
    agent.start()
    with ThreadPoolExecutor(max_workers=101) as pool:
        scrape = pool.submit(status, agent, PROMETHEUS)
        announced, _ = gate.wait()
        announced.close()
        assert scrape.result() == 200
        guesses = [pool.submit(status, agent, ("prometheus", f"wrong {number}")) for number in range(100)]
        first, password = gate.wait()
        assert password.startswith(b"wrong")
        agent.until(lambda: sum(map(Future.done, guesses)) == 83, "one is hashed, 16 wait, the others are turned away")
        jane = pool.submit(status, agent, ("jane", "doe"))
        agent.until(lambda: sum(map(Future.done, guesses)) == 84, "one more is turned away for her")
        first.close()
        second, password = gate.wait()
        assert password == b"doe"
        second.close()
        assert jane.result() == 200
        agent.kill()
