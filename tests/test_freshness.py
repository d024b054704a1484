"""The SLA of an asset."""

import math
from typing import Any, NamedTuple

import pytest

from exporter.freshness import Dues, sla_lookup


class Rule(NamedTuple):
    """A rule as the configuration hands it over, in seconds."""

    match: dict[str, tuple[str, ...]]
    warning: float | None = 3600.0
    critical: float | None = 7200.0


DEFAULT = Rule({}, 12 * 3600.0, 24 * 3600.0)
MATCHED, UNMATCHED = (1.0, 2.0), (12.0, 24.0)

ASSET = {
    "site": "marketing",
    "project": "Finance/EMEA",
    "asset_type": "workbook",
    "name": "Sales [draft]\nQ3",
    "tags": ["certified", "no-sla"],
    "content_owner": "jo",
}


def sla_of(*rules: Rule, **values: Any) -> tuple[float | None, float | None]:
    """Return the SLA of an asset."""
    return sla_lookup((*rules, DEFAULT))({**ASSET, **values})


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"site": ("marketing",)}, MATCHED),
        ({"site": ("market",)}, UNMATCHED),
        ({"site": ("Marketing",)}, UNMATCHED),
        ({"site": ("other", "mark*")}, MATCHED),
        ({"project": ("Finance*",)}, MATCHED),
        ({"project": ("Finance",)}, UNMATCHED),
        ({"project": ("*/EMEA",)}, MATCHED),
        ({"project": ("Finance/????",)}, MATCHED),
        ({"asset_type": ("workbook", "flow")}, MATCHED),
        ({"asset_type": ("flow",)}, UNMATCHED),
        ({"name": ("Sales*Q3",)}, MATCHED),
        ({"name": ("Sales [[]draft]*",)}, MATCHED),
        ({"name": ("Sales",)}, UNMATCHED),
        ({"name": ("draft*",)}, UNMATCHED),
        ({"tag": ("no-sla",)}, MATCHED),
        ({"tag": ("no",)}, UNMATCHED),
        ({"content_owner": ("jo",)}, MATCHED),
        ({"content_owner": ("jo?",)}, UNMATCHED),
        ({"site": ("marketing",), "tag": ("certified",)}, MATCHED),
        ({"site": ("marketing",), "tag": ("other",)}, UNMATCHED),
        ({"site": ("other",), "tag": ("certified",)}, UNMATCHED),
    ],
)
def test_an_asset_must_fit_in_every_field(match: dict[str, tuple[str, ...]], expected: tuple[float, float]) -> None:
    """One of the globs of each field fits the whole text, with its case; ``*`` runs over ``/`` and line ends."""
    assert sla_of(Rule(match)) == expected


def test_the_first_rule_that_fits_wins() -> None:
    """However well a later one fits."""
    assert sla_of(Rule({"site": ("*",)}, 3600.0, 3600.0), Rule({"name": ("Sales*",)})) == (1.0, 1.0)


@pytest.mark.parametrize("globs", [("*",), ("no-sla",)])
def test_an_asset_without_tags_has_none_that_fits(globs: tuple[str, ...]) -> None:
    """Not even every tag."""
    assert sla_of(Rule({"tag": globs}), tags=[]) == UNMATCHED


def test_never_is_no_promise() -> None:
    """A tier that is never due is None."""
    assert sla_of(Rule({"tag": ("no-sla",)}, 3600.0, None)) == (1.0, None)
    assert sla_of(Rule({"tag": ("no-sla",)}, None, None)) == (None, None)


def test_hours_have_fractions() -> None:
    """Ninety minutes are an hour and a half."""
    assert sla_of(Rule({}, 5400.0, 9000.0)) == (1.5, 2.5)


def test_without_rules_nothing_is_promised() -> None:
    """Not even by default."""
    assert sla_lookup(())(ASSET) == (None, None)


def test_what_is_not_known_is_empty() -> None:
    """A rule for an owner does not fit an asset without one; a rule without one fits all."""
    assert sla_of(Rule({"content_owner": ("jo",)}), content_owner=None) == UNMATCHED
    assert sla_of(Rule({"content_owner": ("*",)}), content_owner=None) == MATCHED


def test_the_configurations_promises_have_the_same_shape() -> None:
    """The rules are tested as the configuration parses them from YAML."""
    from exporter.config.freshness import Freshness

    rules = Freshness.model_validate({"rules": [{"match": {"tag": "no-sla"}, "critical": "never"}]}).sla_rules()
    assert sla_lookup(rules)(ASSET) == (12.0, None)
    assert sla_lookup(rules)({**ASSET, "tags": []}) == (12.0, 24.0)


NAN = math.nan
GRACE = 3600.0


def due(*polls: tuple[float, float, float] | float) -> float | None:
    """Return until when a refresh is waited for after polls: what is announced, what ended last, and the time.

    A poll that is a time alone had no tasks.
    """
    dues, found = Dues(GRACE), [NAN]
    for poll in polls:
        announced, ended, now = poll if isinstance(poll, tuple) else (NAN, NAN, poll)
        found = dues.of(["a"], [announced], [ended], [isinstance(poll, tuple)], now)
    return None if math.isnan(found[0]) else found[0] - GRACE


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        ([(100, NAN, 50)], 100),
        ([(100, NAN, 50), (200, NAN, 150)], 100),
        ([(100, NAN, 50), (200, 120, 150)], 200),
        ([(100, NAN, 50), (200, 90, 150)], 100),
        ([(100, NAN, 50), (200, NAN, 150), (300, NAN, 250)], 100),
        ([(100, NAN, 50), (200, NAN, 150), (300, 210, 250)], 300),
        ([(100, NAN, 50), (300, NAN, 60)], 300),
        ([(100, NAN, 50), (NAN, NAN, 150)], None),
        ([(100, NAN, 50), (NAN, NAN, 150), (300, NAN, 200)], 300),
        ([(NAN, 90, 50)], None),
        ([(100, NAN, 50), 150, (200, NAN, 160)], 100),
        ([(100, NAN, 50), 150], 100),
        ([(100, NAN, 50), 90_000], None),
        ([50.0], None),
    ],
    ids=[
        "what is announced is waited for",
        "what passed without a refresh stands",
        "a refresh that ended after it answers it",
        "one that ended before it does not",
        "the first that was missed stands",
        "any later refresh answers it",
        "what is still to come may be moved",
        "a schedule that is gone is waited for no more",
        "a schedule that comes back begins anew",
        "without a schedule nothing is due",
        "a poll that tells nothing of tasks forgets nothing",
        "and shows what is waited for",
        "but not for more than a day",
        "who never told anything of tasks announces nothing",
    ],
)
def test_due(polls: list[tuple[float, float, float] | float], expected: float | None) -> None:
    """An instant that a schedule announced stands until a refresh has ended after it."""
    assert due(*polls) == expected


def test_an_asset_that_is_not_told_of_for_a_while() -> None:
    """The announced refresh of an asset stands while its site is down."""
    dues = Dues(GRACE)
    dues.of(["a"], [100], [NAN], [True], 50)
    dues.of(["b"], [NAN], [NAN], [True], 150)
    assert dues.of(["a"], [200], [NAN], [True], 160) == [100 + GRACE]
