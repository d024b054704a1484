"""A rendering as a whole: order, cache, and counted and reported faults."""

import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from exporter.exposition import Exposition, Renderer
from exporter.exposition.encoding import Piece
from exporter.exposition.samples import DECREASED, HOLD_SECONDS
from exporter.exposition.series_limit import OVER_THE_FAMILY_LIMIT, OVER_THE_LIMIT, SeriesLimits, height
from exporter.metrics import Block, Family, HistogramBlock, Labels, single
from exporter.self_metrics import SERIES_DROPPED
from tests.exposition.parsed import read_openmetrics, read_text, series
from tests.support.components import require

GOLDEN = Path(__file__).parent / "golden"
UP = Family("tableau_up", "gauge", 'Whether the source answered, "at every poll".', ("source",))
HOURS = Family("tableau_hours", "gauge", "Hours.", ("site",))
LOGINS = Family("tableau_logins_total", "counter", "Logins \\ from the\nrepository at every poll.", ("site",))
SECONDS = Family("tableau_seconds", "histogram", "Seconds from the repository.", ("site",), buckets=(0.1, 1.0, 7200.0))
ODD = 'quote " backslash \\ line\n return\r nul\0 separator\u2028 snow\u2603 \U0001f4ca surrogate\ud800'


@pytest.fixture
def renderer() -> Renderer:
    """A renderer that leaves this process out, which is never twice the same."""
    return Renderer(SeriesLimits(10), process=tuple)


def sites(family: Family, *values: float, prefix: str = "") -> Block:
    """Return a block with sites of its own."""
    return Block(family, Labels(("site",), [[f"{prefix}{number}" for number in range(len(values))]]), list(values))


def example() -> list[Block | HistogramBlock]:
    """Return blocks of every type, in no order, one family in two blocks."""
    return [
        single(UP, 1, source="repository"),
        HistogramBlock(SECONDS, Labels(("site",), [["default", "Süd"]]), [[1, 2, 3, 4], [0, 0, 0, 0]], [12.25, 0.0]),
        Block(LOGINS, Labels(("site",), [[ODD, "default"]]), [3, 10**15]),
        single(UP, 0, source="rest"),
        single(HOURS, lambda now: [now / 3600], site="default"),
        single(HOURS, None, site="unknown"),
    ]


@pytest.mark.parametrize("format_", ["text", "openmetrics"])
def test_an_exposition_is_the_golden_file(renderer: Renderer, format_: str) -> None:
    """Families stand in the order of their names, each once, in any order of the blocks."""
    rendering: bytes = getattr(renderer.render(example(), 9000.0), format_)
    assert rendering == (GOLDEN / f"exposition.{format_}").read_bytes()


def test_promtool_accepts_the_exposition() -> None:
    """Odd characters, every type, and this process: Prometheus' own linter finds no fault."""
    text = Renderer().render([block for block in example() if block.family is not HOURS], 9000.0).text
    command = [str(require("promtool")), "check", "metrics"]
    result = subprocess.run(command, input=text, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_family_without_samples_is_absent(renderer: Renderer) -> None:
    """A family without samples has no head either."""
    rendering = renderer.render([single(HOURS, None, site="default")], 0.0)
    assert b"tableau_hours " not in rendering.text
    assert b"tableau_hours " not in rendering.openmetrics


def test_what_depends_on_the_time_is_rendered_anew(renderer: Renderer) -> None:
    """The same blocks an hour later are rendered anew; unchanged ones are not compressed again."""
    blocks = [single(HOURS, lambda now: [now / 3600], site="default"), sites(UP_TO_DATE, 1.0)]
    first = renderer.render(blocks, 3600.0)
    before = kept(renderer)
    second = renderer.render(blocks, 7200.0)
    assert series(first)['tableau_hours{site="default"}'] == 1
    assert series(second)['tableau_hours{site="default"}'] == 2
    assert kept(renderer) is before


UP_TO_DATE = Family("tableau_users", "gauge", "Users.", ("site",))


def kept(renderer: Renderer) -> Piece:
    """Return the cached samples of users, compressed."""
    return renderer._before.families["tableau_users"].body[0].result()


def test_equal_values_of_a_new_poll_are_not_compressed_again(renderer: Renderer) -> None:
    """A poll that brings the same again costs no compression."""
    renderer.render([sites(UP_TO_DATE, 1.0, 2.0)], 0.0)
    before = kept(renderer)
    renderer.render([sites(UP_TO_DATE, 1.0, 2.0)], 0.0)
    assert kept(renderer) is before
    renderer.render([sites(UP_TO_DATE, 1.0, 3.0)], 0.0)
    assert kept(renderer) is not before


def test_a_changed_poll_replaces_the_last(renderer: Renderer) -> None:
    """New values, new help and fewer series all appear at the next rendering."""
    renderer.render([sites(UP_TO_DATE, 1.0, 2.0)], 0.0)
    other = Family("tableau_users", "gauge", "People.", ("site",))
    rendering = renderer.render([sites(other, 3.0)], 0.0)
    assert b"# HELP tableau_users People.\n" in rendering.text
    assert series(rendering)['tableau_users{site="0"}'] == 3
    assert 'tableau_users{site="1"}' not in series(rendering)
    assert "tableau_users" not in read_text(renderer.render([], 0.0).text)


def test_the_limit_is_counted_and_reported_once(renderer: Renderer) -> None:
    """Overflow that lasts is counted once, more of it adds the difference, and the counter never falls."""
    name = 'tableau_series_dropped_total{family="tableau_users"}'
    counted = []
    with capture_logs() as logs:
        for number in (10, 12, 12, 15, 4, 12):
            rendering = renderer.render([sites(UP_TO_DATE, *range(number))], 0.0)
            assert sum(key.startswith("tableau_users{") for key in series(rendering)) == min(number, 10)
            counted.append(series(rendering)[name])
    assert counted == [0, 2, 2, 5, 5, 7]
    assert renderer.dropped == {"tableau_users": 7}
    assert [(log["log_level"], log["family"], log["series"]) for log in logs] == [
        ("warning", "tableau_users", 2),
        ("warning", "tableau_users", 2),
    ]


def test_a_new_limit_holds_at_the_next_rendering(renderer: Renderer) -> None:
    """A reload changes the limit without resetting the counts."""
    blocks = [sites(UP_TO_DATE, *range(12))]
    renderer.render(blocks, 0.0)
    renderer.limits = SeriesLimits(5)
    assert sum(key.startswith("tableau_users{") for key in series(renderer.render(blocks, 0.0))) == 5
    assert renderer.dropped == {"tableau_users": 7}


def test_the_count_of_what_was_dropped_is_not_limited() -> None:
    """However low the limit is, each family can be seen to suffer from it."""
    renderer = Renderer(SeriesLimits(1), process=tuple)
    rendering = renderer.render([sites(UP_TO_DATE, 1, 2), sites(HOURS, 1, 2)], 0.0)
    dropped = {name: value for name, value in series(rendering).items() if name.startswith(SERIES_DROPPED.name)}
    assert list(dropped.values()) == [1, 1]


def test_a_bad_family_is_reported_and_the_others_are_served(renderer: Renderer) -> None:
    """A faulty block does not stop the rendering; its fault is logged once while it lasts."""
    blocks = [single(HOURS, lambda now: [1 / now], site="default"), sites(UP_TO_DATE, 1.0)]
    with capture_logs() as logs:
        renderer.render(blocks, 0.0)
        rendering = renderer.render(blocks, 0.0)
    assert series(rendering)['tableau_users{site="0"}'] == 1
    assert series(rendering)['tableau_series_dropped_total{family="tableau_hours"}'] == 1
    assert [log["reason"] for log in logs] == ["ZeroDivisionError: float division by zero"]


def test_a_counter_that_falls_is_left_out_and_reported() -> None:
    """A decrease would be a restart to Prometheus: it is absent, in every form, until it is published as a reset."""
    clock = Counter(seconds=0)
    renderer = Renderer(process=tuple, clock=lambda: clock["seconds"])
    renderer.render([sites(LOGINS, 5, 6), sites(HOURS, 5)], 0.0)
    blocks = [sites(LOGINS, 4, 6), sites(HOURS, 1)]
    with capture_logs() as logs:
        rendering = renderer.render(blocks, 10.0)
        renderer.render(blocks, 20.0)
    assert [(log["family"], log["series"], log["reason"]) for log in logs] == [("tableau_logins_total", 1, DECREASED)]
    published = {name: value for name, value in series(rendering).items() if "logins" in name or "hours" in name}
    assert published == {
        'tableau_logins_total{site="1"}': 6,
        'tableau_hours{site="0"}': 1,
        'tableau_series_dropped_total{family="tableau_hours"}': 0,
        'tableau_series_dropped_total{family="tableau_logins_total"}': 1,
    }
    assert len(read_openmetrics(rendering.openmetrics)["tableau_logins"][2]) == 1
    clock["seconds"] += int(HOLD_SECONDS)
    assert series(renderer.render(blocks, 30.0))['tableau_logins_total{site="0"}'] == 4


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_a_fall_lasts_as_long_however_the_clock_of_the_machine_is_set(step: float) -> None:
    """Ten minutes are ten minutes after a step of a day, forwards or backwards."""
    clock = Counter(seconds=0)
    renderer = Renderer(process=tuple, clock=lambda: clock["seconds"])
    fallen = 'tableau_logins_total{site="0"}'
    renderer.render([sites(LOGINS, 5)], 1e9)
    renderer.render([sites(LOGINS, 4)], 1e9)
    assert fallen not in series(renderer.render([sites(LOGINS, 4)], 1e9 + step))
    clock["seconds"] += int(HOLD_SECONDS)
    assert series(renderer.render([sites(LOGINS, 4)], 1e9 + step))[fallen] == 4


def test_a_family_that_was_away_is_held_to_what_it_was() -> None:
    """A counter that comes back lower, as a whole or not, is kept back as one that never went, and then forgotten."""
    clock = Counter(seconds=0)
    renderer = Renderer(process=tuple, clock=lambda: clock["seconds"])
    renderer.render([sites(LOGINS, 5, 6)], 0.0)
    for _ in range(2):
        clock["seconds"] += 10
        renderer.render([], 0.0)
    back = series(renderer.render([sites(LOGINS, 4, 6)], 0.0))
    assert 'tableau_logins_total{site="0"}' not in back
    assert back['tableau_logins_total{site="1"}'] == 6
    renderer.render([], 0.0)
    assert renderer._before.away.keys() == {LOGINS.name}
    clock["seconds"] += int(HOLD_SECONDS)
    renderer.render([], 0.0)
    assert not renderer._before.away
    assert series(renderer.render([sites(LOGINS, 4, 6)], 0.0))['tableau_logins_total{site="0"}'] == 4


def test_what_stands_still_beside_a_series_that_went_is_not_rendered_again(renderer: Renderer) -> None:
    """To remember a series costs no rendering."""
    renderer.render([sites(LOGINS, 5, 6)], 0.0)
    blocks = [sites(LOGINS, 5)]
    renderer.render(blocks, 0.0)
    before = renderer._before.families[LOGINS.name]
    renderer.render(blocks, 0.0)
    assert renderer._before.families[LOGINS.name] is before


def test_every_reader_gets_a_whole_rendering(renderer: Renderer) -> None:
    """Eight threads that read and render at once see one instant each, in every form."""
    blocks = [
        Block(HOURS, Labels(("site",), [["a"]]), lambda now: [now]),
        Block(UP_TO_DATE, Labels(("site",), [["a"]]), lambda now: [now]),
    ]

    def read(now: int) -> None:
        rendering = renderer.render(blocks, now)
        for read in (read_text(rendering.text), read_openmetrics(rendering.openmetrics)):
            values = {value for name in ("tableau_hours", "tableau_users") for value in read[name][2].values()}
            assert values == {now}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(200)))


@pytest.mark.parametrize(
    ("sizes", "room", "published"),
    [
        ([3, 9, 7], 100, [3, 9, 7]),
        ([3, 9, 7], 19, [3, 9, 7]),
        ([3, 9, 7], 18, [3, 8, 7]),
        ([3, 9, 7], 12, [3, 4, 4]),
        ([3, 9, 7], 6, [2, 2, 2]),
        ([3, 9, 7], 0, [0, 0, 0]),
        ([3, 9, 7], -5, [0, 0, 0]),
        ([], 0, []),
    ],
)
def test_the_largest_are_cut_to_one_height(sizes: list[int], room: int, published: list[int]) -> None:
    """Who stays below the height loses nothing, and none could be higher."""
    assert [min(size, height(sizes, room)) for size in sizes] == published


def shown_of(rendering: Exposition) -> dict[str, int]:
    """Count the series of each family."""
    counts = Counter(name.partition("{")[0] for name in series(rendering))
    del counts[SERIES_DROPPED.name]
    return dict(counts)


REQUESTS = Family("tableau_http_requests_total", "counter", "Requests.", ("site",), "repository: http_requests")
CONTENT = Family("tableau_content", "gauge", "Content.", ("site",), "repository: workbooks")
UP_IN_REPOSITORY = Family("tableau_users", "gauge", "Users.", ("site",), "repository: users")
OWN = Family("tableau_history_rows_total", "counter", "Rows.", ("site",))


def test_all_families_together_are_limited_and_the_largest_pay() -> None:
    """The agent's own families and the small ones stay whole; cut series are counted, logged once, and come back."""
    renderer = Renderer(SeriesLimits(100, 40), process=tuple)
    small, own = sites(CONTENT, *range(3)), sites(OWN, *range(20))
    large = [sites(REQUESTS, *range(30)), sites(UP_IN_REPOSITORY, *range(25))]
    with capture_logs() as logs:
        for _ in range(2):
            rendering = renderer.render([*large, small, own], 0.0)
            assert shown_of(rendering) == {
                "tableau_content": 3,
                "tableau_history_rows_total": 20,
                "tableau_http_requests_total": 8,
                "tableau_users": 8,
            }
            assert 'tableau_http_requests_total{site="7"}' in series(rendering)
    assert {(log["family"], log["series"], log["reason"]) for log in logs} == {
        ("tableau_http_requests_total", 22, OVER_THE_LIMIT),
        ("tableau_users", 17, OVER_THE_LIMIT),
    }
    assert len(logs) == 2
    rendering = renderer.render([*large, small, own], 0.0)
    assert series(rendering)['tableau_series_dropped_total{family="tableau_users"}'] == 17
    assert len(read_openmetrics(rendering.openmetrics)["tableau_users"][2]) == 8
    assert shown_of(renderer.render([sites(REQUESTS, *range(30)), small], 0.0))["tableau_http_requests_total"] == 30
    renderer.limits = SeriesLimits(25, 40)
    with capture_logs() as logs:
        renderer.render([sites(REQUESTS, *range(30)), small], 0.0)
    assert [(log["series"], log["reason"]) for log in logs] == [(5, OVER_THE_FAMILY_LIMIT)]


def test_what_is_dropped_for_all_is_seen_under_the_lowest_limits() -> None:
    """Where no other family may be published, that is."""
    renderer = Renderer(SeriesLimits(1, 1), process=tuple)
    rendering = renderer.render([sites(CONTENT, 1, 2), sites(OWN, 1, 2), sites(REQUESTS, 1)], 0.0)
    assert shown_of(rendering) == {"tableau_history_rows_total": 1}
    dropped = {key: value for key, value in series(rendering).items() if key.startswith(SERIES_DROPPED.name)}
    assert list(dropped.values()) == [2, 1, 1]


def test_labels_too_large_for_a_column_cost_their_family_alone(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family that fails when it is assembled is left out, and the rendering is made."""

    def fail(*_: object) -> None:
        raise pa.ArrowCapacityError("array cannot contain more than 2147483646 bytes")

    monkeypatch.setattr("exporter.exposition.samples.Samples._once", fail)
    twice = [sites(HOURS, 1.0), sites(HOURS, 2.0, prefix="b")]
    rendering = renderer.render([*twice, sites(UP_TO_DATE, 1.0)], 0.0)
    assert shown_of(rendering) == {"tableau_users": 1}
    assert series(rendering)['tableau_series_dropped_total{family="tableau_hours"}'] == 2


def test_some_collectors_are_rendered_as_all_are() -> None:
    """Of a real rendering both formats of some collectors are parsed, without any of the others."""
    renderer = Renderer(
        process=tuple,
        collectors={
            HOURS.name: frozenset({"assets"}),
            LOGINS.name: frozenset({"logins"}),
            SECONDS.name: frozenset({"jobs"}),
        },
    )
    whole = renderer.render(example(), 9000.0)
    chosen = whole.of_collectors({"logins", "jobs"})
    expected = {name: read for name, read in read_text(whole.text).items() if not name.startswith(HOURS.name)}
    assert read_text(chosen.text) == expected
    assert read_openmetrics(chosen.openmetrics).keys() == read_openmetrics(whole.openmetrics).keys() - {HOURS.name}
    assert whole.of_collectors({"assets", "logins", "jobs"}).openmetrics_gzip == whole.openmetrics_gzip
