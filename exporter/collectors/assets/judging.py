"""Whether what was promised of each asset is kept: the rows of the table ``freshness_audit``."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collectors._columns import MICROSECONDS, Instants, instants, texts
from exporter.collectors.assets.describing import promised
from exporter.collectors.assets.samples import HOUR
from exporter.freshness import SlaLookup

HEALTHY, WARNING, CRITICAL, LIVE, UNKNOWN = STATUSES = ("Healthy", "Warning", "Critical", "Live", "Unknown")
"""What an asset may be found to be: Unknown has data, of which nobody says when it was refreshed."""

SCHEMA = pa.schema(
    {
        "asset_type": pa.string(),
        "asset_id": pa.string(),
        "asset_name": pa.string(),
        "owner_id": pa.string(),
        "project_name": pa.string(),
        "last_refresh_utc": pa.timestamp("us"),
        "hours_since_refresh": pa.float64(),
        "status": pa.string(),
        "audit_timestamp": pa.timestamp("us"),
        "site": pa.string(),
        "connection": pa.string(),
        "sla_hours": pa.float64(),
        "freshness_source": pa.string(),
    }
)
"""The columns of ``freshness_audit``, in order; instants are UTC."""


def judge(rows: pa.Table, promises: SlaLookup, now: float) -> pa.Table:
    """Return a row of ``freshness_audit`` for each asset, in the same order; ``now`` in Unix seconds.

    Stale is what is older than was promised by any measure. ``sla_hours`` is the critical promise, NULL where there is
    none. What is live has neither refresh, hours nor promise. Healthy is only what is known to be: not what has
    ``updated_at`` alone, nor what reads data that is not known.
    """
    live = np.array([connection == "live" for connection in texts(rows, "connection")], dtype=np.bool_)
    refreshed = np.where(live, np.nan, instants(rows, "last_refresh_at"))
    hours = np.maximum((now - refreshed) / HOUR, 0.0)
    unsure = np.array([source == "updated_at" for source in texts(rows, "freshness_source")], dtype=np.bool_)
    kinds = zip(texts(rows, "connection"), texts(rows, "asset_type"), strict=True)
    unsure |= np.array([not connection and kind != "flow" for connection, kind in kinds], dtype=np.bool_)
    tiers = np.array(promised(rows, texts(rows, "site"), promises), dtype=np.float64).reshape(rows.num_rows, 2)
    at = np.full(rows.num_rows, round(now * MICROSECONDS))
    columns = {
        "project_name": rows.column("project"),
        "last_refresh_utc": _refreshes(rows, refreshed),
        "hours_since_refresh": _known(hours),
        "status": pa.array(
            np.array(STATUSES, dtype=object)[places_of_statuses(live, unsure, hours, tiers)], pa.string()
        ),
        "audit_timestamp": pa.array(at, pa.timestamp("us")),
        "sla_hours": _known(tiers[:, 1]),
    }
    return pa.table(
        [columns[name] if name in columns else rows.column(name) for name in SCHEMA.names], SCHEMA.names
    ).cast(SCHEMA)


def places_of_statuses(
    live: npt.NDArray[np.bool_], unsure: npt.NDArray[np.bool_], hours: Instants, tiers: Instants
) -> npt.NDArray[np.int8]:
    """Return the place of each asset's status in STATUSES; a comparison with what is not a number is false.

    ``unsure`` are those whose data may be older than ``hours``; ``tiers`` are the hours of warning and critical, a
    column each.
    """
    warning, critical = tiers[:, 0], tiers[:, 1]
    found = np.full(len(live), STATUSES.index(HEALTHY), dtype=np.int8)
    found[unsure] = STATUSES.index(UNKNOWN)
    found[hours > warning] = STATUSES.index(WARNING)
    found[hours > critical] = STATUSES.index(CRITICAL)
    found[np.isnan(hours)] = STATUSES.index(UNKNOWN)
    found[live] = STATUSES.index(LIVE)
    return found


def _refreshes(rows: pa.Table, refreshed: Instants) -> pa.ChunkedArray:
    """Return the instants as they were read, NULL where they are none: as seconds they would lose microseconds."""
    known = pa.array(~np.isnan(refreshed))
    return pc.if_else(known, rows.column("last_refresh_at"), pa.scalar(None, pa.timestamp("us")))


def _known(numbers: Instants) -> pa.Array:
    return pa.array(numbers, pa.float64(), mask=np.isnan(numbers))
