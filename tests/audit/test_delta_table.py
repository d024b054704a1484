"""``tableau-exporter audit --format=delta``: every audit is appended to the table once, as the notebook did."""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable, write_deltalake

from exporter.audit.delta_table import append_audit, subject_of
from exporter.cli import main
from exporter.collectors.assets.status import SCHEMA
from exporter.config import Configuration, load
from exporter.demo.simulation import Simulation
from exporter.errors import OutputUnwritable
from exporter.exports import delta
from tests.audit.conftest import REST, SetUp
from tests.exports.test_delta import THE_NOTEBOOKS
from tests.history.test_freshness_audit import judged

AT = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the rows' times have no zone
TARGET = "bronze_tableau_observability_logs"
SECOND = timedelta(seconds=1)


def audit(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["audit", "--format=delta", *arguments])


def rows(target: str | Path = TARGET) -> pa.Table:
    """Read the table."""
    return DeltaTable(target).to_pyarrow_dataset().to_table().sort_by([("audit_timestamp", "ascending")])


def found(*luids: str, at: datetime = AT) -> pa.Table:
    """Return the rows of an audit."""
    return judged(*({"asset_id": luid, "audit_timestamp": at} for luid in luids))


def configured(host: str = "db1") -> Configuration:
    """Return a configuration that reads this repository."""
    settings = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": host, "TABLEAU_EXPORTER_REPOSITORY__PASSWORD": "x"}
    return load(Path("nowhere.yml"), settings, (), explicit=False)


def test_an_audit_is_appended(company: Simulation, environment: SetUp) -> None:
    """All assets, with the columns of the notebook first, and the exit code of an audit; another run adds its own."""
    environment(company)
    table = SCHEMA.empty_table()
    for number in (1, 2):
        result = audit(f"--output={TARGET}")
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", "")
        table = rows()
        assert table.schema.names == SCHEMA.names
        assert table.schema.names[: len(THE_NOTEBOOKS)] == list(THE_NOTEBOOKS)
        assert len(set(table["audit_timestamp"].to_pylist())) == number
        assert table.num_rows == number * len(set(table["asset_id"].to_pylist()))
        assert DeltaTable(TARGET).version() == number - 1
    assert set(table["status"].to_pylist()) >= {"Critical", "Healthy", "Live"}


def test_the_table_of_the_notebook_gets_our_columns(company: Simulation, environment: SetUp) -> None:
    """Its rows stay; the columns that it lacks are added behind its own."""
    environment(company, FRESHNESS__CRITICAL="never")
    old = {**dict.fromkeys(THE_NOTEBOOKS), "asset_id": "old", "hours_since_refresh": -1.0}
    write_deltalake(TARGET, pa.Table.from_pylist([old], schema=pa.schema(THE_NOTEBOOKS)))
    assert audit(f"--output={TARGET}").exit_code == 0
    table = rows()
    assert table.schema.names == SCHEMA.names
    (kept,) = [row for row in table.to_pylist() if row["asset_id"] == "old"]
    assert kept == {**dict.fromkeys(SCHEMA.names), **old}
    assert table.num_rows > 10


def test_what_is_chosen_is_appended(company: Simulation, environment: SetUp) -> None:
    """``--status`` and ``--limit`` choose rows as in every format; without any there is no commit and no table."""
    environment(company, FRESHNESS__CRITICAL="never")
    result = audit(f"--output={TARGET}", "--status=critical")
    assert (result.exit_code, result.stderr) == (0, "")
    assert not Path(TARGET).exists()
    assert audit(f"--output={TARGET}", "--status=live", "--limit=3").exit_code == 0
    assert rows()["status"].to_pylist() == ["Live"] * 3


def test_the_rest_of_a_failed_audit_is_appended(company: Simulation, environment: SetUp) -> None:
    """A source that cannot be had is a line and exit code 1; the other's assets are in the table."""
    environment(company, **REST)
    result = audit(f"--output={TARGET}")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("rest")
    assert rows().num_rows > 10


@pytest.mark.parametrize("target", ["file/table", "ftp://host/table"])
def test_a_store_that_cannot_be_written(company: Simulation, environment: SetUp, tmp_path: Path, target: str) -> None:
    """It is one line that names it, and exit code 1 whatever was found."""
    environment(company)
    (tmp_path / "file").touch()
    result = audit(f"--output={target}")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{target}: ")


def test_a_missing_library_is_one_line(environment: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes before anything is read."""
    environment(None, REPOSITORY__HOSTS="127.0.0.1:1", REPOSITORY__PASSWORD="x")
    real: Callable[[str], ModuleType] = importlib.import_module

    def refuse(name: str, package: str | None = None) -> ModuleType:
        if name == "exporter.exports.delta":
            raise ModuleNotFoundError("No module named 'deltalake'", name="deltalake")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    result = audit(f"--output={TARGET}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "--format=delta needs deltalake: pip install 'tableau-exporter[delta]'\n"


@pytest.mark.parametrize("arguments", [[], ["--output="]])
def test_a_table_must_be_named(environment: SetUp, arguments: list[str]) -> None:
    """Without one it is wrong usage: 64, for 2 means that something is critical."""
    environment(None, REPOSITORY__HOSTS="127.0.0.1:1", REPOSITORY__PASSWORD="x")
    result = audit(*arguments)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "--format=delta needs --output=URI" in result.stderr


def test_an_audit_is_appended_once(tmp_path: Path) -> None:
    """Rows of an instant that the table has, or of an earlier one, are refused in one line and not appended."""
    target = str(tmp_path / "table")
    append_audit(delta.export, found("a", "b"), target, "everything")
    for earlier in (AT, AT - SECOND):
        with pytest.raises(OutputUnwritable, match=f"^{target}: it has this audit or a later one; .+: run it again$"):
            append_audit(delta.export, found("a", "b", at=earlier), target, "everything")
    append_audit(delta.export, found("a", at=AT + SECOND), target, "everything")
    assert sorted(rows(target)["asset_id"].to_pylist()) == ["a", "a", "b"]
    assert set(rows(target)["audit_timestamp"].to_pylist()) == {at.replace(tzinfo=UTC) for at in (AT, AT + SECOND)}


def test_audits_of_other_sites_are_not_compared(tmp_path: Path) -> None:
    """Jobs that audit different sites, or servers, append to one table in any order of their instants."""
    target = str(tmp_path / "table")
    append_audit(delta.export, found("a"), target, subject_of(configured(), ["finance"]))
    append_audit(delta.export, found("b", at=AT - SECOND), target, subject_of(configured(), ["sales"]))
    assert sorted(rows(target)["asset_id"].to_pylist()) == ["a", "b"]


def test_what_is_audited_has_one_name() -> None:
    """The order and the case of sites do not matter; other sites and other servers do."""
    names = [subject_of(configured(), sites) for sites in (["a", "B"], ["b", "A"], ["a"], [])]
    assert names[0] == names[1]
    assert len({*names, subject_of(configured("db2"), [])}) == 4
    assert subject_of(configured("db1,db2"), []) == subject_of(configured("db2,db1"), [])
