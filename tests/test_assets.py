"""The files shipped beside the package: complete, found, written out, and never in place of others."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from exporter import assets
from exporter.cli import main
from exporter.errors import AssetsMissing

ROOT = Path(__file__).parents[1]
SHIPPED = {
    *("alerts/*.yml", "alerts/*.libsonnet", "alerts/templates/*", "alerts/tests/*.yml"),
    *("deploy/*.service", "deploy/*.timer", "deploy/sysusers.d/*", "deploy/tmpfiles.d/*"),
    *("charts/tableau-exporter/*.yaml", "charts/tableau-exporter/*.json", "charts/tableau-exporter/templates/*"),
    *("charts/tableau-exporter/files/*.yml", "charts/tableau-exporter/files/dashboards/*.json"),
    *("grafana/dashboards/*.json", "grafana/provisioning/*/*.yml"),
}


def written(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def write_out(folder: Path) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    result = CliRunner().invoke(main, ["assets", f"--output={folder}"])
    return result.exit_code, result.output


def test_every_file_of_the_shipped_folders_is_an_asset() -> None:
    """A new rule file, test, dashboard or unit is shipped under the name that it has in the project."""
    expected = {str(path.relative_to(ROOT)) for pattern in SHIPPED for path in ROOT.glob(pattern)}
    assert set(assets.shipped()) == expected


def test_assets_are_written_with_their_content(tmp_path: Path) -> None:
    """The command writes every shipped file, and its one line counts them."""
    code, output = write_out(tmp_path / "new")
    assert (code, output) == (0, f"{tmp_path / 'new'}: {len(assets.shipped())} files written, 0 unchanged\n")
    assert written(tmp_path / "new") == set(assets.shipped())
    for name, path in assets.shipped().items():
        assert (tmp_path / "new" / name).read_bytes() == path.read_bytes()


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    """Files with the shipped content are left alone."""
    write_out(tmp_path)
    code, output = write_out(tmp_path)
    assert (code, output) == (0, f"{tmp_path}: 0 files written, {len(assets.shipped())} unchanged\n")


def test_a_file_with_other_content_is_not_replaced(tmp_path: Path) -> None:
    """One such file prevents all writing, and the line names it."""
    (tmp_path / "grafana/dashboards").mkdir(parents=True)
    mine = tmp_path / "grafana/dashboards/usage.json"
    mine.write_text("{}")
    code, output = write_out(tmp_path)
    assert code == 1
    assert output.startswith(f"{mine}: is there with other content, nothing was written")
    assert output.count("\n") == 1
    assert written(tmp_path) == {"grafana/dashboards/usage.json"}
    assert mine.read_text() == "{}"


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    """A link to a file that does not exist makes no file at its target."""
    (tmp_path / "out/alerts").mkdir(parents=True)
    (tmp_path / "out/alerts/alertmanager.yml").symlink_to(tmp_path / "elsewhere")
    code, output = write_out(tmp_path / "out")
    assert (code, output.count("\n")) == (1, 1)
    assert "File exists" in output
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_as_output_is_one_line(tmp_path: Path) -> None:
    """An output that is a file is refused with a line that names it."""
    (tmp_path / "file").write_text("")
    code, output = write_out(tmp_path / "file")
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith(f"{tmp_path}/file/alerts")


def test_an_installation_without_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was copied without its files reports it in one line, and the demo finds no rules."""
    monkeypatch.setattr(assets, "CHECKOUT", tmp_path)
    monkeypatch.setattr(assets, "DISTRIBUTION", "never-installed")
    code, output = write_out(tmp_path)
    assert (code, output.count("\n")) == (1, 1)
    assert "install the whole package" in output
    with pytest.raises(AssetsMissing, match=r"alerts/tableau.rules.yml is not part of this installation"):
        assets.find("alerts/tableau.rules.yml")
