"""Builds the agent's state, and the pollers and the rule manager of a configuration; a reload builds new ones.

Each is imported when it is built: the libraries of a source that is not configured cost no time and no memory.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from typing import Protocol

from exporter import __version__, collectors, component_options
from exporter.alerting.evaluator import EvaluationContext, EvaluationOptions, RuleManager
from exporter.alerting.store import AlertStore
from exporter.collector import Collector, StateKey
from exporter.config import Configuration, sections
from exporter.errors import ConfigurationError, Fault
from exporter.exposition.state_store import StateStore
from exporter.freshness import sla_lookup
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.pagedata.query_results import PageAnswers
from exporter.poller.context import PollContext
from exporter.poller.merged_state import MergedState, merged_states
from exporter.rest.token_stats import TokenTracker


@dataclass(frozen=True)
class AgentState:
    """What outlasts a reload; ``on_change`` is called when there is something new to publish."""

    known: Mapping[str, Collector]
    file: HistoryFile
    store: StateStore
    merged_states: Mapping[StateKey, MergedState]
    on_change: Callable[[], None]
    evaluation: EvaluationOptions
    alerts: AlertStore
    """One manager at a time uses it: a new one starts when the old one has stopped."""
    answers: PageAnswers = field(default_factory=PageAnswers)
    token: TokenTracker = field(default_factory=lambda: TokenTracker(time.time))
    """The statistics of the REST API's token; one poller at a time uses it."""
    ending: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the agent."""

    @property
    def assets(self) -> MergedState:
        """The assets of all sources."""
        key = collectors.asset_state(self.known)
        assert key is not None  # noqa: S101 - of all collectors one has assets
        return self.merged_states[key]


class Poller(Protocol):
    """Polls a source in a thread of its own."""

    def run(self, randomness: random.Random) -> None:
        """Poll until the context is stopped, with back-off and jitter after failures."""


@dataclass(frozen=True)
class Workers:
    """The pollers and the rule manager of one configuration; without Alertmanagers there is none."""

    context: PollContext
    pollers: Mapping[str, Poller]
    """By source."""
    rule_manager: RuleManager | None


def build_state(
    configuration: Configuration, on_change: Callable[[], None], evaluation: EvaluationOptions
) -> AgentState:
    """Build the state of an agent that starts with a configuration."""
    known = collectors.discover()
    store = StateStore(
        configuration.sources,
        version=__version__,
        library=metadata.version("duckdb"),
        started_at=time.time(),
    )
    file = HistoryFile(configuration.history.path, component_options.history_limits(configuration))
    merged = merged_states(known, sla_lookup(configuration.freshness.sla_rules()))
    return AgentState(known, file, store, merged, on_change, evaluation, AlertStore(evaluation.rules))


def build_workers(configuration: Configuration, state: AgentState) -> Workers:
    """Build the workers of a configuration; none is started yet. Raises ConfigurationError."""
    enabled = component_options.enabled(configuration, state.known)
    retention = configuration.history.retention
    history = History(
        state.file,
        enabled,
        component_options.privacy(configuration),
        configuration.pseudonym_key_file,
        timedelta(seconds=retention) if retention else None,
    )
    history.pseudonyms = component_options.pseudonyms(configuration)
    context = PollContext(
        history,
        enabled,
        state.store,
        time.time,
        sla_lookup(configuration.freshness.sla_rules()),
        {key: merged for key, merged in state.merged_states.items() if key[0] in enabled},
        state.on_change,
        state.answers,
        ending=state.ending,
        timezone=configuration.freshness.timezone,
    )
    pollers = dict(_pollers(configuration, context, state.token))
    return Workers(context, pollers, _rule_manager(configuration, context, state))


def _pollers(configuration: Configuration, context: PollContext, token: TokenTracker) -> Iterator[tuple[str, Poller]]:
    if repository := configuration.repository:
        yield "repository", _repository_poller(repository, context)
    if rest := configuration.rest:
        yield "rest", _rest_poller(rest, context, token)
    if activity_log := configuration.activity_log:
        yield "activity_log", _activity_poller(configuration, activity_log, context)


def _repository_poller(settings: sections.Repository, context: PollContext) -> Poller:
    from exporter.poller.repository_poller import RepositoryPoller, Schedule
    from exporter.repository.client import RepositoryClient

    schedule = Schedule(settings.poll_interval, settings.exact_interval)
    return RepositoryPoller(RepositoryClient(component_options.repository_options(settings)), context, schedule)


def _rest_poller(settings: sections.Rest, context: PollContext, token: TokenTracker) -> Poller:
    from exporter.poller.rest_poller import RestPoller
    from exporter.rest.client import RestClient

    rest = RestClient(
        component_options.rest_options(settings),
        stopping=context.stopped.is_set,
        token=token,
        moved=context.store.status.progress["rest"].moved,
        wanted=collectors.wanted_lists(context.collectors, [source.name for source in context.store.status.sources()]),
    )
    return RestPoller(rest, context, settings.poll_interval, settings.job_lookups_per_day)


def _activity_poller(configuration: Configuration, settings: sections.ActivityLog, context: PollContext) -> Poller:
    from exporter.activity_log.client import ActivityLogClient
    from exporter.activity_log.http_client import Pace
    from exporter.poller.activity_poller import ActivityPoller, ActivitySchedule

    pace = Pace(context.stopped.is_set, moved=context.store.status.progress["activity_log"].moved)
    client = ActivityLogClient(component_options.activity_log_options(configuration, settings), pace)
    return ActivityPoller(client, context, ActivitySchedule(settings.poll_interval, settings.overlap))


def _rule_manager(configuration: Configuration, context: PollContext, state: AgentState) -> RuleManager | None:
    settings = configuration.alertmanager
    if settings is None:
        return None
    from exporter.alerting.alertmanager import Alertmanager

    return RuleManager(
        [Alertmanager(options) for options in component_options.alertmanager_options(settings)],
        context.history,
        EvaluationContext.of(state.store, context.collectors, state.assets.rows, state.answers),
        component_options.notification_options(settings, configuration),
        time.time,
        state.alerts,
    )


def refuse_restart(old: Configuration, new: Configuration) -> None:
    """Refuse changes of what is opened once. Raises ConfigurationError."""
    pairs = {
        "history.path": (old.history.path, new.history.path),
        "web.listen_address": (old.web.listen_address, new.web.listen_address),
        "web.telemetry_path": (old.web.telemetry_path, new.web.telemetry_path),
        "web.route_prefix": (old.web.route_prefix, new.web.route_prefix),
        "web.systemd_socket": (old.web.systemd_socket, new.web.systemd_socket),
        "web.config_file": (old.web.config_file is None, new.web.config_file is None),
        "repository": (old.repository is None, new.repository is None),
        "rest": (old.rest is None, new.rest is None),
        "activity_log": (old.activity_log is None, new.activity_log is None),
        "rest.admin_insights": (old.admin_insights, new.admin_insights),
    }
    refusal = "cannot change while the agent runs; restart it"
    faults = [Fault(path, refusal) for path, (before, after) in pairs.items() if before != after]
    if faults:
        raise ConfigurationError(faults)
