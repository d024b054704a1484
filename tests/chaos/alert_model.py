"""Model of an alert's states, computed from its rule's samples, without the agent's code.

After a kill, or while another program holds the history file, the agent's memory is uncertain: so an alert has every
possible course, and its notifications settle which of them it is.
"""

from dataclasses import dataclass, field, replace

# As they are documented, in seconds.
SILENT_BEFORE_END, SENT_AFTER_END = 60.0, 120.0
BELIEVED, OWED_TO_ALL, OWED_TO_NOTIFIED = 240.0, 900.0, 86_400.0

HOLDS, AWAY, UNKNOWN, RAISES = "holds", "away", "unknown", "raises"


@dataclass(frozen=True)
class State:
    """One possible course of an alert: since when it holds, when it fired, since when it is away."""

    since: float | None = None
    fired: float | None = None
    away: float | None = None


@dataclass(frozen=True)
class End:
    """A possible end of an alert: its notification, and when it was over."""

    fired: float
    away: float
    over: float


QUIET = State()


@dataclass
class ModelAlert:
    """One alert: the possible states in the agent's memory, and in its file."""

    wait: float
    keep: float
    memory: set[State] = field(default_factory=lambda: {QUIET})
    kept: set[State] = field(default_factory=lambda: {QUIET})
    ends: set[End] = field(default_factory=set)
    """Every end that may have come within the last day."""
    ended_now: set[End] = field(default_factory=set)
    notified: bool = False
    """Whether its agent notified since its last samples: it writes before it sends."""
    over_unread: bool = False
    """Whether it ended while the agent could not read the last agent's state."""

    def begin(self) -> None:
        """An agent begins that has not read the file yet."""
        self.memory, self.over_unread = {QUIET}, False

    def read(self) -> None:
        """The agent reads the file."""
        if not self.over_unread:
            self.memory = {_merged(kept, seen) for kept in self.kept for seen in self.memory}

    def look(self, seen: str, now: float, *, unread: bool) -> None:
        """Evaluate."""
        self.notified = False
        self.ends = {end for end in self.ends if now - end.over < OWED_TO_NOTIFIED + 300}
        gone_on = [self._gone_on(state, seen, now) for state in self.memory]
        self.ended_now = {end for _, end in gone_on if end is not None}
        self.ends |= self.ended_now
        self.over_unread = self.over_unread or (unread and bool(self.ended_now))
        self.memory = {state for state, _ in gone_on}

    def _gone_on(self, state: State, seen: str, now: float) -> tuple[State, End | None]:
        if seen == HOLDS:
            since = now if state.since is None else min(state.since, now)
            fires = state.fired is None and now - since >= self.wait
            return State(since, now if fires else state.fired), None
        if seen == RAISES or (seen == UNKNOWN and state.away is None):
            return state, None
        if state.fired is None:
            return QUIET, None
        away = now if state.away is None else min(state.away, now)
        if now - away >= self.keep + SENT_AFTER_END:
            return QUIET, End(state.fired, away, now)
        return replace(state, away=away), None

    def hear_firing(self, starts_at: float, now: float) -> bool:
        """Return whether it may be sent as firing; the notification settles its course."""
        right = {
            state
            for state in self.memory
            if state.fired is not None
            and min(state.fired, now) == starts_at
            and (state.away is None or now - state.away < self.keep - SILENT_BEFORE_END)
        }
        return self._hear(right)

    def hear_end(self, starts_at: float, ends_at: float, now: float) -> bool:
        """Return whether this end of it may be sent."""
        right = {end.fired for end in self.ends if (min(end.fired, now), end.away) == (starts_at, ends_at)}
        return bool(right) and self._hear({state for state in self.memory if state.fired is None})

    def _hear(self, right: set[State]) -> bool:
        if right:
            self.memory, self.notified = right, True
        return bool(right)

    def write(self) -> None:
        """Write the remembered state."""
        self.kept = set(self.memory)

    def may_be_written(self) -> None:
        """Leave open whether it was written; but every sent alert was written before."""
        self.kept = set(self.memory) if self.notified else self.kept | self.memory

    @property
    def fires(self) -> bool:
        """Whether it fires, or has fired and not ended, whatever course it took."""
        return all(state.fired is not None for state in self.memory)

    @property
    def may_fire(self) -> bool:
        """Whether there is a course in which it does."""
        return any(state.fired is not None for state in self.memory)

    def must_be_open(self, now: float, seconds: float) -> bool:
        """Return whether it has fired for so long, and is not about to end."""
        return all(
            state.fired is not None
            and now - state.fired >= seconds
            and (state.away is None or now - state.away < self.keep - SILENT_BEFORE_END)
            for state in self.memory
        )


def _merged(kept: State, seen: State) -> State:
    """Continue the stored course with the new samples."""
    if kept.since is None or seen.since is None:
        return seen if kept.since is None else kept
    return State(kept.since, seen.fired if kept.fired is None else kept.fired, seen.away)
