"""hyperd as a fixture, and the rows of a .hyper file."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.components import require

if TYPE_CHECKING:
    from tableauhyperapi import HyperProcess

__all__ = ["ask", "hyper_server", "left_behind", "one_hyperd"]

EXTRACT = '"Extract"."Extract"'


@pytest.fixture(scope="session")
def hyper_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[HyperProcess]":
    """A server that reads exported .hyper files."""
    require("hyperd")
    from exporter.exports.hyper import hyperd

    with hyperd(tmp_path_factory.mktemp("hyperd")) as server:
        yield server


@pytest.fixture
def one_hyperd(hyper_server: "HyperProcess", monkeypatch: pytest.MonkeyPatch) -> "HyperProcess":
    """Let exports use this one server too: to start one takes longer than most of them."""
    monkeypatch.setattr("exporter.exports.hyper.hyperd", lambda _work: nullcontext(hyper_server))
    return hyper_server


def ask(server: "HyperProcess", path: Path, query: str) -> list[tuple[Any, ...]]:
    """Run a query on a .hyper file."""
    from tableauhyperapi import Connection

    with Connection(server.endpoint, path) as connection:
        return [tuple(row) for row in connection.execute_list_query(query)]


def left_behind(folder: Path) -> list[str]:
    """Return the command lines of servers that put their temporary files below a folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in words) and words[0].endswith("hyperd"):
            found.append(" ".join(words))
    return found
