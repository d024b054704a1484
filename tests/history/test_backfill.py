"""A backfill of the rows of a history equals the agent's exposition when it archived them."""

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import duckdb
import pytest

from exporter.backfill import parts_of
from exporter.collectors.active_users import WINDOWS
from exporter.history.backfill import Steps, extent, read_samples
from exporter.history.pruning import prune_in_steps
from tests.history.polled_history import (
    BEGUN,
    DAY,
    FAMILIES,
    HOUR,
    PERSONS,
    SITES,
    Live,
    PolledHistory,
    backfilled,
    naive,
    poll_hours,
    without_zeros,
)
from tests.history.synthetic_history import EVENTS

HOURS = 52
END = BEGUN + HOURS * HOUR
REQUESTS, ACTIVE, ON_SERVER = "tableau_http_requests_total", "tableau_active_users", "tableau_server_active_users"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> PolledHistory:
    """Two days of polls, and some."""
    return poll_hours(tmp_path_factory.mktemp("lived") / "history.duckdb", HOURS)


@pytest.fixture
def polled(original: PolledHistory, tmp_path: Path) -> PolledHistory:
    """A copy of the same history, which a test may change."""
    copy = tmp_path / "history.duckdb"
    copy.write_bytes(original.path.read_bytes())
    return replace(original, path=copy)


def assert_alike(found: Live, live: Live) -> None:
    """Compare samples: sums are added up in another order."""
    assert found.keys() == live.keys()
    assert found == pytest.approx(live, rel=1e-9)


def test_every_sample_is_the_live_one(polled: PolledHistory) -> None:
    """At each hour the series, their labels and buckets and their values are those that were exposed then."""
    found = backfilled(polled.path, BEGUN, END)
    for at, live in polled.live.items():
        assert_alike(without_zeros(found[at]), live)
    published = {re.sub(r"_(bucket|sum|count)$", "", name.partition("{")[0]) for name in live}
    assert published == set(FAMILIES)


def test_counters_begin_with_a_zero(polled: PolledHistory) -> None:
    """One step before it counts, so that the first requests are an increase too."""
    found = backfilled(polled.path, BEGUN, END, 900, [REQUESTS])
    first: dict[str, float] = {}
    for at in sorted(found):
        first = {**found[at], **first}
    assert set(first.values()) == {0.0}
    last = max(found)
    assert sum(found[last].values()) == sum(v for name, v in polled.live[last].items() if name.startswith(REQUESTS))


def test_counters_never_fall(polled: PolledHistory) -> None:
    """Over the whole range, whatever is in it."""
    found = backfilled(polled.path, BEGUN, END, 420, by_day=True)
    before: Live = {}
    for at in sorted(found):
        counters = {name: value for name, value in found[at].items() if "_asset_" not in name and "active" not in name}
        assert before.keys() <= counters.keys()
        assert all(counters[name] >= value for name, value in before.items())
        before = counters
    assert len(before) > 100


@pytest.mark.parametrize("step", [3600, 420, 90_000])
def test_days_are_the_pieces_of_the_whole(polled: PolledHistory, step: int) -> None:
    """Also where the step does not divide the day, and where a day has none."""
    whole, pieces = backfilled(polled.path, BEGUN, END, step), backfilled(polled.path, BEGUN, END, step, by_day=True)
    assert whole.keys() == pieces.keys()
    for at, samples in whole.items():
        assert_alike(pieces[at], samples)


def test_a_part_of_the_range_is_a_part_of_the_whole(polled: PolledHistory) -> None:
    """Earlier rows are in the first value, later ones are not."""
    since, until = BEGUN + 31 * HOUR, BEGUN + 50 * HOUR
    whole, part = backfilled(polled.path, BEGUN, END), backfilled(polled.path, since, until)
    assert sorted(part) == [at for at in sorted(whole) if since.timestamp() <= at <= until.timestamp()]
    for at, samples in part.items():
        assert_alike(without_zeros(samples), without_zeros(whole[at]))


@pytest.mark.parametrize("step", [60, 420, 7200])
def test_active_users_against_sets(polled: PolledHistory, step: int) -> None:
    """Each step counts the distinct users of its windows, however long the step is."""
    until = BEGUN + 30 * HOUR
    found = backfilled(polled.path, BEGUN, until, step, [ACTIVE, ON_SERVER])
    made = _requests_of(polled.path)
    for at in Random(1).sample(sorted(found), min(40, len(found))):
        for window, seconds in WINDOWS.items():
            recent = [(site, who) for site, who, when in made if at - seconds < when <= at]
            assert found[at][f'{ON_SERVER}{{window="{window}"}}'] == len({who for _, who in recent})
            for site, label in SITES.items():
                series = f'{ACTIVE}{{site="{label}",window="{window}"}}'
                assert found[at][series] == len({who for where, who in recent if where == site})


def _requests_of(path: Path) -> list[tuple[int | None, int, float]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT site_id, user_id, epoch(created_at) FROM http_requests WHERE user_id IS NOT NULL"
            " UNION ALL SELECT site_id, user_id, epoch(created_at) FROM http_requests_open WHERE user_id IS NOT NULL"
        ).fetchall()
    return [(site, PERSONS.get(user, -user), when) for site, user, when in rows]


def test_nobody_is_active_where_nobody_is_named(polled: PolledHistory) -> None:
    """Without the users of requests active users are unknown, which is absent and not 0."""
    with duckdb.connect(str(polled.path)) as connection:
        connection.execute("UPDATE http_requests SET user_id = NULL; UPDATE http_requests_open SET user_id = NULL")
    assert backfilled(polled.path, BEGUN, END, names=[ACTIVE, ON_SERVER]) == {}


def test_a_pruned_history(polled: PolledHistory) -> None:
    """Pruned rows are in the first value of the counters; a window that reaches into it is absent.

    What was open when its row was pruned completed within a day.
    """
    before = BEGUN + 20 * HOUR
    list(prune_in_steps(polled.file, EVENTS, naive(before)))
    found = backfilled(polled.path, before + 25 * HOUR, END, names=[REQUESTS, ACTIVE])
    for at, samples in found.items():
        live = {name: value for name, value in polled.live[at].items() if name.partition("{")[0] in {REQUESTS, ACTIVE}}
        cut = [w for w, seconds in WINDOWS.items() if at - seconds < before.timestamp()]
        expected = {name: value for name, value in live.items() if not any(f'window="{w}"' in name for w in cut)}
        assert_alike(without_zeros(samples), expected)
    assert any('window="1d"' in name for name in found[max(found)])


def test_rows_that_were_never_counted(polled: PolledHistory) -> None:
    """Requests that the live counters do not have, such as imported ones, count all the same, and nothing falls."""
    with duckdb.connect(str(polled.path)) as connection:
        connection.execute("INSERT INTO http_requests BY NAME SELECT * REPLACE (id + 100000 AS id) FROM http_requests")
    found = backfilled(polled.path, BEGUN, END, names=[REQUESTS])
    last = round(END.timestamp())
    live = {name: value for name, value in polled.live[last].items() if name.startswith(REQUESTS)}
    assert without_zeros(found[last]) == {name: 2 * value for name, value in live.items()}


def test_a_request_that_never_completed_counts_a_day_later(polled: PolledHistory) -> None:
    """When the agent gives it up: the live counter would otherwise begin lower than the backfilled one ends."""
    with duckdb.connect(str(polled.path)) as connection:
        connection.execute("DELETE FROM http_requests WHERE id > 1; DELETE FROM counters; DELETE FROM histograms")
        connection.execute("UPDATE http_requests SET completed_at = NULL, created_at = ?", [naive(BEGUN)])
    found = backfilled(polled.path, BEGUN, END, names=[REQUESTS])
    counted = [at for at in sorted(found) if sum(found[at].values())]
    assert counted[0] == round((BEGUN + DAY).timestamp())


def test_instants_that_are_none(polled: PolledHistory) -> None:
    """Requests without a finite instant were counted before the range, one of the year 9999 after it."""
    before = backfilled(polled.path, BEGUN, END, names=[REQUESTS, ACTIVE])
    with duckdb.connect(str(polled.path)) as connection:
        for instant in ("infinity", "-infinity", None, "9999-01-01"):
            connection.execute(
                "INSERT INTO http_requests BY NAME"
                " SELECT * REPLACE ($at::TIMESTAMP AS created_at, $at::TIMESTAMP AS completed_at) FROM http_requests"
                " WHERE site_id = 1 AND controller = 'vizql' AND action = 'show' AND status = 200 LIMIT 1",
                {"at": instant},
            )
        connection.execute(
            "UPDATE counters SET value = value + 4 WHERE family = ? AND labels = ['default', 'vizql', 'show', '2xx']",
            [REQUESTS],
        )
    found = backfilled(polled.path, BEGUN, END, names=[REQUESTS, ACTIVE])
    series = f'{REQUESTS}{{site="default",controller="vizql",action="show",status_class="2xx"}}'
    for at, samples in before.items():
        assert without_zeros(found[at]) == without_zeros({**samples, series: samples.get(series, 0) + 3})


def test_an_asset_that_is_gone(polled: PolledHistory) -> None:
    """Its last row holds for a day and as long as a list is published without a new one."""
    with duckdb.connect(str(polled.path)) as connection:
        connection.execute("DELETE FROM freshness_audit WHERE audit_timestamp > ?", [naive(BEGUN + 2 * HOUR)])
    found = backfilled(polled.path, BEGUN, END, 300, ["tableau_asset_hours_since_refresh"])
    last_audit = BEGUN + 2 * HOUR
    assert max(found) == round((last_audit + DAY).timestamp()) + 600


def test_the_agent_polls_in_between(polled: PolledHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices the file is free; rows archived meanwhile change no earlier value."""
    monkeypatch.setattr("exporter.history.backfill.reader.HOLD_SECONDS", 0.0)
    undisturbed = backfilled(polled.path, BEGUN, END, names=[REQUESTS])
    file = replace(polled.file, read_only=True)
    parts, steps = parts_of([REQUESTS]), Steps.between(naive(BEGUN), naive(END), 3600)
    polls: list[int] = []

    def poll(done: int, _total: int) -> None:
        polls.append(done)
        with duckdb.connect(str(polled.path)) as connection:
            connection.execute("UPDATE counters SET value = value + 1")

    with read_samples(file, parts, steps, extent(file, parts).newest, poll) as synthetic:
        (family,) = parts[0].families
        last = [samples.values[samples.steps == steps.last].sum() for samples in synthetic.samples(family, steps)]
    assert polls == [1, 2, 3]
    assert sum(last) == sum(undisturbed[max(undisturbed)].values())
