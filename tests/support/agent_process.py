"""The agent as a process: configured by its environment, read through its web pages and its history file."""

import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb
import httpx
import trustme
from prometheus_client.parser import text_string_to_metric_families

from tests.support import wait
from tests.support.program import Program
from tests.support.wait import PATIENCE_SECONDS


class Agent:
    """One agent process; its log is the file ``log``."""

    def __init__(self, folder: Path, repository: Mapping[str, str | int] | None, **settings: str) -> None:
        """Use libpq parameters of the repository and settings as REPOSITORY__POLL_INTERVAL="1s"."""
        self.folder = folder
        self.history = folder / "history.duckdb"
        self.log = folder / "agent.log"
        keys = {
            "HISTORY__PATH": str(self.history),
            "WEB__LISTEN_ADDRESS": "127.0.0.1:0",
        }
        if "REST__URL" not in settings or repository is not None:
            keys |= {"REPOSITORY__POLL_INTERVAL": "1s", "REPOSITORY__EXACT_INTERVAL": "1s"}
        if repository is not None:
            keys |= {
                "REPOSITORY__HOSTS": f"{repository['host']}:{repository['port']}",
                "REPOSITORY__DATABASE": str(repository["dbname"]),
                "REPOSITORY__USER": str(repository["user"]),
                "REPOSITORY__PASSWORD": str(repository.get("password", "")),
                "REPOSITORY__SSLMODE": "disable",
            }
        keys |= settings
        self.environment = {f"TABLEAU_EXPORTER_{key}": value for key, value in keys.items() if value}
        self.user: tuple[str, str] | None = None
        """The credentials of scrapes, where the agent requires a user and a password."""
        self.module = "exporter"
        """The command: the program, or one that wraps it."""
        self.authority: Path | None = None
        """The certificate of the CA of its web server; None without TLS."""
        self.patience_seconds = PATIENCE_SECONDS
        """How long a condition is waited for."""
        self._process: Program | None = None

    def certify(self) -> Path:
        """Let the web server have a certificate from now on; return that of its authority."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "server.crt")
        certificate.private_key_pem.write_to_path(self.folder / "server.key")
        web = self.folder / "web.yml"
        web.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n", encoding="utf-8")
        self.environment["TABLEAU_EXPORTER_WEB__CONFIG_FILE"] = str(web)
        self.authority = self.folder / "ca.crt"
        authority.cert_pem.write_to_path(self.authority)
        return self.authority

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self, *arguments: str, wait: bool = True) -> Self:
        """Start the process, and wait until it listens."""
        already = len(self._ports())
        environment = {**os.environ, **self.environment}
        self._process = Program(("run", *arguments), environment, self.log, self.log, module=self.module)
        if wait:
            self.until(lambda: len(self._ports()) > already or self.ended(), "the agent listens")
            if self.ended():
                raise AssertionError("the agent ended: " + self.logged())
        return self

    def _ports(self) -> list[str]:
        return re.findall(r"(?:msg=listening .*?\bport=|\"msg\":\"listening\".*?\"port\":)(\d+)", self.logged())

    @property
    def process(self) -> Program:
        """The running process."""
        assert self._process is not None
        return self._process

    @property
    def url(self) -> str:
        """Where the agent listens."""
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self._ports()[-1]}"

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def logged(self) -> str:
        """Return everything logged so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.kill()
        self.process.wait()

    def metrics(self, name: str = "") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Scrape, and return every sample, or those of one name, by name and labels."""
        # Conditions scrape many times: certificates are loaded only for TLS, and only the lines of the name are parsed.
        trusted = ssl.create_default_context(cafile=self.authority) if self.authority else False
        text = httpx.get(f"{self.url}/metrics", auth=self.user, timeout=PATIENCE_SECONDS, verify=trusted).text
        if name:
            text = "".join(re.findall(rf"^{name}[{{ ].*\n", text, re.MULTILINE))
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Scrape one sample; None when it is absent."""
        return self.metrics(name).get((name, frozenset(labels.items())))

    def total(self, name: str) -> float:
        """Scrape and add up all samples of a name."""
        return sum(self.metrics(name).values())

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for a condition; it is given a minute, not a speed."""
        wait.until(condition, lambda: f"{what or condition}\n{self.logged()[-4000:]}", self.patience_seconds, 0.1)

    def polled(self, times: int = 1) -> None:
        """Wait until that many polls that begin from now on have archived exactly."""
        for _ in range(times + 1):
            before = self.exact_at()
            self.until(lambda before=before: self.exact_at() > before, "an exact poll")  # type: ignore[misc]

    def exact_at(self) -> float:
        """When requests were last read without gaps."""
        name = "tableau_history_last_poll_timestamp_seconds"
        samples = self.metrics(name)
        return max((samples.get((name, frozenset({("mode", mode)})), 0.0) for mode in ("exact", "full")), default=0.0)

    @contextmanager
    def between_polls(self) -> Iterator[Path]:
        """Stop the process at a moment when it does not hold its file, for the duration of the block."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.process.send_signal(signal.SIGSTOP)
            # Sent is not stopped: a thread may still be in the midst of opening the file.
            wait.until(lambda: self.ended() or self.process.is_stopped())
            try:
                try:
                    duckdb.connect(str(self.history), read_only=True).close()
                except duckdb.IOException as held:
                    if "Could not set lock" in str(held) and time.monotonic() < deadline:
                        continue
                    raise
                yield self.history
                return
            finally:
                self.process.send_signal(signal.SIGCONT)

    def polled_somehow(self, times: int = 1) -> None:
        """Wait until that many more polls have queried the repository, whether or not their rows were stored."""
        name, labels = "tableau_collector_last_success_timestamp_seconds", {"collector": "users"}
        for _ in range(times):
            before = self.value(name, **labels)
            self.until(lambda before=before: self.value(name, **labels) != before, "a poll")  # type: ignore[misc]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the history, waiting for the moment between polls when no process holds it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with duckdb.connect(str(self.history), read_only=True) as connection:
                    return connection.execute(sql).fetchall()
            except duckdb.IOException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def copied(self, connection: duckdb.DuckDBPyConnection, table: str) -> int:
        """Copy a table of the history into another database; return how many rows it has."""
        self.until(lambda: self._copy(connection, table), f"a copy of {table}")
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def _copy(self, connection: duckdb.DuckDBPyConnection, table: str) -> bool:
        try:
            connection.execute(f"ATTACH '{self.history}' AS history (READ_ONLY)")
        except duckdb.IOException:
            return False
        connection.execute(f"CREATE TABLE {table} AS FROM history.{table}")
        connection.execute("DETACH history")
        return True
