"""One file in exporter/collectors/ is all that a collector needs, and no other module names one."""

import ast
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from exporter import collectors, component_options
from exporter.cli import main
from exporter.collector import Collector, columns_of
from exporter.collectors import asset_state, counts_people, requests_collector
from exporter.config import load
from exporter.config.configuration import SOURCES
from exporter.exposition import Renderer
from exporter.exposition.state_store import StateStore
from exporter.history.dimensions import keep
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy
from exporter.history.totals import SeenPeople, instant
from exporter.pagedata.builder import enabled_pages
from exporter.poller.collect import IdMaps, PollResult
from exporter.poller.context import PollContext
from exporter.poller.page_queries import PageQueries
from exporter.poller.repository_publisher import RepositoryPublisher

ROOT = Path(__file__).parents[2]
ENGINE = ("alerting", "exposition", "pagedata", "poller", "app.py", "component_options.py", "wiring.py")
"""The modules that work with every collector, below exporter/."""
TABLES = {"http_requests", "background_jobs", "logins", "users", "views"}
"""Names of collectors that are also names of tables or columns of the history."""

SETTINGS = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "db", "TABLEAU_EXPORTER_REPOSITORY__PASSWORD": "p"}
NOW = datetime(2025, 11, 19, 10, tzinfo=UTC).timestamp()

MODULE = '''
"""Planted: every hook of a collector."""

from dataclasses import dataclass

from exporter.collector import Collector, Count, State, StateHistory
from exporter.metrics import Block, Family, Labels, single


@dataclass(frozen=True)
class Thing:
    id: int
    name: str | None


THINGS = Family("tableau_planted_things", "gauge", "Things.", ("name",))
KNOWN = Family("tableau_planted_known", "gauge", "What the history answers.")


def expose(rows, context):
    known = context.learned.num_rows if context.learned is not None else None
    names = rows.column("name").to_pylist()
    return [Block(THINGS, Labels(("name",), [names]), [1] * len(names)), single(KNOWN, known)]


COLLECTOR = Collector(
    "planted",
    "Everything that a collector may have.",
    states=(
        State(
            Thing,
            (),
            "SELECT id, name FROM things",
            (THINGS, KNOWN),
            expose,
            history=StateHistory("things", "SELECT id FROM state", "planted page", "SELECT *, $now AS now FROM state"),
        ),
    ),
)
'''

FROM_REQUESTS = '''
"""Planted: a collector that is made of requests."""

from exporter.collector import Collector, Count
from exporter.metrics import Family, single

COUNTED = Family("tableau_planted_requests_total", "counter", "Requests.", ("site",))
SEEN = Family("tableau_planted_people", "gauge", "People.")

COLLECTOR = Collector(
    "planted_requests",
    "What is made of requests.",
    folds=(Count(COUNTED, {"site": "site"}),),
    expose_last_seen=lambda seen, sites, known_until: [single(SEEN, len(seen.people))],
    families=(SEEN,),
)
'''


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, Collector]]:
    """All collectors, with two files more."""
    folder = tmp_path / "collectors"
    folder.mkdir()
    (folder / "planted.py").write_text(MODULE)
    (folder / "planted_requests.py").write_text(FROM_REQUESTS)
    monkeypatch.setattr(collectors, "__path__", [*collectors.__path__, str(folder)])
    yield collectors.discover()
    for name in ("planted", "planted_requests"):
        monkeypatch.delitem(__import__("sys").modules, f"exporter.collectors.{name}", raising=False)
        monkeypatch.delattr(collectors, name, raising=False)


def test_it_is_declared_everywhere(known: Mapping[str, Collector]) -> None:
    """The configuration has its key, the list of metrics its families, and the renderer their collector."""
    assert {"planted", "planted_requests"} <= known.keys()
    assert collectors.declared_by()["tableau_planted_things"] == {"planted"}
    assert {"planted", "planted_requests"} <= component_options.enabled(
        load(None, SETTINGS, known, explicit=False), known
    ).keys()
    off = {**SETTINGS, "TABLEAU_EXPORTER_COLLECTORS__PLANTED": "false"}
    assert "planted" not in component_options.enabled(load(None, off, known, explicit=False), known)
    listed = CliRunner().invoke(main, ["metrics"]).output
    assert "tableau_planted_things" in listed
    assert "tableau_planted_people" in listed


def test_its_rows_are_published_kept_and_queried(known: Mapping[str, Collector], tmp_path: Path) -> None:
    """Its state is exposed with the history's answer, has its table and its page, and its metrics can be collected."""
    history = History(HistoryFile(tmp_path / "history.duckdb"), known, Privacy())
    history.prepare(instant(NOW))
    with duckdb.connect(str(history.file.path), read_only=True) as connection:
        assert connection.sql("SELECT * FROM things").columns == ["day", "id", "name"]
    context = PollContext(
        history, known, StateStore(["repository"], version="0", library="0", started_at=NOW), lambda: NOW
    )
    key, rows = ("planted", 0), pa.table({"id": [1, 2], "name": ["a", "b"]})
    state = context.state(key)
    with history.transaction(instant(NOW)) as transaction:
        assert state.history.table
        assert keep(transaction.connection, state.history.table, columns_of(state.row), rows, instant(NOW).date()) == 2
        learned = {key: transaction.query(state.history.context_sql or "", rows)}
    history.totals = SimpleNamespace(**{**vars(history.totals), "seen": seen()})  # type: ignore[assignment] # people were there
    result = PollResult(states={key: rows})
    with result.runs.timed("http_requests"):
        pass  # the requests of this poll are archived
    publisher = RepositoryPublisher(context, poll_interval=60.0, exact_interval=60.0)
    publisher._publish_states(result, IdMaps({}, (), pa.table({})), learned, NOW)
    publisher._publish_from_requests(IdMaps({}, ("default",), pa.table({})), NOW, result.runs)
    PageQueries("repository", context).run(result.states, {}, NOW)
    exposition = Renderer(process=tuple, collectors=collectors.declared_by()).render(context.store.blocks(NOW), NOW)
    text = exposition.of_collectors({"planted", "planted_requests"}).text.decode()
    assert 'tableau_planted_things{name="a"} 1' in text
    assert "tableau_planted_known 2" in text
    assert "tableau_planted_people 3" in text
    assert context.answers.of("planted page")["repository"].rows.num_rows == 2
    assert "planted page" in enabled_pages(known)


def seen() -> SeenPeople:
    """Return three users."""
    return SeenPeople(np.array(["default"] * 3, object), np.arange(3), np.full(3, NOW))


def test_hooks_are_found_by_what_a_collector_declares(known: Mapping[str, Collector]) -> None:
    """Requests, users and assets are found by the declarations of the collectors, not by their names."""
    assert requests_collector(known) == "http_requests"
    assert asset_state(known) == ("assets", 0)
    planted = {"planted": known["planted"]}
    assert (requests_collector(planted), asset_state(planted), counts_people(planted)) == (None, None, False)
    assert counts_people({"planted_requests": known["planted_requests"]})


def modules() -> list[Path]:
    """Return the modules of the engine."""
    roots = [ROOT / "exporter" / name for name in ENGINE]
    return sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py")))


def strings(path: Path) -> set[str]:
    """Return every whole string of a module."""
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_collector_is_named_by_the_engine(path: Path) -> None:
    """Code for all collectors names none of them; a page, or a source, may have the name of one."""
    others = {*TABLES, *SOURCES, *({"assets", "events"} if "pagedata" in path.parts else set())}
    assert strings(path) & (collectors.discover().keys() - others) == set()
