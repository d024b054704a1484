"""Which promise an asset has."""

from typing import Any, NamedTuple

import pytest

from exporter.freshness import promises


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


def asked(*rules: Rule, **values: Any) -> tuple[float | None, float | None]:
    """Ask for the promise of an asset."""
    return promises((*rules, DEFAULT))({**ASSET, **values})


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
    assert asked(Rule(match)) == expected


def test_the_first_rule_that_fits_wins() -> None:
    """However well a later one fits."""
    assert asked(Rule({"site": ("*",)}, 3600.0, 3600.0), Rule({"name": ("Sales*",)})) == (1.0, 1.0)


@pytest.mark.parametrize("globs", [("*",), ("no-sla",)])
def test_an_asset_without_tags_has_none_that_fits(globs: tuple[str, ...]) -> None:
    """Not even every tag."""
    assert asked(Rule({"tag": globs}), tags=[]) == UNMATCHED


def test_never_is_no_promise() -> None:
    """A tier that is never due is None."""
    assert asked(Rule({"tag": ("no-sla",)}, 3600.0, None)) == (1.0, None)
    assert asked(Rule({"tag": ("no-sla",)}, None, None)) == (None, None)


def test_hours_have_fractions() -> None:
    """Ninety minutes are an hour and a half."""
    assert asked(Rule({}, 5400.0, 9000.0)) == (1.5, 2.5)


def test_without_rules_nothing_is_promised() -> None:
    """Not even by default."""
    assert promises(())(ASSET) == (None, None)


def test_what_is_not_known_is_empty() -> None:
    """A rule for an owner does not fit an asset without one; a rule for anybody does."""
    assert asked(Rule({"content_owner": ("jo",)}), content_owner=None) == UNMATCHED
    assert asked(Rule({"content_owner": ("*",)}), content_owner=None) == MATCHED


def test_the_configurations_promises_have_the_same_shape() -> None:
    """What the configuration makes of YAML is what is asked here."""
    from exporter.config.freshness import Freshness

    rules = Freshness.model_validate({"rules": [{"match": {"tag": "no-sla"}, "critical": "never"}]}).promises()
    assert promises(rules)(ASSET) == (12.0, None)
    assert promises(rules)({**ASSET, "tags": []}) == (12.0, 24.0)
