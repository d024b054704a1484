"""Requests, folded."""

from typing import Any

import pytest

from exporter.collectors.http_requests import COLLECTOR
from tests.collectors.folds import REQUEST, folded
from tests.collectors.repositories import at

assert COLLECTOR.events is not None
COUNT, DURATION = COLLECTOR.events.folds

BASE = {"site": "default", "controller": "vizql", "action": "sessions", "status": 200, "created_at": at(1)}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "2xx"),
        (299, "2xx"),
        (300, "3xx"),
        (399, "3xx"),
        (400, "4xx"),
        (499, "4xx"),
        (500, "5xx"),
        (599, "5xx"),
        (199, "unknown"),
        (600, "unknown"),
        (0, "unknown"),
        (-1, "unknown"),
        (None, "unknown"),
    ],
)
def test_a_status_has_a_class(status: int | None, expected: str) -> None:
    """Whatever is no HTTP status that a server answers with is unknown."""
    row = {**BASE, "status": status}
    assert folded(COUNT, REQUEST, [row]) == {("default", "vizql", "sessions", expected): 1}


def test_every_request_is_counted() -> None:
    """By site, controller, action and class; NULLs too, whenever they ended."""
    rows: list[dict[str, Any]] = [
        {**BASE, "completed_at": at(2)},
        {**BASE, "completed_at": "infinity"},
        {**BASE, "controller": None},
        {"created_at": at(1)},
    ]
    assert folded(COUNT, REQUEST, rows) == {
        ("default", "vizql", "sessions", "2xx"): 2,
        ("default", None, "sessions", "2xx"): 1,
        (None, None, None, "unknown"): 1,
    }


def test_durations_are_seconds() -> None:
    """Fractions and zero are observed."""
    ends = ("2025-11-01 00:00:00.25", "2025-11-01 00:00:00", "2025-11-01 00:01:30")
    rows = [{**BASE, "completed_at": end} for end in ends]
    assert folded(DURATION, REQUEST, rows) == {("default", "sessions"): [0.0, 0.25, 90.0]}


@pytest.mark.parametrize(
    "times",
    [
        (at(2), at(1)),
        (at(1), None),
        (at(1), "infinity"),
        ("-infinity", at(1)),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        (None, at(1)),
    ],
)
def test_what_cannot_be_measured_is_not_observed(times: tuple[object, object]) -> None:
    """Backwards, open and endless requests have no duration."""
    row = {**BASE, "created_at": times[0], "completed_at": times[1]}
    assert folded(DURATION, REQUEST, [row]) == {}


def test_the_cookie_is_never_read() -> None:
    """It is never read."""
    (relation,) = COLLECTOR.events.reads if COLLECTOR.events else ()
    assert not {name for name in relation.columns if "cookie" in name}
    assert relation.required == {"id", "created_at", "completed_at"}
