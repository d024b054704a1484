"""Active users: distinct users over trailing windows, from the last request of each user in the history."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from exporter.collector import Collector, InsightsHooks
from exporter.metrics import Block, Family, Labels

WINDOWS = {"5m": 300.0, "1h": 3600.0, "1d": 86_400.0, "7d": 7 * 86_400.0, "30d": 30 * 86_400.0}
"""The windows and their seconds."""
DAY_SECONDS = 86_400.0

ACTIVE = Family(
    "tableau_active_users",
    "gauge",
    "Distinct users with a request to the site within the window up to now; from the history, evaluated at every"
    " rendering; of Tableau Cloud VizQL requests only, and no window that is shorter than the Activity Log's delay;"
    " without it loads of views only, in windows from 1d on that end at the refresh of Admin Insights.",
    ("site", "window"),
    "repository: http_requests, users; activity log; Admin Insights: TS Events",
)

SERVER_ACTIVE = Family(
    "tableau_server_active_users",
    "gauge",
    "Distinct users with a request to any site within the window up to now, each counted once; from the history,"
    " evaluated at every rendering; of Tableau Cloud VizQL requests only, each user of a site by itself, and no window"
    " that is shorter than the Activity Log's delay; without it loads of views only, in windows from 1d on that end at"
    " the refresh of Admin Insights.",
    ("window",),
    "repository: http_requests, users; activity log; Admin Insights: TS Events",
)

Array = npt.NDArray[Any]


class LastSeen(Protocol):
    """When each person made the last request to each site, as columns; ``seen_at`` in Unix seconds."""

    @property
    def sites(self) -> Array:
        """Labels of sites."""

    @property
    def people(self) -> Array:
        """Numbers of active users."""

    @property
    def seen_at(self) -> Array:
        """Instants."""


def expose(seen: LastSeen, all_sites: Sequence[str], known_until: Mapping[str, float]) -> Sequence[Block]:
    """Expose the active users of each trailing window."""
    return active(seen.sites, seen.people, seen.seen_at, all_sites, known_until)


def active(
    sites: Array,
    people: Array,
    seen_at: Array,
    all_sites: Sequence[str],
    known_until: Mapping[str, float] = MappingProxyType({}),
) -> Sequence[Block]:
    """Return the active users of each site and of the server, counted at the time of rendering.

    A row is a user with a request to a site at that instant (Unix seconds); a site without a label counts for the
    server only. Every one of ``all_sites`` has a sample in each window. A window that began after ``known_until`` of a
    site would be empty whatever happened there: it has no sample.
    """
    labelled = np.array(["" if site is None else str(site) for site in sites.tolist()], dtype=object)
    names = sorted({*all_sites, *set(labelled.tolist())} - {""})
    codes = {name: code for code, name in enumerate(names)}
    code = np.fromiter((codes.get(site, -1) for site in labelled.tolist()), np.int64, len(labelled))
    on_site = code >= 0
    columns = ([name for name in names for _ in WINDOWS], list(WINDOWS) * len(names))
    until = [known_until.get(name) for name in names]
    per_site = _counting(*_latest(code[on_site], people[on_site], seen_at[on_site]), until)
    least = min(known_until.values(), default=None)
    on_server = _counting(*_latest(np.zeros(len(people), np.int64), people, seen_at), [least])
    return [
        Block(ACTIVE, Labels(ACTIVE.labels, columns), per_site),
        Block(SERVER_ACTIVE, Labels(SERVER_ACTIVE.labels, [list(WINDOWS)]), on_server),
    ]


def expose_daily(seen: LastSeen, published: Mapping[str, float]) -> Sequence[Block]:
    """Return the active users of each site and of all, over the windows that end when the site's events were published.

    Admin Insights is refreshed once a day: there is no shorter window.
    """
    if not published:
        return ()
    windows = {name: seconds for name, seconds in WINDOWS.items() if seconds >= DAY_SECONDS}
    blocks = []
    for site, at in published.items():
        own = seen.sites == site
        counting = _counting(*_latest(np.zeros(int(own.sum()), np.int64), seen.people[own], seen.seen_at[own]), [None])
        counts = dict(zip(WINDOWS, counting(at), strict=True))
        labels = Labels(ACTIVE.labels, ([site] * len(windows), list(windows)))
        blocks.append(Block(ACTIVE, labels, [counts[name] for name in windows]))
    everywhere = _counting(*_latest(np.zeros(len(seen.people), np.int64), seen.people, seen.seen_at), [None])
    counts = dict(zip(WINDOWS, everywhere(min(published.values())), strict=True))
    labels = Labels(SERVER_ACTIVE.labels, [list(windows)])
    return [*blocks, Block(SERVER_ACTIVE, labels, [counts[name] for name in windows])]


def _latest(group: Array, people: Array, seen_at: Array) -> tuple[Array, Array]:
    """Keep when each person was last seen in each group; return groups and instants, the earliest instant first."""
    order = np.lexsort((seen_at, people, group))
    group, people, seen_at = group[order], people[order], seen_at[order]
    last = np.ones(len(order), bool)
    last[:-1] = (group[1:] != group[:-1]) | (people[1:] != people[:-1])
    group, seen_at = group[last], seen_at[last]
    order = np.argsort(seen_at, kind="stable")
    return group[order], seen_at[order]


def _counting(group: Array, seen_at: Array, until: Sequence[float | None]) -> Callable[[float], Sequence[int | None]]:
    """Return the function of now that counts: for each group, known until an instant, one number a window."""

    def counts(now: float) -> Sequence[int | None]:
        starts = np.searchsorted(seen_at, [now - seconds for seconds in WINDOWS.values()], side="right")
        table = np.array([np.bincount(group[start:], minlength=len(until)) for start in starts])
        return [
            None if at is not None and at <= now - seconds else int(number)
            for at, row in zip(until, table.T, strict=True)
            for seconds, number in zip(WINDOWS.values(), row, strict=True)
        ]

    return counts


COLLECTOR = Collector(
    "active_users",
    "Active users over trailing windows, by site and for the whole server.",
    expose_last_seen=expose,
    insights=InsightsHooks(expose_seen=expose_daily),
    families=(ACTIVE, SERVER_ACTIVE),
)
