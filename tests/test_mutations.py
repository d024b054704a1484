"""The list of protections holds: each text stands in its file, each fault has one, each test exists."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.mutate import ROOT
from tests.mutations import PROTECTIONS, Protection

COLLECT = """
import json, sys, pytest
class Collected:
    def pytest_collection_finish(self, session):
        faults = {item.nodeid: [n for mark in item.iter_markers("fault") for n in mark.args] for item in session.items}
        print("\\n" + json.dumps(faults), flush=True)
sys.exit(pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Collected()]))
"""


@pytest.fixture(scope="module")
def faults() -> Mapping[str, list[int]]:
    """The faults of each test that drives any, and of each that a protection names."""
    folders = sorted({"archive", *(test.split("/")[0] for item in PROTECTIONS for test in item.tests)})
    command = [sys.executable, "-c", COLLECT, *(f"tests/{folder}" for folder in folders)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    (line,) = [line for line in output.splitlines() if line.startswith('{"')]
    found: dict[str, list[int]] = json.loads(line)
    return found


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda item: item.name)
def test_a_text_stands_once(protection: Protection) -> None:
    """The removed text stands exactly once in its file, and another one replaces it."""
    assert (ROOT / "exporter" / protection.file).read_text().count(protection.text) == 1
    assert protection.text != protection.without
    assert protection.tests


def test_every_fault_has_a_protection(faults: Mapping[str, list[int]]) -> None:
    """Every fault of a test has a protection to remove."""
    driven = {number for numbers in faults.values() for number in numbers if number}
    assert driven - {number for item in PROTECTIONS for number in item.faults} == set()


def test_every_named_test_is_there(faults: Mapping[str, list[int]]) -> None:
    """Each test that is to notice exists: by its whole name, or as a file or a function with parameters."""
    there = {*faults, *(name.split("[")[0] for name in faults), *(name.split("::")[0] for name in faults)}
    assert {f"tests/{test}" for item in PROTECTIONS for test in item.tests} - there == set()


def test_names_are_different() -> None:
    """A survivor is called by its name."""
    assert [name for name, count in Counter(item.name for item in PROTECTIONS).items() if count > 1] == []
