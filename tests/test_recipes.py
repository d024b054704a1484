"""The recipes of docs/history.md return the rows that Python counts in the same history."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from exporter.history.file import HistoryFile, Limits
from exporter.history.query import run_query
from exporter.history.sandbox import parse
from tests.support.recipe_counts import EXPECTED, recent
from tests.support.recipe_history import Recorded, record
from tests.test_documentation import BLOCK, ROOT, block

HISTORY = "docs/history.md"
MARK = "recipe: "


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One history for all of them."""
    return record(tmp_path_factory.mktemp("recipes") / "history.duckdb")


def marked(language: str) -> list[str]:
    """Return the names of the recipes in a language, in order."""
    found = BLOCK.finditer((ROOT / HISTORY).read_text())
    marks = [match["mark"] for match in found if match["language"] == language and match["mark"]]
    return [mark.removeprefix(MARK) for mark in marks if mark.startswith(MARK)]


def test_every_recipe_is_compared() -> None:
    """Each has a name, and each name a function that counts its rows."""
    section = (ROOT / HISTORY).read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"(?m)^```sql$", section)) == len(marked("sql"))
    assert marked("sql") == list(EXPECTED)
    assert marked("python") == ["copy to parquet"]


@pytest.mark.parametrize("name", EXPECTED)
def test_recipes_return_the_rows_that_python_counts(name: str, recorded: Recorded) -> None:
    """The rows are those that Python counts, in the order of the recipe, and of more than its LIMIT the first."""
    count, key = EXPECTED[name]
    recipe = block(HISTORY, MARK + name)
    with HistoryFile(recorded.path, Limits(spills=False), read_only=True).open() as connection:
        answer = connection.execute(recipe).fetchall()
        assert len(run_query(connection, parse(recipe), 1_000_000, 256_000_000).rows) == len(answer)
    expected = sorted(count(recorded), key=key)
    limit = re.search(r"LIMIT (\d+)", recipe)
    assert answer
    assert len(answer) == min(len(expected), int(limit[1]) if limit else len(expected))
    assert [key(row) for row in answer] == [key(row) for row in expected[: len(answer)]]
    assert Counter(map(repr, answer)) <= Counter(map(repr, expected))


def test_the_copy_is_what_the_recipe_selects(recorded: Recorded, tmp_path: Path) -> None:
    """The Parquet file has the requests of the last 30 days, with the names of ``usage``."""
    target = tmp_path / "usage.parquet"
    program = block(HISTORY, f"{MARK}copy to parquet")
    subprocess.run([sys.executable, "-c", program, recorded.path, target], check=True)
    copied = pq.read_table(target)
    assert set(copied["id"].to_pylist()) == {row["id"] for row in recent(recorded)}
    assert set(copied["site"].to_pylist()) == {"default", "emea", None}
