"""What is shown of each asset. The families that speak of the same rows share one set of labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from exporter.collector import Context
from exporter.collectors._columns import Instants, instants, known, texts, values
from exporter.collectors.assets.rows import TAG_SEPARATOR
from exporter.metrics import Block, Family, Labels, Value

if TYPE_CHECKING:
    import pyarrow as pa

HOUR = 3600.0
LABELS = ("site", "project", "asset_type", "asset_id", "asset_name")
SEVERITIES = ("warning", "critical")


def _gauge(name: str, text: str, source: str, *labels: str) -> Family:
    return Family(f"tableau_asset_{name}", "gauge", text, (*LABELS, *labels), f"repository: {source}")


_FRESHNESS = "workbooks, datasources, data_connections, flow_runs"

HOURS = _gauge(
    "hours_since_refresh",
    "Hours since the stalest data of the asset was refreshed, not shown of live connections; from the repository at"
    " every poll, evaluated anew at every rendering.",
    _FRESHNESS,
)
LAST_REFRESH = _gauge(
    "last_refresh_timestamp_seconds",
    "When the stalest data of the asset was refreshed, not shown of live connections; from the repository at every"
    " poll.",
    _FRESHNESS,
)
SLA = _gauge(
    "sla_hours",
    "How old the data of the asset may become by the rules of the configuration, not shown of live connections; from"
    " the repository at every poll.",
    "workbooks, datasources, flows",
    "severity",
)
NEXT_REFRESH = _gauge(
    "next_refresh_timestamp_seconds",
    "When the asset's earliest active schedule runs next; from the repository at every poll.",
    "tasks, schedules",
)
INTERVAL = _gauge(
    "refresh_interval_seconds",
    "The median of the times between the asset's last 20 successful refreshes within 30 days; learned from the history"
    " at every exact poll.",
    "background_jobs, tasks",
)
FAILURES = _gauge(
    "refresh_consecutive_failures",
    "How often in a row the asset's refresh has failed, of several tasks the most; from the repository at every poll.",
    "tasks",
)
SUSPENDED = _gauge(
    "refresh_suspended",
    "Whether Tableau has suspended a refresh of the asset after too many failures; from the repository at every poll.",
    "tasks",
)
INFO = _gauge(
    "info",
    "What else is known of the asset: whose it is, how it is connected, and what its freshness is taken from; from the"
    " repository at every poll.",
    "workbooks, datasources, flows, system_users",
    "content_owner",
    "connection",
    "freshness_source",
)

FAMILIES = (HOURS, LAST_REFRESH, SLA, NEXT_REFRESH, INTERVAL, FAILURES, SUSPENDED, INFO)


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Return the samples of all assets."""
    sites = [context.site(site_id) for site_id in rows.column("site_id").to_pylist()]
    named = [texts(rows, name) for name in LABELS[1:]]
    labels = Labels(LABELS, (sites, *named))
    extra = [texts(rows, name) for name in ("content_owner", "connection", "freshness_source")]
    refreshed = instants(rows, "last_refresh_at")
    return [
        Block(HOURS, labels, _hours_since(refreshed)),
        Block(LAST_REFRESH, labels, known(refreshed)),
        *_promised(rows, labels, context),
        Block(NEXT_REFRESH, labels, known(instants(rows, "next_refresh_at"))),
        Block(INTERVAL, labels, _intervals(rows, context)),
        Block(FAILURES, labels, values(rows, "consecutive_failures")),
        Block(SUSPENDED, labels, values(rows, "suspended")),
        Block(INFO, labels.extended(INFO.labels[len(LABELS) :], extra), [1] * len(sites)),
    ]


def _hours_since(refreshed: Instants) -> Callable[[float], Sequence[Value]]:
    """Return the function of now; the clock of the repository may be ahead of ours, hours are never negative."""
    return lambda now: known(np.maximum((now - refreshed) / HOUR, 0.0))


def _promised(rows: "pa.Table", labels: Labels, context: Context) -> Iterable[Block]:
    """Return the promises of every asset that is not live: for each severity the assets that have one."""
    live = [connection == "live" for connection in texts(rows, "connection")]
    tiers = [
        (None, None) if skipped else context.promises(asset)
        for skipped, asset in zip(live, _described(rows, labels), strict=True)
    ]
    for position, severity in enumerate(SEVERITIES):
        hours = [pair[position] for pair in tiers]
        yield Block(SLA, labels.extended(("severity",), [[severity] * len(hours)]), hours)


def _described(rows: "pa.Table", labels: Labels) -> Iterable[dict[str, str | list[str]]]:
    """Yield each asset as the rules of freshness know it."""
    site, project, asset_type, _, name = labels.columns
    columns = zip(site, project, asset_type, name, texts(rows, "content_owner"), texts(rows, "tags"), strict=True)
    for site_name, path, kind, asset_name, owner, tags in columns:
        yield {
            "site": site_name,
            "project": path,
            "asset_type": kind,
            "name": asset_name,
            "content_owner": owner,
            "tags": tags.split(TAG_SEPARATOR) if tags else [],
        }


def _intervals(rows: "pa.Table", context: Context) -> Sequence[Value]:
    if context.learned is None:
        return [None] * rows.num_rows
    columns = (context.learned.column(name).to_pylist() for name in ("asset_id", "interval_seconds"))
    learned: dict[str, float] = dict(zip(*columns, strict=True))
    return [learned.get(asset_id) for asset_id in rows.column("asset_id").to_pylist()]
