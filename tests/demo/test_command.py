"""``tableau-exporter demo`` as its users run it: its URLs work, and it leaves no file behind."""

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb
import httpx
import pytest

from exporter.demo.users import SITES
from tests.demo.program import PATIENCE_SECONDS, ROOT, Demo
from tests.support.components import require


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


def fetched(url: str) -> httpx.Response:
    """Request with the same patience as all other waits."""
    return httpx.get(url, timeout=PATIENCE_SECONDS, trust_env=False, verify=False)  # over HTTP: load no CA


def shows_life(demo: Demo) -> None:
    """Wait until the agent publishes the demo's metrics, and read the page."""
    metrics, page = demo.url("metrics"), demo.url("status page")
    wanted = (
        "tableau_http_requests_total{",
        "tableau_asset_hours_since_refresh{",
        'window="30d"',
        'tableau_up{source="rest"} 1',
    )
    for text in wanted:
        demo.until(lambda text=text: text in fetched(metrics).text, f"the metrics show {text}")  # type: ignore[misc]
    assert fetched(page).status_code == httpx.codes.OK


def test_it_ends_by_itself_and_leaves_nothing(demos: Callable[..., Demo]) -> None:
    """The URLs that it prints work while it runs; then it is gone with its processes and its folders."""
    demo = demos("--for", "8s", "--cloud", "--port", "0")
    for of in ("metrics", "status page"):
        assert fetched(demo.url(of)).status_code == httpx.codes.OK
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.output()


# Samples by site and another label, and what SQL counts of the history.
OF_HISTORY = {
    "tableau_http_requests_total/action": "SELECT site, action, count(*) AS n FROM usage GROUP BY ALL",
    "tableau_active_users/window": """
        SELECT site, label, count(DISTINCT user_id) AS n
        FROM usage, (VALUES ('1h', 1), ('1d', 24), ('7d', 168), ('30d', 720)) AS windows (label, hours)
        WHERE created_at > (now() AT TIME ZONE 'UTC') - to_hours(hours) GROUP BY ALL""",
    "tableau_logins_total/": "SELECT url_namespace, '' AS label, count(*) AS n FROM logins"
    " JOIN latest_sites AS sites ON sites.id = logins.site_id GROUP BY ALL",
}


def counted(demo: Demo, family: str) -> dict[tuple[str, str], int]:
    """Return the samples of a family by site and another label; of windows those of an hour and longer."""
    name, _, label = family.partition("/")
    found = {}
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", fetched(demo.url("metrics")).text, re.MULTILINE):
        of = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if of.get(label) != "5m":
            found[of["site"], of.get(label, "")] = int(float(value))
    return {key: value for key, value in found.items() if value}


def sites_of(demo: Demo, family: str) -> set[str]:
    """Return the sites of a family's samples."""
    return set(re.findall(rf'^{family}\{{.*\bsite="([^"]*)"', fetched(demo.url("metrics")).text, re.MULTILINE))


def queried(demo: Demo, sql: str) -> dict[tuple[str, str], int]:
    """Return the counts of the history, queried while the agent runs."""
    (configuration,) = re.findall(r" -m exporter audit --config.file (\S+)$", demo.output(), re.MULTILINE)
    command = [sys.executable, "-m", "exporter", "history", "query", sql, "--config.file", configuration]
    done = subprocess.run([*command, "--format=json"], cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [tuple(row.values()) for row in json.loads(done.stdout)]
    return {(site or "default", label): int(n) for site, label, n in rows}


def is_audited(demo: Demo) -> None:
    """Run the audit that the demo prints: it signs in with a token of its own, and the agent retains its session."""
    (configuration,) = re.findall(r" -m exporter audit --config.file (\S+)$", demo.output(), re.MULTILINE)
    command = [sys.executable, "-m", "exporter", "audit", "--config.file", configuration, "--format=csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Critical" in done.stdout
    assert "tableau_rest_sessions_lost_total 0" in fetched(demo.url("metrics")).text


def test_cloud_has_no_repository(demos: Callable[..., Demo]) -> None:
    """With --cloud every site is read by REST API and log, also behind a proxy and beside an audit; no PostgreSQL."""
    demo = demos("--cloud", "--port", "0", HTTP_PROXY="http://127.0.0.1:1")
    metrics, page = demo.url("metrics"), demo.url("status page")
    wanted = (
        'tableau_up{source="rest"} 1',
        "tableau_asset_hours_since_refresh{",
        'freshness_source="metadata"',
        'tableau_up{source="activity_log"} 1',
        'tableau_activity_log_events_total{site="default",event_type="vizql_http_request"}',
    )
    demo.until(lambda: all(text in fetched(metrics).text for text in wanted), "the metrics show life")
    sites = {site.url_namespace or "default" for site in SITES}
    assert sites_of(demo, "tableau_asset_info") == sites
    assert 'tableau_up{source="repository"}' not in fetched(metrics).text
    assert fetched(page).status_code == httpx.codes.OK
    assert not any("postgres" in name for name in demo.left())
    is_audited(demo)
    agreed = set[str]()

    def agree() -> bool:
        """Whether each family once equalled the history: between two polls both stand still."""
        left = OF_HISTORY.keys() - agreed
        agreed.update(name for name in left if counted(demo, name) == queried(demo, OF_HISTORY[name]) != {})
        return agreed == OF_HISTORY.keys()

    for family in ("tableau_licensed_seats", "tableau_token_expiry_timestamp_seconds"):
        found = partial(sites_of, demo, family)
        demo.until(lambda found=found: found() == sites, f"{family} of every site")  # type: ignore[misc]
    demo.until(lambda: 'first poll finished" source=activity_log' in demo.recorded(), "the log is read")
    demo.until(agree, "the metrics are those of the history")
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.output()


def test_a_port_that_is_taken(demos: Callable[..., Demo]) -> None:
    """It is one line that names --port, before anything is built; the exit code is 1, and nothing is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = demos("--port", str(port))
        assert demo.process.wait(PATIENCE_SECONDS) == 1
    (line,) = demo.output().splitlines()
    assert line.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "choose another port with --port" in line
    assert demo.left() == []


def test_it_keeps_its_folder_when_asked(demos: Callable[..., Demo]) -> None:
    """SIGTERM ends it with 0; with --keep the history stays and can be read, PostgreSQL does not stay."""
    demo = demos("--port", "0", "--keep")
    shows_life(demo)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    (kept,) = re.findall(r"^kept: (.+)$", demo.output(), re.MULTILINE)
    with duckdb.connect(f"{kept}/history.duckdb", read_only=True) as history:
        assert history.execute("SELECT count(*) > 100000 FROM usage").fetchall() == [(True,)]
    assert "msg=listening" in Path(f"{kept}/agent.log").read_text()
    assert "msg=listening" not in demo.output()
    assert "Traceback" not in demo.output()
    assert demo.left() == [Path(kept).name]


def test_a_port_in_use_is_one_line(demos: Callable[..., Demo]) -> None:
    """A port in use is reported in one line that names the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = demos("--port", str(taken.getsockname()[1]))
        assert demo.process.wait(PATIENCE_SECONDS) == 1
    line = demo.output().splitlines()[-1]
    assert "Address already in use" in line
    assert line.endswith("choose another port with --port, or 0 for any free one")
    assert "Traceback" not in demo.output()
    assert demo.left() == []


def ordinary_user() -> str | None:
    """Return a user other than root who can run this Python, None where none can."""
    command = [sys.executable, "-c", "import exporter"]
    try:
        subprocess.run(command, cwd=ROOT, user="nobody", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return "nobody"


def test_an_ordinary_user_interrupts_it(demos: Callable[..., Demo]) -> None:
    """Root is not needed; the metrics have the demo's cases; Ctrl-C ends it with 0 and cleans up."""
    user = ordinary_user() if os.geteuid() == 0 else None
    demo = demos("--port", "0", user=user)
    shows_life(demo)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.output()
    if os.geteuid() == 0 and user is None:
        pytest.skip("root ran it: the user nobody needs an environment that others may read")
