"""``tableau-exporter audit`` as it is typed: exit codes, formats, files."""

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.demo.simulation import Simulation
from tests.audit.conftest import REST, SetUp

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "exporter", "audit"]


def audit(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["audit", *arguments])


@pytest.mark.parametrize(
    ("slas", "code", "tiers"),
    [
        ({"WARNING": "1s", "CRITICAL": "24h"}, 2, {"Warning", "Critical"}),
        ({"WARNING": "1s", "CRITICAL": "never"}, 0, {"Warning"}),
        ({"WARNING": "never", "CRITICAL": "never"}, 0, set()),
    ],
)
def test_the_exit_code_says_how_it_stands(
    company: Simulation, environment: SetUp, slas: dict[str, str], code: int, tiers: set[str]
) -> None:
    """2 where a critical SLA is breached, 0 where none is; warnings alone are 0."""
    environment(company, **{f"FRESHNESS__{tier}": sla_hours for tier, sla_hours in slas.items()})
    result = audit("--format=json")
    assert (result.exit_code, result.stderr) == (code, "")
    assert {row["status"] for row in json.loads(result.stdout)} & {"Warning", "Critical"} == tiers


def test_the_rules_are_obeyed(company: Simulation, environment: SetUp) -> None:
    """First match: no SLA on one site, a high one for the flows, the default for the rest."""
    rules = (
        "[{match: {site: marketing}, warning: never, critical: never},"
        " {match: {asset_type: flow}, warning: 1s, critical: 2s}]"
    )
    environment(company, FRESHNESS__RULES=rules)
    rows = json.loads(audit("--format=json").stdout)
    promised = {(row["site"], row["asset_type"]): row["sla_hours"] for row in rows if row["status"] != "Live"}
    assert {sla for (site, _), sla in promised.items() if site == "marketing"} == {None}
    assert {sla for (site, kind), sla in promised.items() if site != "marketing" and kind == "flow"} == {2 / 3600}
    assert {sla for (site, kind), sla in promised.items() if site != "marketing" and kind != "flow"} == {24.0}


def test_every_format_says_the_same(company: Simulation, environment: SetUp) -> None:
    """The table, JSON and CSV have the same assets in the same order."""
    environment(company)
    rows = json.loads(audit("--format=json").stdout)
    lines = list(csv.DictReader(audit("--format=csv").stdout_bytes.decode().splitlines()))
    assert [line["asset_id"] for line in lines] == [row["asset_id"] for row in rows]
    _, *rendered = audit().stdout.splitlines()
    assert [line.split()[0] for line in rendered] == [row["status"] for row in rows]


def test_sites_are_audited_alone(company: Simulation, environment: SetUp) -> None:
    """Only their assets are there, in either spelling, and the exit code is theirs, whatever is critical elsewhere."""
    rules = (
        "[{match: {site: marketing}, warning: never, critical: never}, {match: {site: '*'}, warning: 1s, critical: 2s}]"
    )
    environment(company, FRESHNESS__RULES=rules)
    everything = json.loads(audit("--format=json").stdout)
    for names, code in ((["marketing"], 0), (["Finance"], 2), (["marketing", "finance"], 2)):
        result = audit("--format=json", *(f"--site={name}" for name in names))
        wanted = {name.casefold() for name in names}
        rows = [row["asset_id"] for row in everything if row["site"] in wanted]
        assert (result.exit_code, result.stderr) == (code, "")
        assert rows
        assert [row["asset_id"] for row in json.loads(result.stdout)] == rows


def test_a_site_that_is_not_there(company: Simulation, environment: SetUp) -> None:
    """It is one line that names those that are, and exit code 1; the others are printed."""
    environment(company)
    result = audit("--format=csv", "--site=finanze")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("--site finanze: no such site, or none with assets; there are default, ")
    both = audit("--format=csv", "--site=finanze", "--site=finance")
    assert (both.exit_code, both.stderr) == (1, result.stderr)
    assert "finance" in both.stdout


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_what_is_printed_can_be_chosen(company: Simulation, environment: SetUp, format_: str) -> None:
    """By status, in any spelling, and the worst few; the exit code is that of everything."""
    environment(company)

    def statuses(*arguments: str) -> list[str]:
        result = audit(f"--format={format_}", *arguments)
        assert (result.exit_code, result.stderr) == (2, "")
        if format_ == "json":
            return [row["status"] for row in json.loads(result.stdout)]
        if format_ == "csv":
            return [row["status"] for row in csv.DictReader(result.stdout_bytes.decode().splitlines())]
        return [line.split()[0] for line in result.stdout.splitlines()[1:]]

    everything = statuses()
    assert set(everything) >= {"Critical", "Healthy", "Live"}
    assert statuses("--status=healthy") == [status for status in everything if status == "Healthy"]
    chosen = statuses("--status=LIVE", "--status=Critical")
    assert chosen == [status for status in everything if status in {"Live", "Critical"}]
    assert statuses("--limit=3") == everything[:3]
    assert statuses("--status=live", "--limit=1") == ["Live"]


def test_a_failure_is_one_line(environment: SetUp, tmp_path: Path) -> None:
    """Where no asset can be read there is no output, no file is replaced, no secret is printed, and the code is 1."""
    kept = tmp_path / "audit.json"
    kept.write_text("of yesterday")
    environment(None, REPOSITORY__HOSTS="127.0.0.1:1", REPOSITORY__PASSWORD="not to be told")
    for arguments in ([], ["--output=audit.json"]):
        result = audit("--format=json", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert len(result.stderr.splitlines()) == 1
        assert "not to be told" not in result.stderr
    assert kept.read_text() == "of yesterday"


def test_what_is_missing_is_told_and_the_rest_shown(company: Simulation, environment: SetUp) -> None:
    """A source that cannot be had leaves the other's assets in the output; the code is 1."""
    environment(company, **REST)
    result = audit("--format=json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)) > 10
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("rest")


def test_a_fault_of_the_configuration(environment: SetUp) -> None:
    """Each is a line, and the code 1."""
    environment(None, REPOSITORY__HOSTS="db", FRESHNESS__WARNING="12")
    result = audit()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("freshness.warning: has no unit")


@pytest.mark.parametrize(
    "arguments", [["--format=xml"], ["--colour"], ["surplus"], ["--output"], ["--status=late"], ["--limit=0"]]
)
def test_wrong_usage_is_not_taken_for_something_critical(arguments: list[str]) -> None:
    """2 means a critical asset; wrong usage of this command is 64."""
    result = audit(*arguments)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "Error: " in result.stderr


def test_help_is_no_wrong_usage() -> None:
    """The codes stand in the help."""
    result = audit("--help")
    assert result.exit_code == 0
    assert "64   wrong usage" in result.stdout


def test_the_output_replaces_stdout(company: Simulation, environment: SetUp, tmp_path: Path) -> None:
    """The file is there whole, retains its rights and its place behind a link; nothing else is left or printed."""
    environment(company)
    file, link = tmp_path / "audit.csv", tmp_path / "link.csv"
    file.write_text("of yesterday")
    file.chmod(0o640)
    link.symlink_to(file)
    result = audit("--format=csv", f"--output={link}")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "")
    lines = list(csv.DictReader(file.read_bytes().decode().splitlines()))
    assert [line["asset_id"] for line in lines] == [
        row["asset_id"] for row in json.loads(audit("--format=json").stdout)
    ]
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.csv", "link.csv"]


def test_an_output_that_cannot_be_written(company: Simulation, environment: SetUp) -> None:
    """A folder that is not there is one line and the code 1."""
    environment(company)
    result = audit("--output=nowhere/audit.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "nowhere/audit.csv: No such file or directory; name another file, or make its folder writable\n"
    )


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_a_full_disk_behind_a_redirection(company: Simulation, environment: SetUp, format_: str) -> None:
    """A text that cannot be printed is one line and the code 1, no internal error."""
    environment(company)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("wb") as full:
        command = [*PROGRAM, f"--format={format_}"]
        found = subprocess.run(command, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert found.stderr == (
        "standard output: No space left on device; make room where it goes, or name a file with --output\n"
    )
    assert found.returncode == 1


def test_a_reader_that_has_gone_is_no_fault(company: Simulation, environment: SetUp) -> None:
    """``tableau-exporter audit | head`` ends without a word."""
    environment(company)
    ours, theirs = os.pipe()
    os.close(ours)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(PROGRAM, env=environ, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (found.returncode, found.stderr) == (1, b"")


def test_nothing_is_left_behind(company: Simulation, environment: SetUp, tmp_path: Path) -> None:
    """No agent, no history and no key are needed, and none is made."""
    environment(company)
    assert audit().exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_gets_utf8(company: Simulation, environment: SetUp) -> None:
    """Whatever the locale, a program reads UTF-8, and no colour."""
    environment(company)
    environ = {**os.environ, "LC_ALL": "C", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run([*PROGRAM], env=environ, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (2, b"")
    assert "\x1b" not in found.stdout.decode("utf-8")


def test_a_terminal_gets_colours(company: Simulation, environment: SetUp) -> None:
    """On a terminal the table is coloured and progress is printed, on a pipe neither."""
    environment(company)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "250", "NO_COLOR": ""}
    ours, theirs = pty.openpty()
    with subprocess.Popen(PROGRAM, env=environ, stdout=theirs, stderr=theirs) as program:
        os.close(theirs)
        rendered = b""
        while chunk := _read(ours):
            rendered += chunk
    os.close(ours)
    assert program.returncode == 2
    assert b"\x1b[1;31mCritical\x1b[0m" in rendered
    # The progress is printed repeatedly; which of its steps a screen caught depends on the machine.
    assert any(step in rendered for step in (b"auditing", b"reading the repository", b"judging"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""
