"""The collectors: each module holds one ``COLLECTOR`` of its own name, and is found by being here."""

import importlib
import pkgutil

from exporter import self_metrics
from exporter.collector import Collector
from exporter.metrics import Family


def discover() -> dict[str, Collector]:
    """Return every collector by its name; a name that begins with an underscore is no collector's."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: _load(name) for name in names}


def declared_by() -> dict[str, str]:
    """Return which collector declares a family, by the family's name; those of the agent itself are not in it."""
    return {family.name: name for name, collector in discover().items() for family in collector.all_families()}


def families() -> tuple[Family, ...]:
    """Return every family that the agent may show: the collectors' and its own."""
    declared = [family for collector in discover().values() for family in collector.all_families()]
    return (*declared, *self_metrics.FAMILIES)


def _load(name: str) -> Collector:
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "COLLECTOR", None)
    if not isinstance(found, Collector) or found.name != name:
        message = f"{__name__}.{name}: a module of collectors holds a COLLECTOR of its own name"
        raise ValueError(message)
    return found
