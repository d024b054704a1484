"""Publishing to the simulated Tableau: a whole data source, in the place of the last, or one line and nothing."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Person, Project, Site
from exporter.demo.tableau.server import TableauServer
from exporter.errors import SourceError
from exporter.rest.credentials import RestOptions, Token
from exporter.rest.lists import PROJECTS as LISTED
from exporter.rest.lists import collect
from exporter.rest.publishing import Destination, publish
from exporter.rest.session import RestSession

AT = datetime(2025, 11, 19)  # noqa: DTZ001 - the facts have no zone
VALUE = "the value of the publisher's token"
TOKENS = {"publisher": VALUE, "exporter": "the value of the agent's token"}
ANNA = Person("anna", "anna", "Anna", "anna@example.com", "ServerAdministrator", "local", AT)
MEGABYTE = 1024 * 1024


def project(luid: str, name: str, parent: str | None = None) -> Project:
    """Return a project."""
    return Project(luid, name, "", parent, ANNA.luid, AT, AT)


PROJECTS = (
    project("default", "Default"),
    project("finance", "Finance"),
    project("emea", "EMEA", "finance"),
    project("other-emea", "EMEA"),
    project("twice", "Twice/Here"),
    project("half", "Twice"),
    project("whole", "Here", "half"),
)
FACTS = (
    Site("site", "Default", "", users=(ANNA,), projects=PROJECTS),
    Site("marketing", "Marketing", "marketing", users=(ANNA,), projects=PROJECTS[:1]),
)


@pytest.fixture
def server() -> Iterator[TableauServer]:
    """A server with two sites."""
    with TableauServer(Estate.still(FACTS).plain(), tokens=TOKENS) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A content like a .hyper file's: more than two megabytes, with a line like a boundary."""
    path = tmp_path / "usage.hyper"
    path.write_bytes(b"Hyper\r\n--boundary--\r\n" + bytes(range(256)) * 8_500)
    return path


def to(server: TableauServer, place: str = "Finance/EMEA", site: str = "default", value: str = VALUE) -> Destination:
    """Return a destination on a server."""
    login = RestOptions(
        server.url, (site,), lambda: Token("publisher", value), timeout=20, setting="exports[].publish.token_name"
    )
    return Destination(login, place, "Usage")


def fails(server: TableauServer, file: Path, **where: str) -> str:
    """Publish in vain; return the line, which has no secret in it."""
    with pytest.raises(SourceError) as error:
        publish(to(server, **where), file, sleep=lambda _: None)
    assert str(error.value).isprintable()
    assert VALUE not in str(error.value)
    assert server.rest.publishing.published == {}
    return str(error.value)


def test_one_call_for_a_small_file(server: TableauServer, file: Path) -> None:
    """The bytes are those of the file; the next replaces it; no session is left behind."""
    publish(to(server), file)
    (first,) = server.rest.publishing.published.values()
    assert (first.project, first.name, first.content) == ("emea", "Usage", file.read_bytes())
    file.write_bytes(b"Hyper 2")
    publish(to(server), file)
    publish(to(server, place="Default", site="marketing"), file)
    published = server.rest.publishing.published
    assert {key: found.content for key, found in published.items()} == {
        ("", "emea", "Usage"): b"Hyper 2",
        ("marketing", "default", "Usage"): b"Hyper 2",
    }
    assert published["", "emea", "Usage"].luid == first.luid
    assert (server.requests["signin"], server.requests["signout"], server.requests["upload"]) == (3, 3, 0)


def test_pieces_for_a_large_file(server: TableauServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of a request it is uploaded piece by piece, and published by a call that names them."""
    monkeypatch.setenv("TSC_FILESIZE_LIMIT_MB", "1")
    monkeypatch.setenv("TSC_CHUNK_SIZE_MB", "1")
    publish(to(server), file)
    (found,) = server.rest.publishing.published.values()
    assert found.content == file.read_bytes()
    assert (server.requests["upload"], server.requests["append"], server.requests["publish"]) == (1, 3, 1)


@pytest.mark.parametrize("kind", ["append", "publish"])
def test_a_session_that_is_lost(server: TableauServer, file: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The whole is done again after one sign-in: there is one data source, with every byte once."""
    monkeypatch.setenv("TSC_FILESIZE_LIMIT_MB", "1")
    monkeypatch.setenv("TSC_CHUNK_SIZE_MB", "1")
    server.failure_modes.affected = {kind}
    server.failure_modes.expire_next = 1
    publish(to(server), file)
    (found,) = server.rest.publishing.published.values()
    assert found.content == file.read_bytes()
    assert server.requests["signin"] == 2


def test_the_sessions_of_others(server: TableauServer, file: Path) -> None:
    """By a token of its own: the agent's session lives on."""
    agent = RestSession(RestOptions(server.url, ("default",), lambda: Token("exporter", TOKENS["exporter"])))
    agent.transport.begin()
    agent.enter("default")
    publish(to(server), file)
    assert collect(agent, LISTED).rows.num_rows == len(PROJECTS)
    agent.close()
    assert server.requests["signin"] == 2


@pytest.mark.parametrize(
    ("place", "output"),
    [
        ("Finance/APAC", "sees no project Finance/APAC on this site; check exports[].publish.project"),
        ("Finance*", "sees no project Finance*"),
        ("Twice/Here", "2 projects have the path Twice/Here on this site; rename one"),
    ],
)
def test_a_project_that_is_not_one(server: TableauServer, file: Path, place: str, output: str) -> None:
    """One that is missing, or of which there are two, is one line."""
    assert output in fails(server, file, place=place)
    assert server.requests["publish"] == 0


def test_a_list_that_promises_too_much(server: TableauServer, file: Path) -> None:
    """A project that was found is valid, with any total; one that was not may be missing from the list."""
    server.failure_modes.wrong_count = {"projects"}
    assert "(the list of projects has 7 of 8 entries)" in fails(server, file, place="Finance/APAC")
    publish(to(server), file)
    assert len(server.rest.publishing.published) == 1


def test_a_token_that_is_refused(server: TableauServer, file: Path) -> None:
    """The line names the key of this token, not the agent's."""
    line = fails(server, file, value="another")
    assert "the token publisher is refused: check exports[].publish.token_name and its value" in line
    assert "rest.token_name" not in line
    assert "the site nowhere" in fails(server, file, site="nowhere")


@pytest.mark.parametrize(
    ("failure_mode", "output"),
    [
        ("forbidden", "403004: Forbidden: .* may publish to Finance/EMEA/Usage on the site default"),
        ("missing", "404000: Resource Not Found: .* may publish to Finance/EMEA/Usage"),
        ("failing", "answers with HTTP 500; check Tableau's own state and logs"),
        ("html_login_page", "an answer that cannot be read"),
        ("garbage", "an answer that cannot be read"),
    ],
)
def test_calls_that_are_refused(server: TableauServer, file: Path, failure_mode: str, output: str) -> None:
    """Whatever comes in the place of the answer is one line."""
    setattr(server.failure_modes, failure_mode, {"upload", "publish"})
    assert re.search(output, fails(server, file))


def test_a_file_that_is_too_large(server: TableauServer, file: Path) -> None:
    """A proxy that refuses so large a body is distinguished from a Tableau that does not answer."""
    server.failure_modes.largest_body = MEGABYTE
    assert "413: Tableau, or a proxy before it, accepts no request of this size" in fails(server, file)


def test_a_file_that_tableau_does_not_take(server: TableauServer, file: Path) -> None:
    """Its message is logged, with the remedy."""
    file.write_bytes(b"no such file")
    line = fails(server, file)
    assert "400011: Bad Request: There was a problem publishing the file 'Usage.hyper'" in line
    assert "check the quota of the site, and the logs of Tableau" in line
