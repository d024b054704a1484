"""Faults of an expression: families and labels that are never exposed, and arithmetic that is not sound."""

import re
from collections.abc import Iterator

from exporter import collectors
from tests.alerts.promql import Expression, Selector, read
from tests.alerts.shipped_rules import RECORDS

FAMILIES = {family.name: family for family in collectors.families()}
TARGET = {"job", "instance"}
# Metrics beside our own families. An alert has more labels: those of its expression.
BESIDE = {
    "up": ("gauge", TARGET),
    "ALERTS": ("gauge", {"alertname", "alertstate", "severity", "site", *TARGET}),
    "process_resident_memory_bytes": ("gauge", TARGET),
    "process_cpu_seconds_total": ("counter", TARGET),
}
OVER_TIME = {"rate", "increase", "irate", "resets"}
OF_GAUGES = {"delta", "idelta", "deriv", "predict_linear", "max_over_time", "min_over_time"}


def family_of(metric: str) -> tuple[str, set[str]]:
    """Return the type of a metric and its possible labels; raises KeyError for one that is never exposed."""
    if metric in BESIDE:
        return BESIDE[metric]
    if metric in RECORDS:
        # A recording rule may retain any label of its expression.
        selectors = read(str(RECORDS[metric]["expr"])).selectors
        labels = set[str]().union(*(family_of(each.metric)[1] for each in selectors if each.metric != metric))
        return "recorded", labels | set(RECORDS[metric].get("labels", {}))
    if metric in FAMILIES and FAMILIES[metric].type != "histogram":
        return FAMILIES[metric].type, {*FAMILIES[metric].labels, *TARGET}
    family = FAMILIES[re.sub(r"_(bucket|sum|count)$", "", metric)]
    if family.type != "histogram" or family.name == metric:
        raise KeyError(metric)
    return "counter", {*family.labels, *TARGET} | ({"le"} if metric.endswith("_bucket") else set())


def faults(expression: Expression) -> Iterator[str]:
    """Yield whatever is wrong with an expression."""
    known = set[str]()
    for selector in expression.selectors:
        try:
            kind, labels = family_of(selector.metric)
        except KeyError:
            yield f"nobody exposes {selector.metric}"
            continue
        known |= labels
        yield from _misused(selector, kind)
        yield from (f"{selector.metric} has no label {label}" for label in selector.labels if label not in labels)
    for word, grouped in expression.groupings:
        yield from (f"{word} ({label}): no metric here has it" for label in grouped if label not in known)
    if expression.averaged:
        yield "ratios are averaged or added up: aggregate first, then divide"


def _misused(selector: Selector, kind: str) -> Iterator[str]:
    functions = set(selector.within)
    if selector.ranged and functions & OVER_TIME and kind != "counter":
        yield f"the rate of {selector.metric}, which is no counter"
    if selector.ranged and functions & OF_GAUGES and kind == "counter":
        yield f"{selector.metric} is a counter, and is treated as a gauge"
    if selector.metric.endswith("_bucket") and not functions & OVER_TIME:
        yield f"{selector.metric} without a rate"
