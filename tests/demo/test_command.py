"""``tableau-exporter demo``, run as its users run it: it shows URLs that work, and leaves nothing behind."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import httpx
import pytest

from exporter.demo.people import SITES
from tests.components import require
from tests.demo.program import PATIENCE_SECONDS, ROOT, Demo


@pytest.fixture
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Demo]]:
    """Start demos, and end them with the test."""
    require("postgres18")
    started: list[Demo] = []

    def start(*arguments: str, user: str | None = None, **environment: str) -> Demo:
        folder = tmp_path_factory.mktemp("demo")
        # PostgreSQL may run as another user, who must get there.
        for parent in (folder, *folder.parents):
            if not parent.stat().st_mode & 0o001:
                parent.chmod(0o755)
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        started.append(Demo(folder, *arguments, user=user, **environment))
        return started[-1]

    yield start
    for demo in started:
        demo.end()


def asked(url: str) -> httpx.Response:
    """Ask as patiently as everything else here is waited for."""
    return httpx.get(url, timeout=PATIENCE_SECONDS, trust_env=False)


def shows_life(demo: Demo) -> None:
    """Wait until the agent shows what the demo promises, and look at the page."""
    metrics, page = demo.url("metrics"), demo.url("status page")
    wanted = (
        "tableau_http_requests_total{",
        "tableau_asset_hours_since_refresh{",
        'window="30d"',
        'tableau_up{source="rest"} 1',
    )
    for text in wanted:
        demo.until(lambda text=text: text in asked(metrics).text, f"the metrics show {text}")  # type: ignore[misc]
    assert asked(page).status_code == httpx.codes.OK


def test_it_ends_by_itself_and_leaves_nothing(demos: Callable[..., Demo]) -> None:
    """The URLs that it prints work while it runs; then it is gone with its processes and its folders."""
    demo = demos("--for", "8s", "--port", "0")
    for of in ("metrics", "status page"):
        assert asked(demo.url(of)).status_code == httpx.codes.OK
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.said()


def test_cloud_has_no_repository(demos: Callable[..., Demo]) -> None:
    """With --cloud every site is read over the REST API, and its log; there is no PostgreSQL, and nothing is left."""
    demo = demos("--cloud", "--port", "0")
    metrics, page = demo.url("metrics"), demo.url("status page")
    wanted = (
        'tableau_up{source="rest"} 1',
        "tableau_asset_hours_since_refresh{",
        'freshness_source="metadata"',
        'tableau_up{source="activity_log"} 1',
        'tableau_activity_log_events_total{site="default",event_type="vizql_http_request"}',
    )
    demo.until(lambda: all(text in asked(metrics).text for text in wanted), "the metrics show life")
    shown = set(re.findall(r'^tableau_asset_info\{.*\bsite="([^"]*)"', asked(metrics).text, re.MULTILINE))
    assert shown == {site.url_namespace or "default" for site in SITES}
    assert 'tableau_up{source="repository"}' not in asked(metrics).text
    assert asked(page).status_code == httpx.codes.OK
    assert not any("postgres" in name for name in demo.left())
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.said()


def test_a_proxy_is_not_in_the_way(demos: Callable[..., Demo]) -> None:
    """Behind a proxy the agent reads the simulated Tableau of this machine all the same."""
    demo = demos("--cloud", "--port", "0", HTTP_PROXY="http://127.0.0.1:1")
    metrics = demo.url("metrics")
    wanted = ('tableau_up{source="rest"} 1', "tableau_asset_hours_since_refresh{")
    demo.until(lambda: all(text in asked(metrics).text for text in wanted), "the metrics show life")


def test_what_is_printed_can_be_done(demos: Callable[..., Demo]) -> None:
    """The audit that the demo shows signs in with a token of its own, and the agent keeps its session."""
    demo = demos("--cloud", "--port", "0")
    metrics = demo.url("metrics")
    demo.until(lambda: 'tableau_up{source="rest"} 1' in asked(metrics).text, "the agent has polled")
    (configuration,) = re.findall(r" -m exporter audit --config.file (\S+)$", demo.said(), re.MULTILINE)
    command = [sys.executable, "-m", "exporter", "audit", "--config.file", configuration, "--format=csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Critical" in done.stdout
    assert "tableau_rest_sessions_lost_total 0" in asked(metrics).text


def test_a_port_that_is_taken(demos: Callable[..., Demo]) -> None:
    """It is one line that names --port, before anything is built; the exit code is 1, and nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = demos("--port", str(port))
        assert demo.process.wait(PATIENCE_SECONDS) == 1
    (line,) = demo.said().splitlines()
    assert line.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "choose another port with --port" in line
    assert demo.left() == []


def test_it_keeps_its_folder_when_asked(demos: Callable[..., Demo]) -> None:
    """With --keep the history stays and can be read; PostgreSQL does not stay."""
    demo = demos("--port", "0", "--keep")
    shows_life(demo)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    (kept,) = re.findall(r"^kept: (.+)$", demo.said(), re.MULTILINE)
    with duckdb.connect(f"{kept}/history.duckdb", read_only=True) as history:
        assert history.execute("SELECT count(*) > 100000 FROM usage").fetchall() == [(True,)]
    assert "msg=listening" in Path(f"{kept}/agent.log").read_text()
    assert "msg=listening" not in demo.said()
    assert demo.left() == [Path(kept).name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number: int, demos: Callable[..., Demo]) -> None:
    """The metrics show what the demo promises; Ctrl-C ends it with 0 and cleans up."""
    demo = demos("--port", "0")
    shows_life(demo)
    demo.process.send_signal(number)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.said()


def test_a_port_in_use_is_one_line(demos: Callable[..., Demo]) -> None:
    """Somebody else's port is told in one line that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = demos("--port", str(taken.getsockname()[1]))
        assert demo.process.wait(PATIENCE_SECONDS) == 1
    line = demo.said().splitlines()[-1]
    assert "Address already in use" in line
    assert line.endswith("choose another port with --port, or 0 for any free one")
    assert "Traceback" not in demo.said()
    assert demo.left() == []


def test_an_ordinary_user_may_run_it(demos: Callable[..., Demo]) -> None:
    """Root is not needed."""
    if os.geteuid() != 0:
        pytest.skip("every test of this file runs as an ordinary user already")
    try:
        subprocess.run(
            [sys.executable, "-c", "import exporter"], cwd=ROOT, user="nobody", check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the user nobody cannot reach this Python: it needs an environment that others may read")
    demo = demos("--port", "0", user="nobody")
    shows_life(demo)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
