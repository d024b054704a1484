"""SQL of a user reads the history and nothing else, however it is written: each layer is tried alone."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from exporter.errors import QueryFailed
from exporter.history.file import HistoryFile, Limits
from exporter.history.opening import CONFINED
from exporter.history.query import QueryResult, run_query
from exporter.history.sandbox import TABLE_FUNCTIONS, Statement, parse
from tests.history.synthetic_history import SyntheticHistory

CANARY = "the-canary-sings"
ROWS, BYTES = 1_000, 10_000_000


def of_duckdb(sql: str) -> list[str]:
    """Return a list of DuckDB's own."""
    with duckdb.connect(config=CONFINED) as connection:
        return [name for (name,) in connection.execute(sql).fetchall()]


FUNCTIONS = of_duckdb(
    "SELECT DISTINCT function_name FROM duckdb_functions()"
    " WHERE function_type IN ('table', 'table_macro', 'pragma') ORDER BY 1"
)
SETTINGS = of_duckdb("SELECT name FROM duckdb_settings() ORDER BY name")
WITH_SIDE_EFFECTS = of_duckdb(
    "SELECT DISTINCT function_name FROM duckdb_functions()"
    " WHERE function_type = 'scalar' AND has_side_effects ORDER BY 1"
)


class QueryFolder:
    """A folder with a history, and beside it a secret file; the statements name it as ``{canary}``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "history.duckdb"
        SyntheticHistory(self.path).live(3)
        self.canary = folder / "canary.csv"
        self.canary.write_text(f"{CANARY}\n{CANARY}\n")
        self.before = self.contents()

    def contents(self) -> dict[str, str]:
        """Return a checksum of each file of the folder."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def written(self, sql: str) -> str:
        """Return a statement with the names of this folder."""
        names = {"canary": self.canary, "history": self.path, "new": self.folder / "new", "folder": self.folder}
        for name, path in names.items():
            sql = sql.replace("{" + name + "}", str(path))
        return sql

    def ask(self, statement: Statement) -> QueryResult:
        """Run a statement as the command does, in this process."""
        file = HistoryFile(self.path, Limits(patience_seconds=0.0, spills=False), read_only=True, repairs=False)
        with file.open() as connection:
            return run_query(connection, statement, ROWS, BYTES)


@pytest.fixture(scope="module")
def query_folder(tmp_path_factory: pytest.TempPathFactory) -> QueryFolder:
    """One history for all statements."""
    return QueryFolder(tmp_path_factory.mktemp("house"))


@pytest.fixture(autouse=True)
def unchanged(query_folder: QueryFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No query changes, makes or removes a file of the folder, which is the working directory too."""
    monkeypatch.chdir(query_folder.folder)
    yield
    assert query_folder.contents() == query_folder.before


# One of each kind of statement that DuckDB's grammar has and that does not only read, plain and in disguise.
STATEMENTS = [
    "",
    ";",
    "-- nothing",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE http_requests",
    "INSERT INTO http_requests (id) VALUES (1)",
    "INSERT OR REPLACE INTO marks VALUES ('x', now())",
    "UPDATE http_requests SET id = 0",
    "DELETE FROM http_requests",
    "TRUNCATE http_requests",
    "MERGE INTO marks USING (SELECT 1) ON true WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM http_requests RETURNING *) FROM gone",
    "WITH more AS (INSERT INTO http_requests (id) VALUES (1) RETURNING *) FROM more",
    "WITH other AS (UPDATE http_requests SET id = 0 RETURNING *) FROM other",
    "CREATE TABLE mine (a INTEGER)",
    "CREATE TEMP TABLE mine AS FROM http_requests",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE OR REPLACE VIEW usage AS SELECT 1",
    "CREATE TEMP VIEW mine AS FROM read_text('{canary}')",
    "CREATE MACRO mine() AS 1",
    "CREATE TEMP MACRO mine() AS TABLE FROM read_text('{canary}')",
    "CREATE SEQUENCE mine",
    "CREATE TYPE mine AS ENUM ('a')",
    "CREATE SCHEMA mine",
    "CREATE INDEX mine ON http_requests (id)",
    "CREATE SECRET mine (TYPE s3, KEY_ID 'k', SECRET 's')",
    "CREATE PERSISTENT SECRET mine (TYPE http)",
    "DROP TABLE http_requests",
    "DROP VIEW usage",
    "DROP SECRET mine",
    "ALTER TABLE http_requests ADD COLUMN mine INTEGER",
    "ALTER TABLE http_requests RENAME TO mine",
    "COMMENT ON TABLE http_requests IS 'mine'",
    "COPY http_requests TO '{new}'",
    "COPY (SELECT 1) TO '{new}' (FORMAT parquet)",
    "COPY http_requests FROM '{canary}'",
    "COPY FROM DATABASE history TO memory",
    "EXPORT DATABASE '{new}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{new}'",
    "ATTACH ':memory:' AS mine",
    "ATTACH '{canary}' AS mine (TYPE sqlite)",
    "DETACH history",
    "USE memory",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM core_nightly",
    "INSTALL '{canary}'",
    "LOAD httpfs",
    "LOAD '{canary}'",
    "UPDATE EXTENSIONS",
    "SET threads = 8",
    "SET GLOBAL enable_external_access = true",
    "SET VARIABLE mine = (SELECT content FROM read_text('{canary}'))",
    "RESET threads",
    "RESET VARIABLE mine",
    "PRAGMA threads = 8",
    "PRAGMA enable_external_access",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "PRAGMA import_database('{folder}')",
    "CALL pragma_version()",
    "CALL enable_logging(storage = 'file', storage_path = '{new}')",
    "CALL force_checkpoint()",
    "CHECKPOINT",
    "FORCE CHECKPOINT history",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "PREPARE mine AS SELECT 1",
    "EXECUTE mine",
    "DEALLOCATE mine",
    "PIVOT http_requests ON id",
    "EXPLAIN",
    "EXPLAIN DELETE FROM http_requests",
    "EXPLAIN ANALYZE DELETE FROM http_requests",
    "EXPLAIN ANALYZE SET threads = 8",
    "EXPLAIN ANALYZE COPY http_requests TO '{new}'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{new}'",
    "explain /* ( */ analyze -- ;\n ATTACH '{new}'",
    "EXPLAIN ANALYZE FROM read_text('{canary}')",
    # Files, wherever a table may stand.
    "FROM '{canary}'",
    'FROM "{canary}"',
    "FROM '{history}'",
    "FROM '/etc/passwd'",
    "FROM 'https://example.com/data.parquet'",
    "FROM 's3://bucket/data.parquet'",
    "TABLE '{canary}'",
    "DESCRIBE '{canary}'",
    "SUMMARIZE '{canary}'",
    "DESCRIBE FROM read_csv('{canary}')",
    "SUMMARIZE FROM read_csv('{canary}')",
    "SELECT (SELECT content FROM read_text('{canary}'))",
    "SELECT * FROM http_requests, LATERAL (FROM read_text('{canary}'))",
    "SELECT id FROM http_requests WHERE 1 IN (SELECT size FROM read_blob('{history}'))",
    "WITH text AS MATERIALIZED (FROM Read_Text('{canary}')) FROM text",
    "WITH RECURSIVE text AS (FROM glob('{folder}/*') UNION ALL FROM text) FROM text",
    "SELECT 1 UNION ALL SELECT size FROM system.main.read_text('{canary}')",
    "FROM http_requests ORDER BY (SELECT size FROM read_text('{canary}'))",
    "SELECT 1 LIMIT (SELECT size FROM read_text('{canary}'))",
    "PIVOT (FROM read_csv('{canary}')) ON 1 IN (1)",
    "SELECT * FROM query('FROM read_text(''{canary}'')')",
    "SELECT * FROM query_table('{canary}')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{canary}'')'))",
    "FROM read_csv('{canary}', filename = true)",
    "FROM read_text(getvariable('mine'))",
    "SELECT getenv('HOME')",
    "SELECT read_text('{canary}')",
    "FROM canary_of_python",
    "SELECT ?",
    "SELECT $mine",
    "SELECT nextval('mine')",
    "SELECT 1 INTO mine",
    "SELECT 1)) AS answer(c0); DROP TABLE http_requests; --",
    "SELECT '\ud800'",
    "SELECT 1\x00",
    "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "FROM " + "(FROM " * 3_000 + "marks" + ")" * 3_000,
    "SELECT 1" + " " * 1_000_000,
]


@pytest.mark.parametrize("number", range(len(STATEMENTS)))
def test_hostile_statements_are_refused(query_folder: QueryFolder, number: int) -> None:
    """A statement that writes, sets, attaches, loads or reads a file is refused in one line."""
    canary_of_python = duckdb.connect().sql(f"SELECT '{CANARY}'")
    with pytest.raises(QueryFailed) as error:
        query_folder.ask(parse(query_folder.written(STATEMENTS[number])))
    assert canary_of_python
    assert "\n" not in str(error.value)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in TABLE_FUNCTIONS])
def test_table_functions_that_are_not_known(query_folder: QueryFolder, name: str) -> None:
    """Every table function that DuckDB has, but for those known to reach the history alone, is refused by its name."""
    with pytest.raises(QueryFailed, match=f"the table function {name} is not available"):
        parse(query_folder.written(f"SELECT * FROM \"{name}\"('{{canary}}')"))


@pytest.mark.parametrize("name", sorted(TABLE_FUNCTIONS))
def test_table_functions_that_are_known(query_folder: QueryFolder, name: str) -> None:
    """No function that may be called reads a file whose name it is given, and each is one of DuckDB's."""
    assert name in FUNCTIONS
    for arguments in ("", "'{canary}'", "['{canary}']", "'{canary}', 1", "NULL, '{canary}'"):
        statement = parse(query_folder.written(f"SELECT * FROM {name}({arguments})"))
        try:
            answered = b"".join(query_folder.ask(statement).rows)
        except QueryFailed as error:
            answered = str(error).encode()
        assert CANARY.encode() not in answered


FORMS = ["SET {} = 1", "SET GLOBAL {} = '1'", "SET SESSION {} = 1", "RESET {}", "PRAGMA {} = 1"]


def test_no_setting_can_be_changed() -> None:
    """Each of DuckDB's settings is refused, in one or another way to set it."""
    for number, name in enumerate(SETTINGS):
        with pytest.raises(QueryFailed, match="only a statement that reads is run"):
            parse(FORMS[number % len(FORMS)].format(name))


@pytest.mark.parametrize("name", WITH_SIDE_EFFECTS)
def test_functions_with_side_effects(query_folder: QueryFolder, name: str) -> None:
    """A function that DuckDB lists with side effects has none that outlives the query, and reveals no file."""
    for arguments in ("", "'{canary}'", "1", "'mine', 1", "'mine', 1, true"):
        try:
            answered = b"".join(query_folder.ask(parse(query_folder.written(f"SELECT {name}({arguments})"))).rows)
        except QueryFailed as error:
            answered = str(error).encode()
        assert CANARY.encode() not in answered


BEYOND = [sql for sql in STATEMENTS if "{" in sql] + [
    f"FROM {name}('{{canary}}')" for name in FUNCTIONS if name.startswith(("read_", "parquet_", "sniff", "glob"))
]


@pytest.mark.parametrize("number", range(len(BEYOND)))
def test_duckdb_itself_reaches_no_file(query_folder: QueryFolder, number: int) -> None:
    """Without the parser's refusal, DuckDB still neither reads nor writes a file."""
    try:
        answered = b"".join(query_folder.ask(Statement(query_folder.written(BEYOND[number]), is_explain=True)).rows)
    except QueryFailed as error:
        answered = str(error).encode()
    assert CANARY.encode() not in answered


@pytest.mark.parametrize("function", ["read_blob", "read_text", "read_csv"])
def test_the_bytes_of_the_history_stay_closed(query_folder: QueryFolder, function: str) -> None:
    """The file of the database itself, which has pruned rows, cannot be read as a file either."""
    with pytest.raises(QueryFailed, match="LocalFileSystem has been disabled"):
        query_folder.ask(Statement(query_folder.written(f"FROM {function}('{{history}}')"), is_explain=False))


def test_nothing_is_spilled(query_folder: QueryFolder) -> None:
    """DuckDB has no folder to spill to."""
    assert query_folder.ask(parse("SELECT current_setting('temp_directory')")).rows == [b'[""]']


@pytest.mark.parametrize("sql", [sql for sql in STATEMENTS if "RETURNING" in sql])
def test_nothing_within_with_writes(sql: str) -> None:
    """A CTE that writes is refused by the parser, before DuckDB would refuse it."""
    with pytest.raises(QueryFailed, match=r"only a statement that reads is run|A CTE needs a SELECT"):
        parse(sql)


@pytest.mark.parametrize("name", ["threads", "enable_external_access", "disabled_filesystems", "lock_configuration"])
def test_duckdb_itself_keeps_its_settings(query_folder: QueryFolder, name: str) -> None:
    """Without the parser's refusal, DuckDB still changes no setting."""
    with pytest.raises(QueryFailed, match="configuration has been locked"):
        query_folder.ask(Statement(f"SET {name} = '1'", is_explain=True))


READING = [
    "SELECT 1",
    "select 'a;b' -- ;",
    "SELECT $$;$$;",
    "SELECT 'ü;' ; -- ;\n ;",
    "/* ; */ FROM http_requests LIMIT 1 ;",
    "WITH a AS (SELECT 1) FROM a",
    "VALUES (1), (2)",
    "TABLE marks",
    "DESCRIBE http_requests",
    "DESCRIBE SELECT 1",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SUMMARIZE marks",
    "PIVOT marks ON name IN ('oldest') USING max(marked_at)",
    "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE FROM marks",
    "explain (format json) FROM marks;",
    "SELECT 1 AS a, 2 AS a",
    "(SELECT 1)",
    "SELECT unnest(range(3))",
    "FROM range(3) AS numbers(number), generate_series(1, 2)",
    "SELECT list_transform([1], lambda x: x + 1)",
]


@pytest.mark.parametrize("number", range(len(READING)))
def test_what_reads_is_run(query_folder: QueryFolder, number: int) -> None:
    """Every form of a statement that reads has an answer."""
    assert query_folder.ask(parse(READING[number])).rows


def test_where_a_mistake_is() -> None:
    """A syntax error has DuckDB's words and the place."""
    with pytest.raises(QueryFailed, match=r"^Parser Error: syntax error at or near .* \(line 2, at '"):
        parse("SELECT 1\nFORM marks LIMIT 1")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FROM http_request", r'Catalog Error: .*http_request does not exist! Did you mean "http_requests"\?.*line 1'),
        ("SELECT\n nope\nFROM marks", r"Binder Error: .*nope.*line 2, at 'nope'"),
        ("SELECT 'a'::INTEGER", r"Conversion Error: Could not convert string 'a' to INT32"),
        ("SELECT error('a\nb')", r"Invalid Input Error: a b$"),
    ],
)
def test_errors_of_duckdb(query_folder: QueryFolder, sql: str, message: str) -> None:
    """DuckDB's refusal is one line with its own words, its suggestion and the place."""
    with pytest.raises(QueryFailed, match=message) as error:
        query_folder.ask(parse(sql))
    assert "\n" not in str(error.value)
