"""How whole PostgreSQL clusters are made: new ones, standbys of another, and what a newer version makes of one."""

import contextlib
import functools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace

from exporter.demo.postgres import Postgres
from exporter.repository.client import Address
from exporter.repository.connection import connect
from tests.archive.cluster import DATABASE, Cluster, Standby
from tests.support.components import require
from tests.support.poller_harness import Rig
from tests.support.source import Source, create_repository

# No transaction is used up and none is frozen but by the test; a standby waits for nobody, and nobody for it.
SETTINGS = {"autovacuum": "off", "max_standby_streaming_delay": "-1", "wal_retrieve_retry_interval": "100ms"}


@functools.cache
def _template(component: str) -> Postgres:
    """A server that is stopped, with an empty repository that writes down every committed version of a request."""
    server = Postgres(bin_dir=require(component))
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
    server = Postgres(bin_dir=other._bin_dir, settings=settings, password=other.password)
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
    """Stop a cluster and move what it holds to a newer PostgreSQL, as pg_upgrade does it; on the same port."""
    server = Postgres(bin_dir=require(component), settings=old.server.settings, password=old.server.password)
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


def reach(rig: Rig, *addresses: Address) -> None:
    """Let the agent look for its repository at these addresses."""
    rig.repository._options = replace(rig.repository._options, addresses=addresses)
