"""A real PgBouncer in front of a PostgreSQL server of the tests."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from exporter.demo.postgres import Postgres
from exporter.demo.postgres_install import Account
from exporter.demo.processes import free_port
from tests.support.components import require
from tests.support.wait import until

HOST = "127.0.0.1"


@contextmanager
def pgbouncer(server: Postgres, passwords: Mapping[str, str], **settings: str) -> Iterator[int]:
    """Run PgBouncer for every database of a server and these users; yield its port.

    ``settings`` are those of the section ``[pgbouncer]``, for example ``pool_mode``.
    """
    program = require("pgbouncer")
    account = Account.choose()  # PgBouncer refuses to run as root, as PostgreSQL does
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    port = free_port(HOST)
    users = folder / "users.txt"
    users.write_text("".join(f'"{user}" "{password}"\n' for user, password in passwords.items()))
    values = {
        "listen_addr": HOST,
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(users),
        **settings,
    }
    file = folder / "pgbouncer.ini"
    lines = ["[databases]", f"* = host={server.host} port={server.port}", "[pgbouncer]"]
    file.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in values.items())]) + "\n")
    account.own(folder)
    log = folder / "pgbouncer.log"
    try:
        with log.open("wb") as output:
            process = account.popen([str(program), str(file)], cwd=folder, stdout=output, stderr=output)
        try:
            _wait(process, log)
            yield port
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    def is_up() -> bool:
        written = log.read_text(errors="replace")
        assert process.poll() is None, written
        return "process up" in written

    until(is_up, lambda: log.read_text(errors="replace"))
