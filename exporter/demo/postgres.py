"""A real PostgreSQL of our own, on 127.0.0.1, that lives as long as the process that started it."""

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from exporter.demo import postgres_install, processes
from exporter.demo.postgres_install import Account
from exporter.errors import DemoError
from exporter.repository.connection import Connection, connect

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_SECONDS = 60.0
STOP_SECONDS = 30.0

# Nothing here has to survive a power cut of the machine (a killed server loses nothing), and the demo is light.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_wal_size": "256MB",
    "max_parallel_workers_per_gather": "0",
}

SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": getattr(signal, "SIGQUIT", signal.SIGTERM)}


class Postgres:
    """An embedded PostgreSQL server; a context manager.

    ``folder`` keeps the data; without one, a temporary folder is made and removed by ``close()``. A folder that already
    holds a data directory is started as it is, and ``password`` must then be the one it was made with. ``port`` is
    known once the server has started, and stays the same from then on.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> None:
        self.temporary = folder is None
        self.folder = folder or Path(tempfile.gettempdir(), f"tableau-exporter-{secrets.token_hex(8)}")
        self.settings = dict(settings or {})
        self.password = password or secrets.token_hex(16)
        self.host = HOST
        self.port = 0
        self._account = Account.choose()
        self._bin_dir = postgres_install.programs(bin_dir)
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The log of the server."""
        return self.folder / "postgresql.log"

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        return self._server is not None and self._server.poll() is None

    def admin(self, database: str = "postgres") -> dict[str, str | int]:
        """Return connection parameters of the superuser."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": database,
            "user": SUPERUSER,
            "password": self.password,
        }

    def start(self) -> None:
        """Start the server and wait until it answers; the first time, make its data directory."""
        if self.running:
            return
        atexit.register(self.close)
        try:
            if not (self.data / "PG_VERSION").exists():
                self._initialise()
            self._launch()
            self._wait()
        except BaseException:
            self.stop("immediate")
            raise

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in one of PostgreSQL's modes (smart, fast, immediate); harmless when it is stopped."""
        server, self._server = self._server, None
        watch, self._watch = self._watch, None
        processes.unwatch(watch)
        if server is None:
            return
        if server.poll() is None:
            processes.send(server.pid, signal.SIGCONT)
            server.send_signal(SIGNALS[mode])
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            processes.send(server.pid, signal.SIGKILL)
            server.wait()

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would."""
        if self._server is not None:
            processes.wait_until_gone(processes.send(self._server.pid, signal.SIGKILL))
        self.stop()

    def restart(self, mode: str = "fast") -> None:
        """Stop and start on the same port; changed ``settings`` come into force."""
        self.stop(mode)
        self.start()

    def pause(self) -> None:
        """Freeze every process: connections stay open and nothing answers."""
        if self._server is not None:
            processes.send(self._server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let the processes go on after ``pause()``."""
        if self._server is not None:
            processes.send(self._server.pid, signal.SIGCONT)

    def reload(self) -> None:
        """Make the server read ``pg_hba.conf`` and its other files again."""
        if self._server is not None:
            self._server.send_signal(signal.SIGHUP)

    def own(self, path: Path) -> None:
        """Hand a file to the account that the server runs as, for example a certificate's key."""
        self._account.own(path)

    def close(self) -> None:
        """Stop, and remove the folder when it is temporary."""
        self.stop()
        atexit.unregister(self.close)
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _initialise(self) -> None:
        # A temporary folder must be new; others may pass through it, whatever our umask is, but not list it.
        self.folder.mkdir(parents=True, exist_ok=not self.temporary)
        if self.temporary:
            self.folder.chmod(0o711)
        if not self._account.reaches(self.folder):
            message = (
                f"PostgreSQL cannot run as root, and no other user may enter {self.folder}: choose a folder in /tmp"
            )
            raise DemoError(message)
        self._bin_dir = postgres_install.reachable(self._bin_dir, self._account, self.folder)
        self.data.mkdir(mode=0o700, exist_ok=True)
        secret = self.folder / "initdb.secret"
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n")
        self._account.own(self.data)
        self._account.own(secret)
        options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync"]
        initdb = self._run(
            ["initdb", f"--pgdata={self.data}", f"--username={SUPERUSER}", f"--pwfile={secret}", *options]
        )
        try:
            made = initdb.wait()
        finally:
            initdb.kill()
            secret.unlink()
        if made != 0:
            message = f"initdb failed in {self.folder}: {self._last_words()}"
            raise DemoError(message)

    def _launch(self) -> None:
        self.port = self.port or processes.free_port(HOST)
        settings = {**SETTINGS, **self.settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._server = self._run(["postgres", "-D", str(self.data), *options])
        self._watch = processes.watch(self._server.pid)

    def _run(self, command: list[str]) -> "subprocess.Popen[bytes]":
        program, *arguments = command
        # Our own environment may hold PGDATA, PGPORT or a password that is meant for another server.
        environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}
        with self.log.open("ab") as log:
            return self._account.popen(
                [str(self._bin_dir / program), *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _wait(self) -> None:
        patience = time.monotonic() + START_SECONDS
        while time.monotonic() < patience:
            with contextlib.suppress(Connection.OperationalError):
                connect({**self.admin(), "connect_timeout": 5}).close()
                return
            if not self.running:
                message = f"PostgreSQL did not start in {self.folder}: {self._last_words()}"
                raise DemoError(message)
            time.sleep(0.05)
        message = f"PostgreSQL did not answer on port {self.port} within {START_SECONDS:.0f} s; see {self.log}"
        raise DemoError(message)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"
