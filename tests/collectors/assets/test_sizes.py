"""The usual size of an asset after a refresh, of seeded courses."""

from random import Random

import pytest

from exporter.collectors.assets.sizes import usual_bytes

COURSES, REFRESHES = 200, 30
MB = 1_000_000


def course(seed: int) -> list[int]:
    """Return the sizes after 30 refreshes: noise about a size that stays, grows by the day, or falls slowly."""
    random = Random(seed)
    size, growth, noise = 10 ** random.uniform(7.5, 10), random.choice((0.0, 0.001, 0.01, 0.05, -0.003)), 0.08
    return [round(size * (1 + growth) ** number * random.lognormvariate(0, noise)) for number in range(REFRESHES)]


def ratios(sizes: list[int]) -> list[float]:
    """Return the size after each refresh over the one that was expected, as far as one was."""
    expected = [usual_bytes(sizes[:number]) for number in range(len(sizes))]
    return [size / usual for size, usual in zip(sizes, expected, strict=True) if usual is not None]


def test_courses_without_an_incident() -> None:
    """Of 200 courses at most one has a refresh that would be reported, whether it grows or not."""
    found = [ratios(course(seed)) for seed in range(COURSES)]
    assert all(len(of_course) >= REFRESHES - 5 for of_course in found)
    alarms = sum(any(ratio < 0.5 or ratio > 2 for ratio in of_course) for of_course in found)
    assert alarms <= 1


@pytest.mark.parametrize("left", [0.0, 0.25, 0.4])
def test_a_refresh_that_left_less_than_half(left: float) -> None:
    """It is below half of what was expected, of a growing course too; a steady course is found again afterwards."""
    for seed in range(0, COURSES, 10):
        sizes = course(seed)
        shrunken = round(sizes[-1] * left)
        assert (expected := usual_bytes(sizes)) is not None
        assert shrunken < expected / 2
        assert (after := usual_bytes([*sizes, shrunken])) is not None
        assert abs(after - expected) < expected / 3


def test_what_nothing_is_concluded_of() -> None:
    """Few refreshes, small assets and irregular courses have no usual size."""
    assert usual_bytes([50 * MB] * 4) is None
    assert usual_bytes([50 * MB] * 5) == 50 * MB
    assert usual_bytes([9 * MB] * 20) is None
    assert usual_bytes([100 * MB, 10 * MB] * 10) is None
    assert usual_bytes([*([100 * MB] * 3 + [20 * MB]) * 4, 100 * MB]) is None
    assert usual_bytes([0] * 20) is None


def test_a_new_size_becomes_usual() -> None:
    """The sizes of the last refreshes in a row are reported first, and are usual when they outnumber the others."""
    before, after = [100 * MB] * 20, 30 * MB
    expected = [usual_bytes([*before, *[after] * number]) for number in range(25)]
    assert expected[:5] == [100 * MB] * 5
    assert expected[-1] == after
    assert all(one is None or one >= after // 2 for one in expected)
