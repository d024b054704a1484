"""A rendering as a whole: order, what is kept from the last one, what is counted and reported."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.agent_families import SERIES_DROPPED
from exporter.exposition import Renderer, Rendering
from exporter.metrics import Block, Family, HistogramBlock, Labels, single
from tests.components import require
from tests.exposition.reading import read_openmetrics, read_text, series

GOLDEN = Path(__file__).parent / "golden"
UP = Family("tableau_up", "gauge", 'Whether the source answered, "at every poll".', ("source",))
HOURS = Family("tableau_hours", "gauge", "Hours.", ("site",))
LOGINS = Family("tableau_logins_total", "counter", "Logins \\ from the\nrepository at every poll.", ("site",))
SECONDS = Family("tableau_seconds", "histogram", "Seconds from the repository.", ("site",), buckets=(0.1, 1.0, 7200.0))
ODD = 'quote " backslash \\ line\n return\r nul\0 separator\u2028 snow\u2603 \U0001f4ca surrogate\ud800'


@pytest.fixture
def renderer() -> Renderer:
    """A renderer that leaves this process out, which is never twice the same."""
    return Renderer(10, process=tuple)


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
    """Families stand in the order of their names, each once, whatever order the blocks had."""
    rendering: bytes = getattr(renderer.render(example(), 9000.0), format_)
    assert rendering == (GOLDEN / f"exposition.{format_}").read_bytes()


def test_promtool_accepts_the_exposition() -> None:
    """Odd characters, every type, and this process: Prometheus' own linter has nothing to say."""
    text = Renderer().render([block for block in example() if block.family is not HOURS], 9000.0).text
    command = [str(require("promtool")), "check", "metrics"]
    result = subprocess.run(command, input=text, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_family_without_samples_is_absent(renderer: Renderer) -> None:
    """What has nothing to say has no head either."""
    rendering = renderer.render([single(HOURS, None, site="default")], 0.0)
    assert b"tableau_hours " not in rendering.text
    assert b"tableau_hours " not in rendering.openmetrics


def test_what_depends_on_the_time_is_rendered_anew(renderer: Renderer) -> None:
    """The same blocks an hour later say something else; what stands still is not compressed again."""
    blocks = [single(HOURS, lambda now: [now / 3600], site="default"), sites(UP_TO_DATE, 1.0)]
    first = renderer.render(blocks, 3600.0)
    second = renderer.render(blocks, 7200.0)
    assert series(first)['tableau_hours{site="default"}'] == 1
    assert series(second)['tableau_hours{site="default"}'] == 2
    assert_same_piece(first, second, b"tableau_users{")


UP_TO_DATE = Family("tableau_users", "gauge", "Users.", ("site",))


def assert_same_piece(first: Rendering, second: Rendering, start: bytes) -> None:
    """Assert that both renderings share the bytes that start so, and do not only have equal ones."""
    (one,) = (piece for piece in first.text_pieces if piece.startswith(start))
    assert any(piece is one for piece in second.text_pieces)


def test_equal_values_of_a_new_poll_are_not_compressed_again(renderer: Renderer) -> None:
    """A poll that brings the same again costs no compression."""
    first = renderer.render([sites(UP_TO_DATE, 1.0, 2.0)], 0.0)
    assert_same_piece(first, renderer.render([sites(UP_TO_DATE, 1.0, 2.0)], 0.0), b"tableau_users{")


def test_a_changed_poll_replaces_the_last(renderer: Renderer) -> None:
    """New values, new help and fewer series all show at the next rendering."""
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
    """A reload changes the limit without forgetting what was counted."""
    blocks = [sites(UP_TO_DATE, *range(12))]
    renderer.render(blocks, 0.0)
    renderer.series_limit = 5
    assert sum(key.startswith("tableau_users{") for key in series(renderer.render(blocks, 0.0))) == 5
    assert renderer.dropped == {"tableau_users": 7}


def test_the_count_of_what_was_dropped_is_not_limited() -> None:
    """However low the limit is, each family can be seen to suffer from it."""
    renderer = Renderer(1, process=tuple)
    rendering = renderer.render([sites(UP_TO_DATE, 1, 2), sites(HOURS, 1, 2)], 0.0)
    dropped = {name: value for name, value in series(rendering).items() if name.startswith(SERIES_DROPPED.name)}
    assert list(dropped.values()) == [1, 1]


def test_a_bad_family_is_reported_and_the_others_are_served(renderer: Renderer) -> None:
    """Whatever a block does, the rendering is made; its fault is said once while it lasts."""
    blocks = [single(HOURS, lambda now: [1 / now], site="default"), sites(UP_TO_DATE, 1.0)]
    with capture_logs() as logs:
        renderer.render(blocks, 0.0)
        rendering = renderer.render(blocks, 0.0)
    assert series(rendering)['tableau_users{site="0"}'] == 1
    assert series(rendering)['tableau_series_dropped_total{family="tableau_hours"}'] == 1
    assert [log["reason"] for log in logs] == ["ZeroDivisionError: float division by zero"]


def test_a_counter_that_falls_is_reported(renderer: Renderer) -> None:
    """Prometheus would take it for a restart; a gauge may fall, and a series may go."""
    renderer.render([sites(LOGINS, 5, 6), sites(HOURS, 5)], 0.0)
    with capture_logs() as logs:
        renderer.render([sites(LOGINS, 5), sites(HOURS, 1)], 0.0)
        assert not logs
        renderer.render([sites(LOGINS, 4), sites(HOURS, 1)], 0.0)
    assert [log["family"] for log in logs] == ["tableau_logins_total"]


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
