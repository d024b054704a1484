"""The other parts of a release: recipe of the image, bill of materials, checksums; and its conditions."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from release import archive, checks, debian, image, sbom
from release.__main__ import LOCK, PARTS, main
from tests.release.conftest import ROOT
from tests.release.test_distributions import VERSION
from tests.test_project import pins

BILL: dict[str, Any] = json.loads(json.dumps(sbom.document(VERSION, LOCK.read_text())))


def test_the_recipe_of_the_image_has_all_that_it_copies(tmp_path: Path) -> None:
    """Every file and folder that the Dockerfile copies is in the archive, and no secret, test or compiled file."""
    with tarfile.open(image.pack(ROOT, VERSION, tmp_path)) as packed:
        names = packed.getnames()
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text())
    sources = [source for line in copied for source in line.split()]
    assert len(sources) > 8
    assert [source for source in sources if not any(f"{name}/".startswith(f"{source}/") for name in names)] == []
    assert "charts/tableau-exporter/files/dashboards/usage.json" in names
    assert [name for name in names if re.search(r"secrets/|\.pyc|^tests|\.git", name)] == []


def test_the_dockerignore_lets_in_what_the_dockerfile_copies() -> None:
    """Each source of COPY, or its parts, is an exception of .dockerignore."""
    allowed = {line[1:].split("/")[0] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text())
    assert {source.split("/")[0] for line in copied for source in line.split()} == allowed


def test_every_locked_requirement_is_in_the_bill_of_materials() -> None:
    """Name, version and purl of each component are those of the lock, which may have two versions for two Pythons."""
    found = {(entry["name"], entry["version"]) for entry in BILL["components"]}
    assert found >= pins("run").items()
    assert len(BILL["components"]) == len(found) == len(re.findall(r"(?m)^\S+==", LOCK.read_text()))
    for entry in BILL["components"]:
        assert entry["purl"] == entry["bom-ref"] == f"pkg:pypi/{entry['name']}@{entry['version']}"


def test_the_bill_of_materials_has_the_shape_of_cyclonedx() -> None:
    """Required fields and patterns of CycloneDX 1.5: references are unique, dependencies lead to components."""
    assert (BILL["bomFormat"], BILL["specVersion"], BILL["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", BILL["serialNumber"])
    root = BILL["metadata"]["component"]
    references = [root["bom-ref"], *(entry["bom-ref"] for entry in BILL["components"])]
    assert len(set(references)) == len(references)
    assert {entry["ref"] for entry in BILL["dependencies"]} == set(references)
    assert {needed for entry in BILL["dependencies"] for needed in entry["dependsOn"]} <= set(references)
    for entry in BILL["components"]:
        for licence in entry.get("licenses", []):
            assert licence.keys() in ({"expression"}, {"license"})


def test_dependencies_include_those_of_required_extras_alone() -> None:
    """``psycopg[binary]`` needs psycopg-binary; uvicorn without its extra needs no PyYAML."""
    graph = {entry["ref"].split("/")[1].split("@")[0]: str(entry["dependsOn"]) for entry in BILL["dependencies"]}
    assert "psycopg-binary@" in graph["psycopg"]
    assert "click@" in graph["uvicorn"]
    assert "pyyaml@" not in graph["uvicorn"]
    assert "duckdb@" in graph["tableau-exporter"]
    assert "deltalake@" not in graph["tableau-exporter"]


def test_licences_are_those_that_distributions_declare() -> None:
    """Nearly every component has its licence: one whose version is not installed has none."""
    licences = {entry["name"]: entry["licenses"][0] for entry in BILL["components"] if "licenses" in entry}
    assert licences["pyarrow"] == {"expression": "Apache-2.0"}
    assert licences["duckdb"] == {"license": {"name": "MIT License"}}
    assert sbom._licence("pyarrow", "0.1") is None


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    """Each line has the digest and the name of a file, sorted by name."""
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    path = archive.write_checksums(tmp_path / "SHA256SUMS", [tmp_path / "b", tmp_path / "a"])
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in ("a", "b")]
    assert path.read_text() == "".join(lines)
    subprocess.run(["sha256sum", "--check", "--quiet", path.name], cwd=tmp_path, check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that a release checks, ready for a release of this version."""
    for name in checks.REPEATED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "CHANGELOG.md").write_text(f"## [Unreleased]\n\n## [{VERSION}]\n\n### Added\n\n- All.\n")
    return tmp_path


def test_one_version_everywhere(checkout: Path) -> None:
    """The version of pyproject.toml is in every file that repeats it, and each of them is found when it differs."""
    assert list(checks.faults(checkout, VERSION)) == []
    (checkout / "CHANGELOG.md").write_text("## [9.9.9]\n\n- All.\n")
    named = {fault.split(":")[0] for fault in checks.faults(checkout, "9.9.9")}
    assert named == set(checks.REPEATED)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("## [Unreleased]\n", f"CHANGELOG.md: has no section [{VERSION}] with an entry"),
        (f"## [{VERSION}]\n\n### Added\n", f"CHANGELOG.md: has no section [{VERSION}] with an entry"),
        (f"## [Unreleased]\n\n- New.\n\n## [{VERSION}]\n\n- Old.\n", "CHANGELOG.md: [Unreleased] has entries"),
    ],
    ids=["no section", "empty section", "unreleased entries"],
)
def test_a_release_needs_its_section_of_the_changelog(text: str, fault: str, checkout: Path) -> None:
    """Without entries of the version, or with entries of none, nothing is released."""
    (checkout / "CHANGELOG.md").write_text(text)
    (found,) = checks.faults(checkout, VERSION)
    assert found.startswith(fault)


def test_the_package_is_not_left_out_when_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it cannot be built, ``make deb`` ends with 1 and the reason."""
    monkeypatch.setattr(debian, "obstacle", lambda: "dpkg-deb is not installed")
    assert main(["deb"]) == 1
    assert capsys.readouterr().err == "deb: dpkg-deb is not installed\n"


def test_parts_are_built_by_their_names() -> None:
    """``make chart`` and ``make deb`` name parts of a release; an unknown part is one line."""
    assert {"chart", "deb"} <= PARTS.keys()
    result = subprocess.run(
        [sys.executable, "-m", "release", "never"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (1, f"never: no part of a release: {', '.join(PARTS)}\n")
