"""The check of the REST API: one line for the server, and one for each site that fails, wholly or in part."""

import os
from pathlib import Path

import pytest

from exporter.errors import SourceRefused
from exporter.rest.credentials import Token
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HTML, Answer, at, error
from tests.support.program import run


def test_all_is_well(three: RestHarness) -> None:
    """The version and the number of sites, and nothing else."""
    assert list(three.rest().probe()) == [(True, "Tableau 2025.3.0 answers, 3 sites are read")]


def test_what_a_site_works_without(three: RestHarness) -> None:
    """Content that only an administrator may see is a note for each site."""
    forbidden = error(403, "403004")
    with three.tableau.doing(at("graphql", error(404, "404000")), at("/jobs", forbidden), at("/tasks/", forbidden)):
        first, *notes = three.rest("default", "marketing").probe()
    assert first[0] is True
    assert [ok for ok, _ in notes] == [None, None]
    for _, note in notes:
        for part in ("works without the Metadata API (", "; without jobs (", "; without extract refresh tasks ("):
            assert part in note


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/projects", "projects"),
        ("/users", "users"),
        ("/graphql", "the Metadata API"),
        ("/jobs", "jobs"),
        ("/tasks/extractRefreshes", "extract refresh tasks"),
        ("/flows/runs", "flow runs"),
        ("/tasks/runFlow", "flow tasks"),
        ("/tasks/linked", "linked tasks"),
        ("/flows", "flows"),
    ],
)
def test_every_part_of_a_poll_is_tried(harness: RestHarness, path: str, name: str) -> None:
    """Content that a poll would miss is a note that names it and the fields that stay unknown."""
    refused = error(403, "403004")
    with harness.tableau.doing(lambda received: refused if received.path.endswith(path) else None):
        _, (ok, note) = harness.rest().probe()
    assert ok is None
    assert note.startswith(f"site default works without {name} (")


@pytest.mark.parametrize("path", ["/workbooks", "/datasources", "/flows"])
def test_a_list_of_assets_that_cannot_be_read(harness: RestHarness, path: str) -> None:
    """Then the site would not be polled at all: a fault."""
    with harness.tableau.doing(lambda received: Answer(HTML) if received.path.endswith(path) else None):
        _, (ok, line) = harness.rest().probe()
    assert ok is False
    assert line.startswith("site default: ")


def test_a_site_that_is_not_there(three: RestHarness) -> None:
    """Each unknown site is a fault of its own."""
    found = list(three.rest("default", "nowhere").probe())
    assert [ok for ok, _ in found] == [True, False]
    assert "site nowhere: " in found[1][1]


def test_nobody_is_let_in(harness: RestHarness) -> None:
    """A wrong token is the one line."""
    with pytest.raises(SourceRefused, match="the token agent is refused"):
        list(harness.rest(credentials=lambda: Token("agent", "wrong")).probe())


@pytest.mark.parametrize(("value", "code"), [("value of the token", 0), ("not the value", 1)])
def test_the_check(harness: RestHarness, tmp_path: Path, value: str, code: int) -> None:
    """The command reports it in one line, leaves no session behind, and does not print the token."""
    settings = {"REST__URL": harness.tableau.url, "REST__TOKEN_NAME": "agent", "REST__TOKEN_VALUE": value}
    settings["HISTORY__PATH"] = str(tmp_path / "history.duckdb")
    variables = {f"TABLEAU_EXPORTER_{key}": text for key, text in settings.items()}
    checked = run("check", environment={"PATH": os.environ["PATH"], **variables})
    assert (checked.returncode, checked.stderr) == (code, "")
    (line,) = [
        line for line in checked.stdout.splitlines() if line[7:].startswith("rest") and harness.tableau.url in line
    ]
    assert ("fault" in line, "1 sites are read" in line) == (bool(code), not code)
    assert value not in checked.stdout
    assert harness.tableau.sessions == {}
