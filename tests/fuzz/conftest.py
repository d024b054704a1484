"""Counts the cases of each parser; with FUZZ_TABLE the counts are appended to that file."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.cases import COUNTED


@pytest.fixture(scope="session", autouse=True)
def _table() -> Iterator[None]:
    """Write how many cases each parser had."""
    COUNTED.clear()
    yield
    if table := os.environ.get("FUZZ_TABLE"):
        with Path(table).open("a", encoding="utf-8") as file:
            file.writelines(f"{parser}\t{cases}\n" for parser, cases in Counter(COUNTED).items())
