"""A whole agent but its threads and its web pages, on a real repository, with a clock of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions
from exporter.alerting.evaluator import EVALUATION_SECONDS, EvaluationContext, NotificationOptions, RuleManager
from exporter.collectors import discover
from exporter.config.freshness import SlaRule
from exporter.exposition.state_store import StateStore
from exporter.freshness import sla_lookup
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.poller.context import PollContext
from exporter.poller.merged_state import merged_states
from exporter.poller.repository_poller import RepositoryPoller, Schedule
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions

POLL_SECONDS = 60.0
HOUR = 3600.0


class Deployment:
    """One agent; ``now`` is its clock (Unix seconds), which begins as the repository's does."""

    def __init__(
        self,
        path: Path,
        repository: Mapping[str, str | int],
        urls: Sequence[str],
        *,
        warning: float = 12 * HOUR,
        critical: float = 24 * HOUR,
        options: NotificationOptions | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        self.path = path
        self.now = time.time()
        self.urls = urls
        self.options = options or NotificationOptions()
        self.privacy = privacy or Privacy()
        self.slas = sla_lookup([SlaRule({}, warning, critical)])
        address = Address(str(repository["host"]), int(repository["port"]))
        names = (str(repository["dbname"]), str(repository["user"]))
        password = str(repository["password"])
        self.repository = RepositoryClient(
            RepositoryOptions((address,), *names, lambda: password, (("sslmode", "disable"),))
        )
        self.changed: Callable[[], None] = lambda: None
        """Publish new samples."""
        self.restart()

    def restart(self) -> None:
        """Begin anew with the same file, as an agent does that was killed."""
        found = discover()
        store = StateStore(["repository"], version="0", library="0", started_at=self.now)
        merged = merged_states(found, self.slas)
        history = History(HistoryFile(self.path), found, self.privacy)
        shared = PollContext(history, found, store, lambda: self.now, self.slas, merged, self._changed)
        self.poller = RepositoryPoller(self.repository, shared, Schedule(POLL_SECONDS, 5 * POLL_SECONDS))
        self.store = store
        (assets,) = merged.values()
        present = EvaluationContext.of(store, found, assets.rows, shared.answers)
        receivers = [Alertmanager(AlertmanagerOptions(url)) for url in self.urls]
        self.rule_manager = RuleManager(receivers, history, present, self.options, lambda: self.now)
        self._polled_at = -POLL_SECONDS

    def _changed(self) -> None:
        self.changed()

    def go(self, seconds: float) -> None:
        """Run for a while: poll every minute, evaluate and notify every 15 seconds."""
        until = self.now + seconds
        while self.now < until:
            self.now += EVALUATION_SECONDS
            if self.now - self._polled_at >= POLL_SECONDS:
                self._polled_at = self.now
                self.poller.poll()
            self.rule_manager.step()
            for notifier in self.rule_manager.notifiers:
                notifier.deliver()
