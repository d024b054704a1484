"""The units of deploy/: systemd accepts them, they are confined alike, and as documented the installation works."""

import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.config import loading
from tests.history.synthetic_history import BEGIN, SyntheticHistory
from tests.support.components import require, require_root
from tests.test_documentation import block

DEPLOY = Path(__file__).parents[1] / "deploy"
AGENT, BACKUP, INSTANCE = "tableau-exporter.service", "tableau-exporter-backup.service", "tableau-exporter@.service"
PROGRAM = "/opt/tableau-exporter/bin/tableau-exporter"
USER = "tableau-exporter"
# The agent needs the network, the backup writes to one folder more and gives way to others.
THEIR_OWN = {
    *("ExecStart", "ExecReload", "Type", "Restart", "RestartSec", "TimeoutStopSec"),
    *("StateDirectory", "Nice", "IOSchedulingClass", "PrivateNetwork", "RestrictAddressFamilies"),
}
EXPOSURE_TENTHS = 20


def service(unit: str) -> dict[str, str]:
    """Return the settings of a unit's service."""
    section = (DEPLOY / unit).read_text().partition("[Service]\n")[2].partition("\n[")[0]
    return dict(line.split("=", 1) for line in section.splitlines() if line and not line.startswith("#"))


def installed(folder: Path, instance: str = "") -> Path:
    """Copy the units into a folder, with a program that this machine has; return the folder."""
    for unit in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        text = unit.read_text().replace(PROGRAM, "/bin/true")
        (folder / unit.name.replace("@.", f"@{instance}.")).write_text(text)
    return folder


def output(*command: object) -> str:
    """Run a program that must succeed; return all that it prints."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_the_backup_is_confined_as_the_agent_is() -> None:
    """Both have the same user, the same history and the same walls around them."""
    agent, backup = service(AGENT), service(BACKUP)
    assert agent["User"] == USER
    assert agent["StateDirectory"] in backup["StateDirectory"].split()
    shared = [{key: unit[key] for key in unit.keys() - THEIR_OWN} for unit in (agent, backup)]
    assert shared[0] == shared[1]


def test_an_instance_is_the_agent_with_its_own_configuration_and_history() -> None:
    """Only the configuration, the history's folder and the description differ from the unit of one Tableau."""
    mine = (
        (DEPLOY / AGENT)
        .read_text()
        .partition("[Unit]\n")[2]
        .replace("/etc/tableau-exporter/tableau-exporter.yml", "/etc/tableau-exporter/%i.yml")
        .replace("for Tableau\n", "for Tableau %i\n")
        .replace("WorkingDirectory=/var/lib/tableau-exporter\n", "WorkingDirectory=/var/lib/tableau-exporter/%i\n")
        .replace("StateDirectory=tableau-exporter\n", "StateDirectory=tableau-exporter/%i\n")
    )
    assert (DEPLOY / INSTANCE).read_text().partition("[Unit]\n")[2] == mine


@pytest.mark.parametrize("unit", [AGENT, BACKUP, INSTANCE])
def test_units_are_limited(unit: str) -> None:
    """Memory, threads and open files are bounded, the files so that 128 connections and the history have enough."""
    assert service(unit)["MemoryMax"]
    assert int(service(unit)["TasksMax"]) >= 128
    assert int(service(unit)["LimitNOFILE"]) >= 1024


def test_the_agent_needs_no_credential_and_no_variable() -> None:
    """One unit serves Server and Cloud: what differs is in the configuration, and no variable overrides that."""
    assert {"LoadCredential", "SetCredential", "Environment", "EnvironmentFile"}.isdisjoint(service(AGENT))


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds nothing in the units, in an instance, and in the documented drop-in."""
    folder = installed(tmp_path, instance="sales")
    (folder / f"{AGENT}.d").mkdir()
    (folder / f"{AGENT}.d/credentials.conf").write_text(block("docs/installation.md", "drop-in for credentials"))
    units = sorted(path for path in folder.iterdir() if path.is_file())
    assert len(units) == 4
    assert output(require("systemd-analyze"), "verify", *units) == ""


@pytest.mark.parametrize("unit", [AGENT, BACKUP, INSTANCE])
def test_units_are_confined(unit: str, tmp_path: Path) -> None:
    """``systemd-analyze security`` finds an exposure level of at most 2 of 10."""
    path = installed(tmp_path) / unit
    output(require("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", path)


def test_the_user_and_the_folders(tmp_path: Path) -> None:
    """The group of the user may read the history's folder and not write it; others see the configuration alone."""
    require_root()
    for name in ("etc", "var/lib"):
        (tmp_path / name).mkdir(parents=True)
    output(require("systemd-sysusers"), f"--root={tmp_path}", DEPLOY / "sysusers.d/tableau-exporter.conf")
    passwd = (tmp_path / "etc/passwd").read_text()
    ((uid, gid, home, shell),) = re.findall(rf"(?m)^{USER}:x:(\d+):(\d+):.*:(.*):(.*)$", passwd)
    assert (home, Path(shell).name) == ("/var/lib/tableau-exporter", "nologin")
    output(require("systemd-tmpfiles"), f"--root={tmp_path}", "--create", DEPLOY / "tmpfiles.d/tableau-exporter.conf")
    places = {name: (tmp_path / name).stat() for name in ("etc/tableau-exporter", "var/lib/tableau-exporter")}
    assert [(oct(place.st_mode & 0o777), place.st_uid, place.st_gid) for place in places.values()] == [
        ("0o755", 0, 0),
        ("0o750", int(uid), int(gid)),
    ]
    for unit in (AGENT, BACKUP):
        assert (service(unit)["StateDirectoryMode"], service(unit)["UMask"]) == ("0750", "0027")


def test_tmpfiles_removes_nothing() -> None:
    """Every line of tmpfiles.d makes a folder and has no age."""
    lines = [line.split() for line in (DEPLOY / "tmpfiles.d/tableau-exporter.conf").read_text().splitlines()]
    assert [(line[0], len(line)) for line in lines if line[0] != "#"] == [("d", 5)] * 3


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The documented configuration in the system's place; return the path of its history."""
    text, history = block("docs/installation.md", "systemd configuration"), tmp_path / "history.duckdb"
    (password,) = re.findall(r"password_file: (\S+)", text)
    (authority,) = re.findall(r"sslrootcert: (\S+)", text)
    (tmp_path / "secret").write_text("secret")
    text = text.replace(f"/var/lib/{service(AGENT)['StateDirectory']}/history.duckdb", str(history))
    text = text.replace(password, str(tmp_path / "secret")).replace(authority, "system")
    text = text.replace("tableau.example.com:8060", "127.0.0.1:1")
    (tmp_path / "tableau-exporter.yml").write_text(text)
    monkeypatch.setattr(loading, "SYSTEM_FILE", tmp_path / "tableau-exporter.yml")
    monkeypatch.delenv("TABLEAU_EXPORTER_HISTORY__PATH", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return history


def check() -> list[str]:
    """Run ``check`` as documented; return the lines that do not concern the repository, which is down."""
    document = (DEPLOY.parent / "docs/installation.md").read_text()
    (command,) = re.findall(r"runuser -u tableau-exporter -- tableau-exporter (check)\n", document)
    lines = CliRunner().invoke(main, shlex.split(command)).output.splitlines()
    return [line for line in lines if " repository: " not in line]


def test_check_before_and_while_the_service_runs(documented: Path) -> None:
    """From any folder ``check`` reads the configuration in /etc, before a first start and beside an agent."""
    configuration, history = check()
    assert configuration == "ok     configuration: valid"
    assert history.startswith(f"ok     history: {documented}: will be made")
    agent = SyntheticHistory(documented)
    agent.live(1)
    with agent.history.transaction(BEGIN + timedelta(days=2)):
        configuration, history = check()
    assert configuration == "ok     configuration: valid"
    assert re.match(rf"ok     history: {documented}: [\d.]+ MB", history)


def test_the_backup_of_the_documented_installation(documented: Path) -> None:
    """With the documented configuration, whose secrets need not be readable, the unit's command makes a backup."""
    SyntheticHistory(documented).live(1)
    (documented.parent / "secret").unlink()
    command = re.sub(r"(--config\.file=)\S+", rf"\1{loading.SYSTEM_FILE}", service(BACKUP)["ExecStart"])
    (folder,) = re.findall(r"--output=(\S+)", command)
    assert Path(folder).name in service(BACKUP)["StateDirectory"].split()
    backups = documented.parent / "backups"
    backups.mkdir()
    result = CliRunner().invoke(main, shlex.split(command.replace(folder, str(backups)))[1:])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(list(backups.glob("history-*.duckdb"))) == 1
