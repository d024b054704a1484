"""SlaLookup: the tiers of rules and the default."""

import pytest

from exporter.config import SlaRule
from tests.config.conftest import Load

HOUR = 3600.0


def slas(read: Load, text: str) -> tuple[SlaRule, ...]:
    """Return the SLA of the freshness section of a text."""
    return read(f"repository: {{hosts: [db]}}\nfreshness: {text}").freshness.sla_rules()


def test_the_default_comes_last_and_matches_everything(read: Load) -> None:
    """Without rules there is one SLA, for all assets."""
    assert slas(read, "{warning: 1h, critical: 2h}") == (SlaRule({}, HOUR, 2 * HOUR),)


@pytest.mark.parametrize(
    ("tiers", "warning", "critical"),
    [
        ("warning: 1h, critical: 2h", HOUR, 2 * HOUR),
        ("warning: 6h", 6 * HOUR, 24 * HOUR),
        ("critical: 13h", 12 * HOUR, 13 * HOUR),
        ("critical: never", 12 * HOUR, None),
        ("warning: never", None, 24 * HOUR),
        ("warning: never, critical: never", None, None),
        ("warning: 2h, critical: 2h", 2 * HOUR, 2 * HOUR),
    ],
)
def test_a_rule_takes_what_it_leaves_out_from_the_default(
    read: Load, tiers: str, warning: float | None, critical: float | None
) -> None:
    """Of two tiers a rule may set one; never means no SLA for that tier."""
    first, _ = slas(read, f"{{rules: [{{match: {{tag: a}}, {tiers}}}]}}")
    assert first == SlaRule({"tag": ("a",)}, warning, critical)


def test_rules_keep_their_order_and_their_globs(read: Load) -> None:
    """One glob or several, in any of the fields; a comma belongs to a name."""
    text = """{rules: [
        {match: {project: "Finance*", asset_type: flow}, warning: 1h},
        {match: {site: [a, no], name: "x, y", content_owner: 7}, warning: 1h}]}"""
    first, second, _ = slas(read, text)
    assert first.match == {"project": ("Finance*",), "asset_type": ("flow",)}
    assert second.match == {"site": ("a", "no"), "name": ("x, y",), "content_owner": ("7",)}
