"""A state with an expensive statement is read seldom, and published for longer: the content that nothing opened."""

from pathlib import Path

import pytest

from exporter.collectors.unused import READ_SECONDS
from exporter.collectors.unused.metrics import ASSETS
from exporter.history.file import Limits
from exporter.metrics import Block
from tests.collectors.repositories import samples
from tests.history.test_file import held
from tests.support.poller_harness import NOW, WITH_NAMES, PollerHarness
from tests.support.source import Source

COLLECTORS = (*WITH_NAMES, "background_jobs", "unused")


@pytest.fixture
def seldom(source: Source, tmp_path: Path) -> PollerHarness:
    """A poller that publishes unused content; a workbook of two years was opened by one user, and never again."""
    source.run("INSERT INTO workbooks (id, name, site_id, created_at) VALUES (9009, 'Old', 1, '2023-11-19')")
    source.run("INSERT INTO views (id, name, site_id, workbook_id) VALUES (90090, 'Sheet', 1, 9009)")
    source.run("INSERT INTO views_stats (id, view_id, time) VALUES (900900, 90090, '2024-01-01')")
    limits = Limits(patience_seconds=0.2)
    return PollerHarness(source.readonly, tmp_path / "history.duckdb", limits=limits, collectors=COLLECTORS)


def unused(harness: PollerHarness) -> float | None:
    """Return whether the workbook, which is in no project, is published as unused; None where that is unknown."""
    found = samples([block for block in harness.store.blocks(harness.now) if isinstance(block, Block)], ASSETS.name)
    return found.get(("default", "", "workbook", "365"))


def test_it_is_read_once_an_hour(source: Source, seldom: PollerHarness) -> None:
    """Other exact reads leave it as it is, and it stays published until three of its own reads are missed."""
    seldom.polled()
    assert unused(seldom) == 1
    source.run("UPDATE views_stats SET time = '2025-11-18' WHERE view_id = 90090")
    for seconds in (1, READ_SECONDS - 1):
        seldom.now = NOW + seconds
        seldom.polled(exact=True)
        assert unused(seldom) == 1
    seldom.now = NOW + READ_SECONDS
    seldom.polled()
    seldom.polled(exact=True)
    assert unused(seldom) == 0
    seldom.now += 3 * READ_SECONDS
    assert unused(seldom) == 0
    seldom.now += 1
    assert unused(seldom) is None


@pytest.mark.parametrize("lost", ["data_connections", "ALL TABLES IN SCHEMA public"], ids=["alone", "all"])
def test_what_could_not_be_read_is_read_again(source: Source, seldom: PollerHarness, lost: str) -> None:
    """With the next exact read, not an hour later, whether it failed alone or the whole poll did."""
    seldom.polled()
    seldom.now += READ_SECONDS if lost == "data_connections" else 1
    source.run(f"REVOKE SELECT ON {lost} FROM readonly")
    seldom.poll(exact=True)
    assert "unused" in seldom.errors()
    source.run(f"GRANT SELECT ON {lost} TO readonly")
    seldom.now += 1
    seldom.polled(exact=True)


def test_rows_that_could_not_be_stored_are_read_again(seldom: PollerHarness) -> None:
    """With the next exact read, not an hour later: the history has not answered about them."""
    with held(seldom.file.path):
        assert not seldom.poll()
        assert unused(seldom) is None
    seldom.now += 2
    seldom.poll()
    assert unused(seldom) == 1
