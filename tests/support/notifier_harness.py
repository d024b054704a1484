"""The rule manager and its notifiers on a history file, with a clock of their own."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions
from exporter.alerting.evaluator import EVALUATION_SECONDS, EvaluationContext, NotificationOptions, RuleManager
from exporter.alerting.rules import RULES, Rule
from exporter.alerting.snapshot import SourceStates
from exporter.alerting.store import AlertStore
from exporter.collectors import discover
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.exposition.state_store import AnyBlock
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.metrics import Block
from exporter.status import FiringAlert

NOW = 1_700_000_000.0
TIMEOUT_SECONDS = 5.0


class NotifierHarness:
    """A notifier on a history file; ``now`` is its clock (Unix seconds), which stands still unless a test moves it."""

    def __init__(
        self,
        path: Path,
        urls: Sequence[str],
        rules: Sequence[Rule] = RULES,
        *,
        options: NotificationOptions | None = None,
        privacy: Privacy | None = None,
        patience_seconds: float = 1.0,
    ) -> None:
        self.path = path
        self.limits = Limits(patience_seconds=patience_seconds)
        self.urls = urls
        self.rules = rules
        self.options = options or NotificationOptions()
        self.privacy = privacy or Privacy()
        self.now = NOW
        self.blocks: Callable[[float], Iterable[AnyBlock]] = lambda _now: ()
        self.assets: Callable[[float], pa.Table] = lambda _now: ARROW_SCHEMA.empty_table()
        self.sources: Callable[[], SourceStates] = SourceStates
        self.published: Sequence[Block] = ()
        self.firing: Sequence[FiringAlert] = ()
        self.restart()

    def restart(self) -> None:
        """Begin anew with the same file, as an agent does that was killed."""
        self.file = HistoryFile(self.path, self.limits)
        self.history = History(self.file, discover(), self.privacy)
        self.store = AlertStore(self.rules)
        self.reload()

    def reload(self) -> None:
        """Continue with the same memory and perhaps other Alertmanagers, as an agent does after a reload."""
        present = EvaluationContext(self._blocks, self._assets, self._sources, self._show, self._show_firing)
        receivers = [Alertmanager(AlertmanagerOptions(url, timeout=TIMEOUT_SECONDS)) for url in self.urls]
        self.rule_manager = RuleManager(receivers, self.history, present, self.options, lambda: self.now, self.store)

    def _blocks(self, now: float) -> Iterable[AnyBlock]:
        return self.blocks(now)

    def _assets(self, now: float) -> pa.Table:
        return self.assets(now)

    def _sources(self) -> SourceStates:
        return self.sources()

    def _show(self, blocks: Sequence[Block], _now: float) -> None:
        self.published = blocks

    def _show_firing(self, alerts: Sequence[FiringAlert]) -> None:
        self.firing = alerts

    def step(self) -> None:
        """Evaluate, write, and notify every Alertmanager, once."""
        self.rule_manager.step()
        for notifier in self.rule_manager.notifiers:
            notifier.deliver()

    def go(self, seconds: float, every: float = EVALUATION_SECONDS) -> None:
        """Go on for so long."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + every, until)
            self.step()

    def kept(self) -> list[tuple[str, str]]:
        """Return name and state of each alert in the history."""
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute("SELECT labels['alertname'], state FROM alerts ORDER BY ALL").fetchall()

    def value(self, family: str, **labels: str) -> float | None:
        """Return a published sample."""
        for block in self.published:
            if block.family.name == family:
                for row, value in zip(block.labels.rows(), block.at(self.now), strict=True):
                    if dict(zip(block.labels.names, row, strict=True)) == labels and value is not None:
                        return float(value)
        return None
