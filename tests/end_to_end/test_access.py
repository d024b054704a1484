"""Who may ask, with the real command: reloads of a web configuration file."""

import signal
from collections.abc import Callable
from pathlib import Path

import bcrypt
import httpx
import pytest

from tests.agent import PATIENCE_SECONDS, Agent

Agents = Callable[..., Agent]
NOWHERE = {"host": "127.0.0.1", "port": 1, "dbname": "workgroup", "user": "readonly"}
PROMETHEUS = ("prometheus", "right")


def hashed(password: str, cost: int = 4) -> str:
    """Return a hash as htpasswd writes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def status(agent: Agent, user: tuple[str, str] | None = None, path: str = "/-/healthy") -> int:
    """Ask once, on a connection of its own."""
    return httpx.get(agent.url + path, auth=user, timeout=PATIENCE_SECONDS).status_code


@pytest.mark.parametrize("rewritten", ["", "basic_auth_users:\n", "http_server_config: {http2: true}\n"])
def test_a_reload_in_the_middle_of_a_rewrite_opens_nothing(agents: Agents, tmp_path: Path, rewritten: str) -> None:
    """A file that lost its users is refused by SIGHUP and by POST, and its users are asked for as before."""
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
