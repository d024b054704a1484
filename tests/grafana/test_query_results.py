"""Every query of every dashboard has a result in a real Prometheus that scrapes the demo."""

import contextlib
from collections.abc import Iterator

import pytest

from exporter.demo.postgres import Postgres
from tests.grafana.dashboards import ALL, BOARDS, EVERY, PanelQuery, substituted
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
    """The demo with its Prometheus, until every query has an answer."""
    with scraped_demo(postgres18, tmp_path_factory.mktemp("boards")) as found:
        found.values.update(ALL, __rate_interval="30s", __range="1h")
        found.until(lambda: found.answer(WHOLE), lambda: "assets are scraped", PATIENCE_SECONDS)
        found.values["asset_id"] = found.answer(WHOLE)[0]["metric"]["asset_id"]

        def left() -> list[str]:
            for query in EVERY:
                if not found.answers.get(query.name) or lacking(query, found):
                    found.answers[query.name] = found.answer(substituted(query.question, found.values))
            return [query.name for query in EVERY if not found.answers[query.name] or lacking(query, found)]

        # Queries left without an answer fail below, by name.
        with contextlib.suppress(NeverHappened):
            found.until(lambda: not left(), lambda: "every question has an answer", PATIENCE_SECONDS)
        yield found


def labels(query: PanelQuery, watch: ScrapedDemo) -> set[str]:
    """Return the labels of an answer."""
    return set[str]().union(*(series["metric"] for series in watch.answers.get(query.name, [])))


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.name)
def test_every_question_has_an_answer_that_is_a_number(query: PanelQuery, watch: ScrapedDemo) -> None:
    """The answer is not empty, and nothing in it is divided by nothing."""
    answer = watch.answers[query.name]
    assert answer
    assert [series for series in answer if series["value"][1] in {"NaN", "+Inf", "-Inf"}] == []


def lacking(query: PanelQuery, watch: ScrapedDemo) -> set[str]:
    """Return the drawn labels that an answer lacks; in a table the answers complete each other."""
    of_panel = [each for each in EVERY if each.panel is query.panel] if query.panel["type"] == "table" else [query]
    found = set[str]().union(*(labels(each, watch) for each in of_panel))
    return query.rendered() - found


@pytest.mark.parametrize("board", BOARDS)
def test_what_is_shown_is_in_the_answers(board: str, watch: ScrapedDemo) -> None:
    """Each label that names a series is in its answer, and each column of labels in one of the table's."""
    assert [
        (query.name, lacking(query, watch)) for query in EVERY if query.board == board and lacking(query, watch)
    ] == []


def test_rows_of_a_table_are_one_row_each(watch: ScrapedDemo) -> None:
    """The answers of a table meet in its rows: their common labels identify each row."""
    for query in (query for query in EVERY if query.panel["type"] == "table"):
        of_panel = [each for each in EVERY if each.panel is query.panel]
        common = set.intersection(*(labels(each, watch) for each in of_panel))
        rows = [
            tuple(sorted((name, text) for name, text in series["metric"].items() if name in common))
            for series in watch.answers[query.name]
        ]
        assert len(set(rows)) == len(rows), query.name


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
    """A missing site has no figure, and none is 0: only alerts and the agent do without a site."""
    values = {**watch.values, "site": "nowhere", "job": "nobody", "instance": "nowhere", "asset_id": "none"}
    claimed = [query.name for query in EVERY if watch.answer(substituted(query.question, values))]
    assert all(
        name.startswith(("overview/Critical alerts", "overview/Warnings", "overview/Firing alerts")) for name in claimed
    )
