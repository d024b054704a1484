"""Disks of the nodes of Tableau Server, as it records them itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from exporter.collector import Collector, Context, State, relation
from exporter.collectors._arrow import texts, values
from exporter.metrics import Block, Family, Labels

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Disk:
    """The newest record of a disk; ``state`` is Tableau's own number."""

    node: str
    path: str
    used_bytes: int | None
    total_bytes: int | None
    state: int | None
    recorded_at: datetime


READS = (
    relation(
        "historical_disk_usage",
        # As it is there: a cast would keep PostgreSQL from its index.
        "id integer, worker_id text, path text, used_space_bytes bigint, total_space_bytes bigint,"
        " record_timestamp timestamp",
        "state bigint",
        optional=True,
    ),
)

# A node that recorded nothing for a day was removed, or records no more: its disks must not stay for ever. A record of
# tomorrow, of a wrong clock, would be the newest for ever. The last 20,000 records are four days of 50 nodes with four
# disks each, and are found by the key: the table is not scanned, however old it is.
SQL = """
    SELECT DISTINCT ON (coalesce(historical_disk_usage.worker_id, ''), historical_disk_usage.path)
        coalesce(historical_disk_usage.worker_id, '') AS node,
        historical_disk_usage.path AS path,
        historical_disk_usage.used_space_bytes AS used_bytes,
        historical_disk_usage.total_space_bytes AS total_bytes,
        historical_disk_usage.state AS state,
        historical_disk_usage.record_timestamp AS recorded_at
    FROM historical_disk_usage
    WHERE historical_disk_usage.id > (SELECT max(newest.id) - 20000 FROM historical_disk_usage AS newest)
        AND historical_disk_usage.record_timestamp > now() AT TIME ZONE 'UTC' - interval '1 day'
        AND historical_disk_usage.record_timestamp < now() AT TIME ZONE 'UTC' + interval '1 hour'
        AND historical_disk_usage.path <> ''
    ORDER BY
        coalesce(historical_disk_usage.worker_id, ''),
        historical_disk_usage.path,
        historical_disk_usage.record_timestamp DESC,
        historical_disk_usage.id DESC
"""

STATES = {1: "normal", 2: "warning", 3: "critical"}
OTHER = "other"
SOURCE = "repository: historical_disk_usage"

USED = Family(
    "tableau_server_disk_used_bytes",
    "gauge",
    "Used space of the disk of the node, as Tableau last recorded it; from the repository at every exact poll.",
    ("node", "path"),
    SOURCE,
)
TOTAL = Family(
    "tableau_server_disk_total_bytes",
    "gauge",
    "Size of the disk of the node, as Tableau last recorded it; from the repository at every exact poll.",
    ("node", "path"),
    SOURCE,
)
STATE = Family(
    "tableau_server_disk_state",
    "gauge",
    "The state that Tableau gives the disk of the node, 1 for this one alone; from the repository at every exact poll.",
    ("node", "path", "state"),
    SOURCE,
)


def expose(rows: "pa.Table", context: Context) -> Sequence[Block]:
    """Publish used and total bytes and the state of each disk; what was not recorded is absent."""
    del context
    labels = Labels(USED.labels, (texts(rows, "node"), texts(rows, "path")))
    states = rows.column("state").to_pylist()
    named = ["" if state is None else STATES.get(state, OTHER) for state in states]
    return (
        Block(USED, labels, [_recorded(size, 0) for size in values(rows, "used_bytes")]),
        Block(TOTAL, labels, [_recorded(size, 1) for size in values(rows, "total_bytes")]),
        Block(STATE, labels.extended(("state",), [named]), [1 if name else None for name in named]),
    )


def _recorded(size: float | None, least: int) -> float | None:
    """Return a size that a disk can have."""
    return size if size is not None and size >= least else None


COLLECTOR = Collector(
    "disks",
    "Disks of the nodes of Tableau Server: used and total space, and Tableau's own state.",
    states=(State(Disk, READS, SQL, (USED, TOTAL, STATE), expose, every="exact"),),
)
