"""Names of families that would meet in one format or the other."""

import pytest
from structlog.testing import capture_logs

from exporter import collectors
from exporter.exposition import Renderer
from exporter.exposition.renderer import CLASH, clashing
from exporter.metrics import Block, Family, HistogramBlock, Labels
from exporter.self_metrics import SERIES_DROPPED
from tests.exposition.parsed import read_openmetrics, read_text, series

HISTOGRAM = Family("tableau_seconds", "histogram", "Seconds.", ("site",), buckets=(0.5,))
COUNTER = Family("tableau_logins_total", "counter", "Logins.", ("site",))


def block(family: Family) -> Block | HistogramBlock:
    """Return two rows of a family."""
    labels = Labels(("site",), [["a", "b"]])
    if family.type == "histogram":
        return HistogramBlock(family, labels, [[1, 2], [3, 4]], [1.0, 2.0])
    return Block(family, labels, [1, 2])


@pytest.mark.parametrize(
    ("first", "later", "lost"),
    [
        (HISTOGRAM, Family("tableau_seconds_count", "gauge", "Seconds.", ("site",)), 2),
        (HISTOGRAM, Family("tableau_seconds_total", "counter", "Seconds.", ("site",)), 2),
        (Family("tableau_seconds_bucket", "gauge", "Seconds.", ("site",)), HISTOGRAM, 8),
        (COUNTER, Family("tableau_logins", "gauge", "Logins.", ("site",)), 2),
        (Family("tableau_logins_created", "gauge", "Logins.", ("site",)), COUNTER, 2),
    ],
    ids=lambda value: value.name if isinstance(value, Family) else None,
)
def test_of_two_families_with_a_name_in_common_the_first_is_shown(first: Family, later: Family, lost: int) -> None:
    """The later one is left out, counted and reported once, and comes back when the first is gone."""
    renderer = Renderer(process=tuple)
    with capture_logs() as logs:
        renderer.render([block(first), block(later)], 0.0)
        rendering = renderer.render([block(first), block(later)], 0.0)
    assert [(log["family"], log["series"], log["reason"]) for log in logs] == [(later.name, lost, CLASH)]
    assert read_text(rendering.text).keys() == {
        family.name.removesuffix("_total") for family in (first, SERIES_DROPPED)
    }
    assert read_openmetrics(rendering.openmetrics).keys() == read_text(rendering.text).keys()
    assert series(rendering)[f'tableau_series_dropped_total{{family="{later.name}"}}'] == lost
    alone = renderer.render([block(later)], 0.0)
    assert later.name.removesuffix("_total") in read_openmetrics(alone.openmetrics)


def test_the_families_of_the_agent_do_not_clash() -> None:
    """No declared family has the name of another, nor of the counter of left-out samples."""
    declared = [family for family in collectors.families() if family != SERIES_DROPPED]
    assert clashing(declared, reserved=SERIES_DROPPED) == set()
    assert clashing([Family("tableau_series_dropped", "gauge", "Clash.")], reserved=SERIES_DROPPED)
