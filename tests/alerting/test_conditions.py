"""Single conditions, on samples as they are shown."""

import pytest

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import MetricSnapshot, SourceStates, always, never
from exporter.metrics import Block, Labels, single
from tests.support.notifier_harness import NOW

DAY = 86_400.0


def seen(polls: dict[str, float], oldest: float | None = None) -> MetricSnapshot:
    """Return what is seen of an archive that was read at these instants, a past that knows it included."""
    blocks = [Block(families.HISTORY_LAST_POLL, Labels(("mode",), [list(polls)]), list(polls.values()))]
    if oldest is not None:
        blocks.append(single(families.REPOSITORY_OLDEST, oldest))
    view = MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates(up={"repository": True}))
    conditions.record_samples(view.past, view)
    return view


@pytest.mark.parametrize(
    ("polls", "lags"),
    [
        ({"fast": NOW - 60}, False),
        ({"fast": NOW - DAY}, True),
        ({"fast": NOW - DAY, "full": NOW - 60}, False),
        ({"fast": NOW - DAY, "full": NOW + 2 * DAY}, True),
        ({"full": NOW + 2 * DAY}, False),
    ],
)
def test_an_archive_lags_by_its_last_reading(polls: dict[str, float], lags: bool) -> None:
    """Whatever way it was read; a mark that a clock set far ahead tells nothing, and hides none of the others."""
    view = seen(polls, oldest=NOW - 2 * DAY)
    assert bool(conditions.archive_lagging(view).firing_series) == lags
    assert bool(conditions.purge_risk(view).firing_series) == lags


@pytest.mark.parametrize(
    ("up", "failing"),
    [
        ({"repository": True, "rest": True}, {"assets", "users"}),
        ({"repository": True, "rest": False}, {"users"}),
        ({"repository": False, "rest": True}, set()),
        ({"rest": False}, {"users"}),
    ],
    ids=["both answer", "rest is silent", "the repository is silent", "rest alone"],
)
def test_collectors_follow_their_sources(up: dict[str, bool], failing: set[str]) -> None:
    """No collector fails by itself while the repository is silent, and that of assets not while the REST API is."""
    block = Block(families.COLLECTOR_SUCCESS, Labels(("collector",), [["assets", "users", "logins"]]), [0, 0, 1])
    found = conditions.collector_failing(
        MetricSnapshot([block], NOW, SampleWindow(), SourceStates(up=up, from_rest=("assets",)))
    )
    assert {dict(pairs)["collector"] for pairs in found.firing_series} == failing


def test_a_poll_is_stuck_after_an_hour() -> None:
    """Of each source by itself; between polls there is none to speak of."""
    block = Block(families.POLL_STARTED, Labels(("source",), [["repository", "rest"]]), [NOW - 3600, NOW - 3601])
    assert conditions.poll_stuck(MetricSnapshot([block], NOW, SampleWindow(), SourceStates())).firing_series == {
        (("source", "rest"),): 3601.0
    }
    assert conditions.poll_stuck(MetricSnapshot([], NOW, SampleWindow(), SourceStates())).firing_series == {}


def read(hours: dict[tuple[str, str], float], up: dict[str, bool] | None = None) -> MetricSnapshot:
    """Return what is seen of freshness sources that were read so many hours ago, by site and source."""
    sites, sources = ([key[place] for key in hours] for place in (0, 1))
    labels = Labels(families.FRESHNESS_SOURCE_LAST_SUCCESS.labels, [sites, sources])
    block = Block(families.FRESHNESS_SOURCE_LAST_SUCCESS, labels, [NOW - ago * 3600 for ago in hours.values()])
    return MetricSnapshot(
        [block] if hours else [], NOW, SampleWindow(), SourceStates(up={"rest": True} if up is None else up)
    )


def test_a_freshness_source_is_silent_after_three_hours() -> None:
    """Each of each site by itself; one that was never read is not known, and no alert speaks of it."""
    found = conditions.freshness_source_silent(
        read({("default", "metadata"): 3.1, ("default", "job"): 0.0, ("marketing", "metadata"): 3.0})
    )
    assert found.firing_series == {(("site", "default"), ("source", "metadata")): pytest.approx(3.1 * 3600)}
    assert found.unknown is never


@pytest.mark.parametrize(("up", "unknown"), [({"rest": True}, always), ({"rest": False}, always), ({}, never)])
def test_freshness_sources_that_are_not_published(up: dict[str, bool], unknown: object) -> None:
    """While the REST API is polled and none is published, nobody knows whether one is silent: alerts stay."""
    found = conditions.freshness_source_silent(read({}, up))
    assert found.firing_series == {}
    assert found.unknown is unknown


@pytest.mark.parametrize(
    ("days", "holds"), [(8.0, False), (7.0, False), (6.9, True), (-1.0, True), (None, False)], ids=str
)
def test_a_certificate_expires_within_a_week(days: float | None, holds: bool) -> None:
    """The condition holds from a week before the certificate expires on; without TLS there is no certificate."""
    blocks = [] if days is None else [single(families.WEB_CERTIFICATE_EXPIRY, NOW + days * DAY)]
    assert (
        bool(conditions.certificate_expiring(MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())).firing_series)
        == holds
    )


@pytest.mark.parametrize(
    ("failures", "succeeded_ago", "holds"),
    [((0, 2), None, True), ((0, 2), 3600, True), ((0, 2), 3599, False), ((2, 2), None, False)],
)
def test_an_export_fails(failures: tuple[int, int], succeeded_ago: float | None, *, holds: bool) -> None:
    """Attempts of the last hour failed, and none succeeded in it; one that waits for its turn does not fail."""
    past, labels = SampleWindow(), {"table": "usage", "format": "csv", "destination": "/share"}
    succeeded_at = None if succeeded_ago is None else NOW - succeeded_ago
    views = [
        MetricSnapshot(
            [
                single(families.EXPORT_FAILURES, count, **labels),
                single(families.EXPORT_LAST_SUCCESS, succeeded_at, **labels),
            ],
            at,
            past,
            SourceStates(),
        )
        for at, count in zip((NOW - 300, NOW), failures, strict=True)
    ]
    for view in views:
        conditions.record_samples(past, view)
    found = conditions.export_failing(views[-1]).firing_series
    assert found == ({tuple(sorted(labels.items())): 2.0} if holds else {})
