"""The documents match the program: keys, metrics, tables, commands, links, recipes and examples."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

from exporter import collectors, exports
from exporter.cli import main
from exporter.config import Configuration, keys, load
from exporter.config.exports import Export, Publish
from exporter.config.freshness import Match, Rule
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.errors import ConfigurationError
from exporter.history.file import HistoryFile, Limits
from exporter.history.history import History
from exporter.history.opening import OUR_VIEWS
from exporter.history.query import run_query
from exporter.history.redaction import Privacy
from exporter.history.sandbox import parse
from exporter.self_metrics import INCIDENT_KINDS
from exporter.web import asset_list, unused, usage
from exporter.web.web_config import load_access
from tests.support.components import require

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
KNOWN = collectors.discover()
PATIENCE_SECONDS = 90.0

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
A_FILE = re.compile(
    r"(?:exporter|tests|docs|deploy|requirements|benchmarks|\.ci)/[\w./-]*|[\w-]+\.(?:md|toml)|compose\.yaml|[DM][a-z]+file"
)
MADE_BY_READERS = {"exporter/collectors/groups.py"}

# Where a key has no default of its own, the document explains its absence in words.
WORDS_FOR_NOTHING = {
    "required",
    "none",
    "anything",
    "no rules",
    "no exports",
    "every daily file",
    "everything",
    "UTC",
    "a bar",
    "every site",
    "for ever",
    "as below",
    "beside the history",
    "the default's",
    "all types",
    "those of the section rest, or else every site",
}
LEAST = {
    "repository": {"hosts": "db"},
    "rest": {"url": "https://tableau", "token_name": "n", "token_value": "v"},
    "activity_log": {"url": "https://tcm", "token_value": "v"},
    "alertmanager": {"urls": "http://am", "basic_auth": {"username": "u", "password": "p"}},
}


def identified(path: Path) -> str:
    """Name a document in the list of tests."""
    return str(path.relative_to(ROOT))


def blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a language in a document."""
    found = BLOCK.finditer((ROOT / document).read_text())
    return [match["text"] for match in found if match["language"] == language]


def block(document: str, mark: str) -> str:
    """Return the code block that follows a comment."""
    (text,) = [match["text"] for match in BLOCK.finditer((ROOT / document).read_text()) if match["mark"] == mark]
    return text


def rows(document: str) -> list[list[str]]:
    """Return the rows of every table of a document, heads and rules left out."""
    lines = (ROOT / document).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not re.fullmatch(r"-+", row[0])]


def documented_keys() -> dict[str, tuple[str, str]]:
    """Return type and default of each key of docs/configuration.md."""
    found = [row for row in rows("docs/configuration.md") if len(row) == 4 and row[0].startswith("`")]
    return {row[0].strip("`"): (row[1], row[2]) for row in found}


def declared_keys() -> set[str]:
    """Return every key of the configuration, but the sections at its top."""
    declared = {".".join(path) for path in keys.paths(Configuration)} - {*Configuration.model_fields} | {
        "collectors",
        "exports",
    }
    declared |= {f"collectors.{name}" for name in KNOWN}
    declared |= {f"freshness.rules[].{name}" for name in Rule.model_fields}
    declared |= {f"freshness.rules[].match.{name}" for name in Match.model_fields}
    declared |= {f"exports[].{name}" for name in Export.model_fields}
    return declared | {f"exports[].publish.{name}" for name in Publish.model_fields}


def loaded(document: dict[str, Any], path: Path) -> Configuration:
    """Load a document as the agent would."""
    path.write_text(yaml.safe_dump(document))
    return load(path, {}, KNOWN, explicit=True)


def help_of(*command: str) -> str:
    """Return the help of a command."""
    return CliRunner().invoke(main, [*command, "--help"]).stdout


def test_every_key_of_the_configuration_is_documented() -> None:
    """docs/configuration.md has a row for each key and no row for anything else."""
    assert set(documented_keys()) == declared_keys()


@pytest.mark.parametrize("key", sorted(documented_keys()))
def test_documented_defaults_are_the_defaults(key: str, tmp_path: Path) -> None:
    """The default of a key, written into a file, changes nothing; where there is none, words stand for it."""
    _, default = documented_keys()[key]
    if key.startswith("collectors."):
        assert default == f"`{str(KNOWN[key.partition('.')[2]].enabled).lower()}`"
        return
    if not default.startswith("`"):
        nothing = _declared_default(key)
        assert default in WORDS_FOR_NOTHING
        assert nothing in (None, (), {}) or isinstance(nothing, BaseModel)
        return
    document = json.loads(json.dumps(LEAST))
    if "[]" in key:
        assert _declared_default(key) == default.strip("`")
        return
    *sections, name = key.split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = default.strip("`")
    assert loaded(document, tmp_path / "given.yml") == loaded(LEAST, tmp_path / "least.yml")


def _declared_default(key: str) -> object:
    """Return the default of a key as its section declares it; None where it is required."""
    parts: list[str | int] = []
    for part in key.split("."):
        parts += [part.removesuffix("[]"), 0] if part.endswith("[]") else [part]
    section = keys.kind(Configuration, parts[:-1])
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    field = section.model_fields[str(parts[-1])]
    return None if field.is_required() else field.get_default(call_default_factory=True)


@pytest.mark.parametrize(
    ("mark", "section"),
    [
        ("README.md: minimal configuration", "repository"),
        ("README.md: cloud configuration", "rest"),
        ("docs/installation.md: systemd configuration", "repository"),
        ("docs/installation.md: systemd configuration of Cloud", "rest"),
        ("docs/installation.md: configuration of one of several", "repository"),
        ("docs/migration-text-files.md: configuration", "repository"),
    ],
)
def test_examples_of_the_configuration_are_taken(mark: str, section: str, tmp_path: Path) -> None:
    """The configurations in README.md and docs/installation.md load when the files that they name are there."""
    document, name = mark.split(": ")
    text = block(document, name)
    for file in re.findall(r"(?:password_file|token_value_file|sslrootcert): (\S+)", text):
        here = tmp_path / Path(file).name
        here.write_text("secret")
        text = text.replace(file, str(here))
    path = tmp_path / "tableau-exporter.yml"
    path.write_text(text)
    configuration = load(path, {}, KNOWN, explicit=True)
    assert [name for name in ("repository", "rest") if getattr(configuration, name) is not None] == [section]
    assert configuration.warnings == ()


def test_the_example_file_shows_every_section_and_is_taken(tmp_path: Path) -> None:
    """docs/tableau-exporter.example.yml has no fault but the files that only its reader has."""
    path = ROOT / "docs/tableau-exporter.example.yml"
    assert set(yaml.safe_load(path.read_text())) == set(Configuration.model_fields)
    with pytest.raises(ConfigurationError) as error:
        load(path, {}, KNOWN, explicit=True)
    assert {fault.message for fault in error.value.faults} == {"cannot be read: No such file or directory"}


def test_the_example_of_the_web_configuration_is_taken(tmp_path: Path) -> None:
    """The users in docs/security.md are valid, and its TLS section has keys that are known."""
    document = yaml.safe_load(block("docs/security.md", "web.yml"))
    path = tmp_path / "web.yml"
    path.write_text(yaml.safe_dump({"basic_auth_users": document["basic_auth_users"]}))
    assert load_access(path).passwords is not None
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as error:
        load_access(path)
    assert {fault.message.partition(" /")[0] for fault in error.value.faults} == {"cannot read"}


def test_the_table_of_metrics_is_fresh() -> None:
    """docs/metrics.md ends in the command's output; where this fails, renew it by the lines of CONTRIBUTING.md."""
    printed = CliRunner().invoke(main, ["metrics", "--format=markdown"]).stdout
    assert (ROOT / "docs/metrics.md").read_text().endswith("\n\n" + printed)


def test_the_command_that_renews_the_metrics_works(tmp_path: Path) -> None:
    """The lines of CONTRIBUTING.md leave docs/metrics.md unchanged."""
    text = (ROOT / "docs/metrics.md").read_text()
    copy = tmp_path / "docs/metrics.md"
    copy.parent.mkdir()
    copy.write_text(text + "| stale | row |\n")
    program = f"{shlex.quote(sys.executable)} -m exporter"
    commands = block("CONTRIBUTING.md", "renew metrics").replace(".venv/bin/tableau-exporter", program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, env=environment, check=True)
    assert copy.read_text() == text


def test_every_collector_has_its_heading() -> None:
    """The headings of docs/collectors.md are the names of the collectors, in order."""
    headings = re.findall(r"(?m)^## (\w+)$", (ROOT / "docs/collectors.md").read_text())
    assert headings == list(KNOWN)


def test_every_incident_is_explained() -> None:
    """The incidents of docs/operations.md are the closed set of the code."""
    section = (ROOT / "docs/operations.md").read_text().partition("## Incidents")[2].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \|", section) == list(INCIDENT_KINDS)


def test_exit_codes_are_those_of_the_program() -> None:
    """The exit codes of docs/operations.md are those of ``--help``."""
    section = (ROOT / "docs/operations.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    promised = re.findall(r"(?m)^ +(\d+) +\S", help_of().partition("Exit codes:")[2])
    assert re.findall(r"(?m)^\| (\d+) \|", section) == promised


@pytest.mark.parametrize("path", DOCUMENTS, ids=identified)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link is to a file of the project, and to a heading that the file has."""
    broken = []
    for target in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(target)
    assert broken == []


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=identified)
def test_named_files_exist(path: Path) -> None:
    """Every file and folder of the project that a document names is there."""
    spans = {span for span in CODE_SPAN.findall(path.read_text()) if A_FILE.fullmatch(span)}
    assert {span for span in spans - MADE_BY_READERS if not (ROOT / span).exists()} == set()


def test_the_architecture_names_files_that_exist() -> None:
    """Each walk of docs/architecture.md names files of the package, step by step, and the picture names no others."""
    text = (ROOT / "docs/architecture.md").read_text()
    (picture,) = blocks("docs/architecture.md", "mermaid")
    steps = [re.findall(r"(?m)^\| (\d+) \| `exporter/[\w/]+\.py` \|", walk) for walk in text.split("\n## ")[1:]]
    assert [numbers == [str(step + 1) for step in range(len(numbers))] for numbers in steps] == [True] * 4
    assert min(map(len, steps)) > 8
    named = set(re.findall(r"`exporter/([\w/]+\.py)`", text))
    assert {name for name in named if not (ROOT / "exporter" / name).is_file()} == set()
    assert set(re.findall(r"[\w/]+/\w+\.py", picture)) - named == set()


def test_the_table_of_places_names_files_that_exist() -> None:
    """CONTRIBUTING.md names the file to start in; each package has a place."""
    (_, table) = (ROOT / "CONTRIBUTING.md").read_text().split("## Where to change what\n", 1)
    named = set(re.findall(r"`([\w/]+\.py)`", table.split("\n## ", 1)[0]))
    assert {name for name in named if not (ROOT / "exporter" / name).is_file()} == set()
    packages = {path.parent.name for path in (ROOT / "exporter").glob("*/__init__.py")}
    assert packages - {name.split("/")[0] for name in named} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=identified)
def test_commands_and_flags_exist(path: Path) -> None:
    """Every documented command of tableau-exporter exists, with its flags."""
    unknown = []
    for command, rest in re.findall(r"tableau-exporter +(history [a-z]+|[a-z]+)([^\n`]*)", path.read_text()):
        flags = re.findall(r"(--[a-z][a-z.-]*)", rest.partition("#")[0])
        text = help_of(*command.split())
        if not text or any(flag not in text.split() for flag in flags):
            unknown.append((command, flags))
    assert unknown == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=identified)
def test_named_metrics_exist(path: Path) -> None:
    """Every metric that a document names is declared; the module in CONTRIBUTING.md declares its own."""
    names = {family.name for family in collectors.families()} | {"tableau_groups"}
    words = set(re.findall(r"\btableau_[a-z_]+[a-z]\b(?!/)", path.read_text())) - {"tableau_server"}
    published = {re.sub(r"_(bucket|sum|count)$", "", word) if word not in names else word for word in words}
    assert published - names == set()


TARGETS = (
    *("demo", "test", "soak", "azurite", "mutate", "fuzz", "check", "dashboards", "pictures", "bench", "interop"),
    *("lock", "chart", "deb", "helm", "release"),
)


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_that_documents_name_exist(target: str) -> None:
    """Every target that a document names stands in the Makefile."""
    assert re.search(rf"(?m)^(?:\w+ )*{target}(?: \w+)*:", (ROOT / "Makefile").read_text())
    named = {
        name for path in DOCUMENTS for name in re.findall(r"(?:^|`|    )make ([a-z]+)", path.read_text(), re.MULTILINE)
    }
    assert named <= set(TARGETS)


def test_the_readme_shows_the_result() -> None:
    """README.md names both commands, and prints the status page and lines of /metrics that could be real."""
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
    image = ROOT / "docs/images/status-light.png"
    assert image.read_bytes().startswith(b"\x89PNG")
    published = text.partition("<!-- excerpt -->")[2].partition("<!-- /excerpt -->")[0]
    assert len(re.findall(r"(?m)^    tableau_\w+(\{.*\})? [0-9.]+$", published)) >= 5


def test_the_scrape_configuration_of_the_readme_is_taken(tmp_path: Path) -> None:
    """promtool accepts the scrape configuration in README.md."""
    (text,) = [text for text in blocks("README.md", "yaml") if "scrape_configs" in text]
    path = tmp_path / "prometheus.yml"
    path.write_text(text)
    subprocess.run([require("promtool"), "check", "config", "--syntax-only", path], check=True)


@pytest.mark.parametrize("document", ["README.md", "docs/metrics.md"])
def test_questions_to_prometheus_parse(document: str, tmp_path: Path) -> None:
    """promtool accepts every PromQL expression of a document."""
    text = "\n\n".join(blocks(document, "promql")) or textwrap.dedent(
        "".join(re.findall(r"(?m)^ {6}.*\n", (ROOT / document).read_text()))
    )
    expressions = [part for part in re.split(r"\n\n(?=\S)", text) if part.strip()]
    records = [{"record": f"question:{number}", "expr": part} for number, part in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "documents", "rules": records}]}))
    assert expressions
    subprocess.run([require("promtool"), "check", "rules", path], check=True)


def test_every_table_of_the_history_is_documented(tmp_path: Path) -> None:
    """docs/history.md has each table with its columns and types, in order, and those that the view adds."""
    file = HistoryFile(tmp_path / "history.duckdb")
    History(file, KNOWN, Privacy()).prepare(datetime(2025, 11, 19, tzinfo=UTC))
    with duckdb.connect(str(file.path), read_only=True) as connection:
        found = connection.execute(
            "SELECT table_name, list((column_name, data_type) ORDER BY column_index) FROM duckdb_columns()"
            " WHERE NOT internal AND table_name NOT LIKE 'latest_%' GROUP BY table_name"
        ).fetchall()
    actual = dict(found)
    requests = actual["http_requests"]
    actual["http_requests_open"] = [column for column in actual["http_requests_open"] if column not in requests]
    actual["usage"] = actual["usage"][len(requests) :]
    del actual["archived_requests"]
    assert _documented_tables() == actual


def test_every_table_of_the_history_is_exported() -> None:
    """Documented tables can be exported, with the views of the newest names."""
    assert set(exports.TABLES) == {*_documented_tables(), *OUR_VIEWS}


def _documented_tables() -> dict[str, list[tuple[str, str]]]:
    text = (ROOT / "docs/history.md").read_text()
    sections = re.findall(r"(?ms)^###? (\w+)\n(.*?)(?=^##|\Z)", text)
    columns = {name: re.findall(r"(?m)^\| `(\w+)` \| ([A-Z\[\](), ]+) \|", section) for name, section in sections}
    return {name: found for name, found in columns.items() if found}


@dataclass(frozen=True)
class AgentRun:
    """The exposition of an agent with one more collector, and the history it left behind."""

    exposition: str
    history: Path


@pytest.fixture(scope="module")
def watched(postgres18: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AgentRun:
    """A copy of the package with the module of CONTRIBUTING.md in it, run on a simulated Tableau until it polled."""
    folder = tmp_path_factory.mktemp("documentation")
    _copy_package(folder)
    history = folder / "history.duckdb"
    with Simulation(
        postgres=postgres18, database="documentation", scale=SMALL, days=3, requests_per_day=2000
    ) as simulation:
        command = [sys.executable, "-m", "exporter", "run"]
        environment = _environment(simulation, history, folder)
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                exposition = _first_exposition(process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    return AgentRun(exposition, history)


def _copy_package(folder: Path) -> None:
    for path in (ROOT / "exporter").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    mark = "exporter/collectors/groups.py"
    (folder / mark).write_text(block("CONTRIBUTING.md", mark))


def _environment(simulation: Simulation, history: Path, folder: Path) -> dict[str, str]:
    settings = {
        "REPOSITORY__HOSTS": f"{simulation.host}:{simulation.port}",
        "REPOSITORY__DATABASE": simulation.database,
        "REPOSITORY__PASSWORD": simulation.passwords["readonly"],
        "REPOSITORY__SSLMODE": "disable",
        "REPOSITORY__POLL_INTERVAL": "1s",
        "HISTORY__PATH": str(history),
        "WEB__LISTEN_ADDRESS": "127.0.0.1:0",
    }
    ours = {f"TABLEAU_EXPORTER_{key}": value for key, value in settings.items()}
    return {**os.environ, **ours, "PYTHONPATH": str(folder)}


def _first_exposition(process: "subprocess.Popen[str]") -> str:
    """Return the first exposition that has the new family in it."""
    assert process.stderr is not None
    logged = ""
    while (match := re.search(r"msg=listening .*?\bport=(\d+)", logged)) is None:
        line = process.stderr.readline()
        assert line, f"the agent ended: {logged}"
        logged += line
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/metrics", timeout=PATIENCE_SECONDS) as answer:
            text: str = answer.read().decode()
        if all(f"\n{begin}{{" in text for begin in ("tableau_groups", "tableau_http_requests_total")):
            return text
        time.sleep(0.2)
    raise AssertionError(f"the agent did not poll: {logged}")


def test_the_collector_of_the_guide_is_found_and_polled(watched: AgentRun) -> None:
    """The module in CONTRIBUTING.md, put beside the others, is polled and published without any other change."""
    assert 'tableau_collector_success{collector="groups"} 1\n' in watched.exposition
    assert re.search(r'(?m)^tableau_groups\{site="\w+"\} [1-9]', watched.exposition)


def test_the_collector_of_the_guide_is_clean(tmp_path: Path) -> None:
    """The module in CONTRIBUTING.md passes the checks that the page requires."""
    path = tmp_path / "exporter/collectors/groups.py"
    path.parent.mkdir(parents=True)
    path.write_text(block("CONTRIBUTING.md", "exporter/collectors/groups.py"))
    ruff = [sys.executable, "-m", "ruff"]
    configuration = f"--config={ROOT / 'pyproject.toml'}"
    subprocess.run([*ruff, "check", "--ignore=INP001", configuration, path], check=True)
    subprocess.run([*ruff, "format", "--check", configuration, path], check=True)


@pytest.mark.parametrize("number", range(len(blocks("docs/history.md", "sql"))))
def test_sql_of_the_document_runs(number: int, watched: AgentRun) -> None:
    """Every SQL of docs/history.md runs on a history that the agent wrote, in DuckDB and in ``history query``."""
    recipe = blocks("docs/history.md", "sql")[number]
    with duckdb.connect(str(watched.history), read_only=True) as connection:
        answer = connection.execute(recipe).fetchall()
    with HistoryFile(watched.history, Limits(spills=False), read_only=True).open() as connection:
        assert len(run_query(connection, parse(recipe), 1_000_000, 256_000_000).rows) == len(answer)


def test_the_queries_of_the_document_are_run(watched: AgentRun, tmp_path: Path) -> None:
    """The commands in docs/history.md and README.md that query the history do so, and print its rows."""
    (tmp_path / "question.sql").write_text("FROM marks;")
    program = f"{shlex.quote(sys.executable)} -m exporter"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TABLEAU_EXPORTER_HISTORY__PATH": str(watched.history)}
    for document, count in (("docs/history.md", 4), ("README.md", 3)):
        text = (ROOT / document).read_text()
        commands = re.findall(r"(?m)^    (tableau-exporter history (?:query|info)(?:.*\\\n)*.*)$", text)
        assert len(commands) == count
        script = "\n".join(commands).replace("tableau-exporter", program)
        done = subprocess.run(
            ["sh", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=True
        )
        assert b"possibly lost" in done.stdout
        assert done.stderr == b""
    assert (tmp_path / "yesterday.csv").read_bytes().startswith(b"id,controller,")


def test_the_json_of_the_document_is_that_of_the_pages() -> None:
    """The asset in JSON of docs/pages.md has the columns of the file, and the lists of use are named."""
    published = json.loads(block("docs/pages.md", "one asset as JSON"))
    assert tuple(published) == asset_list.FILE_HEAD
    section = (ROOT / "docs/pages.md").read_text().partition("`/usage.json` has ")[2].partition("\n\n")[0]
    named = [*usage.HOURS_HEAD, "of=content", *usage.CONTENT_HEAD, *unused.HEAD]
    assert CODE_SPAN.findall(section.replace("\n", " ")) == named


def test_the_history_is_opened_as_the_document_says(watched: AgentRun, tmp_path: Path) -> None:
    """The function in docs/history.md waits while another process holds the file, and then opens it."""
    script = tmp_path / "opening.py"
    script.write_text(
        block("docs/history.md", "open with patience")
        + f"print(open_history({str(watched.history)!r}).sql('SELECT count(*) FROM usage').fetchall()[0][0])\n"
    )
    holding = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    held = [sys.executable, "-c", holding, str(watched.history)]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as opening:
            with pytest.raises(subprocess.TimeoutExpired):
                opening.wait(1.5)
            holder.communicate("\n", timeout=PATIENCE_SECONDS)
            answer, _ = opening.communicate(timeout=PATIENCE_SECONDS)
    assert int(answer) > 0


def test_a_copy_is_whole(watched: AgentRun, tmp_path: Path) -> None:
    """The program in docs/history.md copies every table and view."""
    copy = tmp_path / "copy.duckdb"
    subprocess.run([sys.executable, "-c", block("docs/history.md", "copy"), watched.history, copy], check=True)

    def counted(path: Path) -> list[tuple[str, int]]:
        with duckdb.connect(str(path), read_only=True) as connection:
            names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
            names += connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()
            return [(name, _count(connection, name)) for (name,) in names]

    assert counted(copy) == counted(watched.history)


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    return int(row[0]) if row else -1
