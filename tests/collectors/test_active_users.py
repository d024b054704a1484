"""Distinct users over trailing windows."""

from random import Random
from typing import Any

import numpy as np
import pytest

from exporter.collectors.active_users import WINDOWS, active
from tests.collectors.repositories import Samples, samples

NOW = 1_763_550_000.0
Seen = tuple[str | None, int, float]


def published(seen: list[Seen], *sites: str, now: float = NOW) -> tuple[Samples, Samples]:
    """Return the active users of the sites and of the server."""
    columns: list[Any] = [list(column) for column in zip(*seen, strict=True)] or [[], [], []]
    names, people, times = columns
    arrays = np.array(names, dtype=object), np.array(people, dtype=np.int64), np.array(times, dtype=np.float64)
    blocks = list(active(*arrays, sites))
    return samples(blocks, "tableau_active_users", now), samples(blocks, "tableau_server_active_users", now)


def test_people_are_counted_by_brute_force_alike() -> None:
    """Against sets, for users on several sites, seen several times, at several instants of rendering."""
    chance = Random(5)
    seen: list[Seen] = [
        (chance.choice(("default", "emea", None)), chance.randrange(60), NOW - chance.uniform(0, 40 * 86_400) ** 0.9)
        for _ in range(400)
    ]
    for now in (NOW, NOW + 3000.0, NOW + 10 * 86_400):
        on_sites, on_server = published(seen, "default", "emea", now=now)
        for window, seconds in WINDOWS.items():
            recent = [row for row in seen if row[2] > now - seconds]
            assert on_server[(window,)] == len({person for _, person, _ in recent})
            for site in ("default", "emea"):
                assert on_sites[site, window] == len({person for name, person, _ in recent if name == site})


@pytest.mark.parametrize(
    ("window", "seconds"), [("5m", 300), ("1h", 3600), ("1d", 86_400), ("7d", 604_800), ("30d", 2_592_000)]
)
def test_a_window_ends_where_it_says(window: str, seconds: int) -> None:
    """Open at its beginning: seen exactly so long ago is out."""
    assert published([("default", 1, NOW - seconds)])[1][(window,)] == 0
    assert published([("default", 1, NOW - seconds + 0.001)])[1][(window,)] == 1


def test_a_person_on_two_sites_is_one_on_the_server() -> None:
    """And one on each of the sites."""
    on_sites, on_server = published([("default", 1, NOW - 5000), ("emea", 1, NOW - 10)])
    assert (on_sites["default", "1h"], on_sites["default", "1d"], on_sites["emea", "1h"]) == (0, 1, 1)
    assert (on_server["1h",], on_server["1d",]) == (1, 1)


def test_people_without_a_site_count_for_the_server_only() -> None:
    """The portal counts for the server before its site is known."""
    on_sites, on_server = published([(None, 1, NOW), ("", 2, NOW)], "default")
    assert {site for site, _ in on_sites} == {"default"}
    assert on_server["5m",] == 2


def test_a_quiet_site_has_nobody() -> None:
    """Zero, not absent; a site that only the history has is published too."""
    on_sites, _ = published([("gone", 1, NOW)], "default")
    assert [on_sites["default", window] for window in WINDOWS] == [0] * 5
    assert on_sites["gone", "5m"] == 1
    assert published([], "default")[1] == {(window,): 0 for window in WINDOWS}
    assert published([])[0] == {}


def test_a_clock_that_is_ahead_loses_nobody() -> None:
    """A user seen within a minute counts."""
    assert published([("default", 1, NOW + 60)])[1]["5m",] == 1
