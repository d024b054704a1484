"""Chooses a fast, exact or full read of a table; detects truncation, restore and rewrite. Pure functions of signals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from exporter.history.positions import Position
from exporter.repository.session import STANDBY_MARK, Snapshot

Mode = Literal["fast", "exact", "full"]

# age() counts back in 32 bits from the next transaction: beyond half of them, less a margin, it takes old for new.
HORIZON_LIMIT = 2**31 - 10**6
# A sequential scan of this size is cheap enough for every poll.
SMALL_BYTES = 64_000_000
# A new row's id may be smaller than one already seen; FAST looks back this far, EXACT needs no such guess.
OVERLAP = 1_000

_SAME_DATABASE = ("system_identifier", "database_oid", "table_oid")
# A server that crashed may reuse transaction ids that were read: those that never reached its disk.
_SAME_SERVER = ("postmaster_started_at", "statistics_since", "node")


@dataclass(frozen=True)
class Incident:
    """An incident at the source: one of ``INCIDENT_KINDS``, and a line of detail."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Extent:
    """The ids that the source holds at a snapshot, and whether the newest row archived is still among them."""

    min_id: int | None
    max_id: int | None
    holds_newest: bool
    inserted: int = 0
    """How many rows the server had counted into the table before the snapshot."""


@dataclass(frozen=True)
class Plan:
    """How to read, and the incidents that were detected."""

    mode: Mode
    incidents: tuple[Incident, ...] = ()
    possibly_lost: int = 0
    truncated: bool = False
    """The table was truncated and is still empty: the loss can only be computed from the next row."""
    emptied: bool = False
    """The table was truncated since the last row was read."""
    rewritten: bool = False
    """The table was rewritten, perhaps with other rows of the same ids."""
    comparable: bool = True
    """The server's statistics go on from where they were at the position."""
    replaced: bool = False
    """Another table stands in the place of the one read before: the server has counted all of its rows."""

    @property
    def doubtful(self) -> bool:
        """Whether rows may have been removed all at once: known rows do not prove that a table was only rewritten."""
        return self.emptied or self.rewritten or self.replaced

    @property
    def waits(self) -> bool:
        """Whether possibly lost requests are counted only when the next row is read."""
        return self.truncated and self.comparable


def plan(
    position: Position | None, snapshot: Snapshot, extent: Extent, columns: Mapping[str, str], *, exact_due: bool
) -> Plan:
    """Choose how to read a table."""
    if position is None or position.horizon is None:
        return Plan("full")
    # A signal that an older agent did not store is ignored.
    changed = [name for name, value in asdict(snapshot.identity).items() if position.identity.get(name, value) != value]
    went_back = snapshot.xmax < position.xmax
    incidents = [
        *_identity_incidents(changed, snapshot, extent, went_back=went_back),
        *_schema_incidents(position.columns, columns),
    ]
    emptied = position.truncated or any(incident.kind == "truncated" for incident in incidents)
    full = (
        bool(changed)
        or went_back
        or snapshot.xmax - position.horizon > HORIZON_LIMIT
        or _lost_columns(position.columns, columns)
    )
    exact = exact_due or snapshot.bytes <= SMALL_BYTES
    return Plan(
        "full" if full else "exact" if exact else "fast",
        tuple(incidents),
        _possibly_lost(position, extent, emptied=emptied),
        emptied and extent.min_id is None,
        emptied,
        any(incident.kind == "rewritten" for incident in incidents),
        not set(changed) - {"relfilenode"},
        "table_oid" in changed and "system_identifier" not in changed,
    )


def _identity_incidents(
    changed: Sequence[str], snapshot: Snapshot, extent: Extent, *, went_back: bool
) -> list[Incident]:
    if any(name in changed for name in _SAME_DATABASE):
        return [Incident("restored", "another table stands in the place of the one read before: " + ", ".join(changed))]
    # A standby that is behind has lost nothing: what it lacks is yet to come.
    if went_back and not snapshot.identity.node.endswith(STANDBY_MARK):
        return [Incident("restored", "the transaction counter went back")]
    if "relfilenode" in changed and not went_back:
        if extent.holds_newest:
            return [Incident("rewritten", "the table was rewritten; its newest id is still there")]
        return [Incident("truncated", "the table was emptied")]
    if any(name in changed for name in _SAME_SERVER):
        return [Incident("server_changed", "another server answers, or it was restarted: " + ", ".join(changed))]
    return []


def _schema_incidents(before: Mapping[str, str], now: Mapping[str, str]) -> list[Incident]:
    parts = [f"added {name}" for name in now if name not in before]
    parts += [f"dropped {name}" for name in before if name not in now]
    parts += [f"{name} is now {now[name]}" for name in before if name in now and before[name] != now[name]]
    return [Incident("schema_changed", ", ".join(parts))] if parts else []


def _lost_columns(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    return any(now.get(name) != kind for name, kind in before.items())


def _possibly_lost(position: Position, extent: Extent, *, emptied: bool) -> int:
    """Count the ids between the newest archived and the oldest left: an upper bound of requests deleted unread."""
    if extent.min_id is None or position.max_id is None:
        return 0
    if extent.min_id > position.max_id:
        return extent.min_id - position.max_id - 1
    # The ids restarted: those below the first row's may have been used since.
    return max(extent.min_id - 1, 0) if emptied else 0


def horizon_xid(horizon: int) -> str:
    """Return the horizon as PostgreSQL's 32-bit transaction id; never one of the three that are no transaction's."""
    low = horizon % 2**32
    return str(low if low > 2 else (horizon - 3) % 2**32)
