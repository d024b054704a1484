"""Builds the agent's state, and the pollers and the rule manager of a configuration; a reload builds new ones.

Each is imported when it is built: the libraries of a source that is not configured cost no time and no memory.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import metadata
from typing import TYPE_CHECKING

from exporter import __version__, collectors, component_options
from exporter.alerting.evaluator import EvaluationContext, EvaluationOptions, RuleManager
from exporter.alerting.store import AlertStore
from exporter.collector import Collector, StateKey
from exporter.config import Configuration
from exporter.errors import ConfigurationError, Fault
from exporter.exposition.state_store import StateStore
from exporter.freshness import sla_lookup
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.pagedata.query_results import PageAnswers
from exporter.poller.context import PollContext
from exporter.poller.merged_state import MergedState, merged_states

if TYPE_CHECKING:
    from exporter.poller.activity_poller import ActivityPoller
    from exporter.poller.repository_poller import RepositoryPoller
    from exporter.poller.rest_poller import RestPoller

SOURCES = ("repository", "rest", "activity_log", "admin_insights")


@dataclass(frozen=True)
class AgentState:
    """What outlasts a reload; ``on_change`` is called when there is something new to publish."""

    known: Mapping[str, Collector]
    file: HistoryFile
    store: StateStore
    merged_states: Mapping[StateKey, MergedState]
    on_change: Callable[[], None]
    evaluation: EvaluationOptions
    answers: PageAnswers = field(default_factory=PageAnswers)

    @property
    def assets(self) -> MergedState:
        """The assets of all sources."""
        key = collectors.asset_state(self.known)
        assert key is not None  # noqa: S101 - of all collectors one has assets
        return self.merged_states[key]


@dataclass(frozen=True)
class Workers:
    """The pollers and the rule manager of one configuration; None is what it does not configure."""

    context: PollContext
    poller: "RepositoryPoller | None"
    rest_poller: "RestPoller | None"
    activity_poller: "ActivityPoller | None"
    rule_manager: RuleManager | None


def build_state(
    configuration: Configuration, on_change: Callable[[], None], evaluation: EvaluationOptions
) -> AgentState:
    """Build the state of an agent that starts with a configuration."""
    known = collectors.discover()
    store = StateStore(
        [name for name in SOURCES if getattr(configuration, name)],
        version=__version__,
        library=metadata.version("duckdb"),
        started_at=time.time(),
    )
    file = HistoryFile(configuration.history.path, component_options.history_limits(configuration))
    merged = merged_states(known, sla_lookup(configuration.freshness.sla_rules()))
    return AgentState(known, file, store, merged, on_change, evaluation)


def build_workers(configuration: Configuration, state: AgentState, before: Workers | None = None) -> Workers:
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
        timezone=configuration.freshness.timezone,
    )
    return Workers(
        context,
        _poller(configuration, context),
        _rest_poller(configuration, context, before),
        _activity_poller(configuration, context),
        _rule_manager(configuration, context, state, before),
    )


def _poller(configuration: Configuration, context: PollContext) -> "RepositoryPoller | None":
    settings = configuration.repository
    if settings is None:
        return None
    from exporter.poller.repository_poller import RepositoryPoller, Schedule
    from exporter.repository.client import RepositoryClient

    schedule = Schedule(settings.poll_interval, settings.exact_interval)
    return RepositoryPoller(RepositoryClient(component_options.repository_options(settings)), context, schedule)


def _rest_poller(configuration: Configuration, context: PollContext, before: Workers | None) -> "RestPoller | None":
    settings = configuration.rest
    if settings is None:
        return None
    from exporter.poller.rest_poller import RestPoller
    from exporter.rest.client import RestClient

    rest = RestClient(
        component_options.rest_options(settings),
        stopping=context.stopped.is_set,
        # The statistics of the token outlast a reload.
        token_stats=before.rest_poller.rest.token_stats if before and before.rest_poller else None,
        moved=context.store.status.progress["rest"].moved,
        wanted=collectors.wanted_lists(context.collectors, [source.name for source in context.store.status.sources()]),
    )
    return RestPoller(rest, context, settings.poll_interval, settings.job_lookups_per_day)


def _activity_poller(configuration: Configuration, context: PollContext) -> "ActivityPoller | None":
    settings = configuration.activity_log
    if settings is None:
        return None
    from exporter.activity_log.client import ActivityLogClient
    from exporter.activity_log.http_client import Pace
    from exporter.poller.activity_poller import ActivityPoller, ActivitySchedule

    pace = Pace(context.stopped.is_set, moved=context.store.status.progress["activity_log"].moved)
    client = ActivityLogClient(component_options.activity_log_options(configuration, settings), pace)
    return ActivityPoller(client, context, ActivitySchedule(settings.poll_interval, settings.overlap))


def _rule_manager(
    configuration: Configuration, context: PollContext, state: AgentState, before: Workers | None
) -> RuleManager | None:
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
        # Only one of the two managers uses it at a time: the new one starts when the old one has stopped.
        before.rule_manager.store if before and before.rule_manager else AlertStore(state.evaluation.rules),
    )


def refuse_restart(old: Configuration, new: Configuration) -> None:
    """Refuse changes of what is opened once. Raises ConfigurationError."""
    pairs = {
        "history.path": (old.history.path, new.history.path),
        "web.listen_address": (old.web.listen_address, new.web.listen_address),
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
