"""Metrics of assets. Families of the same rows share one set of labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.collector import Context
from exporter.collectors._arrow import Instants, instants, known, texts, values
from exporter.collectors.assets.sla import sla_hours
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

HOUR = 3600.0
LABELS = ("site", "project", "asset_type", "asset_id", "asset_name")
SEVERITIES = ("warning", "critical")


def _gauge(name: str, text: str, source: str, *labels: str) -> Family:
    return Family(f"tableau_asset_{name}", "gauge", text, (*LABELS, *labels), source)


_FRESHNESS = "repository: workbooks, datasources, data_connections, flow_runs; Metadata API; rest: jobs, flows/runs"
_CONTENT = "repository: workbooks, datasources, flows; rest: workbooks, datasources, flows"
_TASKS = "repository: tasks; rest: tasks/extractRefreshes, tasks/runFlow"

HOURS = _gauge(
    "hours_since_refresh",
    "Hours since the stalest data of the asset was refreshed, absent for live connections; from the repository or the"
    " APIs at every poll, evaluated at every rendering.",
    _FRESHNESS,
)
LAST_REFRESH = _gauge(
    "last_refresh_timestamp_seconds",
    "Last refresh of the asset's stalest data, absent for live connections; from the repository or the APIs at every"
    " poll.",
    _FRESHNESS,
)
SLA = _gauge(
    "sla_hours",
    "Maximum data age of the asset (SLA) by the freshness rules of the configuration, absent for live connections; at"
    " every poll.",
    _CONTENT,
    "severity",
)
NEXT_REFRESH = _gauge(
    "next_refresh_timestamp_seconds",
    "Next run of the asset's earliest active schedule; from the repository or the REST API at every poll.",
    f"{_TASKS}, schedules",
)
DUE = _gauge(
    "refresh_due_timestamp_seconds",
    "Deadline of the asset's scheduled refresh, including the grace period of the configuration; at every poll.",
    f"{_TASKS}, schedules",
)
INTERVAL = _gauge(
    "refresh_interval_seconds",
    "Typical refresh interval of the asset: the median of the intervals of the last 30 days that began at this time"
    " of the week, or of the last 20; from the history at every exact poll.",
    "history: background_jobs, asset_refreshes",
)
FAILURES = _gauge(
    "refresh_consecutive_failures",
    "Consecutive failures of the asset's refresh, the maximum of several tasks; from the repository or the REST API"
    " at every poll.",
    _TASKS,
)
SUSPENDED = _gauge(
    "refresh_suspended",
    "Whether Tableau suspended a refresh of the asset after too many failures; from the repository or the REST API at"
    " every poll, absent where unknown.",
    _TASKS,
)
USERS = _gauge(
    "users",
    "Distinct users who opened the asset within 7 days, of a data source its workbooks; from the history every hour,"
    " absent where users or openings are not archived.",
    "history: workbook_opens",
)
NEXT_USE = _gauge(
    "next_use_timestamp_seconds",
    "Usual next opening of the asset, of a data source its workbooks: the median of the first opening of days like it"
    " in the last 8 weeks, in the site's time zone; from the history every hour, absent without a habit.",
    "history: workbook_opens; repository: sites",
)
BYTES = _gauge(
    "bytes",
    "Size of the asset's extracts, or of the asset where that is unknown; from the repository at every poll, without"
    " one from the REST API in whole megabytes.",
    "repository: extracts, workbooks, datasources, flows; rest: workbooks, datasources",
)
USUAL_BYTES = _gauge(
    "usual_bytes",
    "Expected size of the asset after its last refresh, by the course of the last 20; from the history at every poll,"
    " absent below 10 MB and without a regular course.",
    "history: asset_sizes",
)
INFO = _gauge(
    "info",
    "Owner, connection and freshness source of the asset; at every poll.",
    f"{_CONTENT}, users",
    "content_owner",
    "connection",
    "freshness_source",
)

FAMILIES = (
    HOURS, LAST_REFRESH, SLA, NEXT_REFRESH, DUE, INTERVAL, FAILURES, SUSPENDED, USERS, NEXT_USE, BYTES,
    USUAL_BYTES, INFO,
)  # fmt: skip


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Return the samples of all assets."""
    known_sites = zip(texts(rows, "site"), rows.column("site_id").to_pylist(), strict=True)
    sites = [site or context.site(site_id) for site, site_id in known_sites]
    labels = Labels(LABELS, (sites, *(texts(rows, name) for name in LABELS[1:])))
    extra = [texts(rows, name) for name in ("content_owner", "connection", "freshness_source")]
    refreshed, announced = instants(rows, "last_refresh_at"), instants(rows, "next_refresh_at")
    return [
        Block(HOURS, labels, _hours_since(refreshed)),
        Block(LAST_REFRESH, labels, known(refreshed)),
        *_sla(rows, labels, context),
        Block(NEXT_REFRESH, labels, known(announced)),
        Block(DUE, labels, _dues(rows, announced, refreshed, context)),
        Block(INTERVAL, labels, _intervals(rows, context)),
        Block(FAILURES, labels, values(rows, "consecutive_failures")),
        Block(SUSPENDED, labels, values(rows, "suspended")),
        *_usage(rows, labels, context),
        Block(BYTES, labels, values(rows, "bytes")),
        Block(USUAL_BYTES, labels, _learned(rows, context.usual, "usual_bytes")),
        Block(INFO, labels.extended(INFO.labels[len(LABELS) :], extra), [1] * rows.num_rows),
    ]


def _hours_since(refreshed: Instants) -> Callable[[float], Sequence[Value]]:
    """Return the function of now; the clock of the repository may be ahead of ours, hours are never negative."""
    return lambda now: known(np.maximum((now - refreshed) / HOUR, 0.0))


def _dues(rows: "pa.Table", announced: Instants, refreshed: Instants, context: Context) -> Sequence[Value]:
    """Return until when each asset's announced refresh must have ended. A change of anything is no refresh."""
    changed = np.array([source == "updated_at" for source in texts(rows, "freshness_source")], dtype=np.bool_)
    ended = np.fmax(np.where(changed, np.nan, refreshed), instants(rows, "last_success_at"))
    tasks_known = rows.column("tasks_known").to_pylist()
    found = context.dues.of(texts(rows, "asset_id"), announced.tolist(), ended.tolist(), tasks_known, context.now)
    return known(np.array(found, dtype=np.float64))


def _sla(rows: "pa.Table", labels: Labels, context: Context) -> Iterable[Block]:
    """Return the SLA of every asset that is not live: for each severity the assets that have one."""
    tiers = sla_hours(rows, labels.columns[0], context.sla)
    for position, severity in enumerate(SEVERITIES):
        hours = [pair[position] for pair in tiers]
        yield Block(SLA, labels.extended(("severity",), [[severity] * len(hours)]), hours)


def _learned(rows: "pa.Table", learned: "pa.Table | None", name: str) -> list[Any]:
    """Return a column that the history has learned, for each asset by its type and LUID; None where it has nothing."""
    if learned is None:
        return [None] * rows.num_rows
    columns = (learned.column(column).to_pylist() for column in ("asset_type", "asset_id", name))
    found = {(kind, luid): value for kind, luid, value in zip(*columns, strict=True)}
    keys = zip(rows.column("asset_type").to_pylist(), rows.column("asset_id").to_pylist(), strict=True)
    return [found.get(key) for key in keys]


def _usage(rows: "pa.Table", labels: Labels, context: Context) -> Iterable[Block]:
    yield Block(USERS, labels, _learned(rows, context.usage, "users_7d"))
    expected = [instants or [] for instants in _learned(rows, context.usage, "next_uses")]
    uses = np.full((len(expected), max(map(len, expected), default=0) + 1), np.inf)
    for row, found in enumerate(expected):
        uses[row, : len(found)] = found
    yield Block(NEXT_USE, labels, _next_use(uses))


def _next_use(uses: Instants) -> Callable[[float], Sequence[Value]]:
    """Return the function of now: of each row's instants the first that is to come."""

    def at(now: float) -> Sequence[Value]:
        following = np.where(uses > now, uses, np.inf).min(axis=1)
        return known(np.where(np.isinf(following), np.nan, following))

    return at


def _intervals(rows: "pa.Table", context: Context) -> Sequence[Value]:
    if context.learned is None:
        return [None] * rows.num_rows
    columns = (context.learned.column(name).to_pylist() for name in ("asset_id", "interval_seconds"))
    learned: dict[str, float] = dict(zip(*columns, strict=True))
    return [learned.get(asset_id) for asset_id in rows.column("asset_id").to_pylist()]
