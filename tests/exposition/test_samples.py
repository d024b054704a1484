"""Valid samples of a scrape: all others are left out, with a reason."""

import math
from collections.abc import Sequence
from typing import Any, cast

import pytest

from exporter.exposition.samples import (
    DECREASED,
    HOLD_SECONDS,
    NO_TEXT,
    NOTHING_EXPOSED,
    ROWS_AT_ONCE,
    TWICE,
    AnyBlock,
    ExposedCounts,
    Samples,
)
from exporter.exposition.text_format import NEGATIVE, NO_COUNT, NO_NUMBER
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


def samples(*blocks: AnyBlock, before: ExposedCounts = NOTHING_EXPOSED, now: float = 0.0) -> Samples:
    """Gather the samples of blocks of one family, after those that were published before."""
    made = Samples(blocks[0].family)
    for block in blocks:
        made.add(block, now)
    made.settle(before, now)
    return made


def lines(made: Samples, limit: int = 100_000) -> list[str]:
    """Return the lines of a family."""
    return b"".join(body.to_pybytes() for body in made.bodies(limit)).decode().split("\n")[:-1]


def named(made: Samples, limit: int = 100_000) -> set[str]:
    """Return the sites that are published."""
    return {line.partition('"')[2].partition('"')[0] for line in lines(made, limit)}


def test_an_unknown_value_is_absent() -> None:
    """None is no sample, and nothing to report."""
    made = samples(gauge([1, None, 0]))
    assert lines(made) == ['tableau_users{site="a"} 1', 'tableau_users{site="c"} 0']
    assert not made.left_out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**1024, "1", b"1", object()])
def test_what_is_no_finite_number_is_left_out(value: float) -> None:
    """A value that is not finite or no number at all costs only its own sample."""
    made = samples(gauge([1, value, 3]))
    assert lines(made) == ['tableau_users{site="a"} 1', 'tableau_users{site="c"} 3']
    assert made.left_out == {NO_NUMBER: 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (True, "1"),
        (2**63, "9223372036854775808"),
        (-(2**63), "-9223372036854775808"),
        (1.5, "1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e16, "1e+16"),
        (5e-324, "5e-324"),
        (-0.0, "-0"),
    ],
)
def test_a_number_is_written_so_that_it_reads_the_same(value: float, text: str) -> None:
    """Integers stay integers, and floats have as many digits as they need."""
    assert lines(samples(gauge([value]))) == [f'tableau_users{{site="a"}} {text}']


def test_a_negative_counter_is_left_out_and_a_negative_gauge_is_not() -> None:
    """A counter starts at 0; a gauge may be anything."""
    for values in ([-1, 0, 2], [-1, 0, 2.0], [-1, 0, True + 1], [-(2**70), 0, 2]):
        made = samples(gauge(values, family=COUNTER))
        assert lines(made) == ['tableau_logins_total{site="b"} 0', 'tableau_logins_total{site="c"} 2']
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
    made = samples(gauge([1, None, 3]), gauge([4, 5], ["d", "e"]))
    assert named(made, 3) == {"a", "c", "d"}
    assert (made.series, made.over(3), made.over(4), made.over(0)) == (4, 1, 0, 4)
    assert lines(made, 0) == []


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
        ([1, 2.5, 3], 0.0, NO_COUNT),
        ([1, 2.0, 3], 0.0, NO_COUNT),
        ([1, None, 3], 0.0, NO_COUNT),
        ([2**1022, 2**1022, 0], 0.0, NO_NUMBER),
    ],
)
def test_a_bad_row_of_a_histogram_is_left_out(counts: list[Any], total: float, reason: str) -> None:
    """The other rows stay; left-out ones are counted in series."""
    made = samples(histogram([counts, [0, 0, 1]], [total, 3.0]))
    assert named(made) == {"b"}
    assert made.left_out == {reason: 5}


def test_a_count_that_is_true_is_one() -> None:
    """No parser reads a word where a number must stand."""
    assert lines(samples(histogram([[True, 0, 0]], [True]))) == [
        'tableau_seconds_bucket{site="a",le="0.5"} 1',
        'tableau_seconds_bucket{site="a",le="2.0"} 1',
        'tableau_seconds_bucket{site="a",le="+Inf"} 1',
        'tableau_seconds_count{site="a"} 1',
        'tableau_seconds_sum{site="a"} 1',
    ]


def test_a_histogram_is_kept_or_left_out_row_by_row() -> None:
    """A row has a series for each bucket and two more; half a histogram would be a lie."""
    made = samples(histogram([[1, 0, 0], [1, 0, 0]], [0.0, 0.0]))
    assert named(made, 9) == {"a"}
    assert (made.series, made.over(9)) == (10, 5)
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
    """An invalid block is left out; other blocks stay."""
    made = samples(gauge([1], "z"), block)
    assert lines(made) == ['tableau_users{site="z"} 1']
    assert list(made.left_out) == [reason]


class Endless(Labels):
    """Labels whose number is unknown."""

    def __len__(self) -> int:
        """Fail as a defect would."""
        raise RuntimeError("endless")


@pytest.mark.parametrize(
    "labels", [Labels(("site",), cast("Any", [column])) for column in (None, 5)] + [Endless(("site",), [["a"]])]
)
def test_a_block_whose_rows_cannot_be_counted_is_one_series_left_out(labels: Labels) -> None:
    """Counting a fault must not raise another."""
    made = samples(gauge([1], "z"), Block(GAUGE, labels, [1]))
    assert lines(made) == ['tableau_users{site="z"} 1']
    assert made.left_out.total() == 1


@pytest.mark.parametrize(
    ("counts", "sums"), [([[1, 0, 0]], []), ([[1, 0, 0], [1, 0, 0]], [0.0, 0.0])], ids=["sums", "labels"]
)
def test_a_histogram_has_counts_and_a_sum_for_each_row(counts: list[list[int]], sums: list[float]) -> None:
    """Columns of different lengths are no samples."""
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
    assert lines(made) == []
    assert made.left_out.total() == 1


def test_columns_of_labels_are_of_one_length() -> None:
    """A row that lacks a label value is a block of which nothing can be believed."""
    family = Family("tableau_content", "gauge", "Content.", ("site", "asset_type"))
    short = Block(family, Labels(("site", "asset_type"), [["a", "b"], ["flow"]]), [1, 2])
    longer = Labels(("site",), [["c", "d"]]).extended(("asset_type",), [["flow"]])
    good = Block(family, Labels(("site", "asset_type"), [["e"], ["flow"]]), [3])
    made = samples(short, Block(family, longer, [1, 2]), good)
    assert lines(made) == ['tableau_content{site="e",asset_type="flow"} 3']
    assert made.left_out == {"ValueError: its columns of labels are of different lengths": 4}


@pytest.mark.parametrize("site", [None, 7, b"b", object()])
def test_a_label_that_is_no_text_costs_its_row(site: str) -> None:
    """The other rows of the block stay; a histogram loses all series of the row."""
    made = samples(gauge([1, 2, 3], ["a", site, "c"]))
    assert lines(made) == ['tableau_users{site="a"} 1', 'tableau_users{site="c"} 3']
    assert made.left_out == {NO_TEXT: 1}
    assert samples(histogram([[1, 0, 0]], [0.0], [site])).left_out == {NO_TEXT: 5}
    extended = Labels(("site",), [["a", site]]).extended(("asset_type",), [["flow", "flow"]])
    family = Family("tableau_content", "gauge", "Content.", ("site", "asset_type"))
    assert named(samples(Block(family, extended, [1, 2]))) == {"a"}


@pytest.mark.parametrize("good", [gauge([5, 6], family=COUNTER), histogram([[2, 1, 1], [1, 1, 1]], [9.0, 9.0])])
@pytest.mark.parametrize("fallen", [gauge([4, 6], family=COUNTER), histogram([[1, 3, 0], [1, 1, 1]], [9.0, 9.0])])
def test_a_counter_that_fell_is_kept_back(good: AnyBlock, fallen: AnyBlock) -> None:
    """A series below its published value is absent, until it is as high again or for ten minutes; the others stay."""
    if good.family != fallen.family:
        return
    series = 5 if good.family.type == "histogram" else 1
    before = samples(good, now=0.0)
    first = samples(fallen, before=before.exposed, now=10.0)
    assert (named(first), first.left_out) == ({"b"}, {DECREASED: series})
    again = samples(good, before=first.exposed, now=20.0)
    assert (named(again), again.left_out, again.exposed.away) == ({"a", "b"}, {}, {})
    later = samples(fallen, before=first.exposed, now=9.9 + HOLD_SECONDS)
    assert named(later) == {"b"}
    begun = samples(fallen, before=later.exposed, now=10.0 + HOLD_SECONDS)
    assert (named(begun), begun.left_out, begun.exposed.away) == ({"a", "b"}, {}, {})
    assert named(samples(fallen, before=begun.exposed, now=20.0 + HOLD_SECONDS)) == {"a", "b"}


def test_a_gauge_may_fall_and_a_series_may_go() -> None:
    """Neither is a fault."""
    assert not samples(gauge([4]), before=samples(gauge([5])).exposed).left_out
    assert not samples(gauge([5], family=COUNTER), before=samples(gauge([5, 6], family=COUNTER)).exposed).left_out


@pytest.mark.parametrize("bare", [True, False])
def test_a_series_that_was_away_is_held_to_what_it_was(bare: bool) -> None:
    """5, absent, 3 is a decrease like any other: it is published ten minutes after the series went."""

    def made(value: int, sites: str, before: ExposedCounts, now: float) -> Samples:
        if bare:
            return samples(gauge([value] * len(sites), sites, COUNTER), before=before, now=now)
        rows = [[value, 0, 0]] * len(sites)
        return samples(histogram(rows, [9.0] * len(sites), sites), before=before, now=now)

    gone = made(5, "b", made(5, "ab", NOTHING_EXPOSED, 0.0).exposed, 10.0)
    assert not gone.left_out
    gone = made(5, "b", gone.exposed, 20.0)
    assert named(made(5, "ab", gone.exposed, 30.0)) == {"a", "b"}
    back = made(3, "a", gone.exposed, 30.0)
    assert (named(back), list(back.left_out)) == (set(), [DECREASED])
    assert named(made(3, "a", back.exposed, 9.9 + HOLD_SECONDS)) == set()
    assert named(made(3, "a", back.exposed, 10.0 + HOLD_SECONDS)) == {"a"}
    assert not made(5, "b", gone.exposed, 10.0 + HOLD_SECONDS).exposed.away


def test_a_rendering_that_fails_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values published before a family could not be rendered still hold afterwards."""
    before = samples(gauge([5], family=COUNTER)).exposed

    def fail(*_: object) -> None:
        raise OverflowError("too large")

    with monkeypatch.context() as patched:
        patched.setattr(Samples, "_never_falling", fail)
        failed = samples(gauge([5], family=COUNTER), before=before)
    assert failed.left_out == {"OverflowError: too large": 1}
    assert samples(gauge([4], family=COUNTER), before=failed.exposed).left_out == {DECREASED: 1}


def test_many_rows_are_several_pieces() -> None:
    """Pieces hold whole lines in their order, with the last row of each and the first of the next."""
    count = 2 * ROWS_AT_ONCE + 1
    names = [f"s{number}" for number in range(count)]
    made = samples(gauge(list(range(count)), names))
    assert lines(made, count) == [f'tableau_users{{site="s{number}"}} {number}' for number in range(count)]
    assert len(list(made.bodies(count))) == 3
    assert lines(made, ROWS_AT_ONCE + 1)[-1] == f'tableau_users{{site="s{ROWS_AT_ONCE}"}} {ROWS_AT_ONCE}'
    rows = samples(histogram([[number, 0, 0] for number in range(count)], [0.0] * count, names))
    assert [line for line in lines(rows, 5 * count) if "_count" in line] == [
        f'tableau_seconds_count{{site="s{number}"}} {number}' for number in range(count)
    ]
    odd = samples(gauge([*range(count - 1), None], names), gauge([7], ["s3"]), gauge([8], ["last"]))
    assert lines(odd, count)[-1] == 'tableau_users{site="last"} 8'
    assert odd.left_out == {TWICE: 1}
