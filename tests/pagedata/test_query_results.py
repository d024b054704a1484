"""Hours on pages: without gaps, by the present names of sites."""

import pyarrow as pa

from exporter.pagedata.query_results import HOUR_SECONDS, usage_of
from tests.web.fake_endpoint import NOW
from tests.web.page_fixtures import requests, users_by_hour

NOTHING = requests().slice(0, 0)


def test_hours_without_gaps() -> None:
    """An hour without a request between two that have some is an hour of none."""
    rows = requests().filter(pa.array([number in (100, 301, 383) for number in range(384)]))
    use = usage_of(rows, None, {1: "default", 2: "hr"}, NOW, None)
    assert set((use.hours[1:] - use.hours[:-1]).tolist()) == {HOUR_SECONDS}
    assert use.hours[-1] <= NOW < use.hours[-1] + HOUR_SECONDS
    assert use.all_requests.sum() == sum(rows.column("requests").to_pylist())
    assert (use.all_requests > 0).sum() == 3
    assert use.people is None


def test_sites() -> None:
    """Each site has its own numbers; a site of which no name is known counts for all together."""
    use = usage_of(requests(), users_by_hour(), {1: "default"}, NOW, None)
    assert list(use.requests) == ["default"]
    assert use.all_requests.sum() == 3 * use.requests["default"].sum()
    assert use.people is not None
    assert use.everybody is not None
    assert (use.people["default"] * 3 == use.everybody * 2).all()


def test_nothing_yet() -> None:
    """Before any request there is the present hour, with none."""
    use = usage_of(NOTHING, users_by_hour().slice(0, 0), {}, NOW, None)
    assert (use.hours.tolist(), use.all_requests.tolist()) == ([NOW // 3600 * 3600], [0])
