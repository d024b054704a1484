"""``history export --publish``: a table by its configuration, end to end against the simulated Tableau."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from tests.history.synthetic_history import SyntheticHistory, configured, requests
from tests.rest.test_publishing import FACTS, TOKENS, VALUE
from tests.support.hyper_server import EXTRACT, ask

if TYPE_CHECKING:
    from tableauhyperapi import HyperProcess

AT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=1)
PUBLISH = {"project": "Finance/EMEA", "name": "Requests", "token_name": "publisher", "token_value": VALUE}


@pytest.fixture
def synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticHistory:
    """A history with fifteen requests, which is found by the configuration that is written beside it."""
    synthetic = SyntheticHistory(configured(tmp_path, monkeypatch))
    monkeypatch.delenv("TABLEAU_EXPORTER_REPOSITORY__HOSTS")
    synthetic.poll(AT, requests(0, 15, AT))
    return synthetic


@pytest.fixture
def server() -> Iterator[TableauServer]:
    """The server that is published to."""
    with TableauServer(Estate.still(FACTS), tokens=TOKENS) as server:
        yield server


def configure(url: str | None, *entries: dict[str, object]) -> None:
    """Write the configuration, in the current folder."""
    rest = {"url": url, "token_name": "exporter", "token_value": TOKENS["exporter"]}
    document = {"exports": [{"format": "hyper", "every": "1d", **entry} for entry in entries]}
    path = Path("tableau-exporter.yml")
    path.write_text(yaml.safe_dump(document if url is None else {"rest": rest, **document}))
    path.chmod(0o600)


def export(*arguments: str) -> Result:
    """Export requests to the folder out, and publish them."""
    command = ["history", "export", "--format=hyper", "--table=http_requests", "--output=out", "--publish", *arguments]
    return CliRunner().invoke(main, command)


def test_published(
    synthetic: SyntheticHistory, server: TableauServer, one_hyperd: "HyperProcess", tmp_path: Path
) -> None:
    """The same bytes stand in Tableau and in the file; the next export replaces them, by the token of the entry."""
    configure(server.url, {"table": "http_requests", "output": "elsewhere", "publish": PUBLISH})
    published = server.rest.publishing.published
    for rows in (15, 20):
        if rows > 15:
            synthetic.poll(AT + timedelta(hours=1), requests(1000, 5, AT))
        result = export()
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        line = "ok     http_requests: out/http_requests.hyper published as Finance/EMEA/Requests on the site default"
        assert result.stdout.splitlines()[-1] == line
        copy = tmp_path / f"copy-{rows}.hyper"
        copy.write_bytes(published["", "emea", "Requests"].content)
        assert copy.read_bytes() == Path("out/http_requests.hyper").read_bytes()
        assert ask(one_hyperd, copy, f"SELECT count(*), count(DISTINCT id) FROM {EXTRACT}") == [(rows, rows)]
    assert server.requests["publish"] == 2


def test_a_refusal(synthetic: SyntheticHistory, server: TableauServer, one_hyperd: "HyperProcess") -> None:
    """The file is written all the same; the line has no secret, and the exit code is 1."""
    configure(server.url, {"table": "http_requests", "output": "out", "publish": {**PUBLISH, "project": "Nowhere"}})
    result = export()
    assert (result.exit_code, result.stderr) == (1, "")
    first, last = result.stdout.splitlines()
    assert first.startswith("ok     http_requests: 15 rows appended to out")
    assert last.startswith("fault  http_requests: not published: rest http://127.0.0.1:")
    assert "sees no project Nowhere on this site" in last
    assert VALUE not in result.output
    configure(server.url, {"table": "http_requests", "output": "out", "publish": {**PUBLISH, "token_value": "another"}})
    assert "the token publisher is refused: check exports[].publish.token_name and its value" in export().stdout


def test_which_entry_publishes(synthetic: SyntheticHistory, server: TableauServer, one_hyperd: "HyperProcess") -> None:
    """Of several that publish the table it is the one of this output; where there is none, nothing is exported."""
    other = {**PUBLISH, "project": "Default", "name": "Others"}
    configure(
        server.url,
        {"table": "http_requests", "output": "elsewhere", "publish": other},
        {"table": "http_requests", "output": ["out", "more"], "publish": PUBLISH},
        {"table": "usage", "output": "out", "publish": other},
    )
    assert export().exit_code == 0
    assert list(server.rest.publishing.published) == [("", "emea", "Requests")]
    configure(
        server.url,
        {"table": "http_requests", "output": "a", "publish": other},
        {"table": "http_requests", "output": "b", "publish": PUBLISH},
    )
    for entries, report in ((2, "has no entries"), (1, "has no entries")):
        result = export()
        assert (result.exit_code, result.stdout) == (1, ""), entries
        assert report in result.stderr
        configure(server.url, {"table": "http_requests", "output": "out"})
    assert server.requests["publish"] == 1


def test_without_a_server(synthetic: SyntheticHistory) -> None:
    """A configuration without rest has no server to publish to."""
    configure(None, {"table": "http_requests", "output": "out", "publish": PUBLISH})
    result = export()
    assert (result.exit_code, result.stdout, Path("out").exists()) == (1, "", False)
    assert "rest.url: is missing: the server that is published to" in result.stderr


def test_other_formats_are_not_published(synthetic: SyntheticHistory) -> None:
    """Wrong usage is reported."""
    result = CliRunner().invoke(
        main, ["history", "export", "--format=csv", "--table=usage", "--output=out", "--publish"]
    )
    assert (result.exit_code, "--publish: only the format hyper is published" in result.stderr) == (2, True)


def test_without_the_library(
    synthetic: SyntheticHistory, server: TableauServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the extra."""
    monkeypatch.setitem(sys.modules, "tableauhyperapi", None)
    monkeypatch.delitem(sys.modules, "exporter.exports.hyper", raising=False)
    configure(server.url, {"table": "http_requests", "output": "out", "publish": PUBLISH})
    result = export()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "--format=hyper needs tableauhyperapi: pip install 'tableau-exporter[hyper]'\n"
