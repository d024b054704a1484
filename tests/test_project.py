"""The files around the package: requirements, documents, and texts that no file may have."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.components import require

ROOT = Path(__file__).parents[1]
LOCKS = ("build", "run", "delta", "demo", "dev", "interop", "chart")
PINNED = re.compile(
    r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))?(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)$"
)

# Written so that no pattern is found in its own text.
FORBIDDEN = {
    "a package index": r"pypi\.org|pythonhosted\.org|deb\.debian\.org|registry\.npmjs\.org|proxy\.golang\.org",
    "an index option": r"(?m)^\s*--?(?:index-url|extra-index-url|find-links|trusted-host)\b",
    "a place on one machine": r"/(?:root|opt/wheels|opt/pypi|tmp/v|work/main|work/shared)/|/home/[a-z]",
}


def pins(lock: str) -> dict[str, str]:
    """Return the pinned version of each distribution in one of the requirements files."""
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().replace(" \\\n    ", " ").splitlines()
    matches = [PINNED.match(line) for line in lines]
    loose = [line for line, match in zip(lines, matches, strict=True) if match is None]
    assert loose == []
    return {match["name"]: match["version"] for match in matches if match}


def declared(lock: str) -> list[Requirement]:
    """Return the ranges of pyproject.toml that a requirements file must satisfy."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    product, groups = document["project"]["dependencies"], document["dependency-groups"]
    extras = document["project"]["optional-dependencies"]
    demo, delta = product + extras["demo"], product + extras["delta"]
    wanted = {"build": groups["build"], "run": product, "demo": demo, "delta": delta}
    wanted |= {name: groups[name] for name in ("interop", "chart")}
    wanted["dev"] = demo + extras["delta"] + groups["build"] + groups["dev"]
    return [Requirement(text) for text in wanted[lock]]


def files_in_git() -> list[Path]:
    """Return every text file that git has or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = [ROOT / name for name in names if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8000]]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_by_hash(lock: str) -> None:
    """A requirements file holds pinned versions with their hashes, and nothing else: no index, no host, no path."""
    assert pins(lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_requirements_keep_to_the_declared_ranges(lock: str) -> None:
    """The dependencies of pyproject.toml are pinned at an allowed version; where this fails, run make lock."""
    pinned = pins(lock)
    stale = [
        str(requirement)
        for requirement in declared(lock)
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ]
    assert stale == []


@pytest.mark.parametrize("lock", ["build", "run", "delta", "demo"])
def test_everything_is_tested_at_the_version_that_is_shipped(lock: str) -> None:
    """Each smaller requirements file is a part of dev.txt."""
    assert pins(lock).items() <= pins("dev").items()


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names_a_place_of_its_makers(what: str) -> None:
    """No file in git names a package index or a folder of the machine that it was written on."""
    pattern = re.compile(FORBIDDEN[what])
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files_in_git()
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert found == set()


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    """A newcomer finds in README.md how to see the system and how to test it."""
    assert command in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "target", ["demo", "test", "check", "bench", "interop", "chart", "deb", "release", "helm", "lock", "clean"]
)
def test_make_knows_the_target(target: str) -> None:
    """Each documented target of the Makefile can be planned."""
    command = ["make", "--dry-run", target]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("script", [".ci/run", ".ci/components"])
def test_scripts_can_be_run(script: str) -> None:
    """The scripts of continuous integration are executable and parse."""
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", path], check=True)


def test_the_licence_is_whole() -> None:
    """LICENSE is the Apache License 2.0 from its title to its appendix."""
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "limitations under the License." in text


def test_prometheus_takes_its_configuration() -> None:
    """The Prometheus of compose.yaml has a configuration that promtool accepts."""
    path = ROOT / "deploy/compose/prometheus.yml"
    subprocess.run([require("promtool"), "check", "config", "--syntax-only", path], check=True)


def test_alertmanager_takes_its_configuration() -> None:
    """The Alertmanager of compose.yaml has a configuration that amtool accepts."""
    subprocess.run([require("amtool"), "check-config", ROOT / "deploy/compose/alertmanager.yml"], check=True)
