"""A history that cannot be written is one line, and one when it is written again, however many write to it."""

from structlog.testing import capture_logs

from exporter.errors import HistoryBusy, HistoryUnwritable
from exporter.history.history import WriteFailures


def test_a_history_that_is_busy_is_one_line() -> None:
    """Of three writers and another holder the first failure is logged, and the success of the last."""
    failures = WriteFailures()
    with capture_logs() as logs:
        for writer in ("repository", "rest", "notifier", "repository"):
            failures.failed(writer, HistoryBusy(f"held, as {writer} finds"))
        for writer in ("rest", "notifier", "rest", "repository", "repository"):
            failures.succeeded(writer)
    assert [(line["log_level"], line["event"], line.get("error")) for line in logs] == [
        ("warning", "the history was not written; rows wait at their source until it is", "held, as repository finds"),
        ("info", "the history is written again", None),
    ]


def test_another_kind_of_failure_is_another_line() -> None:
    """A full disk is logged while another program holds the file."""
    failures = WriteFailures()
    with capture_logs() as logs:
        failures.failed("repository", HistoryBusy("held"))
        failures.failed("repository", HistoryUnwritable("full"))
    assert [line["error"] for line in logs] == ["held", "full"]
