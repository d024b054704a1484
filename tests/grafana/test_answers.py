"""Every question of every dashboard, asked of a real Prometheus that scrapes the demo: it has an answer."""

import contextlib
from collections.abc import Iterator

import pytest

from exporter.demo.postgres import Postgres
from tests.grafana.boards import ALL, BOARDS, EVERY, Asked, substituted
from tests.grafana.scraped_demo import NeverHappened, ScrapedDemo, scraped_demo

PATIENCE_SECONDS = 120.0
# An asset of which everything is known.
WHOLE = """
    topk(1, tableau_asset_refresh_due_timestamp_seconds and on (asset_id) tableau_asset_sla_hours
        and on (asset_id) tableau_asset_info{connection!="",content_owner!=""}
        and on (asset_id) tableau_asset_refresh_consecutive_failures
        and on (asset_id) tableau_asset_usual_bytes)
"""


@pytest.fixture(scope="module")
def watch(postgres18: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScrapedDemo]:
    """The demo with its Prometheus, for as long as it takes until every question has an answer."""
    with scraped_demo(postgres18, tmp_path_factory.mktemp("boards")) as found:
        found.values.update(ALL, __rate_interval="30s", __range="1h")
        found.until(lambda: found.answer(WHOLE), lambda: "assets are scraped", PATIENCE_SECONDS)
        found.values["asset_id"] = found.answer(WHOLE)[0]["metric"]["asset_id"]

        def left() -> list[str]:
            for asked in EVERY:
                if not found.answers.get(asked.name) or lacking(asked, found):
                    found.answers[asked.name] = found.answer(substituted(asked.question, found.values))
            return [asked.name for asked in EVERY if not found.answers[asked.name] or lacking(asked, found)]

        # Whoever is left without an answer fails below, by name.
        with contextlib.suppress(NeverHappened):
            found.until(lambda: not left(), lambda: "every question has an answer", PATIENCE_SECONDS)
        yield found


def labels(asked: Asked, watch: ScrapedDemo) -> set[str]:
    """Return the labels of an answer."""
    return set[str]().union(*(series["metric"] for series in watch.answers.get(asked.name, [])))


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.name)
def test_every_question_has_an_answer_that_is_a_number(asked: Asked, watch: ScrapedDemo) -> None:
    """The answer is not empty, and nothing in it is divided by nothing."""
    answer = watch.answers[asked.name]
    assert answer
    assert [series for series in answer if series["value"][1] in {"NaN", "+Inf", "-Inf"}] == []


def lacking(asked: Asked, watch: ScrapedDemo) -> set[str]:
    """Return the labels that are shown of an answer and that it lacks; in a table the answers complete each other."""
    of_panel = [each for each in EVERY if each.panel is asked.panel] if asked.panel["type"] == "table" else [asked]
    found = set[str]().union(*(labels(each, watch) for each in of_panel))
    return asked.shown() - found


@pytest.mark.parametrize("board", BOARDS)
def test_what_is_shown_is_in_the_answers(board: str, watch: ScrapedDemo) -> None:
    """Each label that names a series is in its answer, and each column of labels in one of the table's."""
    assert [
        (asked.name, lacking(asked, watch)) for asked in EVERY if asked.board == board and lacking(asked, watch)
    ] == []


def test_rows_of_a_table_are_one_row_each(watch: ScrapedDemo) -> None:
    """The answers of a table meet in its rows: what they have in common tells each row from every other."""
    for asked in (asked for asked in EVERY if asked.panel["type"] == "table"):
        of_panel = [each for each in EVERY if each.panel is asked.panel]
        common = set.intersection(*(labels(each, watch) for each in of_panel))
        rows = [
            tuple(sorted((name, text) for name, text in series["metric"].items() if name in common))
            for series in watch.answers[asked.name]
        ]
        assert len(set(rows)) == len(rows), asked.name


@pytest.mark.parametrize("name", ["job", "instance", "site", "project", "content_owner"])
def test_there_is_something_to_choose(name: str, watch: ScrapedDemo) -> None:
    """The variables have values: the question for them finds series that have the label."""
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["name"] == name:
                selector = variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
                series = watch.ask("series", **{"match[]": substituted(selector, watch.values)})
                assert {each[name] for each in series if name in each}


def test_where_nothing_is_known_nothing_is_claimed(watch: ScrapedDemo) -> None:
    """Of a site that is not there, no figure is shown, and none is 0: only alerts and the agent do without a site."""
    values = {**watch.values, "site": "nowhere", "job": "nobody", "instance": "nowhere", "asset_id": "none"}
    claimed = [asked.name for asked in EVERY if watch.answer(substituted(asked.question, values))]
    assert all(
        name.startswith(("overview/Critical alerts", "overview/Warnings", "overview/Firing alerts")) for name in claimed
    )
