"""Charts as numbers: positions of bars, lines and marks in an SVG of a fixed size, for a template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

DAY_SECONDS = 86_400.0

WIDTH, HEIGHT = 960, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 14, 26
_STEPS = (1.0, 1.5, 2.0, 2.5, 5.0, 10.0)
STRIP_WIDTH, STRIP_HEIGHT = 600, 72
_STRIP_TOP = 16


@dataclass(frozen=True)
class Bar:
    """A bar; ``kind`` is its class, ``title`` its tooltip."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Tick:
    """A mark of an axis at a place, with its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Counts over hours: bars, or the points of a line, with their axes."""

    bars: Sequence[Bar]
    points: str
    across: Sequence[Tick]
    up: Sequence[Tick]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def hourly(hours: Sequence[float], counts: Sequence[int], what: str) -> Chart:
    """Return the chart of a count for each hour; hours are their beginnings (Unix seconds), without gaps."""
    top = rounded_up(max(counts, default=0))
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(hours))
    room = HEIGHT - _TOP - _BOTTOM
    bars, points = [], []
    for number, (hour, count) in enumerate(zip(hours, counts, strict=True)):
        x, height = _LEFT + number * step, room * count / top
        title = f"{_hour(hour)}: {count:,} {what}"
        bars.append(
            Bar(_round(x), _round(_TOP + room - height), _round(max(step * 0.86, 0.5)), _round(height), "", title)
        )
        points.append(f"{_round(x + step / 2)},{_round(_TOP + room - height)}")
    return Chart(bars, " ".join(points), _days(hours, step), _up(top, room))


def _days(hours: Sequence[float], step: float) -> list[Tick]:
    """Mark where days begin; of a single day every six hours."""
    every, form = (DAY_SECONDS, "%a %d %b") if len(hours) > 48 else (DAY_SECONDS / 4, "%d %b %H:%M")
    return [
        Tick(_round(_LEFT + number * step), datetime.fromtimestamp(hour, UTC).strftime(form))
        for number, hour in enumerate(hours)
        # A text that begins at the right edge would be cut.
        if hour % every == 0 and number <= len(hours) - len(hours) / 16
    ]


def _up(top: float, room: float) -> list[Tick]:
    marks = (0.0, top / 2, top)
    return [Tick(_round(_TOP + room - room * mark / top), f"{mark:,.0f}") for mark in marks if mark == int(mark)]


def rounded_up(count: float) -> float:
    """Return the end of an axis for a greatest count: a round number, at least 1."""
    if count <= 1:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(count))
    return next(step * unit for step in _STEPS if count <= step * unit and (step * unit) == int(step * unit))


def strip(seconds: Sequence[float | None], kinds: Sequence[str], titles: Sequence[str]) -> list[Bar]:
    """Return a bar for each refresh, the last one at the right, as high as it took long."""
    longest = max([second for second in seconds if second is not None], default=0.0) or 1.0
    step = STRIP_WIDTH / 30
    room = STRIP_HEIGHT - _STRIP_TOP
    bars = []
    for number, (second, kind, title) in enumerate(zip(seconds, kinds, titles, strict=True)):
        height = max(room * (0.5 if second is None else second / longest), 4.0)
        x = number * step
        bars.append(Bar(_round(x), _round(STRIP_HEIGHT - height), _round(step * 0.7), _round(height), kind, title))
    return bars


def _hour(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a %d %b %H:%M")


def _round(number: float) -> float:
    return round(number, 1)
