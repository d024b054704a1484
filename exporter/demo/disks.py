"""Disks of the simulated Tableau Server: what it records of them, and the one that fills and is cleaned again.

In the past every record is an hour after the last one; a living server records every few seconds.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from exporter.demo.rows import Row

TOTAL_BYTES = 500 * 10**9
DISKS = (("node1", "/", 0.3), ("node1", "/var/opt/tableau", 0.5), ("node2", "/var/opt/tableau", 0.6))
"""Node, path and the used share; the last one fills."""
RECORDED = timedelta(days=2)
EVERY = timedelta(seconds=5)
# From the usual share to almost full, full for a while, then as before.
FILLING, FULL, PERIOD = timedelta(minutes=5), timedelta(minutes=6), timedelta(minutes=10)
FULL_SHARE = 0.97
WARNING, CRITICAL = 0.8, 0.9
NORMAL_STATE, WARNING_STATE, CRITICAL_STATE = 1, 2, 3


def past(now: datetime) -> Iterator[Row]:
    """Yield the records of the last days, an hour apart; the last of each disk was just now."""
    for hours in range(int(RECORDED / timedelta(hours=1)), -1, -1):
        for node, path, share in DISKS:
            yield record(node, path, share, now - timedelta(hours=hours))


def records(since: datetime, now: datetime) -> Iterator[Row]:
    """Yield a record of each disk now, on a server that lives ``since`` an instant."""
    for node, path, share in DISKS:
        is_filling = (node, path, share) == DISKS[-1]
        yield record(node, path, _filled(share, now - since) if is_filling else share, now)


def record(node: str, path: str, share: float, at: datetime) -> Row:
    """Return a row of historical_disk_usage."""
    state = CRITICAL_STATE if share >= CRITICAL else WARNING_STATE if share >= WARNING else NORMAL_STATE
    return {
        "worker_id": node,
        "resource_type": 1,
        "path": path,
        "total_space_bytes": TOTAL_BYTES,
        "used_space_bytes": int(share * TOTAL_BYTES),
        "state": state,
        "record_timestamp": at,
    }


def _filled(share: float, age: timedelta) -> float:
    at = age % PERIOD
    if at >= FULL:
        return share
    return share + (FULL_SHARE - share) * min(at / FILLING, 1.0)
