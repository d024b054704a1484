"""The pages' queries of the history run seldom where they are costly, and their faults affect only them."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from exporter.collector import Collector, State, StateHistory, StateKey, columns_of
from exporter.collectors import discover
from exporter.collectors.assets.metrics import BYTES, USERS, USUAL_BYTES
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.collectors.content.views_sql import RECALLED_SECONDS
from exporter.exposition.state_store import StateStore
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.totals import instant
from exporter.metrics import Block
from exporter.pagedata.query_results import ASSET_USAGE, PageAnswers
from exporter.poller.context import PollContext, audit_assets, no_sla
from exporter.poller.merged_state import SourceRows, merged_states
from exporter.poller.page_queries import FORGET_SECONDS, LEARN_SECONDS, PageQueries
from tests.history.test_file import held

NOW = 1_763_548_200.0
ROWS = pa.table({"id": [1]})
QUESTION = "SELECT *, $now AS now FROM state"
HOUR = "INSERT INTO people_by_hour VALUES (TIMESTAMP '2025-11-19 10:00:00', 1, 7)"


@dataclass
class QueriedHistory:
    """A history, and the answers for the pages; the states of ``queried`` are ``dear`` and ``cheap``."""

    queries: PageQueries
    history: History
    answers: PageAnswers

    def recall(self, now: float) -> list[float | None]:
        """Query, and return when each of both states was answered last."""
        self.queries.run({("asked", 0): ROWS, ("asked", 1): ROWS}, {}, now)
        found = [self.answers.of(page).get("repository") for page in ("dear", "cheap")]
        return [None if answer is None else answer.queried_at for answer in found]

    def active_users(self) -> int:
        """Return how many rows have active users."""
        with duckdb.connect(str(self.history.file.path), read_only=True) as connection:
            return len(connection.execute("FROM people_by_hour").fetchall())


@dataclass(frozen=True)
class Row:
    """A row of a state."""

    id: int


def queried(path: Path, dear: str = QUESTION, privacy: Privacy | None = None) -> QueriedHistory:
    """Return a history that is ready, with a state whose question may be broken, and one whose question is not."""
    states = (
        State(Row, (), "", history=StateHistory(page="dear", page_sql=dear, page_seconds=3600.0)),
        State(Row, (), "", history=StateHistory(page="cheap", page_sql=QUESTION)),
    )
    collectors = {"asked": Collector("asked", "", states=states), "http_requests": discover()["http_requests"]}
    history = History(HistoryFile(path, Limits(patience_seconds=0.0)), collectors, privacy or Privacy())
    history.prepare(instant(NOW))
    store = StateStore(["repository"], version="0", library="0", started_at=NOW)
    context = PollContext(history, collectors, store, lambda: NOW)
    return QueriedHistory(PageQueries("repository", context), history, context.answers)


PAGES = {
    f"{name}/{index}": (name, index)
    for name, collector in discover().items()
    for index, state in enumerate(collector.states)
    if state.history.page
}


@pytest.mark.parametrize("key", PAGES.values(), ids=PAGES)
def test_the_query_of_each_page_is_answered(tmp_path: Path, key: StateKey) -> None:
    """DuckDB accepts the query that a collector declares for a page, and answers it for no rows."""
    collectors = discover()
    history = History(HistoryFile(tmp_path / "history.duckdb"), collectors, Privacy())
    history.prepare(instant(NOW))
    store = StateStore(["repository"], version="0", library="0", started_at=NOW)
    context = PollContext(history, collectors, store, lambda: NOW)
    state = collectors[key[0]].states[key[1]]
    schema = pa.schema([(column.name, column.type.arrow) for column in columns_of(state.row)])
    with capture_logs() as logs:
        PageQueries("repository", context).run({key: schema.empty_table()}, {}, NOW)
    assert logs == []
    assert context.answers.of(str(state.history.page))["repository"].queried_at == NOW


def test_what_is_dear_is_asked_seldom(tmp_path: Path) -> None:
    """An answer that is valid for an hour is queried again after an hour, another each time."""
    there = queried(tmp_path / "history.duckdb")
    assert there.recall(NOW) == [NOW, NOW]
    assert there.recall(NOW + 3599) == [NOW, NOW + 3599]
    assert there.recall(NOW + 3600) == [NOW + 3600, NOW + 3600]
    content = [state.history.page_seconds for state in discover()["content"].states if state.history.page]
    assert content == [RECALLED_SECONDS] * 2 == [3600.0] * 2


def test_a_question_that_fails_costs_its_answer_alone(tmp_path: Path) -> None:
    """The other queries are answered, the history goes on, and the log has it once."""
    there = queried(tmp_path / "history.duckdb", "SELECT error($now::VARCHAR) FROM state")
    with capture_logs() as logs:
        assert there.recall(NOW) == [None, NOW]
        assert there.recall(NOW + 3600) == [None, NOW + 3600]
    assert [line["query"] for line in logs] == ["dear"]
    assert there.answers.usage() is not None
    with there.history.transaction(instant(NOW)) as transaction:
        transaction.incident("test", "written all the same")


def test_what_failed_is_asked_again_with_the_next(tmp_path: Path) -> None:
    """A question that failed does not wait for as long as its answer would have been good."""
    later = instant(NOW + 300).replace(tzinfo=None)
    there = queried(tmp_path / "history.duckdb", f"SELECT if($now < TIMESTAMP '{later}', error('no'), '') FROM state")
    assert there.recall(NOW) == [None, NOW]
    assert there.recall(NOW + 300) == [NOW + 300, NOW + 300]
    assert there.recall(NOW + 600) == [NOW + 300, NOW + 600]


def test_a_file_that_is_held_is_asked_no_further(tmp_path: Path) -> None:
    """No query waits for the file by itself: the next poll runs them all."""
    there = queried(tmp_path / "history.duckdb")
    with capture_logs() as logs, held(there.history.file.path):
        assert there.recall(NOW) == [None, None]
    assert [line["query"] for line in logs] == ["the file"]
    assert there.recall(NOW + 1) == [NOW + 1, NOW + 1]


@pytest.mark.parametrize("source_at", [None, instant(NOW + 10 * 86400)])
def test_people_are_forgotten_whatever_is_collected(tmp_path: Path, source_at: object) -> None:
    """Ten days later no row has active users, whether the source answers or not."""
    there = queried(tmp_path / "history.duckdb")
    with there.history.page_transaction(instant(NOW)) as transaction:
        transaction.connection.execute(HOUR)
    there.queries.forget(NOW, None, exact=False)
    assert there.active_users() == 1
    later = NOW + timedelta(days=10).total_seconds()
    there.queries.forget(later, source_at, exact=True)  # type: ignore[arg-type]
    assert there.active_users() == 0


def test_forgetting_comes_hourly(tmp_path: Path) -> None:
    """Between exact polls the file is opened for it once an hour; hidden users go at once."""
    there = queried(tmp_path / "history.duckdb", privacy=Privacy(users="none"))
    there.queries.forget(NOW, None, exact=False)
    with there.history.page_transaction(instant(NOW)) as transaction:
        transaction.connection.execute(HOUR)
    there.queries.forget(NOW + FORGET_SECONDS - 1, None, exact=True)
    assert there.active_users() == 1
    there.queries.forget(NOW + FORGET_SECONDS, None, exact=False)
    assert there.active_users() == 0


def test_the_use_of_assets_is_learned_hourly(tmp_path: Path) -> None:
    """What was learned of the openings is exposed and on the pages; it is learned again after an hour."""
    there = queried(tmp_path / "history.duckdb")
    assets = {"assets": discover()["assets"]}
    merged = merged_states(assets, no_sla)[key := ("assets", 0)]
    row = {"site": "default", "asset_type": "workbook", "asset_id": "w-1", "content_url": "Sales"}
    rows = pa.Table.from_pylist([{**dict.fromkeys(ARROW_SCHEMA.names), **row}], schema=ARROW_SCHEMA)
    merged.put("repository", {"": SourceRows(rows, NOW, 86_400.0)}, NOW)
    context = replace(there.queries.context, collectors=assets, merged_states={key: merged})
    queries = PageQueries("repository", context)
    with there.history.page_transaction(instant(NOW)) as transaction:
        transaction.connection.execute("INSERT INTO sites (day, id, url_namespace) VALUES (DATE '2025-01-01', 1, '')")
        transaction.connection.execute(
            "INSERT INTO workbook_opens"
            " SELECT $1::TIMESTAMP - to_hours(n::INTEGER), 1, 'Sales', n % 3 FROM range(1, 200) AS hours (n)",
            [instant(NOW).replace(tzinfo=None)],
        )

    def users() -> object:
        queries.run({}, {}, now)
        return next(block.at(now)[0] for block in merged.at(now) if isinstance(block, Block) and block.family == USERS)

    now = NOW
    assert users() == 3
    assert context.answers.of(ASSET_USAGE)["repository"].rows.column("users_30d").to_pylist() == [3]
    with there.history.page_transaction(instant(NOW)) as transaction:
        transaction.connection.execute("UPDATE workbook_opens SET user_id = 7 WHERE user_id = 0")
        transaction.connection.execute("INSERT INTO workbook_opens SELECT * REPLACE (8 AS user_id) FROM workbook_opens")
    now = NOW + LEARN_SECONDS - 1
    assert users() == 3
    now = NOW + LEARN_SECONDS
    assert users() == 4


def test_a_halved_extract_is_exposed_by_the_poll_that_reads_it(tmp_path: Path) -> None:
    """The poll that reads a refresh exposes its size and the usual one, of which it left less than half."""
    there = queried(tmp_path / "history.duckdb")
    assets = {"assets": discover()["assets"]}
    merged = merged_states(assets, no_sla)[key := ("assets", 0)]
    store = StateStore([], version="0", library="0", started_at=NOW)
    context = replace(there.queries.context, collectors=assets, store=store, merged_states={key: merged})
    row = {"site": "default", "asset_type": "datasource", "asset_id": "d-1", "freshness_source": "repository"}
    found: list[tuple[object, ...]] = []
    for day, size in enumerate([100_000_000] * 6 + [40_000_000]):
        now = NOW + day * 86_400
        read = {**dict.fromkeys(ARROW_SCHEMA.names), **row, "last_refresh_at": instant(now).replace(tzinfo=None)}
        rows = pa.Table.from_pylist([{**read, "bytes": size}], schema=ARROW_SCHEMA)
        merged.put("repository", {"": SourceRows(rows, now, 86_400.0)}, now)
        with there.history.page_transaction(instant(now)) as transaction:
            audit_assets(context, transaction, now)
        blocks = [block for block in merged.at(now) if isinstance(block, Block)]
        exposed = {block.family: block.at(now)[0] for block in blocks}
        found.append((exposed[BYTES], exposed[USUAL_BYTES]))
    assert found == [*[(100_000_000, None)] * 5, (100_000_000, 100_000_000), (40_000_000, 100_000_000)]


def test_content_of_tableau_cloud_waits_for_its_names(tmp_path: Path) -> None:
    """What the Activity Log has of opened content is queried again until the REST API was read, then hourly."""
    collectors = {name: discover()[name] for name in ("assets", "content", "http_requests")}
    history = History(HistoryFile(tmp_path / "history.duckdb", Limits(patience_seconds=0.0)), collectors, Privacy())
    history.prepare(instant(NOW))
    day = instant(NOW).date()
    with history.page_transaction(instant(NOW)) as transaction:
        for sql in (
            "INSERT INTO sites (day, id, url_namespace) VALUES (DATE '2025-01-01', 7, 'sales')",
            f"INSERT INTO views_by_day VALUES ('{day}', 7, 'Costs', 'Map', 2), ('{day}', 7, 'Costs', 'Top', 1)",
            # Of a Server whose history it was before.
            f"INSERT INTO views_by_day VALUES ('{day}', 1, 'Old', 'Map', 5)",
            (
                "INSERT INTO cloud_requests BY NAME SELECT 7 AS site_id, 'bootstrapSession' AS action,"
                f" TIMESTAMP '{day}' AS created_at, 'Costs' AS workbook, \"view\", view_title, user_id,"
                " 'Old name' AS workbook_title"
                " FROM (VALUES ('Map', 'A map', 5), ('Top', 'The top', 5), ('Top', 'The top', 6))"
                ' AS opened ("view", view_title, user_id)'
            ),
            f"INSERT INTO workbook_opens SELECT '{day}', site_id, workbook, user_id FROM cloud_requests",
        ):
            transaction.connection.execute(sql)
    merged = merged_states(collectors, no_sla)[key := ("assets", 0)]
    store = StateStore(["rest", "activity_log"], version="0", library="0", started_at=NOW)
    context = PollContext(history, collectors, store, lambda: NOW, merged_states={key: merged})
    queries = PageQueries("activity_log", context)

    def listed(page: str, now: float) -> list[tuple[object, ...]]:
        queries.run({}, {7: "sales"}, now)
        rows = context.answers.of(page)["activity_log"].rows
        return list(
            zip(*(rows.column(name).to_pylist() for name in ("asset_id", "name", "loads_7d", "users_30d")), strict=True)
        )

    assert listed("views", NOW) == [(None, "A map", 2, 1), (None, "The top", 1, 2)]
    assert listed("workbooks", NOW) == [(None, "Old name", 3, 2)]
    row = {"site": "sales", "asset_type": "workbook", "asset_id": "w-1", "asset_name": "Costs", "content_url": "Costs"}
    rows = pa.Table.from_pylist([{**dict.fromkeys(ARROW_SCHEMA.names), **row}], schema=ARROW_SCHEMA)
    merged.put("rest", {"sales": SourceRows(rows, NOW, 86_400.0)}, NOW)
    assert listed("workbooks", NOW + 60) == [("w-1", "Costs", 3, 2)]
    with history.page_transaction(instant(NOW)) as transaction:
        transaction.connection.execute("UPDATE views_by_day SET loads = 9 WHERE \"view\" = 'Top'")
    assert listed("workbooks", NOW + 3600) == [("w-1", "Costs", 3, 2)]
    assert listed("workbooks", NOW + 3700) == [("w-1", "Costs", 11, 2)]
