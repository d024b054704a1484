"""``tableau-exporter demo``, run as its users run it: it shows URLs that work, and leaves nothing behind."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import httpx
import pytest

from tests.components import require

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


class Demo:
    """One demo process, whose folders all lie in a folder of ours."""

    def __init__(self, folder: Path, *arguments: str, user: str | None = None) -> None:
        self.folder = folder
        self.log = folder / "demo.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "exporter", "demo", *arguments],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "TMPDIR": str(folder),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "HOME": str(folder),
                },
                stdout=log,
                stderr=log,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def said(self) -> str:
        """Return everything printed so far."""
        return self.log.read_text(errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition as long as the demo runs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"did not happen: {what}\n{self.said()}")
            time.sleep(0.05)

    def url(self, of: str) -> str:
        """Wait for an URL that the demo prints."""
        pattern = re.compile(rf"^  {of} +(\S+)$", re.MULTILINE)
        self.until(lambda: pattern.search(self.said()), f"the {of} is told")
        found = pattern.search(self.said())
        assert found is not None
        return found[1]

    def left(self) -> list[str]:
        """Name what the demo left in its folder, and the processes that still work there."""
        files = [path.name for path in self.folder.iterdir() if path != self.log]
        return files + [line for line in _processes() if str(self.folder) in line]


def _processes() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return lines


@pytest.fixture
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Demo]]:
    """Start demos, and end them with the test."""
    require("postgres18")
    started: list[Demo] = []

    def start(*arguments: str, user: str | None = None) -> Demo:
        folder = tmp_path_factory.mktemp("demo")
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)  # PostgreSQL may run as another user, who must get there
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        started.append(Demo(folder, *arguments, user=user))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGTERM)
            demo.process.wait(PATIENCE_SECONDS)


def shows_life(demo: Demo) -> None:
    """Wait until the agent shows what the demo promises, and look at the page."""
    metrics, page = demo.url("metrics"), demo.url("status page")
    wanted = ("tableau_http_requests_total{", "tableau_asset_hours_since_refresh{", 'window="30d"')
    demo.until(lambda: all(text in httpx.get(metrics).text for text in wanted), "the metrics show life")
    assert httpx.get(page).status_code == httpx.codes.OK


def test_it_ends_by_itself_and_leaves_nothing(demos: Callable[..., Demo]) -> None:
    """The URLs that it prints work while it runs; then it is gone with its processes and its folders."""
    demo = demos("--for", "8s", "--port", "0")
    for of in ("metrics", "status page"):
        assert httpx.get(demo.url(of)).status_code == httpx.codes.OK
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.said()


def test_it_keeps_its_folder_when_asked(demos: Callable[..., Demo]) -> None:
    """With --keep the history stays and can be read; PostgreSQL does not stay."""
    demo = demos("--for", "3s", "--port", "0", "--keep")
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    (kept,) = re.findall(r"^kept: (.+)$", demo.said(), re.MULTILINE)
    with duckdb.connect(f"{kept}/history.duckdb", read_only=True) as history:
        assert history.execute("SELECT count(*) > 100000 FROM usage").fetchall() == [(True,)]
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
    assert line.endswith("the address is in use; stop the other program or choose another port")
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
