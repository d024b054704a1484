"""Renderings of views, folded."""

import pytest

from exporter.collectors.views import COLLECTOR
from tests.collectors.folds import REQUEST, folded
from tests.collectors.repositories import at

COUNT, DURATION = COLLECTOR.folds

BASE = {
    "site": "default",
    "action": "bootstrapSession",
    "status": 200,
    "created_at": at(1),
    "completed_at": at(1, 1),
    "workbook": "Sales",
    "view": "Overview",
}
LABELS = ("default", "Sales", "Overview")


def test_it_is_off_by_default() -> None:
    """A series for each view is opt-in."""
    assert not COLLECTOR.enabled


def test_a_rendering_is_one_bootstrap() -> None:
    """Whatever its status."""
    rows = [BASE, {**BASE, "status": 500}, {**BASE, "status": None}]
    assert folded(COUNT, REQUEST, rows) == {LABELS: 3}
    assert folded(DURATION, REQUEST, rows) == {LABELS: [3600.0] * 3}


@pytest.mark.parametrize("unlike", [{"action": "show"}, {"action": "sessions"}, {"action": None}, {"view": None}])
def test_what_renders_no_view_is_not_counted(unlike: dict[str, object]) -> None:
    """URIs before and after a view, and those of no view."""
    row = {**BASE, **unlike}
    assert folded(COUNT, REQUEST, [row]) == {}
    assert folded(DURATION, REQUEST, [row]) == {}


@pytest.mark.parametrize("end", [at(1, 0).replace(year=2024), None, "infinity"])
def test_a_rendering_that_cannot_be_measured_is_counted_only(end: object) -> None:
    """It counts, with an unknown duration."""
    row = {**BASE, "completed_at": end}
    assert folded(COUNT, REQUEST, [row]) == {LABELS: 1}
    assert folded(DURATION, REQUEST, [row]) == {}
