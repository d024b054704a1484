"""Conditions of the alerting rules: the expressions of alerts/tableau.rules.yml on the agent's own metrics.

Labels are those of Prometheus' alerts, so that Alertmanager deduplicates the two.
"""

from collections.abc import Callable, Mapping

import numpy as np

from exporter import self_metrics as families
from exporter.alerting.notification import Pairs
from exporter.alerting.sample_window import SampleWindow
from exporter.alerting.snapshot import Assets, MetricSnapshot, Numbers, RuleResult, always, never
from exporter.collectors import data_alerts, licences, subscriptions
from exporter.collectors.activity_log import NEWEST
from exporter.collectors.admin_insights import REFRESHED
from exporter.collectors.assets.metrics import HOUR
from exporter.collectors.background_jobs import BRIDGE_SEEN
from exporter.collectors.data_alerts import COUNT as DATA_ALERTS
from exporter.collectors.licences.credentials import ACTIVATION, TOKEN_EXPIRY
from exporter.collectors.licences.owners import ORPHANED
from exporter.collectors.subscriptions import FAILURES as SUBSCRIPTION_FAILURES_IN_A_ROW
from exporter.collectors.subscriptions import SUBSCRIPTIONS
from exporter.metrics import Family

QUARTER_HOUR = 900.0

REFRESH_FAILURES = 3
USUAL_INTERVALS = 3
USUAL_LEAST_SECONDS = 3600
COLLISION_COUNT = 2
POLL_SECONDS = 3600
FILE_BUSY_COUNT = 3
USE_SECONDS = 7200
USE_LEAST_USERS = 5
SHRANK_RATIO = 0.5
GREW_RATIO = 2
FRESHNESS_SOURCE_SECONDS = 10_800
ARCHIVE_LAG_SECONDS = 900
CERTIFICATE_SECONDS = 604_800
EXPORT_SECONDS = 3600
PURGE_RISK_RATIO = 0.5
PURGE_RISK_LEAST_SECONDS = 7200
ACTIVITY_LOG_LAG_SECONDS = 259_200
ACTIVITY_LOG_RETENTION_SECONDS = 864_000
INSIGHTS_AGE_SECONDS = 172_800
BRIDGE_SILENT_SECONDS = 259_200
SUBSCRIPTION_FAILURES = 2
TOKEN_EXPIRY_SECONDS = 604_800
CLOCK_AHEAD_SECONDS = 3600
"""A poll whose time is further ahead was dated by a wrong clock."""

FILE_INCIDENTS = ("file_unwritable", "file_replaced", "file_damaged", "log_quarantined")
COUNTED = (
    families.REST_COLLISIONS,
    families.POSSIBLY_LOST,
    families.INCIDENTS,
    families.NOTIFICATIONS_FAILED,
    families.EXPORT_FAILURES,
)
"""The counters whose increase is a condition."""

Find = Callable[[MetricSnapshot], RuleResult]


def unreachable(source: str, *, beside: bool | None = None) -> Find:
    """Find a source that is down; ``beside`` requires that the repository is polled too, or that it is not."""

    def find(view: MetricSnapshot) -> RuleResult:
        found = view.sources.up.get(source) is False
        if beside is not None:
            found = found and (view.value(families.UP, source="repository") is not None) == beside
        return RuleResult({(("source", source),): 0.0} if found else {})

    return find


def insights_unreachable(view: MetricSnapshot) -> RuleResult:
    """Find Admin Insights that is down although the REST API, whose session it uses, is up."""
    return unreachable("admin_insights")(view) if view.sources.up.get("rest") is not False else RuleResult({})


def token_refused(view: MetricSnapshot) -> RuleResult:
    """Find a token that Tableau refused."""
    return _single(view.value(families.REST_TOKEN_ACCEPTED), lambda accepted: accepted == 0)


def token_shared(view: MetricSnapshot) -> RuleResult:
    """Find sessions that another program ended."""
    return _grown(view, families.REST_COLLISIONS, COLLISION_COUNT)


def collector_failing(view: MetricSnapshot) -> RuleResult:
    """Find collectors that fail although their sources are up."""
    if _repository_silent(view):
        return RuleResult({})
    of_rest = view.sources.from_rest if view.sources.up.get("rest") is False else ()
    of_activity_log = view.sources.from_activity_log if view.sources.up.get("activity_log") is False else ()
    follow = {(("collector", name),) for name in (*of_rest, *of_activity_log)}
    failing = {pairs: value for pairs, value in view.samples(families.COLLECTOR_SUCCESS) if value == 0}
    return RuleResult({pairs: value for pairs, value in failing.items() if pairs not in follow})


def column_missing(view: MetricSnapshot) -> RuleResult:
    """Find columns that collectors lack."""
    return RuleResult(dict(view.samples(families.COLLECTOR_MISSING)))


def poll_stuck(view: MetricSnapshot) -> RuleResult:
    """Find polls that do not end."""
    running = ((pairs, view.now - began) for pairs, began in view.samples(families.POLL_STARTED))
    return RuleResult({pairs: seconds for pairs, seconds in running if seconds > POLL_SECONDS})


def reload_failed(view: MetricSnapshot) -> RuleResult:
    """Find a configuration that was refused."""
    return _single(view.value(families.RELOAD_SUCCESSFUL), lambda successful: successful == 0)


def certificate_expiring(view: MetricSnapshot) -> RuleResult:
    """Find a certificate of the web server that expires soon, or has expired."""
    return _single(view.value(families.WEB_CERTIFICATE_EXPIRY), lambda at: at < view.now + CERTIFICATE_SECONDS)


def notifications_failing(view: MetricSnapshot) -> RuleResult:
    """Find Alertmanagers that did not accept notifications."""
    return _grown(view, families.NOTIFICATIONS_FAILED, 0, span=QUARTER_HOUR)


def export_failing(view: MetricSnapshot) -> RuleResult:
    """Find exports that fail, and have not succeeded for an hour."""
    succeeded = {pairs: view.now - at for pairs, at in view.samples(families.EXPORT_LAST_SUCCESS)}
    failing = _grown(view, families.EXPORT_FAILURES, 0).firing_series
    return RuleResult(
        {pairs: count for pairs, count in failing.items() if succeeded.get(pairs, np.inf) >= EXPORT_SECONDS}
    )


def stale_critical(view: MetricSnapshot) -> RuleResult:
    """Find assets past their critical threshold."""
    return view.of_assets(lambda assets: assets.where(_hours(view, assets) > assets.critical, _hours(view, assets)))


def stale_warning(view: MetricSnapshot) -> RuleResult:
    """Find assets past their warning threshold alone."""

    def found(assets: Assets) -> RuleResult:
        hours = _hours(view, assets)
        return assets.where((hours > assets.warning) & ~(hours > assets.critical), hours)

    return view.of_assets(found)


def stale_before_use(view: MetricSnapshot) -> RuleResult:
    """Find assets past an SLA that many users will usually open soon."""

    def found(assets: Assets) -> RuleResult:
        hours, columns = _hours(view, assets), assets.columns
        is_stale = (hours > assets.warning) | (hours > assets.critical)
        is_used = (columns["next_use"] - view.now <= USE_SECONDS) & (columns["users"] >= USE_LEAST_USERS)
        return assets.where(is_stale & is_used, hours)

    return view.of_assets(found)


def shrank(view: MetricSnapshot) -> RuleResult:
    """Find assets whose last refresh left much less than usual."""
    return view.of_assets(lambda assets: assets.where(_size_ratio(assets) < SHRANK_RATIO, assets.columns["bytes"]))


def grew(view: MetricSnapshot) -> RuleResult:
    """Find assets whose last refresh left much more than usual."""
    return view.of_assets(lambda assets: assets.where(_size_ratio(assets) > GREW_RATIO, assets.columns["bytes"]))


def refresh_failing(view: MetricSnapshot) -> RuleResult:
    """Find assets whose refresh failed several times in a row and is not suspended yet."""

    def found(assets: Assets) -> RuleResult:
        failures = assets.columns["failures"]
        return assets.where((failures >= REFRESH_FAILURES) & ~(assets.columns["suspended"] == 1), failures)

    return view.of_assets(found)


def refresh_suspended(view: MetricSnapshot) -> RuleResult:
    """Find assets whose refresh Tableau has suspended."""
    return view.of_assets(lambda assets: assets.where(assets.columns["suspended"] == 1, assets.columns["suspended"]))


def refresh_late(view: MetricSnapshot) -> RuleResult:
    """Find assets that were not refreshed on schedule."""
    return view.of_assets(
        lambda assets: assets.where(view.now - assets.columns["due"] > 0, view.now - assets.columns["due"])
    )


def unusually_late(view: MetricSnapshot) -> RuleResult:
    """Find assets without a known schedule that are older than usual."""

    def found(assets: Assets) -> RuleResult:
        seconds, columns = _seconds(view, assets), assets.columns
        late = seconds > _usual_limit(assets)
        return assets.where(late & np.isnan(columns["due"]) & ~(columns["suspended"] == 1), seconds)

    return view.of_assets(found)


def changed_nothing(view: MetricSnapshot) -> RuleResult:
    """Find assets that are refreshed on schedule without failure, and stay older than usual."""

    def found(assets: Assets) -> RuleResult:
        seconds, columns = _seconds(view, assets), assets.columns
        well = (columns["due"] >= view.now) & (columns["failures"] == 0)
        return assets.where((seconds > _usual_limit(assets)) & well, seconds)

    return view.of_assets(found)


def freshness_source_silent(view: MetricSnapshot) -> RuleResult:
    """Find freshness sources that were not read completely for too long, by site; unknown while none is published."""
    firing_series = {pairs: view.now - at for pairs, at in silent_sources(view).items()}
    unknown = "rest" in view.sources.up and not view.samples(families.FRESHNESS_SOURCE_LAST_SUCCESS)
    return RuleResult(firing_series, always if unknown else never)


def silent_sources(view: MetricSnapshot) -> dict[Pairs, float]:
    """Return the last success (Unix seconds) of the freshness sources of ``freshness_source_silent``."""
    samples = view.samples(families.FRESHNESS_SOURCE_LAST_SUCCESS)
    return {pairs: at for pairs, at in samples if at < view.now - FRESHNESS_SOURCE_SECONDS}


def archive_lagging(view: MetricSnapshot) -> RuleResult:
    """Find an archive that makes no progress although the repository is up."""
    if _repository_silent(view):
        return RuleResult({})
    return _single(_lag(view), lambda seconds: seconds > ARCHIVE_LAG_SECONDS)


def purge_risk(view: MetricSnapshot) -> RuleResult:
    """Find an archive without progress for a large part of the repository's retention."""
    retention = view.past.retention
    if retention is None:
        return RuleResult({})
    return _single(_lag(view), lambda seconds: seconds > max(PURGE_RISK_RATIO * retention, PURGE_RISK_LEAST_SECONDS))


def activity_log_lagging(view: MetricSnapshot) -> RuleResult:
    """Find sites whose newest event is old although Tableau Cloud Manager answers."""
    if view.sources.up.get("activity_log") is False:
        return RuleResult({})
    return RuleResult(_old(view, NEWEST, ACTIVITY_LOG_LAG_SECONDS))


def activity_log_retention_near(view: MetricSnapshot) -> RuleResult:
    """Find sites whose events will soon be deleted while polls fail."""
    if view.value(families.COLLECTOR_SUCCESS, collector="activity_log") != 0:
        return RuleResult({})
    return RuleResult(_old(view, NEWEST, ACTIVITY_LOG_RETENTION_SECONDS))


def insights_lagging(view: MetricSnapshot) -> RuleResult:
    """Find sites whose archived refresh is old although Admin Insights of some site and the REST API answer."""
    if any(view.sources.up.get(source) is False for source in ("admin_insights", "rest")):
        return RuleResult({})
    return RuleResult(_old(view, REFRESHED, INSIGHTS_AGE_SECONDS))


def _old(view: MetricSnapshot, family: Family, seconds: float) -> dict[Pairs, float]:
    ages = {pairs: view.now - at for pairs, at in view.samples(family)}
    return {pairs: age for pairs, age in ages.items() if age > seconds}


def bridge_silent(view: MetricSnapshot) -> RuleResult:
    """Find pools none of whose clients had an event for long before the newest event of their site."""
    newest = {dict(pairs)["site"]: at for pairs, at in view.samples(NEWEST)}
    seen: dict[Pairs, float] = {}
    for pairs, at in view.samples(BRIDGE_SEEN):
        pool = tuple((name, value) for name, value in pairs if name != "client")
        seen[pool] = max(at, seen.get(pool, at))
    behind = {pool: newest.get(dict(pool)["site"], at) - at for pool, at in seen.items()}
    return RuleResult({pool: seconds for pool, seconds in behind.items() if seconds > BRIDGE_SILENT_SECONDS})


def subscription_failing(view: MetricSnapshot) -> RuleResult:
    """Find projects with a subscription that failed several times in a row."""
    failures = view.samples(SUBSCRIPTION_FAILURES_IN_A_ROW)
    failing = {pairs: count for pairs, count in failures if count >= SUBSCRIPTION_FAILURES}
    return RuleResult(failing, _unread(view, subscriptions.COLLECTOR.name))


def subscription_suspended(view: MetricSnapshot) -> RuleResult:
    """Find projects with suspended subscriptions."""
    return RuleResult(_in_state(view, SUBSCRIPTIONS, "suspended"), _unread(view, subscriptions.COLLECTOR.name))


def data_alert_suspended(view: MetricSnapshot) -> RuleResult:
    """Find projects with data alerts that Tableau suspended."""
    return RuleResult(_in_state(view, DATA_ALERTS, "suspended"), _unread(view, data_alerts.COLLECTOR.name))


def token_expiring(view: MetricSnapshot) -> RuleResult:
    """Find credentials that expire soon; an activation is renewed by the program that has it."""
    left = {pairs: at - view.now for pairs, at in view.samples(TOKEN_EXPIRY) if ("kind", ACTIVATION) not in pairs}
    soon = {pairs: seconds for pairs, seconds in left.items() if seconds < TOKEN_EXPIRY_SECONDS}
    return RuleResult(soon, _unread(view, licences.COLLECTOR.name, "admin_insights"))


def owner_unlicensed(view: MetricSnapshot) -> RuleResult:
    """Find sites with content of unlicensed or removed owners."""
    counts: dict[Pairs, float] = {}
    for pairs, count in view.samples(ORPHANED):
        site = tuple(pair for pair in pairs if pair[0] == "site")
        counts[site] = counts.get(site, 0) + count
    return RuleResult(
        {site: count for site, count in counts.items() if count > 0}, _unread(view, licences.COLLECTOR.name)
    )


def _unread(view: MetricSnapshot, *collectors: str) -> Callable[[Mapping[str, str]], bool]:
    """Return that nothing is known where a collector fails: its last samples are too old to be published."""
    success = [view.value(families.COLLECTOR_SUCCESS, collector=collector) for collector in collectors]
    return always if 0 in success else never


def _in_state(view: MetricSnapshot, family: Family, state: str) -> dict[Pairs, float]:
    """Return the series of a state that are above 0, without their label ``state``."""
    wanted = ("state", state)
    return {
        tuple(pair for pair in pairs if pair != wanted): count
        for pairs, count in view.samples(family)
        if wanted in pairs and count > 0
    }


def possibly_lost(view: MetricSnapshot) -> RuleResult:
    """Find requests that were possibly removed before they were read."""
    return _grown(view, families.POSSIBLY_LOST, 0)


def file_busy(view: MetricSnapshot) -> RuleResult:
    """Find a history file that another process keeps open."""
    return _grown(view, families.INCIDENTS, FILE_BUSY_COUNT, lambda kind: kind == "file_busy")


def file_suffered(view: MetricSnapshot) -> RuleResult:
    """Find incidents of the history file."""
    return _grown(view, families.INCIDENTS, 0, lambda kind: kind in FILE_INCIDENTS)


def record_samples(past: SampleWindow, view: MetricSnapshot) -> None:
    """Record the samples that later evaluations need."""
    for family in COUNTED:
        past.record(family.name, view.samples(family), view.now)
    last, oldest = _last_poll(view), view.value(families.REPOSITORY_OLDEST)
    if last is not None and oldest is not None:
        past.record_retention(last - oldest, view.now)


def _single(value: float | None, condition: Callable[[float], bool]) -> RuleResult:
    return RuleResult({(): value} if value is not None and condition(value) else {})


def _grown(
    view: MetricSnapshot,
    family: Family,
    least: float,
    wanted: Callable[[str], bool] = lambda _kind: True,
    span: float = HOUR,
) -> RuleResult:
    """Return the series that increased within the span by so much, or at all."""
    found: dict[Pairs, float] = {}
    for pairs, _ in view.samples(family):
        increase = view.past.increase(family.name, pairs, view.now, span)
        if wanted(dict(pairs).get("kind", "")) and increase > 0 and increase >= least:
            found[pairs] = increase
    return RuleResult(found)


def _repository_silent(view: MetricSnapshot) -> bool:
    return view.sources.up.get("repository") is False


def _last_poll(view: MetricSnapshot) -> float | None:
    polls = (value for _, value in view.samples(families.HISTORY_LAST_POLL))
    return max((at for at in polls if at <= view.now + CLOCK_AHEAD_SECONDS), default=None)


def _lag(view: MetricSnapshot) -> float | None:
    last = _last_poll(view)
    return None if last is None else view.now - last


def _seconds(view: MetricSnapshot, assets: Assets) -> Numbers:
    return np.maximum(view.now - assets.columns["refreshed"], 0.0)


def _hours(view: MetricSnapshot, assets: Assets) -> Numbers:
    return _seconds(view, assets) / HOUR


def _size_ratio(assets: Assets) -> Numbers:
    ratio: Numbers = assets.columns["bytes"] / assets.columns["usual_bytes"]
    return ratio


def _usual_limit(assets: Assets) -> Numbers:
    return np.maximum(USUAL_INTERVALS * assets.columns["interval"], USUAL_LEAST_SECONDS)
