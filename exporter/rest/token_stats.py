"""The life of a token, as far as it can be known: who else uses it shows in the sessions that are lost."""

from collections.abc import Callable
from dataclasses import dataclass, replace

# What Tableau ends by itself is older than this.
SHORTEST_SESSION_SECONDS = 6_600.0
# So many sessions ended early within a day are not restarts of the server any more.
MANY_LOST, DAY_SECONDS = 3, 86_400.0


@dataclass(frozen=True)
class TokenLife:
    """What is known of the token: counts since the agent started, instants in Unix seconds.

    ``lost`` counts sessions that ended before their time; ``collisions`` are those of them that another user of the
    same token is to blame for, as far as can be told. ``lost_at`` are the instants of those lost within a day.
    """

    name: str | None = None
    accepted: bool | None = None
    signed_in_at: float | None = None
    sign_ins: int = 0
    lost: int = 0
    collisions: int = 0
    lost_at: tuple[float, ...] = ()


class Life:
    """Keeps account of one token; ``before`` is what another has kept until now."""

    def __init__(self, clock: Callable[[], float], before: TokenLife | None = None) -> None:
        self._clock = clock
        self.known = before or TokenLife()

    @property
    def lost_of_late(self) -> int:
        """How many sessions were lost within a day."""
        return len(self.known.lost_at)

    def offered(self, name: str) -> None:
        """Note whose credentials are tried: of others nothing is known, and they have lost nothing yet."""
        if name != self.known.name:
            self.known = replace(self.known, name=name, accepted=None, signed_in_at=None, lost_at=())

    def accepted(self) -> None:
        """Note a sign-in."""
        now = self._clock()
        self.known = replace(self.known, accepted=True, signed_in_at=now, sign_ins=self.known.sign_ins + 1)

    def refused(self) -> None:
        """Note that Tableau does not take it."""
        self.known = replace(self.known, accepted=False)

    def lost(self, *, again: bool, shared: bool) -> bool:
        """Note a session that ended, ``again`` in one poll; return whether another user of the token shows in it.

        A session that is not ``shared`` with everybody who has the same credentials is nobody else's doing.
        """
        now, begun = self._clock(), self.known.signed_in_at
        if begun is None or now - begun >= SHORTEST_SESSION_SECONDS:
            return False
        lost_at = (*(at for at in self.known.lost_at if now - at < DAY_SECONDS), now)
        collided = shared and (again or len(lost_at) >= MANY_LOST)
        lost, collisions = self.known.lost + 1, self.known.collisions + collided
        self.known = replace(self.known, lost=lost, collisions=collisions, lost_at=lost_at)
        return collided
