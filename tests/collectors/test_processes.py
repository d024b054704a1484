"""Processes of a cluster, from what systeminfo.xml lists."""

import pytest

from exporter.collectors.processes import STATUSES, expose, is_up, status_of
from exporter.inventory import ProcessState, SystemInfo
from tests.collectors.repositories import samples

WORDS = {
    "Active": ("active", 1),
    "Passive": ("passive", 1),
    "Busy": ("busy", 1),
    "ReadOnly": ("read_only", 1),
    "ActiveSyncing": ("active_syncing", 1),
    "Unlicensed": ("unlicensed", 0),
    "Down": ("down", 0),
    "StatusNotAvailable": ("status_not_available", 0),
    "StatusNotAvailableSyncing": ("status_not_available_syncing", 0),
    "NotAvailable": ("not_available", 0),
    "DecommisionedReadOnly": ("decommisioned_read_only", 0),
    "DecomisioningReadOnly": ("decomisioning_read_only", 0),
    "DecommissionFailedReadOnly": ("decommission_failed_read_only", 0),
}
KEY = ("node1", "vizqlserver", "9100")


def process(status: str | None, name: str = "vizqlserver", port: str = "9100") -> ProcessState:
    """Return a process of a node."""
    return ProcessState("node1", name, port, status)


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_a_status(word: str) -> None:
    """It is written in lower case with underscores, and counts as up or not."""
    status = status_of(word)
    assert (status, is_up(status)) == WORDS[word]


def test_the_statuses_are_those_words() -> None:
    """No other value of the label is possible but ``other``."""
    assert {status for status, _ in WORDS.values()} == STATUSES


@pytest.mark.parametrize("word", ["Entangled", "active\nbusy", "ACTIVE!", "x" * 10_000])
def test_an_unknown_word_is_other(word: str) -> None:
    """Its process is neither up nor down."""
    blocks = list(expose(SystemInfo([process(word)], word)))
    assert samples(blocks, "tableau_server_process_status") == {(*KEY, "other"): 1}
    assert samples(blocks, "tableau_server_process_up") == {}
    assert samples(blocks, "tableau_server_healthy") == {}


@pytest.mark.parametrize("word", [None, ""])
def test_without_a_word_nothing_is_known(word: str | None) -> None:
    """Neither of the process nor of the server."""
    blocks = list(expose(SystemInfo([process(word)], word)))
    assert all(samples(blocks, block.family.name) == {} for block in blocks)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("Active", "Down"), "down"),
        (("Down", "Active"), "down"),
        (("Active", "Entangled"), "other"),
        (("Active", None), "active"),
        (("Busy", "Active"), "busy"),
    ],
)
def test_of_a_process_listed_twice_the_worst_counts(words: tuple[str | None, ...], status: str) -> None:
    """A process on one port of a node has one series."""
    blocks = list(expose(SystemInfo([process(word) for word in words], "Active")))
    assert samples(blocks, "tableau_server_process_status") == {(*KEY, status): 1}


def test_processes_of_one_name_are_told_apart_by_port() -> None:
    """A node has several of a kind."""
    blocks = list(expose(SystemInfo([process("Active"), process("Down", port="9101")], "Active")))
    assert samples(blocks, "tableau_server_process_up") == {KEY: 1, ("node1", "vizqlserver", "9101"): 0}


@pytest.mark.parametrize(("word", "healthy"), [("Active", 1), ("Unlicensed", 0), ("Down", 0)])
def test_the_server_as_a_whole(word: str, healthy: int) -> None:
    """The status of the service."""
    blocks = list(expose(SystemInfo([process("Active")], word)))
    assert samples(blocks, "tableau_server_healthy") == {(): healthy}


def test_transfers_are_those_that_are_reported() -> None:
    """By state; a file store that is listed twice has the higher number, and without a number none."""
    listed = [
        ProcessState("node1", "filestore", "9345", "Active", 3, 0),
        ProcessState("node1", "filestore", "9345", "Active", 1, None),
        ProcessState("node2", "filestore", "9345", None, None, None),
    ]
    blocks = list(expose(SystemInfo(listed, None)))
    assert samples(blocks, "tableau_server_filestore_transfers") == {
        ("node1", "9345", "pending"): 3,
        ("node1", "9345", "failed"): 0,
    }
