"""The words that users read: plain English with the field's terms.

``AVOID`` lists words that stood in place of the field's. HELP, messages, help texts of commands, dashboards, alerts,
pages and documents have none of them, except where English needs one. docs/decisions/ and CHANGELOG.md are records,
and the texts of the simulated Tableau are Tableau's: they are not covered.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from exporter import collectors
from exporter.alerting.rules import NOT_EVALUATED, RULES
from exporter.cli import main
from exporter.demo.banner import banner
from tests.alerts.shipped_rules import ALERTS
from tests.grafana.dashboards import BOARDS

ROOT = Path(__file__).parents[1]
AVOID: Mapping[str, str] = {
    r"tells?|telling|told": "report, notify, send",
    r"says?|saying|said": "report, log, document",
    r"takes?|taking|taken|took|takers?": "read, fetch, collect, accept",
    r"showing|showers?": "publish, render",
    r"looks?|looked|looking": "query, check, resolve",
    r"asks?|asked|asking": "query, request",
    r"befall|befalls|befallen|befell": "incident, event",
    r"manner|put to work": "options, build",
    r"promises?|promised|promising": "SLA, threshold, guarantee",
    r"hours old|usual pauses?": "data age, typical refresh interval",
    r"half of the (?:views|jobs|requests)|9 of 10|99 of 100|nine of ten|one in ten": "p50, p90, p99",
    r"people|who was here": "users, active users",
    r"requests that fail|views load within": "error rate, view load time (p90)",
    r"worst first|not well|all well": "most overdue, firing alerts, health",
    r"defects?": "unexpected error (bug)",
    r"whoever|whatever|what is|what has|one that": "the noun",
    r"mend|mends|mended|mending": "fix, recover",
    r"is silent|silent (?:for|source)": "down",
}
"""What to avoid, as regular expressions, and what to write instead."""

ENGLISH = (
    r"(?:it|that|query|read|run|poll)s? (?:takes?|took) (?:\d|a second|minutes|under)",
    r"how long it took|does a read take minutes|however long it takes",
    r"took its place|looks? like a (?:failover|refresh)|ask the owner|look it up",
    r"the list of workbooks has 999 entries and promises 1000",
)
"""Where English, or a quoted message, needs one of them."""

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS += sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/runbooks/*.md")])
_AVOIDED = re.compile(rf"\b(?:{'|'.join(AVOID)})\b", re.IGNORECASE)
_HIDES = re.compile(
    r"\b(?:tells?|telling|told|says?|saying|said|asked|asking|looks? (?:whether|for)"
    r"|look(?:ed|ing) (?:for|up)|befall\w*|promis(?:e|ed|es|ing)"
    r"|people of|who was here|worst first|all well|whoever|mend\w*|judg\w+)\b",
    re.IGNORECASE,
)
_OF_TESTS = re.compile(
    r"\b(?:tells?|telling|told|says?|saying|said|asks?|asked|asking|shows?|shown|showing"
    r"|looked|look(?:s|ing)? (?:for|up|at)|nobody|somebody|anybody|everybody"
    r"|befall\w*|befell|promis(?:e|ed|es|ing)|people|whoever|mend(?:s|ed|ing)?"
    r"|strangers?|taken out|takers?|guests?)\b",
    re.IGNORECASE,
)
_ENGLISH = re.compile("|".join(ENGLISH), re.IGNORECASE)
_CODE = re.compile(r"```.*?```|(?m:^(?: {4}|\t)\S[^\n]*$)|`[^`\n]+`|\]\([^)]*\)|<!--.*?-->", re.DOTALL)
_GENERATED = re.compile(r"<!-- [^>\n]*written by make soak -->.*?<!-- end of [^>]*-->", re.DOTALL)
_SQL = re.compile(r"\b(?:SELECT|FROM|JOIN|WHERE|NULL|CREATE|ORDER BY)\b")
_TEMPLATE = re.compile(r"{%.*?%}|{{.*?}}|<(?:style|script)\b.*?</|<[^>]*>", re.DOTALL)


def avoided(text: str) -> list[str]:
    """Return the words of a text that are to be avoided, with their surroundings."""
    plain = _ENGLISH.sub(" ", " ".join(text.split()))
    return [plain[max(0, found.start() - 40) : found.end() + 20] for found in _AVOIDED.finditer(plain)]


def messages() -> Iterator[tuple[str, str]]:
    """Yield the texts of the program that may be logged or printed, with their places: neither docstrings nor SQL."""
    for path in sorted({*(ROOT / "exporter").rglob("*.py")} - {*(ROOT / "exporter/demo/tableau").rglob("*.py")}):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
                continue
            if " " in node.value.strip() and not _SQL.search(node.value):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def commands(command: click.Command, name: str = "tableau-exporter") -> Iterator[tuple[str, click.Command]]:
    """Yield a command and those below it."""
    yield name, command
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from commands(each, f"{name} {each.name}")


COMMANDS = dict(commands(main))


def dashboard_texts(json: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield the visible texts of a dashboard."""
    if isinstance(json, list):
        for each in json:
            yield from dashboard_texts(each)
    elif isinstance(json, dict):
        for key, value in json.items():
            if isinstance(value, str) and key in {"title", "description", "legendFormat", "noValue", "text", "label"}:
                yield value
            elif key == "renameByName":
                yield from value.values()
            else:
                yield from dashboard_texts(value)


@pytest.mark.parametrize("family", collectors.families(), ids=lambda family: family.name)
def test_help_is_plain(family: Any) -> None:  # noqa: ANN401 - a family of any type
    """HELP has none of the words to avoid."""
    assert avoided(family.help) == []


def docstrings(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the docstrings below a folder, with their places."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value.value


@pytest.mark.parametrize(("folder", "words"), [("exporter", _HIDES), ("tests", _OF_TESTS)], ids=["exporter", "tests"])
def test_docstrings_are_plain(folder: str, words: re.Pattern[str]) -> None:
    """Docstrings have none of the words that hide what code does."""
    texts = list(docstrings(folder))
    assert len(texts) > 1000
    assert [(place, text) for place, text in texts if words.search(text)] == []


def test_messages_are_plain() -> None:
    """Log events, errors, findings and results have none of the words to avoid."""
    texts = list(messages())
    assert len(texts) > 1000
    assert [(place, text) for place, text in texts if avoided(text)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_are_plain(name: str) -> None:
    """The help of a command and of its flags has none of the words to avoid."""
    assert avoided(COMMANDS[name].get_help(click.Context(COMMANDS[name], info_name=name))) == []


@pytest.mark.parametrize("cloud", [False, True])
def test_the_banner_is_plain(cloud: bool) -> None:
    """The demo's banner has none of the words to avoid."""
    alerts = {"Prometheus": "http://127.0.0.1:9090/"}
    here = Path("demo")
    text = banner(cloud=cloud, people=9, port=1, tableau="there", history=here, audit=here, alerts=alerts)
    assert avoided(text) == []


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_are_plain(name: str) -> None:
    """Titles, descriptions, headings and legends of a dashboard have none of the words to avoid."""
    texts = list(dashboard_texts(BOARDS[name]))
    assert len(texts) > 20
    assert [found for text in texts for found in avoided(text)] == []


def test_alerts_are_plain() -> None:
    """Summaries and descriptions of alerts, Prometheus' and the agent's, have none of the words to avoid."""
    texts = [rule["annotations"][name] for rule in ALERTS for name in ("summary", "description")]
    texts += [text for rule in (*RULES, NOT_EVALUATED) for text in (rule.summary, rule.description)]
    assert [found for text in texts for found in avoided(text)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_plain(path: Path) -> None:
    """A document has none of the words to avoid outside code and quoted output."""
    text = _CODE.sub(" ", _GENERATED.sub(" ", path.read_text(encoding="utf-8")))
    assert avoided(text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "exporter/web/templates").glob("*.html")), ids=lambda path: path.name)
def test_pages_are_plain(path: Path) -> None:
    """The texts of a page have none of the words to avoid."""
    assert avoided(_TEMPLATE.sub(" ", path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("word", ["told", "9 of 10", "whoever", "Worst first", "is older than was promised", "mended"])
def test_a_word_to_avoid_is_found(word: str) -> None:
    """A text with one of the words fails, in any case, and across lines."""
    assert avoided(f"Of this\n{word.replace(' ', chr(10))} it speaks.")


def test_the_alerts_of_prometheus_are_read() -> None:
    """The alerts are those of the file: none is missed."""
    rules = yaml.safe_load((ROOT / "alerts/tableau.rules.yml").read_text(encoding="utf-8"))
    assert len(ALERTS) == sum("alert" in rule for group in rules["groups"] for rule in group["rules"])
