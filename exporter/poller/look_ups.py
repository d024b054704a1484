"""Look-ups of jobs by their id: what is known is not asked again, and no more is asked in a day than was allowed."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from exporter.inventory import REFRESHES

DAY_SECONDS = 86_400.0
REMEMBERED_SECONDS = 31 * DAY_SECONDS


class LookUps:
    """What was looked up, and when (Unix seconds)."""

    def __init__(self, a_day: int) -> None:
        self._a_day = a_day
        self._spent: list[tuple[float, int]] = []
        self.known: pa.Table = REFRESHES.empty_table()
        """Rows of Refresh: the jobs whose asset is known."""

    def remember(self, known: pa.Table, recently: int, now: float) -> None:
        """Take up what was known before a restart, and how many look-ups its last day had."""
        self.known = known.cast(REFRESHES)
        self._spent = [(now, recently)]

    def add(self, looked_up: pa.Table, spent: int, now: float) -> None:
        """Take up what was looked up just now, and what that took; old jobs are forgotten, as Tableau forgets them."""
        known = pa.concat_tables([self.known, looked_up.cast(REFRESHES)])
        since = datetime.fromtimestamp(now - REMEMBERED_SECONDS, UTC).replace(tzinfo=None)
        old = pc.less(known.column("completed_at"), pa.scalar(since, pa.timestamp("us")))
        self.known = known.filter(pc.invert(pc.fill_null(old, False)))  # noqa: FBT003 - the value
        self._spent.append((now, spent))

    def left(self, now: float) -> int:
        """Return how many look-ups the day that ends now still allows."""
        self._spent = [(at, count) for at, count in self._spent if now - at < DAY_SECONDS]
        return max(0, self._a_day - sum(count for _, count in self._spent))
