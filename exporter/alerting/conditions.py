"""When each alert's condition holds: the expressions of alerts/tableau.rules.yml on what the agent itself knows.

Labels are those that Prometheus' alerts have, so that Alertmanager takes the two for one.
"""

from collections.abc import Callable

import numpy as np

from exporter import agent_families as families
from exporter.alerting.past import Past
from exporter.alerting.view import Assets, Found, Numbers, Pairs, View, always, never
from exporter.collectors.assets.samples import HOUR
from exporter.metrics import Family

QUARTER_HOUR = 900.0

REFRESH_FAILURES = 3
HABIT_INTERVALS = 3
HABIT_LEAST_SECONDS = 3600
COLLISION_COUNT = 2
POLL_SECONDS = 3600
FILE_BUSY_COUNT = 3
FRESHNESS_SOURCE_SECONDS = 10_800
ARCHIVE_LAG_SECONDS = 900
CERTIFICATE_SECONDS = 604_800
EXPORT_SECONDS = 3600
PURGE_RISK_RATIO = 0.5
PURGE_RISK_LEAST_SECONDS = 7200
CLOCK_AHEAD_SECONDS = 3600
"""A reading that seems to be further ahead was dated by a clock that was wrong."""

SUFFERED = ("file_unwritable", "file_replaced", "file_damaged", "log_quarantined")
COUNTED = (
    families.REST_COLLISIONS,
    families.POSSIBLY_LOST,
    families.INCIDENTS,
    families.NOTIFICATIONS_FAILED,
    families.EXPORT_FAILURES,
)
"""The counters whose growth is asked for."""

Find = Callable[[View], Found]


def unreachable(source: str, *, beside: bool | None = None) -> Find:
    """Find a source that does not answer; ``beside`` asks for the repository being polled too, or not."""

    def find(view: View) -> Found:
        found = view.sources.up.get(source) is False
        if beside is not None:
            found = found and (view.value(families.UP, source="repository") is not None) == beside
        return Found({(("source", source),): 0.0} if found else {})

    return find


def token_refused(view: View) -> Found:
    """Find a token that was not taken."""
    return _single(view.value(families.REST_TOKEN_ACCEPTED), lambda accepted: accepted == 0)


def token_shared(view: View) -> Found:
    """Find sessions that another program ended."""
    return _grown(view, families.REST_COLLISIONS, COLLISION_COUNT)


def collector_failing(view: View) -> Found:
    """Find collectors that give nothing although their sources answer."""
    if _repository_silent(view):
        return Found({})
    follow = {(("collector", "assets"),)} if view.sources.up.get("rest") is False else set()
    failing = {pairs: value for pairs, value in view.samples(families.COLLECTOR_SUCCESS) if value == 0}
    return Found({pairs: value for pairs, value in failing.items() if pairs not in follow})


def column_missing(view: View) -> Found:
    """Find what collectors do without."""
    return Found(dict(view.samples(families.COLLECTOR_MISSING)))


def poll_stuck(view: View) -> Found:
    """Find polls that do not end."""
    running = ((pairs, view.now - began) for pairs, began in view.samples(families.POLL_STARTED))
    return Found({pairs: seconds for pairs, seconds in running if seconds > POLL_SECONDS})


def reload_failed(view: View) -> Found:
    """Find a configuration that was refused."""
    return _single(view.value(families.RELOAD_SUCCESSFUL), lambda successful: successful == 0)


def certificate_expiring(view: View) -> Found:
    """Find a certificate of the web server that expires soon, or has expired."""
    return _single(view.value(families.WEB_CERTIFICATE_EXPIRY), lambda at: at < view.now + CERTIFICATE_SECONDS)


def notifications_failing(view: View) -> Found:
    """Find Alertmanagers that did not take what they were told."""
    return _grown(view, families.NOTIFICATIONS_FAILED, 0, span=QUARTER_HOUR)


def export_failing(view: View) -> Found:
    """Find exports that fail, and have not succeeded for an hour."""
    succeeded = {pairs: view.now - at for pairs, at in view.samples(families.EXPORT_LAST_SUCCESS)}
    failing = _grown(view, families.EXPORT_FAILURES, 0).holding
    return Found({pairs: count for pairs, count in failing.items() if succeeded.get(pairs, np.inf) >= EXPORT_SECONDS})


def stale_critical(view: View) -> Found:
    """Find what is older than its critical promise."""
    return view.of_assets(lambda assets: assets.where(_hours(view, assets) > assets.critical, _hours(view, assets)))


def stale_warning(view: View) -> Found:
    """Find what is older than its warning promise alone."""

    def found(assets: Assets) -> Found:
        hours = _hours(view, assets)
        return assets.where((hours > assets.warning) & ~(hours > assets.critical), hours)

    return view.of_assets(found)


def refresh_failing(view: View) -> Found:
    """Find what has failed several times in a row, and is not suspended yet."""

    def found(assets: Assets) -> Found:
        failures = assets.columns["failures"]
        return assets.where((failures >= REFRESH_FAILURES) & ~(assets.columns["suspended"] == 1), failures)

    return view.of_assets(found)


def refresh_suspended(view: View) -> Found:
    """Find what Tableau has suspended."""
    return view.of_assets(lambda assets: assets.where(assets.columns["suspended"] == 1, assets.columns["suspended"]))


def refresh_late(view: View) -> Found:
    """Find what was not refreshed when its schedule said."""
    return view.of_assets(
        lambda assets: assets.where(view.now - assets.columns["due"] > 0, view.now - assets.columns["due"])
    )


def unusually_late(view: View) -> Found:
    """Find what has no schedule that is known, and is older than usual."""

    def found(assets: Assets) -> Found:
        seconds, columns = _seconds(view, assets), assets.columns
        late = seconds > _habit(assets)
        return assets.where(late & np.isnan(columns["due"]) & ~(columns["suspended"] == 1), seconds)

    return view.of_assets(found)


def changed_nothing(view: View) -> Found:
    """Find what is refreshed in time and without failure, and stays older than usual."""

    def found(assets: Assets) -> Found:
        seconds, columns = _seconds(view, assets), assets.columns
        well = (columns["due"] >= view.now) & (columns["failures"] == 0)
        return assets.where((seconds > _habit(assets)) & well, seconds)

    return view.of_assets(found)


def freshness_source_silent(view: View) -> Found:
    """Find freshness sources that have been silent for too long, by site; unknown while none is published."""
    holding = {pairs: view.now - at for pairs, at in silent_sources(view).items()}
    unknown = "rest" in view.sources.up and not view.samples(families.FRESHNESS_SOURCE_LAST_SUCCESS)
    return Found(holding, always if unknown else never)


def silent_sources(view: View) -> dict[Pairs, float]:
    """Return since when (Unix seconds) the freshness sources of ``freshness_source_silent`` have been silent."""
    samples = view.samples(families.FRESHNESS_SOURCE_LAST_SUCCESS)
    return {pairs: at for pairs, at in samples if at < view.now - FRESHNESS_SOURCE_SECONDS}


def archive_lagging(view: View) -> Found:
    """Find an archive that stands still although the repository answers."""
    if _repository_silent(view):
        return Found({})
    return _single(_lag(view), lambda seconds: seconds > ARCHIVE_LAG_SECONDS)


def purge_risk(view: View) -> Found:
    """Find an archive that has stood still for long, measured by how long the repository keeps requests."""
    kept = view.past.kept
    if kept is None:
        return Found({})
    return _single(_lag(view), lambda seconds: seconds > max(PURGE_RISK_RATIO * kept, PURGE_RISK_LEAST_SECONDS))


def possibly_lost(view: View) -> Found:
    """Find requests that may have been removed before they were read."""
    return _grown(view, families.POSSIBLY_LOST, 0)


def file_busy(view: View) -> Found:
    """Find a history file that somebody keeps open."""
    return _grown(view, families.INCIDENTS, FILE_BUSY_COUNT, lambda kind: kind == "file_busy")


def file_suffered(view: View) -> Found:
    """Find a history file that something befell."""
    return _grown(view, families.INCIDENTS, 0, lambda kind: kind in SUFFERED)


def take_up(past: Past, view: View) -> None:
    """Let what is asked for later be remembered."""
    for family in COUNTED:
        past.see(family.name, view.samples(family), view.now)
    last, oldest = _last_poll(view), view.value(families.REPOSITORY_OLDEST)
    if last is not None and oldest is not None:
        past.see_kept(last - oldest, view.now)


def _single(value: float | None, condition: Callable[[float], bool]) -> Found:
    return Found({(): value} if value is not None and condition(value) else {})


def _grown(
    view: View,
    family: Family,
    least: float,
    wanted: Callable[[str], bool] = lambda _kind: True,
    span: float = HOUR,
) -> Found:
    """Return the series that grew within the span by so much, or at all."""
    found: dict[Pairs, float] = {}
    for pairs, _ in view.samples(family):
        grown = view.past.grown(family.name, pairs, view.now, span)
        if wanted(dict(pairs).get("kind", "")) and grown > 0 and grown >= least:
            found[pairs] = grown
    return Found(found)


def _repository_silent(view: View) -> bool:
    return view.sources.up.get("repository") is False


def _last_poll(view: View) -> float | None:
    polls = (value for _, value in view.samples(families.HISTORY_LAST_POLL))
    return max((at for at in polls if at <= view.now + CLOCK_AHEAD_SECONDS), default=None)


def _lag(view: View) -> float | None:
    last = _last_poll(view)
    return None if last is None else view.now - last


def _seconds(view: View, assets: Assets) -> Numbers:
    return np.maximum(view.now - assets.columns["refreshed"], 0.0)


def _hours(view: View, assets: Assets) -> Numbers:
    return _seconds(view, assets) / HOUR


def _habit(assets: Assets) -> Numbers:
    return np.maximum(HABIT_INTERVALS * assets.columns["interval"], HABIT_LEAST_SECONDS)
