"""What a scrape may contain: everything else is left out, for a reason that is said."""

import math
from collections.abc import Sequence

import pytest

from exporter.exposition.samples import NEGATIVE, NO_NUMBER, OVER_THE_LIMIT, TWICE, AnyBlock, Samples
from exporter.metrics import Block, Family, HistogramBlock, Labels, Value

GAUGE = Family("tableau_users", "gauge", "Users.", ("site",))
COUNTER = Family("tableau_logins_total", "counter", "Logins.", ("site",))
HISTOGRAM = Family("tableau_seconds", "histogram", "Seconds.", ("site",), buckets=(0.5, 2.0))
BARE = Family("tableau_history_file_bytes", "gauge", "Bytes.")


def gauge(values: Sequence[Value], sites: Sequence[str] = "abc", family: Family = GAUGE) -> Block:
    """Return a block with a site for each value."""
    return Block(family, Labels(("site",), [list(sites[: len(values)])]), values)


def histogram(counts: Sequence[Sequence[int]], sums: Sequence[float], sites: Sequence[str] = "abc") -> HistogramBlock:
    """Return a histogram with a site for each row."""
    return HistogramBlock(HISTOGRAM, Labels(("site",), [list(sites[: len(counts)])]), counts, sums)


def samples(*blocks: AnyBlock, limit: int = 100) -> Samples:
    """Gather the samples of blocks of one family."""
    made = Samples(blocks[0].family, limit)
    for block in blocks:
        made.add(block, 0.0)
    return made


def lines(made: Samples) -> list[str]:
    """Return the lines of a family."""
    return made.body().decode().splitlines()


def test_an_unknown_value_is_absent() -> None:
    """None is no sample, and nothing to report."""
    made = samples(gauge([1, None, 0]))
    assert lines(made) == ['tableau_users{site="a"} 1', 'tableau_users{site="c"} 0']
    assert not made.left_out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**1024, "1", b"1", object()])
def test_what_is_no_finite_number_is_left_out(value: float) -> None:
    """A value that is not finite or no number at all takes only its own sample away."""
    made = samples(gauge([1, value, 3]))
    assert lines(made) == ['tableau_users{site="a"} 1', 'tableau_users{site="c"} 3']
    assert made.left_out == {NO_NUMBER: 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "1"), (2**63, "9223372036854775808"), (1.5, "1.5"), (1e16, "1e+16"), (5e-324, "5e-324")],
)
def test_a_number_is_written_so_that_it_reads_the_same(value: float, text: str) -> None:
    """Integers stay integers, and floats have as many digits as they need."""
    assert lines(samples(gauge([value]))) == [f'tableau_users{{site="a"}} {text}']


def test_a_negative_counter_is_left_out_and_a_negative_gauge_is_not() -> None:
    """A counter starts at 0; a gauge may be anything."""
    made = samples(gauge([-1, 0.0, 2], family=COUNTER))
    assert lines(made) == ['tableau_logins_total{site="b"} 0.0', 'tableau_logins_total{site="c"} 2']
    assert made.left_out == {NEGATIVE: 1}
    assert lines(samples(gauge([-1]))) == ['tableau_users{site="a"} -1']


def test_of_equal_labels_the_first_is_kept() -> None:
    """Labels that are equal once written, in one block or in two, are one series."""
    made = samples(gauge([1, 2], ["a?", "a\ud800"]), gauge([3, 4], ["a?", "b"]))
    assert lines(made) == ['tableau_users{site="a?"} 1', 'tableau_users{site="b"} 4']
    assert made.left_out == {TWICE: 2}


def test_labels_follow_the_declaration() -> None:
    """Blocks that name their labels in another order still have equal labels."""
    family = Family("tableau_content", "gauge", "Content.", ("site", "asset_type"))
    made = samples(
        Block(family, Labels(("site", "asset_type"), [["a"], ["flow"]]), [1]),
        Block(family, Labels(("asset_type", "site"), [["flow"], ["a"]]), [2]),
    )
    assert lines(made) == ['tableau_content{site="a",asset_type="flow"} 1']
    assert made.left_out == {TWICE: 1}


def test_an_empty_label_is_left_out_and_a_family_without_labels_has_no_braces() -> None:
    """An empty label is an absent one."""
    assert lines(samples(gauge([1], [""]))) == ["tableau_users 1"]
    assert lines(samples(Block(BARE, Labels((), ()), [7]))) == ["tableau_history_file_bytes 7"]


def test_a_family_keeps_as_many_series_as_the_limit_allows() -> None:
    """The limit holds over all blocks of a family; the first series stay."""
    made = samples(gauge([1, None, 3]), gauge([4, 5], ["d", "e"]), limit=3)
    assert list(made.values) == ['site="a"', 'site="c"', 'site="d"']
    assert made.left_out == {OVER_THE_LIMIT: 1}


def test_a_histogram_is_cumulative() -> None:
    """Buckets add up to the count, and their bounds are floats."""
    assert lines(samples(histogram([[1, 0, 2]], [9.5]))) == [
        'tableau_seconds_bucket{site="a",le="0.5"} 1',
        'tableau_seconds_bucket{site="a",le="2.0"} 1',
        'tableau_seconds_bucket{site="a",le="+Inf"} 3',
        'tableau_seconds_count{site="a"} 3',
        'tableau_seconds_sum{site="a"} 9.5',
    ]


@pytest.mark.parametrize(
    ("counts", "total", "reason"),
    [
        ([1, 2], 0.0, "there are not as many counts as buckets, +Inf among them"),
        ([1, -2, 3], 0.0, NEGATIVE),
        ([1, 2, 3], -0.5, NEGATIVE),
        ([1, 2, 3], math.nan, NO_NUMBER),
    ],
)
def test_a_bad_row_of_a_histogram_is_left_out(counts: list[int], total: float, reason: str) -> None:
    """The other rows stay; what is left out is counted in series."""
    made = samples(histogram([counts, [0, 0, 1]], [total, 3.0]))
    assert list(made.values) == ['site="b"']
    assert made.left_out == {reason: 5}


def test_a_histogram_is_kept_or_left_out_row_by_row() -> None:
    """A row has a series for each bucket and two more; half a histogram would be a lie."""
    made = samples(histogram([[1, 0, 0], [1, 0, 0]], [0.0, 0.0]), limit=9)
    assert list(made.values) == ['site="a"']
    assert made.left_out == {OVER_THE_LIMIT: 5}
    assert samples(histogram([[1, 0, 0], [1, 0, 0]], [0.0, 0.0], "aa")).left_out == {TWICE: 5}


def broken(_: float) -> Sequence[Value]:
    """Fail as a defect of a collector would."""
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (gauge([1, 2], "a"), "there are not as many values as labels"),
        (Block(GAUGE, Labels(("site",), [["a"]]), broken), "KeyError: 'gone'"),
        (Block(GAUGE, Labels(("server",), [["a"]]), [1]), "its labels are not those of the declaration"),
        (Block(GAUGE, Labels((), ()), [1]), "its labels are not those of the declaration"),
        (Block(GAUGE, Labels(("site", "site"), [["a"], ["a"]]), [1]), "its labels are not those of the declaration"),
        (gauge([1], family=Family("tableau_users", "gauge", "Others.", ("site",))), "another family has the same name"),
        (
            HistogramBlock(GAUGE, Labels(("site",), [["a"]]), [[1]], [0.0]),
            "the block is of another type than its family",
        ),
    ],
)
def test_a_bad_block_leaves_its_family_to_the_others(block: AnyBlock, reason: str) -> None:
    """A block that is wrong as a whole is left out; what other blocks say stays."""
    made = samples(gauge([1], "z"), block)
    assert lines(made) == ['tableau_users{site="z"} 1']
    assert list(made.left_out) == [reason]


@pytest.mark.parametrize(
    ("counts", "sums"), [([[1, 0, 0]], []), ([[1, 0, 0], [1, 0, 0]], [0.0, 0.0])], ids=["sums", "labels"]
)
def test_a_histogram_has_counts_and_a_sum_for_each_row(counts: list[list[int]], sums: list[float]) -> None:
    """Columns of different lengths say nothing for sure."""
    made = samples(HistogramBlock(HISTOGRAM, Labels(("site",), [["a"]]), counts, sums))
    assert list(made.left_out) == ["there are not as many counts and sums as labels"]


@pytest.mark.parametrize(
    "family",
    [
        Family("tableau-users", "gauge", "A name that is none."),
        Family("tableau_users\n", "gauge", "A name and more."),
        Family("tableau_users", "gauge", "A label that is none.", ("asset-name",)),
        Family("tableau_users", "gauge", "A label that belongs to Prometheus.", ("__name__",)),
        Family("tableau_users", "gauge", "The same label twice.", ("site", "site")),
        Family("tableau_seconds", "histogram", "A label that belongs to the buckets.", ("le",), buckets=(1.0,)),
        Family("tableau_seconds", "histogram", "Buckets that fall.", buckets=(2.0, 1.0)),
        Family("tableau_seconds", "histogram", "A bucket without end.", buckets=(1.0, math.inf)),
    ],
    ids=lambda family: family.help,
)
def test_a_declaration_that_no_parser_would_read_is_left_out(family: Family) -> None:
    """One such family would cost the whole scrape."""
    labels = Labels(family.labels, [["a"] for _ in family.labels])
    counts = [[0] * (len(family.buckets) + 1)]
    histogram = family.type == "histogram"
    made = samples(HistogramBlock(family, labels, counts, [0.0]) if histogram else Block(family, labels, [1]))
    assert made.body() == b""
    assert made.left_out.total() == 1
