"""The pollers and the notifier of one configuration. A reload builds new ones, which share the state of the agent."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pyarrow as pa

from exporter import component_options
from exporter.activity_log.client import ActivityLogClient
from exporter.activity_log.http_client import Pace
from exporter.alerting.alertmanager import Alertmanager
from exporter.alerting.evaluator import EvaluationContext, EvaluationOptions, RuleManager
from exporter.alerting.snapshot import SourceStates
from exporter.alerting.store import AlertStore
from exporter.collector import Collector, StateKey
from exporter.collectors import asset_state
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.config import Configuration
from exporter.exposition.state_store import NOTIFICATIONS, AnyBlock, StateStore, TimedBlocks
from exporter.freshness import sla_lookup
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.metrics import Block
from exporter.pagedata.answers import PageAnswers
from exporter.poller.activity_poller import ActivityPoller, ActivitySchedule
from exporter.poller.context import PollContext
from exporter.poller.merged_state import MergedState
from exporter.poller.repository_poller import RepositoryPoller, Schedule
from exporter.poller.rest_poller import RestPoller
from exporter.poller.rest_usage import rest_hooks, wanted_lists
from exporter.repository.client import Repository
from exporter.rest.client import RestClient

NEVER = float("inf")
ASSET_SOURCES = ("repository", "rest")
"""The sources that report assets."""


@dataclass(frozen=True)
class AgentState:
    """State that outlasts a reload; ``on_change`` is called when there is something new to publish."""

    known: Mapping[str, Collector]
    file: HistoryFile
    store: StateStore
    merged_states: Mapping[StateKey, MergedState]
    on_change: Callable[[], None]
    tempo: EvaluationOptions = field(default_factory=EvaluationOptions)
    answers: PageAnswers = field(default_factory=PageAnswers)

    def retain(self, collectors: Mapping[str, Collector]) -> None:
        """Drop the states and page answers of collectors that are disabled now."""
        self.store.retain(collectors)
        self.answers.retain(collectors)

    def sources(self, collectors: Mapping[str, Collector]) -> SourceStates:
        """Return the sources that are polled now, and which of them report assets."""
        tried = {status.name: status for status in self.store.status.sources() if status.tried_at is not None}
        assets = asset_state(collectors)
        runs = {
            name: self.store.status.collector(assets[0], name) if assets else None
            for name in tried
            if name in ASSET_SOURCES
        }
        return SourceStates(
            assets is not None,
            {name: status.up for name, status in tried.items()},
            # Of many sites one may fail: the REST API reports the others.
            {name: tried[name].up and (name == "rest" or bool(run and run.success)) for name, run in runs.items()},
            self.store.status.all_tried() and all(run is not None and run.success for run in runs.values()),
            not self.store.status.all_tried(),
            (
                *(name for name, collector in collectors.items() if any(state.rest for state in collector.states)),
                *rest_hooks(collectors, tried),
            ),
        )

    def assets(self, now: float) -> pa.Table:
        """Return the rows of all assets of all sources; empty before the first poll."""
        rows = merged.rows(now) if (merged := self._merged_assets()) else None
        return ARROW_SCHEMA.empty_table() if rows is None else rows

    def assets_and_blocks(self, now: float) -> tuple[pa.Table, Sequence[AnyBlock]] | None:
        """Return the rows of all assets and the blocks made of them; None before the first poll."""
        return merged.rows_and_blocks(now) if (merged := self._merged_assets()) else None

    def _merged_assets(self) -> MergedState | None:
        key = asset_state(self.known)
        return self.merged_states.get(key) if key else None

    def set_notification_metrics(self, blocks: Iterable[Block], now: float) -> None:
        """Publish the metrics of the notifier."""
        self.store.set_state(NOTIFICATIONS, TimedBlocks(tuple(blocks), now, NEVER))


@dataclass(frozen=True)
class Workers:
    """The pollers and the notifier of one configuration; None is what it does not configure."""

    poller: RepositoryPoller | None
    rest_poller: RestPoller | None
    activity_poller: ActivityPoller | None
    rule_manager: RuleManager | None
    history: History
    collectors: Mapping[str, Collector]
    stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Ask the pollers and the notifier to stop."""
        self.stopped.set()
        for poller in (self.poller, self.rest_poller, self.activity_poller):
            if poller is not None:
                poller.stop()


def build_workers(configuration: Configuration, state: AgentState, before: Workers | None = None) -> Workers:
    """Build the workers of a configuration; none is started yet. Raises ConfigurationError."""
    chosen = component_options.enabled(configuration, state.known)
    retention = configuration.history.retention
    history = History(
        state.file,
        chosen,
        component_options.privacy(configuration),
        configuration.pseudonym_key_file,
        timedelta(seconds=retention) if retention else None,
    )
    history.pseudonyms = component_options.pseudonyms(configuration)
    shared = PollContext(
        history,
        chosen,
        state.store,
        time.time,
        sla_lookup(configuration.freshness.sla_rules()),
        {key: merged for key, merged in state.merged_states.items() if key[0] in chosen},
        state.on_change,
        state.answers,
    )
    return Workers(
        _poller(configuration, shared),
        _rest_poller(configuration, shared, before),
        _activity_poller(configuration, shared),
        _notifier(configuration, history, state, chosen, before),
        history,
        chosen,
    )


def _poller(configuration: Configuration, shared: PollContext) -> RepositoryPoller | None:
    settings = configuration.repository
    if settings is None:
        return None
    schedule = Schedule(settings.poll_interval, settings.exact_interval)
    return RepositoryPoller(Repository(component_options.login(configuration)), shared, schedule)


def _rest_poller(configuration: Configuration, shared: PollContext, before: Workers | None) -> RestPoller | None:
    settings = configuration.rest
    if settings is None:
        return None
    stopped = threading.Event()
    # The statistics of the token outlast a reload.
    token_stats = before.rest_poller.life if before and before.rest_poller else None
    rest = RestClient(
        component_options.rest_login(settings),
        stopping=stopped.is_set,
        token_stats=token_stats,
        moved=shared.store.status.progress["rest"].moved,
        wanted=wanted_lists(shared.collectors, [source.name for source in shared.store.status.sources()]),
    )
    return RestPoller(rest, shared, settings.poll_interval, settings.job_lookups_per_day, stopped)


def _activity_poller(configuration: Configuration, shared: PollContext) -> ActivityPoller | None:
    settings = configuration.activity_log
    if settings is None:
        return None
    stopped = threading.Event()
    pace = Pace(stopped.is_set, moved=shared.store.status.progress["activity_log"].moved)
    client = ActivityLogClient(component_options.activity_log(configuration, settings), pace)
    return ActivityPoller(client, shared, ActivitySchedule(settings.poll_interval, settings.overlap), stopped)


def _notifier(
    configuration: Configuration,
    history: History,
    state: AgentState,
    chosen: Mapping[str, Collector],
    before: Workers | None,
) -> RuleManager | None:
    if configuration.alertmanager is None:
        return None
    receivers: Sequence[Alertmanager] = [
        Alertmanager(login) for login in component_options.alertmanagers(configuration)
    ]
    context = EvaluationContext(
        state.store.blocks,
        state.assets,
        lambda: state.sources(chosen),
        state.set_notification_metrics,
        state.store.set_firing,
    )
    # Only one of the two managers uses it at a time: the new one starts when the old one has stopped.
    store = before.rule_manager.store if before and before.rule_manager else AlertStore(state.tempo.rules)
    return RuleManager(
        receivers, history, context, component_options.notification_options(configuration), time.time, store
    )
