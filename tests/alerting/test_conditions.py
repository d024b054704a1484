"""Single conditions, on samples as they are shown."""

import pytest

from exporter import agent_families as families
from exporter.alerting import conditions
from exporter.alerting.past import Past
from exporter.alerting.view import Sources, View
from exporter.metrics import Block, Labels, single
from tests.alerting.rig import NOW

DAY = 86_400.0


def seen(polls: dict[str, float], oldest: float | None = None) -> View:
    """Return what is seen of an archive that was read at these instants, a past that knows it included."""
    blocks = [Block(families.HISTORY_LAST_POLL, Labels(("mode",), [list(polls)]), list(polls.values()))]
    if oldest is not None:
        blocks.append(single(families.REPOSITORY_OLDEST, oldest))
    view = View(blocks, NOW, Past(), Sources(up={"repository": True}))
    conditions.take_up(view.past, view)
    return view


@pytest.mark.parametrize(
    ("polls", "lags"),
    [
        ({"fast": NOW - 60}, False),
        ({"fast": NOW - DAY}, True),
        ({"fast": NOW - DAY, "full": NOW - 60}, False),
        ({"fast": NOW - DAY, "full": NOW + 2 * DAY}, True),
        ({"full": NOW + 2 * DAY}, False),
    ],
)
def test_an_archive_lags_by_its_last_reading(polls: dict[str, float], lags: bool) -> None:
    """Whatever way it was read; a mark that a clock set far ahead tells nothing, and hides none of the others."""
    view = seen(polls, oldest=NOW - 2 * DAY)
    assert bool(conditions.archive_lagging(view).holding) == lags
    assert bool(conditions.purge_risk(view).holding) == lags
