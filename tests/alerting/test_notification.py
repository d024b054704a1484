"""An alert is bounded, and its labels are what Prometheus would see."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.notification import (
    MAX_ANNOTATION,
    MAX_LABEL,
    Notification,
    bounded_annotations,
    bounded_labels,
)
from exporter.metrics import Labels

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=300)
_ESCAPES = {r"\\": "\\", r"\n": "\n", r"\"": '"'}


def exposed(value: str) -> str:
    """Return a value as Prometheus has it after a scrape."""
    text = str(Labels(["x"], [[value]]).text[0]).removeprefix('x="').removesuffix('"')
    return re.sub(r"\\.", lambda match: _ESCAPES[match[0]], text)


@given(ANYTHING)
def test_a_label_is_what_prometheus_sees(value: str) -> None:
    """Whatever a name is made of, the rule and the notification have the same label: they are one alert."""
    (_, seen) = dict(bounded_labels({"x": value})).popitem() if value else ("x", "")
    assert seen == exposed(value)
    body = json.loads(Notification((("x", seen),), {}, 0, 0).to_json())
    assert body["labels"]["x"] == seen


def test_labels_are_sorted_and_none_is_empty() -> None:
    """An empty label is no label, and the order in which they come is nothing to an identity."""
    labels = bounded_labels({"site": "default", "alertname": "A", "project": ""})
    assert labels == (("alertname", "A"), ("site", "default"))
    assert labels == bounded_labels({"alertname": "A", "site": "default"})


def test_long_labels_are_cut_and_stay_two() -> None:
    """Two values that differ behind the bound are two labels, each the same at every time."""
    longest = "x" * MAX_LABEL
    one, two = (dict(bounded_labels({"x": longest + end}))["x"] for end in "ab")
    assert one != two
    assert len(one) == len(two) == MAX_LABEL
    assert dict(bounded_labels({"x": longest + "a"}))["x"] == one
    assert dict(bounded_labels({"x": longest}))["x"] == longest


@given(st.dictionaries(st.sampled_from(["summary", "description", "error"]), ANYTHING))
def test_annotations_have_no_controls(annotations: dict[str, str]) -> None:
    """Annotations are printable: no escape, no NUL, no change of direction; newlines stay."""
    bounded = bounded_annotations(annotations)
    assert set(bounded) == {name for name, text in annotations.items() if text}
    text = "".join(bounded.values())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert text.count("\n") == "".join(annotations.values()).count("\n")


def test_annotations_keep_what_is_text() -> None:
    """Names in any script, emoji made of several signs, indented lines."""
    text = "Umsätze\u00a0\u2013 売上 \U0001f468\u200d\U0001f469\u200d\U0001f467\n  more"
    assert bounded_annotations({"summary": text}) == {"summary": text}
    assert bounded_annotations({"summary": "a\r\nb\tc\x1b[31m"}) == {"summary": "a\nb c\ufffd[31m"}


def test_long_annotations_are_cut() -> None:
    """An error text of any length becomes one of bounded length that ends in a mark."""
    cut = bounded_annotations({"error": "x" * 10_000})["error"]
    assert len(cut) == MAX_ANNOTATION
    assert cut.endswith("x...")
    assert bounded_annotations({"error": "x" * MAX_ANNOTATION}) == {"error": "x" * MAX_ANNOTATION}


@pytest.mark.parametrize(
    ("seconds", "instant"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_763_548_200.1239, "2025-11-19T10:30:00.123Z")],
)
def test_instants(seconds: float, instant: str) -> None:
    """Instants are RFC 3339, in UTC, to the millisecond."""
    body = json.loads(Notification((), {}, seconds, seconds).to_json())
    assert (body["startsAt"], body["endsAt"]) == (instant, instant)
