"""The units of deploy/: the backup runs as the agent does, and as documented it makes one."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter.cli import main
from tests.history.synthetic_history import SyntheticHistory
from tests.test_documentation import block

DEPLOY = Path(__file__).parents[1] / "deploy"
AGENT, BACKUP = "tableau-exporter.service", "tableau-exporter-backup.service"
# The agent needs the network and a password, the backup writes to one folder more and gives way to others.
THEIR_OWN = {
    *("ExecStart", "ExecReload", "LoadCredential", "Type", "Restart", "RestartSec", "TimeoutStopSec"),
    *("StateDirectory", "Nice", "IOSchedulingClass", "PrivateNetwork", "RestrictAddressFamilies"),
}


def service(unit: str) -> dict[str, str]:
    """Return the settings of a unit's service."""
    section = (DEPLOY / unit).read_text().partition("[Service]\n")[2].partition("\n[")[0]
    return dict(line.split("=", 1) for line in section.splitlines() if line and not line.startswith("#"))


def test_the_backup_is_confined_as_the_agent_is() -> None:
    """Both have the same user, the same history and the same walls around them."""
    agent, backup = service(AGENT), service(BACKUP)
    assert agent["User"] == "tableau-exporter"
    assert agent["StateDirectory"] in backup["StateDirectory"].split()
    shared = [{key: unit[key] for key in unit.keys() - THEIR_OWN} for unit in (agent, backup)]
    assert shared[0] == shared[1]


@pytest.mark.parametrize("unit", [AGENT, BACKUP])
def test_units_are_limited(unit: str) -> None:
    """Memory, threads and open files are bounded, the files so that 128 connections and the history have enough."""
    assert service(unit)["MemoryMax"]
    assert int(service(unit)["TasksMax"]) >= 128
    assert int(service(unit)["LimitNOFILE"]) >= 1024


def test_the_backup_of_the_documented_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the documented configuration, whose secrets only the agent is given, the unit's command makes a backup."""
    path, folder, yml = (tmp_path / name for name in ("history.duckdb", "backups", "tableau-exporter.yml"))
    SyntheticHistory(path).live(1)
    folder.mkdir()
    configuration = block("docs/installation.md", "systemd configuration")
    history = service(AGENT)["Environment"].partition("HISTORY__PATH=")[2]
    assert history in configuration
    yml.write_text(configuration.replace(history, str(path)))
    command = re.sub(r"(--config\.file=)\S+", rf"\1{yml}", service(BACKUP)["ExecStart"])
    (output,) = re.findall(r"--output=(\S+)", command)
    assert Path(output).name in service(BACKUP)["StateDirectory"].split()
    monkeypatch.delenv("TABLEAU_EXPORTER_HISTORY__PATH", raising=False)
    result = CliRunner().invoke(main, shlex.split(command.replace(output, str(folder)))[1:])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(list(folder.glob("history-*.duckdb"))) == 1
