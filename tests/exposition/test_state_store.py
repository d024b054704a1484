"""The state published at an instant, and the cost of a fault in one state."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from exporter.exposition import Renderer
from exporter.exposition.state_store import FRESHNESS_SOURCES, StateStore, TimedBlocks
from exporter.metrics import Block, Family, Labels, single
from exporter.self_metrics import FRESHNESS_SOURCE_LAST_SUCCESS
from exporter.status import CollectorStatus, FreshnessSource
from tests.exposition.parsed import read_openmetrics, series

USERS = Family("tableau_users", "gauge", "Users.")
CONTENT = Family("tableau_content", "gauge", "Content.")


class Defective:
    """A state whose samples cannot be made; ``fault`` is why, None where they can."""

    fault: Exception | None = KeyError("gone")

    def at(self, _: float) -> Sequence[Block]:
        """Raise, or return a block."""
        if self.fault is not None:
            raise self.fault
        return [single(CONTENT, 2)]


@pytest.fixture
def store() -> StateStore:
    """A store of two collectors that succeeded, one of them with a defect."""
    made = StateStore(["repository"], version="1", library="1", started_at=0.0)
    for name in ("content", "users"):
        made.status.set_collector(CollectorStatus(name, success=True, duration_seconds=1.0, succeeded_at=1.0))
    made.set_state("content/0", Defective())
    made.set_state("users/0", TimedBlocks((single(USERS, 7),), 0.0, 60.0))
    return made


def test_a_state_that_raises_costs_itself_alone(store: StateStore) -> None:
    """All else is rendered, in every form; the collector did not succeed, and the log has the reason once."""
    renderer = Renderer(process=tuple)
    with capture_logs() as logs:
        for _ in range(2):
            rendering = renderer.render(store.blocks(1.0), 1.0)
            published = series(rendering)
            assert published["tableau_users"] == 7
            assert "tableau_content" not in published
            assert published['tableau_collector_success{collector="content"}'] == 0
            assert published['tableau_collector_success{collector="users"}'] == 1
            assert "tableau_users" in read_openmetrics(rendering.openmetrics)
    assert [(log["log_level"], log["state"], log["error"]) for log in logs] == [
        ("error", "content/0", "KeyError: 'gone'")
    ]


def test_a_poll_under_way_is_shown(store: StateStore) -> None:
    """Since when, in the metrics and on the status page, as long as it lasts and no longer."""
    name = 'tableau_exporter_poll_started_timestamp_seconds{source="repository"}'

    def published() -> tuple[object, object]:
        (source,) = store.summary(9.0, None).sources
        return series(Renderer(process=tuple).render(store.blocks(9.0), 9.0)).get(name), source.polling_since

    assert published() == (None, None)
    with store.status.progress["repository"].poll(5.0):
        assert published() == (5, 5.0)
    assert published() == (None, None)


def test_a_state_that_works_again_is_shown(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No trace of the fault stays, and when it comes back it is logged again."""
    renderer = Renderer(process=tuple)
    with capture_logs() as logs:
        renderer.render(store.blocks(1.0), 1.0)
        with monkeypatch.context() as patch:
            patch.setattr(Defective, "fault", None)
            published = series(renderer.render(store.blocks(2.0), 2.0))
        renderer.render(store.blocks(3.0), 3.0)
    assert published["tableau_content"] == 2
    assert published['tableau_collector_success{collector="content"}'] == 1
    assert len(logs) == 2


def freshness_sources() -> TimedBlocks:
    """Return the state of three sources of freshness, one of which has no last complete read."""
    labels = Labels(FRESHNESS_SOURCE_LAST_SUCCESS.labels, [["default", "hr", "hr"], ["metadata", "job", "task"]])
    return TimedBlocks((Block(FRESHNESS_SOURCE_LAST_SUCCESS, labels, [5.0, 7, None]),), 0.0, float("inf"))


def test_the_status_has_the_sources_of_freshness(store: StateStore) -> None:
    """The metrics have when each was last read whole; unknown is absent, also before the first poll."""
    assert store.summary(9.0, None).freshness_sources == ()
    store.set_state(FRESHNESS_SOURCES, freshness_sources())
    found = store.summary(9.0, None).freshness_sources
    assert found == (FreshnessSource("default", "metadata", 5.0), FreshnessSource("hr", "job", 7.0))
    published = series(Renderer(process=tuple).render(store.blocks(9.0), 9.0))
    for source in found:
        name = f'{FRESHNESS_SOURCE_LAST_SUCCESS.name}{{site="{source.site}",source="{source.source}"}}'
        assert published[name] == source.read_at


def test_the_sources_of_freshness_outlast_a_reload(store: StateStore) -> None:
    """They are of no collector that a reload may switch off."""
    store.set_state(FRESHNESS_SOURCES, freshness_sources())
    store.retain({"users"})
    assert len(store.summary(9.0, None).freshness_sources) == 2


def test_a_defect_of_the_sources_of_freshness_costs_themselves_alone(store: StateStore) -> None:
    """The status page is there without them."""
    store.set_state(FRESHNESS_SOURCES, Defective())
    assert store.summary(9.0, None).freshness_sources == ()
