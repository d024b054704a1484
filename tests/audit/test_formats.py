"""The formats of an audit, for terminals and programs."""

import csv
import io
import json
import re
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from exporter.audit.formats import FORMATS, as_csv, as_json, as_terminal, as_text
from exporter.collectors.assets.status import SCHEMA
from tests.history.test_freshness_audit import AT, judged

HOSTILE = 'a,"b"\r\n\x1b[31m\u202egpj\x07[red]x[/red]é日本'


def rendered(width: int = 200) -> str:
    """Return the terminal's table of a hostile and a late asset, at some width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    rows = judged({"asset_name": HOSTILE}, {"status": "Critical", "hours_since_refresh": 30.0})
    return "".join(as_terminal(rows, console))


def test_json_is_one_array() -> None:
    """An object for each asset with the columns of the table, UTC in ISO 8601, null for unknown values."""
    rows = judged({"asset_name": HOSTILE, "sla_hours": None}, {"last_refresh_utc": AT + timedelta(microseconds=7)})
    found = json.loads("".join(as_json(rows)))
    assert [list(row) for row in found] == [SCHEMA.names] * 2
    assert found[0]["asset_name"] == HOSTILE
    assert found[0]["sla_hours"] is None
    assert found[0]["hours_since_refresh"] == 1.0
    assert found[0]["last_refresh_utc"] == "2025-11-19T11:00:00Z"
    assert found[1]["last_refresh_utc"] == "2025-11-19T12:00:00.000007Z"
    assert "".join(as_json(rows)).isascii()
    assert json.loads("".join(as_json(judged()))) == []


def test_csv_is_read_back() -> None:
    """A line of names, a line an asset ended by CR LF, quotes around what would break one, nothing for NULL."""
    text = "".join(as_csv(judged({"asset_name": HOSTILE, "sla_hours": None}, {})))
    head, first, second = csv.reader(io.StringIO(text, newline=""))
    assert head == SCHEMA.names
    assert dict(zip(head, first, strict=True))["asset_name"] == HOSTILE
    assert dict(zip(head, first, strict=True))["sla_hours"] == ""
    assert dict(zip(head, second, strict=True))["last_refresh_utc"] == "2025-11-19T11:00:00Z"
    assert text.startswith("asset_type,asset_id,")
    assert text.endswith("\r\n")
    assert "".join(as_csv(judged())) == ",".join(SCHEMA.names) + "\r\n"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "'=1"])
def test_csv_leaves_names_as_they_are(name: str) -> None:
    """A name that a spreadsheet would read as a formula stays as it is; docs/operations.md describes how to open it."""
    text = "".join(as_csv(judged({"asset_name": name, "project_name": name})))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["asset_name"], row["project_name"]) == (name, name)


def test_a_table_is_never_cut() -> None:
    """Where no terminal is every cell is whole, and a column is as wide as its widest cell on the screen."""
    long = "x" * 40
    head, first, second, *rest = "".join(as_text(judged({"project_name": long}, {"asset_name": "日本"}))).splitlines()
    assert rest == []
    assert head.split()[:2] == ["status", "hours"]
    assert long in first
    assert first.index("default") == second.index("default") + len("日本")
    assert len("".join(as_text(judged())).splitlines()) == 1


def test_a_long_name_moves_its_own_line_alone() -> None:
    """It is whole, and the other lines are no wider for it; none ends with blanks."""
    long = "x" * 377
    usual = "".join(as_text(judged({}, {}))).splitlines()
    head, first, second = "".join(as_text(judged({"project_name": long, "asset_name": long}, {}))).splitlines()
    assert first.count(long) == 2
    assert max(len(head), len(second)) < max(map(len, usual)) + 2 * 40
    assert all(line == line.rstrip() for line in (head, first, second))


def test_the_table_has_the_owner() -> None:
    """Whose an asset is stands in the table, on a terminal and elsewhere; nothing where it is not known."""
    head, first, second = "".join(as_text(judged({"owner_id": "jane"}, {"owner_id": None}))).splitlines()
    at = head.index("owner")
    assert [line[at : at + 4].strip() for line in (first, second)] == ["jane", ""]
    assert "owner" in rendered()


@pytest.mark.parametrize("name", ["text", "rich"])
def test_names_cannot_play_with_the_terminal(name: str) -> None:
    """Control characters, colours and changes of direction are escaped; brackets are no markup."""
    text = "".join(as_text(judged({"asset_name": HOSTILE}))) if name == "text" else rendered()
    assert "\\r\\n\\x1b[31m\\u202egpj\\x07[red]x[/red]é日本" in text
    assert not {"\x07", "\r", "\u202e"} & set(text)
    assert "\x1b[31m\\u" not in text


def test_the_status_has_its_colour() -> None:
    """On a terminal critical is red, healthy green; a narrow one folds and cuts nothing."""
    assert "\x1b[1;31mCritical\x1b[0m" in rendered()
    assert "\x1b[32mHealthy" in rendered()
    assert "…" not in rendered(60)


def test_a_long_table_is_coloured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is printed line by line, as elsewhere, but for the colours."""
    monkeypatch.setattr("exporter.audit.formats._FOLDED_ROWS", 1)
    text = rendered(40)
    assert "\x1b[1;31mCritical\x1b[0m  30.00" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    rows = judged({"asset_name": HOSTILE}, {"status": "Critical", "hours_since_refresh": 30.0})
    assert plain == "".join(as_text(rows))


def test_instants_keep_their_order_as_text() -> None:
    """Two instants compare as their texts do: each is UTC with its zone."""
    (row,) = json.loads("".join(as_json(judged({"last_refresh_utc": datetime(9, 1, 2, 3)}))))  # noqa: DTZ001
    assert row["last_refresh_utc"] == "0009-01-02T03:00:00Z"


def test_every_format_is_offered() -> None:
    """The command offers the formats that are printed, and Delta."""
    from click import Choice

    from exporter.cli.audit import audit

    (choice,) = [option.type for option in audit.params if option.name == "format_"]
    assert isinstance(choice, Choice)
    assert list(choice.choices) == [*FORMATS, "delta"]
