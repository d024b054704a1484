"""Single conditions, on samples as they are published."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from exporter import self_metrics as families
from exporter.alerting import conditions
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import MetricSnapshot, SourceStates, always, never, source_states
from exporter.collectors import discover
from exporter.collectors.activity_log import NEWEST
from exporter.collectors.admin_insights import REFRESHED
from exporter.collectors.assets import metrics as assets
from exporter.collectors.background_jobs import BRIDGE_SEEN
from exporter.collectors.data_alerts import COUNT as DATA_ALERTS
from exporter.collectors.licences.credentials import TOKEN_EXPIRY
from exporter.collectors.licences.owners import ORPHANED
from exporter.collectors.subscriptions import FAILURES, SUBSCRIPTIONS
from exporter.exposition.state_store import StateStore
from exporter.metrics import Block, Labels, single
from exporter.status import SourceStatus
from tests.support.notifier_harness import NOW

DAY = 86_400.0
SLA = {"warning": 12.0, "critical": 24.0}


def seen(polls: dict[str, float], oldest: float | None = None) -> MetricSnapshot:
    """Return the snapshot of an archive that was read at these instants, with a window of samples."""
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
    """Any mode of reading counts; a mark from a clock far ahead is ignored, and hides none of the others."""
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


def test_processes_follow_the_rest_api() -> None:
    """They are read with its session: their collector does not fail by itself while the REST API is down."""
    store = StateStore(["rest"], version="0", library="0", started_at=NOW)
    store.status.set_source(SourceStatus("rest", up=False, tried_at=NOW))
    assert "processes" in source_states(store.status, discover()).from_rest


def of_cloud(
    newest: Mapping[str, float], seen: Mapping[str, float] = MappingProxyType({}), *, up: bool = True, success: int = 1
) -> MetricSnapshot:
    """Return a view of sites whose newest events are so many days old; ``seen`` are clients of Bridge, in one pool."""
    clients = [["sales"] * len(seen), ["Warehouse"] * len(seen), list(seen)]
    blocks = [
        Block(NEWEST, Labels(("site",), [list(newest)]), [NOW - days * DAY for days in newest.values()]),
        Block(BRIDGE_SEEN, Labels(BRIDGE_SEEN.labels, clients), [NOW - days * DAY for days in seen.values()]),
        Block(families.COLLECTOR_SUCCESS, Labels(("collector",), [["activity_log"]]), [success]),
    ]
    sources = SourceStates(up={"activity_log": up}, from_activity_log=("activity_log",))
    return MetricSnapshot(blocks, NOW, SampleWindow(), sources)


def test_an_activity_log_lags() -> None:
    """Of each site by itself, unless Tableau Cloud Manager does not answer: that is another alert."""
    days = {"sales": 4, "other": 2}
    found = conditions.activity_log_lagging(of_cloud(days))
    assert found.firing_series == {(("site", "sales"),): 4 * DAY}
    down = of_cloud(days, up=False, success=0)
    assert conditions.activity_log_lagging(down).firing_series == {}
    assert conditions.collector_failing(down).firing_series == {}
    assert conditions.unreachable("activity_log")(down).firing_series == {(("source", "activity_log"),): 0.0}


@pytest.mark.parametrize(
    ("up", "fires"),
    [
        ({"admin_insights": False, "rest": True}, True),
        ({"admin_insights": False, "rest": False}, False),
        ({"admin_insights": True, "rest": True}, False),
        ({"rest": True}, False),
    ],
    ids=["down alone", "down with the REST API", "up", "not a source"],
)
def test_admin_insights_is_down(up: dict[str, bool], fires: bool) -> None:
    """It uses the session of the REST API, whose outage is another alert."""
    view = MetricSnapshot([], NOW, SampleWindow(), SourceStates(up=up))
    found = conditions.insights_unreachable(view).firing_series
    assert found == ({(("source", "admin_insights"),): 0.0} if fires else {})


@pytest.mark.parametrize(
    ("up", "fires"),
    [
        ({"admin_insights": True, "rest": True}, True),
        ({"rest": True}, True),
        ({"admin_insights": False, "rest": True}, False),
        ({"admin_insights": True, "rest": False}, False),
    ],
    ids=["both answer", "not queried yet", "no site answers", "the REST API is down"],
)
def test_admin_insights_is_old(up: dict[str, bool], fires: bool) -> None:
    """Of each site by itself, where the sources answer: their outages are other alerts."""
    ages = {"sales": 2.1, "other": 1.9}
    block = Block(REFRESHED, Labels(REFRESHED.labels, [list(ages)]), [NOW - days * DAY for days in ages.values()])
    found = conditions.insights_lagging(MetricSnapshot([block], NOW, SampleWindow(), SourceStates(up=up)))
    assert found.firing_series == ({(("site", "sales"),): 2.1 * DAY} if fires else {})


def test_events_are_about_to_be_lost() -> None:
    """Where polls fail, whatever fails; a site where nothing happens loses nothing."""
    assert conditions.activity_log_retention_near(of_cloud({"sales": 11})).firing_series == {}
    assert conditions.activity_log_retention_near(of_cloud({"sales": 9}, success=0)).firing_series == {}
    found = conditions.activity_log_retention_near(of_cloud({"sales": 11, "other": 0}, success=0))
    assert found.firing_series == {(("site", "sales"),): 11 * DAY}


@pytest.mark.parametrize(
    ("newest", "clients", "silent"),
    [
        (0, {"one": 4.0, "two": 5.0}, True),
        (0, {"one": 4.0, "two": 1.0}, False),
        (2, {"one": 4.0}, False),
        (0, {}, False),
    ],
    ids=["all are silent", "one works", "the log is late", "none is known"],
)
def test_bridge_is_silent(newest: float, clients: dict[str, float], silent: bool) -> None:
    """A pool is silent when its last client is, by the log's own time."""
    found = conditions.bridge_silent(of_cloud({"sales": newest}, clients)).firing_series
    assert found == ({(("pool", "Warehouse"), ("site", "sales")): 4 * DAY} if silent else {})


def test_a_poll_is_stuck_after_an_hour() -> None:
    """The condition holds for each source by itself; between polls none holds."""
    block = Block(families.POLL_STARTED, Labels(("source",), [["repository", "rest"]]), [NOW - 3600, NOW - 3601])
    assert conditions.poll_stuck(MetricSnapshot([block], NOW, SampleWindow(), SourceStates())).firing_series == {
        (("source", "rest"),): 3601.0
    }
    assert conditions.poll_stuck(MetricSnapshot([], NOW, SampleWindow(), SourceStates())).firing_series == {}


def read(hours: dict[tuple[str, str], float], up: dict[str, bool] | None = None) -> MetricSnapshot:
    """Return the snapshot of freshness sources that were read so many hours ago, by site and source."""
    sites, sources = ([key[place] for key in hours] for place in (0, 1))
    labels = Labels(families.FRESHNESS_SOURCE_LAST_SUCCESS.labels, [sites, sources])
    block = Block(families.FRESHNESS_SOURCE_LAST_SUCCESS, labels, [NOW - ago * 3600 for ago in hours.values()])
    return MetricSnapshot(
        [block] if hours else [], NOW, SampleWindow(), SourceStates(up={"rest": True} if up is None else up)
    )


def test_a_freshness_source_is_silent_after_three_hours() -> None:
    """The condition holds for each source of each site; a source that was never read is unknown and raises no alert."""
    found = conditions.freshness_source_silent(
        read({("default", "metadata"): 3.1, ("default", "job"): 0.0, ("marketing", "metadata"): 3.0})
    )
    assert found.firing_series == {(("site", "default"), ("source", "metadata")): pytest.approx(3.1 * 3600)}
    assert found.unknown is never


@pytest.mark.parametrize(("up", "unknown"), [({"rest": True}, always), ({"rest": False}, always), ({}, never)])
def test_freshness_sources_that_are_not_published(up: dict[str, bool], unknown: object) -> None:
    """While the REST API is polled and no source is published, their state is unknown: alerts stay."""
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


def test_subscriptions_and_data_alerts_are_found_by_project() -> None:
    """Two failures in a row are found, one is not; of the states only suspended counts, and not where it is 0."""
    places = ["default"] * 3, ["A", "B", "C"]
    states = ["suspended", "failing", "suspended"]
    blocks = [
        Block(FAILURES, Labels(FAILURES.labels, places), [1, 2, 0]),
        Block(SUBSCRIPTIONS, Labels(SUBSCRIPTIONS.labels, (*places, states)), [4, 5, 0]),
        Block(
            DATA_ALERTS, Labels(DATA_ALERTS.labels, (*places, ["suspended_by_user", "suspended", "active"])), [1, 2, 3]
        ),
    ]
    view = MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())
    of = {name: (("project", name), ("site", "default")) for name in places[1]}
    assert conditions.subscription_failing(view).firing_series == {of["B"]: 2.0}
    assert conditions.subscription_suspended(view).firing_series == {of["A"]: 4.0}
    assert conditions.data_alert_suspended(view).firing_series == {of["B"]: 2.0}


@pytest.mark.parametrize(("success", "unknown"), [(0, True), (1, False), (None, False)])
def test_subscriptions_that_could_not_be_read_are_unknown(success: int | None, *, unknown: bool) -> None:
    """An alert about a project does not end while its collector fails; it does where the collector is disabled."""
    names = ("subscriptions", "data_alerts")
    blocks = [single(families.COLLECTOR_SUCCESS, success, collector=name) for name in names if success is not None]
    view = MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())
    found = (conditions.subscription_failing, conditions.subscription_suspended, conditions.data_alert_suspended)
    assert [find(view).unknown({}) for find in found] == [unknown] * 3


def test_credentials_that_expire_within_a_week() -> None:
    """A token that expires later, and an activation, which is renewed, are not found; a key has no site."""
    kinds = ["refresh_token", "refresh_token", "activation", "product_key"]
    labels = Labels(TOKEN_EXPIRY.labels, (["sales", "hr", "sales", ""], kinds))
    days = [6.9, 7.0, 1.0, 3.0]
    block = Block(TOKEN_EXPIRY, labels, lambda now: [now + each * 86_400 for each in days])
    found = conditions.token_expiring(MetricSnapshot([block], NOW, SampleWindow(), SourceStates())).firing_series
    assert {dict(pairs)["kind"]: round(seconds / 86_400, 1) for pairs, seconds in found.items()} == {
        "refresh_token": 6.9,
        "product_key": 3.0,
    }
    assert {dict(pairs).get("site", "") for pairs in found} == {"sales", ""}


def test_content_without_an_owner_is_counted_by_site() -> None:
    """Over its projects and types; a site without such content is not found."""
    places = ["sales", "sales", "hr"], ["A", "B", "A"], ["flow", "workbook", "flow"]
    block = Block(ORPHANED, Labels(ORPHANED.labels, places), [1, 2, 0])
    found = conditions.owner_unlicensed(MetricSnapshot([block], NOW, SampleWindow(), SourceStates()))
    assert found.firing_series == {(("site", "sales"),): 3.0}


@pytest.mark.parametrize(
    ("collector", "unknown"), [("licences", [True, True]), ("admin_insights", [True, False]), ("users", [False, False])]
)
def test_licences_that_could_not_be_read_are_unknown(collector: str, unknown: list[bool]) -> None:
    """Tokens are of the repository or of Admin Insights: neither alert ends while its collector fails."""
    view = MetricSnapshot(
        [single(families.COLLECTOR_SUCCESS, 0, collector=collector)], NOW, SampleWindow(), SourceStates()
    )
    assert [find(view).unknown({}) for find in (conditions.token_expiring, conditions.owner_unlicensed)] == unknown


def of_asset(hours: float, **known: float) -> MetricSnapshot:
    """Return a view of one asset whose SLAs are 12 and 24 hours."""
    labels = [["default"], ["Finance"], ["workbook"], ["luid-1"], ["Month End"]]
    of = Labels(assets.LABELS, labels)
    families_of = {
        "users": assets.USERS,
        "next_use": assets.NEXT_USE,
        "bytes": assets.BYTES,
        "usual_bytes": assets.USUAL_BYTES,
    }
    blocks = [
        Block(
            assets.INFO, of.extended(assets.INFO.labels[len(labels) :], [["priya"], ["extract"], ["repository"]]), [1]
        ),
        Block(assets.LAST_REFRESH, of, [NOW - hours * 3600]),
        *(Block(assets.SLA, of.extended(("severity",), [[name]]), [tier]) for name, tier in SLA.items()),
        *(Block(families_of[name], of, [value]) for name, value in known.items()),
    ]
    return MetricSnapshot(blocks, NOW, SampleWindow(), SourceStates())


@pytest.mark.parametrize(
    ("hours", "known", "fires"),
    [
        (25.0, {"users": 37, "next_use": NOW + 7200}, True),
        (13.0, {"users": 5, "next_use": NOW + 60}, True),
        (11.0, {"users": 37, "next_use": NOW + 60}, False),
        (25.0, {"users": 37, "next_use": NOW + 7260}, False),
        (25.0, {"users": 4, "next_use": NOW + 60}, False),
        (25.0, {"users": 37}, False),
        (25.0, {"next_use": NOW + 60}, False),
    ],
)
def test_stale_before_use(hours: float, known: Mapping[str, float], fires: bool) -> None:
    """An asset past an SLA that enough users usually open within two hours; what is unknown fires nothing."""
    assert bool(conditions.stale_before_use(of_asset(hours, **known)).firing_series) == fires


@pytest.mark.parametrize(
    ("known", "shrank", "grew"),
    [
        ({"bytes": 49, "usual_bytes": 100}, True, False),
        ({"bytes": 0, "usual_bytes": 100}, True, False),
        ({"bytes": 50, "usual_bytes": 100}, False, False),
        ({"bytes": 200, "usual_bytes": 100}, False, False),
        ({"bytes": 201, "usual_bytes": 100}, False, True),
        ({"bytes": 49}, False, False),
    ],
)
def test_unusual_sizes(known: Mapping[str, float], shrank: bool, grew: bool) -> None:
    """Less than half of the usual size shrank, more than its double grew; without a usual size neither."""
    view = of_asset(1.0, **known)
    assert bool(conditions.shrank(view).firing_series) == shrank
    assert bool(conditions.grew(view).firing_series) == grew
