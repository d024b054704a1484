"""The collectors: each module holds one ``COLLECTOR`` of its own name, and is found by being here."""

import importlib
import pkgutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeGuard

from exporter import self_metrics
from exporter.collector import Collector, Distribution, Events, Fold, InsightsHooks, RestHooks, StateKey
from exporter.metrics import Family


def discover() -> dict[str, Collector]:
    """Return every collector by its name; a name that begins with an underscore is no collector's."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: _load(name) for name in names}


def declared_by() -> dict[str, frozenset[str]]:
    """Return the collectors that declare a family, by the family's name; those of the agent itself are not in it.

    Several collectors may have samples of one family, each from a source of its own.
    """
    found: dict[str, frozenset[str]] = {}
    for name, collector in discover().items():
        for family in collector.all_families():
            found[family.name] = found.get(family.name, frozenset()) | {name}
    return found


def families() -> tuple[Family, ...]:
    """Return every family that the agent may expose: the collectors' and its own."""
    declared = dict.fromkeys(family for collector in discover().values() for family in collector.all_families())
    return (*declared, *self_metrics.FAMILIES)


def archived(collectors: Mapping[str, Collector]) -> list[Events]:
    """Return what collectors archive, each table once: logins come from two sources."""
    found = (events for collector in collectors.values() for events in collector.archived)
    return list({events.table: events for events in reversed(list(found))}.values())[::-1]


def in_unit(collector: Collector, seconds: float | None) -> Collector:
    """Return a collector with the unit of the Activity Log's durations; what cannot be measured is left out."""

    def known(folds: Iterable[Fold]) -> tuple[Fold, ...]:
        return tuple(
            replace(fold, seconds=f"({fold.seconds}) * {seconds}") if _needs_unit(fold) else fold
            for fold in folds
            if seconds is not None or not _needs_unit(fold)
        )

    activity = tuple(replace(events, folds=known(events.folds)) for events in collector.activity)
    return replace(collector, activity=activity, activity_folds=known(collector.activity_folds))


def _needs_unit(fold: Fold) -> TypeGuard[Distribution]:
    return isinstance(fold, Distribution) and fold.needs_unit


def requests_collector(collectors: Mapping[str, Collector]) -> str | None:
    """Return the name of the collector that archives requests, of Server or Cloud; None where it is disabled."""
    return next((name for name, collector in collectors.items() if collector.archives_requests), None)


def counts_people(collectors: Mapping[str, Collector]) -> bool:
    """Whether a collector needs the last request of each person."""
    return any(collector.expose_last_seen for collector in collectors.values())


def rest_hooks(collectors: Mapping[str, Collector], sources: Collection[str]) -> dict[str, RestHooks]:
    """Return the hooks of the collectors that have no better source among those that are configured."""
    return {
        name: collector.rest
        for name, collector in collectors.items()
        if collector.rest and collector.rest.beside.isdisjoint(sources)
    }


def insights_hooks(collectors: Mapping[str, Collector], sources: Collection[str]) -> dict[str, InsightsHooks]:
    """Return what collectors make of Admin Insights, as rest_hooks does."""
    return {
        name: collector.insights
        for name, collector in collectors.items()
        if collector.insights and collector.insights.beside.isdisjoint(sources)
    }


def wanted_lists(collectors: Mapping[str, Collector], sources: Collection[str]) -> frozenset[str]:
    """Return the lists of rest.usage_lists that these collectors are made of."""
    return frozenset().union(*(hooks.wants for hooks in rest_hooks(collectors, sources).values()))


def asset_state(collectors: Mapping[str, Collector]) -> StateKey | None:
    """Return the state of assets; None where it is disabled."""
    states = ((name, index, state) for name, each in collectors.items() for index, state in enumerate(each.states))
    return next(((name, index) for name, index, state in states if state.audit), None)


def _load(name: str) -> Collector:
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "COLLECTOR", None)
    if not isinstance(found, Collector) or found.name != name:
        message = f"{__name__}.{name}: a module of collectors holds a COLLECTOR of its own name"
        raise ValueError(message)
    return found
