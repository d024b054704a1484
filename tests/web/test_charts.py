"""Charts: every count is where it belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.charts import HEIGHT, STRIP_HEIGHT, STRIP_WIDTH, WIDTH, hourly, rounded_up, strip
from tests.web.fake_endpoint import NOW

COUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)


@given(COUNTS)
def test_bars_are_as_high_as_their_counts(counts: list[int]) -> None:
    """No bar leaves the chart, the order of heights is that of the counts, and the axis ends above them all."""
    chart = hourly([NOW + 3600 * number for number in range(len(counts))], counts, "requests")
    room = chart.bottom - chart.top
    for bar, count in zip(chart.bars, counts, strict=True):
        assert chart.left <= bar.x <= bar.x + bar.width <= WIDTH
        assert chart.top - 0.1 <= bar.y <= chart.bottom + 0.1
        assert bar.height == pytest.approx(room * count / rounded_up(max(counts)), abs=0.06)
        assert f"{count:,} requests" in bar.title
    assert len(chart.points.split()) == len(counts)
    assert all(0 <= tick.place <= HEIGHT for tick in chart.up)
    assert all(chart.left <= tick.place <= chart.right for tick in chart.across)


@given(st.integers(0, 10**12))
def test_axes_end_at_round_numbers(count: int) -> None:
    """An axis ends at a round number that is not below the count, nor more than twice it."""
    end = rounded_up(count)
    assert end == int(end)
    assert count <= end <= max(2 * count, 1)


def test_days_are_marked() -> None:
    """Eight days have a mark at each midnight, a single one every six hours."""
    hours = [1_785_110_400.0 + 3600 * number for number in range(192)]
    assert [tick.text for tick in hourly(hours, [1] * 192, "x").across][:2] == ["Mon 27 Jul", "Tue 28 Jul"]
    assert len(hourly(hours[:24], [1] * 24, "x").across) == 4


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=30))
def test_a_strip_holds_thirty(seconds: list[float | None]) -> None:
    """Each refresh has a bar that can be seen, within the strip."""
    bars = strip(seconds, ["success"] * len(seconds), ["title"] * len(seconds))
    assert len(bars) == len(seconds)
    for bar in bars:
        assert bar.height >= 4
        assert 0 <= bar.x <= bar.x + bar.width <= STRIP_WIDTH
        assert 0 <= bar.y <= bar.y + bar.height <= STRIP_HEIGHT + 0.1
