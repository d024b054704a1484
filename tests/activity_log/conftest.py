"""A simulated tenant of Tableau Cloud, and clients of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from exporter.activity_log.client import ActivityLogClient, ActivityLogOptions
from exporter.activity_log.http_client import Pace
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import ActivityStory
from exporter.demo.tableau.cloud_manager import TOKEN, CloudManager

# A Wednesday morning.
NOW = datetime(2025, 11, 19, 10, 30)  # noqa: DTZ001 - naive UTC, as in paths
SINCE = datetime(2025, 11, 19, 5)  # noqa: DTZ001
LONG_SINCE = datetime(2025, 11, 17, 12)  # noqa: DTZ001


def made(since: datetime) -> ActivityFiles:
    """Return the files of a small tenant of two sites."""
    story = ActivityStory(Company.build(1, NOW, SMALL), sites=2, requests_per_day=300)
    return ActivityFiles(story, since, lambda: NOW, retention=timedelta(days=14))


@pytest.fixture(scope="session")
def _files() -> ActivityFiles:
    return made(SINCE)


@pytest.fixture(scope="session")
def _days() -> ActivityFiles:
    return made(LONG_SINCE)


@pytest.fixture
def files(_files: ActivityFiles) -> ActivityFiles:
    """Six hours of a small tenant; the clock is that of the test."""
    return ActivityFiles(_files.story, _files.since, lambda: NOW, retention=_files.retention)


@pytest.fixture
def days(_days: ActivityFiles) -> ActivityFiles:
    """Two days, of which some events are late."""
    return ActivityFiles(_days.story, _days.since, lambda: NOW, retention=_days.retention)


@pytest.fixture
def cloud(files: ActivityFiles) -> Iterator[CloudManager]:
    """Tableau Cloud Manager and its store."""
    with CloudManager(files) as manager:
        yield manager


class Slept(list[float]):
    """A sleep that returns at once and records its durations."""

    def __call__(self, seconds: float) -> None:
        """Note a pause."""
        self.append(seconds)


@pytest.fixture
def slept() -> Slept:
    """The pauses of the client."""
    return Slept()


@pytest.fixture
def client(cloud: CloudManager, slept: Slept) -> Iterator[ActivityLogClient]:
    """A client of the tenant, which does not wait."""
    client = ActivityLogClient(ActivityLogOptions(cloud.url, lambda: TOKEN, timeout=10.0), Pace(sleep=slept))
    yield client
    client.close()
