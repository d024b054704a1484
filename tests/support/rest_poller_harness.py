"""The poller of the REST API on a simulated Tableau, with a clock of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.collector import Collector
from exporter.collectors import discover, wanted_lists
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.exposition.state_store import StateStore
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.metrics import Block
from exporter.poller.context import PollContext
from exporter.poller.merged_state import MergedState, merged_states
from exporter.poller.rest_poller import RestPoller
from exporter.rest.client import RestClient
from exporter.rest.credentials import RestOptions, Token
from exporter.status import CollectorStatus

INTERVAL = 300.0
ASSETS = ("assets", 0)


class RestPollerHarness:
    """One agent's REST half; ``now`` is its clock (Unix seconds), which stands still unless a test moves it."""

    def __init__(
        self,
        server: TableauServer,
        path: Path,
        now: float,
        *,
        look_ups_a_day: int = 5000,
        collectors: Mapping[str, Collector] | None = None,
        sources: tuple[str, ...] = ("rest",),
    ) -> None:
        self.server = server
        self.sources = sources
        self.collectors = {"assets": discover()["assets"]} if collectors is None else collectors
        self.now = now
        self.file = HistoryFile(path, Limits(patience_seconds=1.0))
        self.sites: tuple[str, ...] = ()
        self.timeout = 10.0
        self.look_ups_a_day = look_ups_a_day
        self.privacy = Privacy()
        self.retention: timedelta | None = None
        self._start()

    def restart(self) -> None:
        """Begin anew with the same file, as a restarted agent does."""
        self.rest.close()
        self.file.unlock()
        self._start()

    def _start(self) -> None:
        found = self.collectors
        self.store = StateStore(self.sources, version="0", library="0", started_at=self.now)
        history = History(self.file, found, self.privacy, retention=self.retention)
        history.lock()

        def slas(_asset: object) -> tuple[float, float]:
            return (12.0, 24.0)

        context = self.context = PollContext(
            history, found, self.store, lambda: self.now, slas, merged_states(found, slas), lambda: None
        )
        (name, value), *_ = TOKENS.items()
        login = RestOptions(self.server.url, self.sites, lambda: Token(name, value), None, self.timeout)
        self.rest = RestClient(
            login,
            clock=lambda: self.now,
            sleep=lambda _: None,
            stopping=context.stopped.is_set,
            wanted=wanted_lists(found, self.sources),
        )
        self.poller = RestPoller(self.rest, context, INTERVAL, self.look_ups_a_day)
        self.merged = context.merged_states.get(ASSETS) or MergedState(discover()["assets"].states[0], slas, 0.0)

    def poll(self, *, after: float = INTERVAL) -> bool:
        """Let time pass, and poll once."""
        self.now += after
        return self.poller.poll()

    def assets(self) -> dict[tuple[str, str], dict[str, object]]:
        """Return the published labels of each asset, by type and LUID."""
        rows = self.merged.rows(self.now)
        found = rows.to_pylist() if rows is not None else []
        assert len({(row["asset_type"], row["asset_id"]) for row in found}) == len(found)
        return {(row["asset_type"], row["asset_id"]): row for row in found}

    def sites_shown(self) -> set[object]:
        """Return the sites with published assets."""
        return {row["site"] for row in self.assets().values()}

    def values(self, family: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a family as they are published now."""
        found: dict[tuple[str, ...], float] = {}
        for block in self.store.blocks(self.now):
            if block.family.name == family and isinstance(block, Block):
                pairs = zip(block.labels.rows(), block.at(self.now), strict=True)
                found |= {labels: value for labels, value in pairs if value is not None}
        return found

    def status(self) -> CollectorStatus:
        """Return the status of the collector of assets; its error is one line."""
        (status,) = self.store.summary(self.now, None).collectors
        assert "\n" not in (status.error or "") + (status.note or "")
        return status

    def up(self) -> bool:
        """Whether the API answered."""
        return self.store.status.source("rest").up

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the history's file, as another program does."""
        holder = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", holder, str(self.file.path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            yield
            assert process.stdin
            process.stdin.close()

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Query the history."""
        with duckdb.connect(str(self.file.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def seconds(at: datetime) -> float:
    """Return an instant of the simulation, UTC without a zone, as Unix seconds."""
    return at.replace(tzinfo=UTC).timestamp()


def harnesses(server: TableauServer, path: Path, now: float) -> Iterator[RestPollerHarness]:
    """Return a harness, and end it."""
    harness = RestPollerHarness(server, path, now)
    yield harness
    harness.rest.close()
    server.failure_modes.reset()


def ids(rows: pa.Table) -> set[str]:
    """Return the LUIDs of rows."""
    return set(rows.column("asset_id").to_pylist())
