"""Sign-ins and lost sessions of a token: lost sessions show that another program uses the same token."""

from collections.abc import Callable
from dataclasses import dataclass, replace

# Sessions that Tableau ends by itself are older than this.
SHORTEST_SESSION_SECONDS = 6_600.0
# So many sessions ended early within a day are not restarts of the server any more.
MANY_LOST, DAY_SECONDS = 3, 86_400.0


@dataclass(frozen=True)
class TokenStats:
    """Statistics of a token: counts since the agent started, instants in Unix seconds.

    ``lost`` counts sessions that ended early; ``collisions`` are those of them that another user of the same token
    seems to have ended. ``lost_at`` are the instants of those lost within a day.
    """

    name: str | None = None
    accepted: bool | None = None
    signed_in_at: float | None = None
    sign_ins: int = 0
    lost: int = 0
    collisions: int = 0
    lost_at: tuple[float, ...] = ()


class TokenTracker:
    """Counts the events of one token; a client that replaces another one continues with the same tracker."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.stats = TokenStats()

    def offered(self, name: str) -> None:
        """Record the name of the credentials; other credentials begin without a sign-in and without lost sessions."""
        if name != self.stats.name:
            self.stats = replace(self.stats, name=name, accepted=None, signed_in_at=None, lost_at=())

    def accepted(self) -> None:
        """Record a sign-in."""
        now = self._clock()
        self.stats = replace(self.stats, accepted=True, signed_in_at=now, sign_ins=self.stats.sign_ins + 1)

    def refused(self) -> None:
        """Record that Tableau refuses the token."""
        self.stats = replace(self.stats, accepted=False)

    def lost(self, *, again: bool, shared: bool) -> bool:
        """Record a lost session, ``again`` in one poll; return whether another program seems to have ended it.

        Nobody else can end a session that is not ``shared`` by all who have the same credentials.
        """
        now, begun = self._clock(), self.stats.signed_in_at
        if begun is None or now - begun >= SHORTEST_SESSION_SECONDS:
            return False
        lost_at = (*(at for at in self.stats.lost_at if now - at < DAY_SECONDS), now)
        collided = shared and (again or len(lost_at) >= MANY_LOST)
        lost, collisions = self.stats.lost + 1, self.stats.collisions + collided
        self.stats = replace(self.stats, lost=lost, collisions=collisions, lost_at=lost_at)
        return collided
