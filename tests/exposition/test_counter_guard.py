"""The remembered values of counter series."""

from exporter.exposition.samples import MAX_REMEMBERED, ExposedCounts


def test_series_that_come_and_go_are_not_remembered_without_end() -> None:
    """The memory of a family is bounded; the latest to go are remembered."""
    many = ExposedCounts({f"s{number}": (1.0,) for number in range(MAX_REMEMBERED + 1)}, {"s1": 0.0})
    left = many.without({"s0"}, 10.0).joined(ExposedCounts({"new": (1.0,)}, {})).without((), 20.0)
    assert len(left.counts) == len(left.away) == MAX_REMEMBERED
    assert "new" in left.counts
    assert "s1" not in left.counts
