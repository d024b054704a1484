"""Files that others made: no SQL that is stored in them is run, and no connection reaches a file beside the history."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import duckdb
import httpx
import pytest

from exporter.errors import HistoryUnwritable
from exporter.history.backup import Backups
from exporter.history.cleaner import Cleaner
from exporter.history.compaction import compact
from exporter.history.file import HistoryFile, Limits
from exporter.history.opening import OUR_VIEWS, confine, refuse_foreign_sql
from exporter.history.pruning import prune_in_steps
from exporter.history.redaction import Privacy
from exporter.history.verification import verify
from tests.history.synthetic_history import BEGIN, EVENTS, SyntheticHistory, copied
from tests.support.agent_process import Agent
from tests.support.program import run

FOREIGN = (
    ("CREATE VIEW mine AS SELECT 1", "view 'mine'"),
    ("CREATE SCHEMA other; CREATE VIEW other.usage AS SELECT 1", "view 'usage'"),
    ("CREATE MACRO count(a) AS (SELECT content FROM read_text('{secret}'))", "macro 'count'"),
    ("CREATE MACRO duckdb_views() AS TABLE SELECT 1 WHERE false", "macro 'duckdb_views'"),
    ('CREATE MACRO "not"(a) AS true', "macro 'not'"),
)

REACHING = (
    "FROM read_text('{secret}')",
    "FROM glob('{folder}/*')",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "ATTACH '{folder}/other.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of three days."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("made") / "history.duckdb")
    synthetic.live(3)
    return synthetic.file.path


@pytest.fixture
def synthetic(made: Path, tmp_path: Path) -> SyntheticHistory:
    """A copy of it."""
    return SyntheticHistory(copied(made, tmp_path))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that only the agent's user may read."""
    path = tmp_path / "secret.txt"
    path.write_text("hunter2")
    return path


def _tamper(synthetic: SyntheticHistory, sql: str, secret: Path) -> None:
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(sql.format(secret=secret))


@pytest.mark.attack("foreign history")
@pytest.mark.parametrize(("sql", "named"), FOREIGN)
def test_foreign_sql_is_refused_by_name(synthetic: SyntheticHistory, secret: Path, sql: str, named: str) -> None:
    """A view or a macro that is not the agent's is refused in one line by whatever opens the file."""
    _tamper(synthetic, sql, secret)
    file, looked_at = synthetic.file, HistoryFile(synthetic.file.path, read_only=True, repairs=False)
    folder = synthetic.file.path.parent / "backups"
    folder.mkdir()

    def read_only() -> None:
        with looked_at.open():
            pass

    openings = (
        lambda: SyntheticHistory(file.path).poll(BEGIN),
        read_only,
        lambda: list(verify(looked_at, EVENTS)),
        lambda: list(Backups(file, folder, 3).make(EVENTS, BEGIN)),
        lambda: list(prune_in_steps(file, EVENTS, BEGIN + timedelta(days=1))),
        lambda: compact(file),
    )
    for opening in openings:
        with pytest.raises(HistoryUnwritable, match=f"holds the {named}, which is not the agent's") as refused:
            opening()
        assert "\n" not in str(refused.value)
        assert "hunter2" not in str(refused.value)


@pytest.mark.attack("foreign history")
@pytest.mark.parametrize(
    "ending",
    ["c.close(); os.utime(sys.argv[1], ns=(0, int(sys.argv[3])))", "os.kill(os.getpid(), signal.SIGKILL)"],
    ids=["in the file, at its old time", "in the log"],
)
def test_foreign_sql_that_arrives_between_two_openings(synthetic: SyntheticHistory, ending: str) -> None:
    """A file that was searched for foreign SQL is searched again after another process has written to it or its log."""
    path = synthetic.file.path
    with synthetic.file.open():
        pass
    body = f"import duckdb, os, signal, sys; c = duckdb.connect(sys.argv[1]); c.execute(sys.argv[2]); {ending}"
    arguments = [str(path), "CREATE MACRO count(a) AS 1", str(path.stat().st_mtime_ns)]
    subprocess.run([sys.executable, "-c", body, *arguments], check=False)
    with pytest.raises(HistoryUnwritable, match="holds the macro 'count'"), synthetic.file.open():
        pass


def test_a_file_that_nobody_changed_is_not_searched_again(
    synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign SQL is searched for once for each version of the file: the search costs as much as opening it."""
    searched: list[Path] = []
    monkeypatch.setattr("exporter.history.opening.refuse_foreign_sql", lambda _connection, path: searched.append(path))
    file = HistoryFile(synthetic.file.path)
    for _ in range(3):
        with file.open() as connection:
            connection.execute("INSERT INTO marks VALUES ('opened', TIMESTAMP '2026-01-01')")
    assert len(searched) == 1
    with pytest.raises(ZeroDivisionError), file.open():
        raise ZeroDivisionError
    with file.open():
        pass
    assert len(searched) == 2


@pytest.mark.attack("foreign history")
def test_a_view_of_ours_that_reads_files(synthetic: SyntheticHistory, secret: Path) -> None:
    """A view that is called as one of the agent's reads no file either, whatever it was made of."""
    for view in sorted(OUR_VIEWS):
        _tamper(synthetic, f"DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS FROM read_text('{{secret}}')", secret)
    for view in sorted(OUR_VIEWS):
        with pytest.raises(HistoryUnwritable, match="disabled by configuration"), synthetic.file.open() as connection:
            connection.execute(f"FROM {view}").fetchall()


@pytest.mark.attack("foreign history")
def test_no_connection_reaches_other_files(synthetic: SyntheticHistory, secret: Path) -> None:
    """Neither the history, nor a compaction, nor the cleaner of requests reads, writes or loads anything else."""
    cleaner = Cleaner(Privacy())._connection
    compaction = duckdb.connect()
    confine(compaction, synthetic.file.path)
    with synthetic.file.open() as connection:
        for opened in (connection, cleaner, compaction):
            for statement in REACHING:
                with pytest.raises(duckdb.Error, match=r"disabled|cannot|Cannot"):
                    opened.execute(statement.format(secret=secret, folder=secret.parent)).fetchall()
    assert not (secret.parent / "out.csv").exists()


@pytest.mark.attack("foreign history")
@pytest.mark.parametrize(
    ("sql", "named"),
    [("ALTER TABLE marks RENAME TO m; CREATE VIEW marks AS FROM read_text('{secret}')", "view 'marks'"), FOREIGN[2]],
    ids=["view", "macro"],
)
def test_the_agent_says_what_it_refuses(synthetic: SyntheticHistory, secret: Path, sql: str, named: str) -> None:
    """The running agent names SQL over its user's files in its log, and neither log nor page has their content."""
    _tamper(synthetic, sql, secret)
    nowhere: dict[str, str | int] = {"host": "127.0.0.1", "port": 1, "dbname": "workgroup", "user": "readonly"}
    with Agent(synthetic.file.path.parent, nowhere) as agent:
        agent.until(lambda: f"holds the {named}" in agent.logged(), "the log names it")
        pages = [httpx.get(agent.url + path, timeout=60).text for path in ("/", "/assets", "/usage", "/metrics")]
        assert "hunter2" not in "".join(pages) + agent.logged()
    for arguments in (["history", "verify"], ["history", "prune", "--older-than=1d"]):
        done = run(*arguments, environment={**os.environ, **agent.environment})
        assert done.returncode == 1
        assert f"holds the {named}" in done.stderr
        assert "hunter2" not in done.stdout + done.stderr


def test_a_log_beside_it_is_replayed(tmp_path: Path) -> None:
    """A write-ahead log that a killed process left, and room to spill, are within reach: both belong to the file."""
    path = tmp_path / "history.duckdb"
    body = (
        "import duckdb, os, signal, sys; c = duckdb.connect(sys.argv[1]);"
        " c.execute('CREATE TABLE a (b BIGINT)'); c.execute('INSERT INTO a FROM range(7)');"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", body, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name("history.duckdb.wal").stat().st_size
    file = HistoryFile(path, Limits(memory="40MB", threads=1, patience_seconds=0.0))
    with file.open() as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchall() == [(7,)]
        wide = "SELECT range AS n, md5(range::VARCHAR) || md5((range + 1)::VARCHAR) AS text FROM range(400000)"
        connection.execute(f"CREATE TEMP TABLE sorted AS SELECT * FROM ({wide}) ORDER BY text")
        assert path.with_name("history.duckdb.tmp").exists()
        assert connection.execute("SELECT count(*) FROM sorted").fetchall() == [(400000,)]


def test_a_relative_path_is_compacted(synthetic: SyntheticHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that is given by a path of the working folder, with a quote in it, is written anew all the same."""
    folder = synthetic.file.path.parent / "o'brien"
    folder.mkdir()
    synthetic.file.path.rename(folder / "history.duckdb")
    monkeypatch.chdir(folder)
    compact(HistoryFile(Path("history.duckdb"), Limits(patience_seconds=0.0)))
    assert sorted(path.name for path in Path().iterdir()) == ["history.duckdb", "history.duckdb.prune"]


class _Older:
    """DuckDB 1.5, which has no triggers."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    def execute(self, query: str) -> "_Older":
        """Run a query of this version."""
        if "duckdb_triggers" in query:
            raise duckdb.CatalogException("Table Function with name duckdb_triggers does not exist!")
        self._rows = self._connection.execute(query).fetchall()
        return self

    def fetchall(self) -> list[Any]:
        """Return the rows."""
        return [row for row in self._rows if row[0] != "duckdb_triggers"]


def test_a_version_without_triggers() -> None:
    """DuckDB 1.5 has no function that lists triggers: views and macros are refused all the same."""
    with duckdb.connect() as connection:
        older = cast("duckdb.DuckDBPyConnection", _Older(connection))
        refuse_foreign_sql(older, Path("history.duckdb"))
        connection.execute("CREATE MACRO count_star() AS 1")
        with pytest.raises(HistoryUnwritable, match="count_star"):
            refuse_foreign_sql(older, Path("history.duckdb"))
