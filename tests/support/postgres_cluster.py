"""PostgreSQL clusters of a test's own: stopped, killed, put back, promoted, upgraded, with a transaction counter set.

The superuser's session is opened anew when something has ended it.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.demo.postgres import SUPERUSER, Postgres
from exporter.repository.client import Address
from exporter.repository.connection import Connection, connect
from tests.support.components import require
from tests.support.poller_harness import PollerHarness
from tests.support.postgres import in_memory
from tests.support.source import Source, create_repository
from tests.support.wait import until

DATABASE = "workgroup"
# Only the test uses up or freezes transactions; a standby waits for no other server, and no other for it.
SETTINGS = {"autovacuum": "off", "max_standby_streaming_delay": "-1", "wal_retrieve_retry_interval": "100ms"}
# The transactions of a segment of pg_xact.
SEGMENT_XIDS = 2**20
SEGMENT_BYTES = 2**18


class Cluster(Source):
    """A server with a repository in it, seen by its superuser."""

    def __init__(self, server: Postgres) -> None:
        super().__init__(server.admin(DATABASE))
        self.server = server
        self._backups = 0

    @property
    def connection(self) -> "Connection[Any]":
        """The superuser's session; another one after the server was stopped."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.parameters)
        return self._connection

    @property
    def address(self) -> Address:
        """Where the agent finds it."""
        return Address(self.server.host, self.server.port)

    @property
    def socket(self) -> Address:
        """Where the agent finds it on the same machine, by an address that all servers share."""
        return Address(str(self.server.data), self.server.port)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server."""
        self.hang_up()
        self.server.stop(mode)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.hang_up()
        self.server.kill()

    @contextlib.contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Let nothing that is written reach the disk but by a commit."""
        kinds = "('walwriter', 'background writer', 'checkpointer')"
        writers = self.run(f"SELECT pid FROM pg_stat_activity WHERE backend_type IN {kinds}")
        for (writer,) in writers:
            os.kill(writer, signal.SIGSTOP)
        try:
            yield
        finally:
            for (writer,) in writers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(writer, signal.SIGCONT)
        until(self._answers)

    def crash(self) -> None:
        """Kill one process of the server; the postmaster ends all others, and recovers."""
        log = self.server.log
        reported = log.read_text().count("terminating any other active server processes")
        os.kill(self.run("SELECT pg_backend_pid()")[0][0], signal.SIGKILL)
        until(lambda: log.read_text().count("terminating any other active server processes") > reported)
        self.hang_up()

    def _answers(self) -> bool:
        with contextlib.suppress(Connection.OperationalError):
            return self.run("SELECT true") == [(True,)]
        return False

    def start(self) -> None:
        """Start the server again, on the same port."""
        self.server.start()

    def hang_up(self) -> None:
        """Close the superuser's session."""
        if self._connection is not None:
            self._connection.close()

    def program(self, name: str, *options: str, stdin: bytes = b"") -> bytes:
        """Run one of the server's programs as the server's account, and return its output."""
        environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "PGUSER": SUPERUSER, "PGPASSWORD": self.server.password}
        if self.server.running:
            environment |= {"PGHOST": self.server.host, "PGPORT": str(self.server.port)}
        with self.server._account.popen(
            [str(self.server._bin_dir / name), *options],
            cwd=self.server.data,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            printed, complaint = process.communicate(stdin)
        assert process.returncode == 0, (printed[-2000:], complaint)
        return bytes(printed)

    def backup(self, *options: str, folder: Path | None = None) -> Path:
        """Make a physical backup while the server runs; return its folder."""
        self._backups += 1
        folder = folder or self.server.folder / f"backup-{self._backups}"
        folder.mkdir(mode=0o700)
        self.server.own(folder)
        self.program("pg_basebackup", f"--pgdata={folder}", "--checkpoint=fast", "--no-sync", *options)
        return folder

    def copied(self) -> Path:
        """Copy the data of the server while it is stopped; return the copy's folder."""
        self._backups += 1
        folder = self.server.folder / f"backup-{self._backups}"
        self.stop()
        shutil.copytree(self.server.data, folder, symlinks=True)
        self.start()
        return folder

    def put_back(self, backup: Path) -> None:
        """Stop the server, put a copy of a backup in the place of its data, and start it."""
        self.stop()
        shutil.rmtree(self.server.data)
        shutil.copytree(backup, self.server.data, symlinks=True)
        self.server.own(self.server.data)
        self.start()

    def reset(self, next_xid: int, oldest_xid: int | None = None) -> None:
        """Stop the server, set its 64-bit transaction counter, and start it; every row must be frozen."""
        self.stop()
        segment = self.server.data / "pg_xact" / f"{next_xid % 2**32 // SEGMENT_XIDS:04X}"
        if not segment.exists():
            segment.write_bytes(bytes(SEGMENT_BYTES))
            self.server.own(segment)
        epoch, xid = divmod(next_xid, 2**32)
        oldest = (next_xid if oldest_xid is None else oldest_xid) % 2**32
        options = [f"--next-transaction-id={xid}", f"--oldest-transaction-id={oldest}", f"--epoch={epoch}"]
        self.program("pg_resetwal", *options, f"--pgdata={self.server.data}")
        self.start()

    def freeze(self) -> None:
        """Let no row in any database depend on the transaction counter."""
        self.program("vacuumdb", "--all", "--freeze", "--quiet")

    def next_xid(self) -> int:
        """Return the transaction id that comes next, in 64 bits."""
        return int(self.run("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0][0])

    def position(self) -> str:
        """Return how far the write-ahead log of a primary has come."""
        return str(self.run("SELECT pg_current_wal_lsn()::text")[0][0])


class Standby(Cluster):
    """A streaming standby of another cluster."""

    _primary = ""

    def caught_up(self, primary: Cluster) -> None:
        """Wait until everything that the primary has written is replayed here."""
        written = primary.position()
        until(lambda: self.run("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written) == [(True,)])

    def detach(self) -> None:
        """Receive nothing more from the primary; its later commits are missing here."""
        # Queried once: after ``attach`` a session may learn later than the receiver that there is a primary again.
        self._primary = self._primary or str(self.run("SHOW primary_conninfo")[0][0])
        self._receive_from("")
        until(lambda: self.run("SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)])

    def attach(self) -> None:
        """Receive from the primary again."""
        self._receive_from(self._primary)

    def _receive_from(self, primary: str) -> None:
        self.run("ALTER SYSTEM SET primary_conninfo = '{}'".format(primary.replace("'", "''")))
        self.server.reload()

    def promote(self) -> None:
        """Make this the primary, without restarting it."""
        assert self.run("SELECT pg_promote()") == [(True,)]


@functools.cache
def _template(component: str) -> Postgres:
    """A server that is stopped, with an empty repository that writes down every committed version of a request."""
    server = in_memory(Postgres(bin_dir=require(component)))
    server.start()
    with connect(server.admin()) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0".encode())
    with Source(server.admin(DATABASE)) as made:
        create_repository(made.connection)
        made.tell_the_truth()
    # Its folder is removed when the tests end.
    server.stop()
    return server


@contextlib.contextmanager
def cluster(component: str = "postgres15", **settings: str) -> Iterator[Cluster]:
    """A new cluster with an empty repository in which every committed version of a request is written down."""
    template = _template(component)
    server = _like(template, {**SETTINGS, **settings})
    shutil.copytree(template.data, server.data, symlinks=True)
    server.own(server.data)
    with server:
        made = Cluster(server)
        yield made
        made.hang_up()


def _like(other: Postgres, settings: Mapping[str, str]) -> Postgres:
    """Return a server whose data are still to be copied from another one."""
    server = in_memory(Postgres(bin_dir=other._bin_dir, settings=settings, password=other.password))
    server.settings["unix_socket_directories"] = str(server.data)
    server.folder.mkdir(mode=0o711)
    return server


@contextlib.contextmanager
def standby(primary: Cluster, **settings: str) -> Iterator[Standby]:
    """A standby that streams from a running cluster."""
    server = _like(primary.server, {**primary.server.settings, **settings})
    try:
        primary.backup("--write-recovery-conf", folder=server.data)
        with server:
            made = Standby(server)
            yield made
            made.hang_up()
    finally:
        server.close()


@contextlib.contextmanager
def upgraded(old: Cluster, component: str) -> Iterator[Cluster]:
    """Stop a cluster and move its data to a newer PostgreSQL, as pg_upgrade does it; on the same port."""
    server = in_memory(Postgres(bin_dir=require(component), settings=old.server.settings, password=old.server.password))
    server.settings["unix_socket_directories"] = str(server.data)
    with server:
        made = Cluster(server)
        made.stop()
        old.stop()
        old.program("pg_checksums", "--enable", f"--pgdata={old.server.data}")
        folder = server.folder / "upgrade"
        folder.mkdir()
        server.own(folder)
        made.program(
            "pg_upgrade",
            f"--old-bindir={old.server._bin_dir}",
            f"--new-bindir={server._bin_dir}",
            f"--old-datadir={old.server.data}",
            f"--new-datadir={server.data}",
            f"--socketdir={folder}",
            "--no-sync",
        )
        server.port = old.server.port
        made = Cluster(server)
        made.start()
        yield made
        made.hang_up()


def reach(harness: PollerHarness, *addresses: Address) -> None:
    """Have the agent find its repository at these addresses."""
    harness.repository._options = replace(harness.repository._options, addresses=addresses)
