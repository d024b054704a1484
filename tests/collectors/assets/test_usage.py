"""The use of assets, as it is learned from the openings of made histories."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest

from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.collectors.assets.usage import learn_usage, local_time, usage_text
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.habits import habits
from exporter.demo.traffic import past
from exporter.history.arrow import registered

BERLIN = "Europe/Berlin"
DAYS = 90
# The Monday after the clocks went back, before work begins.
NOW = datetime(2026, 10, 26, 4, 0)  # noqa: DTZ001 - UTC, naive
HOLIDAYS = {date(2026, 9, 14), date(2026, 10, 2)}
Opening = tuple[datetime, str, int | None]


@dataclass(frozen=True)
class Rhythm:
    """A workbook that is first opened about ``at`` on some weekdays (1 is Monday) by some users."""

    at: time
    weekdays: Sequence[int]
    users: int = 3
    jitter_minutes: float = 12.0


def opened(name: str, rhythm: Rhythm, random: Random, zone: str = BERLIN) -> Iterator[Opening]:
    """Yield the openings of 90 days: none on holidays, and one day of ten is left out."""
    for number in range(DAYS):
        day = NOW.date() - timedelta(days=number + 1)
        if day.isoweekday() not in rhythm.weekdays or day in HOLIDAYS or random.random() < 0.1:
            continue
        for user in range(rhythm.users):
            minutes = random.gauss(0, rhythm.jitter_minutes) if user == 0 else random.uniform(15, 420)
            local = datetime.combine(day, rhythm.at, ZoneInfo(zone)) + timedelta(minutes=minutes)
            yield local.astimezone(UTC).replace(tzinfo=None), name, user + 1


def at_any_time(name: str, random: Random, share: float) -> Iterator[Opening]:
    """Yield openings at any time of some days."""
    for number in range(DAYS):
        if random.random() < share:
            yield NOW - timedelta(days=number, hours=random.uniform(1, 24)), name, 1


def book(name: str, zone: str | None = BERLIN, uses: str | None = None) -> dict[str, object]:
    """Return the row of a workbook."""
    return {
        **dict.fromkeys(ARROW_SCHEMA.names),
        "site": "default",
        "asset_type": "workbook",
        "asset_id": name,
        "content_url": name,
        "time_zone": zone,
        "uses": uses,
    }


def learned(
    openings: Sequence[Opening], books: Sequence[Mapping[str, object]], now: datetime = NOW, default: str = "UTC"
) -> dict[str, dict[str, object]]:
    """Return what is learned of each asset."""
    slots = [
        at - timedelta(minutes=at.minute % 5, seconds=at.second, microseconds=at.microsecond) for at, *_ in openings
    ]
    rows = pa.table(
        {
            "slot": pa.array(slots, pa.timestamp("us")),
            "site_id": pa.array([1] * len(slots), pa.int64()),
            "workbook": pa.array([name for _, name, _ in openings], pa.string()),
            "user_id": pa.array([user for *_, user in openings], pa.int64()),
        }
    )
    sites = pa.table({"id": pa.array([1]), "url_namespace": pa.array([""])})
    with duckdb.connect() as connection, registered(connection, workbook_opens=rows, latest_sites=sites):

        def query(sql: str, tables: Mapping[str, pa.Table], **params: datetime) -> pa.Table:
            with registered(connection, **tables):
                return connection.sql(sql, params=params or None).to_arrow_table()

        found = learn_usage(query, pa.Table.from_pylist(list(books), schema=ARROW_SCHEMA), default, now)
    return {row["asset_id"]: row for row in found.to_pylist()}


def following(row: Mapping[str, object] | None, now: datetime = NOW) -> float | None:
    """Return the next use after an instant."""
    uses = row["next_uses"] if row else []
    assert isinstance(uses, list)
    return next((at for at in uses if at > now.replace(tzinfo=UTC).timestamp()), None)


def instant(day: date, at: time, zone: str = BERLIN) -> float:
    """Return the instant of a local time."""
    return datetime.combine(day, at, ZoneInfo(zone)).timestamp()


WORKDAYS = (1, 2, 3, 4, 5)
MADE = {
    **{f"daily{hour}": Rhythm(time(hour, 10), WORKDAYS) for hour in (6, 7, 8, 9, 13, 17, 22)},
    "mondays": Rhythm(time(8, 30), (1,)),
    "thursdays": Rhythm(time(15), (4,)),
    "alone": Rhythm(time(11, 45), WORKDAYS, users=1),
    "weekend": Rhythm(time(10), (6, 7)),
}


@pytest.mark.parametrize("seed", range(3))
def test_next_use_of_habits_and_of_none(seed: int) -> None:
    """The next use is within half an hour of the truth for 9 of 10 habits; without a habit there is none."""
    random = Random(seed)
    openings = [each for name, rhythm in MADE.items() for each in opened(name, rhythm, random)]
    restless = [f"restless{number}" for number in range(30)]
    for number, name in enumerate(restless):
        openings += at_any_time(name, random, (0.1, 0.3, 0.6, 1.0)[number % 4])
    found = learned(openings, [book(name) for name in (*MADE, *restless, "unopened")])
    right = 0
    for name, rhythm in MADE.items():
        days = (NOW.date() + timedelta(days=number) for number in range(8))
        truth = instant(next(day for day in days if day.isoweekday() in rhythm.weekdays), rhythm.at)
        at = following(found.get(name))
        right += at is not None and abs(at - truth) <= 1800
    assert right >= 0.9 * len(MADE)
    assert [name for name in (*restless, "unopened") if following(found.get(name)) is not None] == []


def test_a_source_is_used_when_any_of_its_workbooks_is() -> None:
    """A published data source has the users of its ten workbooks, each once, and the earliest of their next uses."""
    random = Random(4)
    names = [f"book{number}" for number in range(10)]
    openings = [each for name in names for each in opened(name, MADE["daily9"], random)]
    openings += opened("book3", Rhythm(time(7, 30), WORKDAYS, users=5), random)
    found = learned(openings, [book(name, uses="source") for name in names])
    at = following(found["source"])
    assert at is not None
    assert abs(at - instant(NOW.date(), time(7, 30))) <= 1800
    assert found["source"]["users_7d"] == found["book3"]["users_7d"] == 5
    assert found["book1"]["users_7d"] == 3


@pytest.mark.parametrize(
    ("at", "following_day"),
    [
        pytest.param(datetime(2026, 10, 23, 3), date(2026, 10, 23), id="before"),  # noqa: DTZ001 - UTC, naive
        pytest.param(datetime(2026, 10, 24, 12), date(2026, 10, 25), id="change"),  # noqa: DTZ001 - UTC, naive
        pytest.param(datetime(2026, 10, 26, 3), date(2026, 10, 26), id="after"),  # noqa: DTZ001 - UTC, naive
    ],
)
def test_next_use_keeps_to_the_clock_on_the_wall(at: datetime, following_day: date) -> None:
    """The next use is at the same local time before and after the clocks change, and on that day."""
    rhythm = Rhythm(time(8), (1, 2, 3, 4, 5, 6, 7), jitter_minutes=0)
    openings = [each for each in opened("book", rhythm, Random(1)) if each[0] < at]
    expected = following(learned(openings, [book("book")], at)["book"], at)
    assert expected == instant(following_day, time(8))


def test_the_default_time_zone_is_that_of_sites_without_one() -> None:
    """An asset whose site has no time zone, or one that is no IANA name, is learned in the configured one."""
    rhythm = Rhythm(time(8), WORKDAYS, jitter_minutes=0)
    openings = [each for name in ("none", "strange") for each in opened(name, rhythm, Random(1))]
    found = learned(openings, [book("none", None), book("strange", "Mars/Olympus")], default=BERLIN)
    assert {following(row) for row in found.values()} == {instant(NOW.date(), time(8))}


def test_a_second_habit_of_the_day_is_next_after_the_first() -> None:
    """After the morning's opening the afternoon's is next, after that the next day's."""
    random = Random(2)
    openings = [
        each for hour in (8, 14) for each in opened("book", Rhythm(time(hour), WORKDAYS, 1, jitter_minutes=4), random)
    ]
    found = [
        following(learned(openings, [book("book")], NOW.replace(hour=hour))["book"], NOW.replace(hour=hour))
        for hour in (5, 9, 16)
    ]
    truth = [instant(NOW.date(), time(8)), instant(NOW.date(), time(14)), instant(date(2026, 10, 27), time(8))]
    assert all(at is not None and abs(at - wanted) <= 900 for at, wanted in zip(found, truth, strict=True))


def test_a_short_archive_knows_no_habit_and_no_count() -> None:
    """With three weeks of openings there is no next use; with less than one there is no number of users either."""
    rhythm = MADE["daily8"]
    openings = list(opened("book", rhythm, Random(1)))
    of_weeks = {days: [each for each in openings if each[0] > NOW - timedelta(days=days)] for days in (24, 5)}
    three = learned(of_weeks[24], [book("book")])["book"]
    assert (following(three), three["users_7d"]) == (None, 3)
    assert learned(of_weeks[5], [book("book")]) == {}


def test_without_users_there_are_habits_alone() -> None:
    """Where users are not stored their number is unknown, not 0; an asset without openings has 0 users."""
    openings = list(opened("book", MADE["daily8"], Random(1)))
    hidden = learned([(at, name, None) for at, name, _ in openings], [book("book")])["book"]
    assert hidden["users_7d"] is None
    assert following(hidden) is not None
    found = learned(openings, [book("book"), book("unopened")])
    assert (found["unopened"]["users_7d"], found["unopened"]["users_30d"]) == (0, 0)


def test_texts_of_usage() -> None:
    """Texts have the local time, the weekday where it is another day, and nothing that is unknown."""
    now = instant(date(2026, 10, 23), time(7))
    assert usage_text(37, local_time(now + 4200, BERLIN, "UTC", now)) == (
        "opened by 37 users this week, usually next at 08:10"
    )
    monday = local_time(instant(date(2026, 10, 26), time(8, 10)), None, BERLIN, now)
    assert usage_text(1, monday) == "opened by 1 user this week, usually next Monday 08:10"
    assert usage_text(None, None) == ""


@pytest.fixture(scope="module")
def of_demo() -> tuple[Company, list[Opening]]:
    """The simulated company, and who opened its workbooks within 37 days: by habit, and at any time."""
    company = Company.build(1, NOW, SMALL)
    loads = (row for row in past(company, NOW, 37, 2500) if row["action"] == "bootstrapSession" and row["user_id"])
    return company, [
        (row["created_at"], f"{row['site_id']} {str(row['currentsheet']).partition('/')[0]}", row["user_id"])  # type: ignore[misc] # rows of the repository have any values
        for row in loads
    ]


def test_next_use_in_the_demo(of_demo: tuple[Company, list[Opening]]) -> None:
    """After 30 days of the demo 9 of 10 next uses are within half an hour of the next opening, and habits are found."""
    company, openings = of_demo
    zones = {row["id"]: str(row["time_zone"]) for row in company.tables["sites"]}
    books = {row["id"]: f"{row['site_id']} {row['repository_url']}" for row in company.tables["workbooks"]}
    rows = [book(books[row["id"]], zones[row["site_id"]]) for row in company.tables["workbooks"]]
    distances, known = [], Counter[str]()
    for hours in range(0, 24, 3):
        now = NOW - timedelta(days=7, hours=-hours)
        archived = [each for each in openings if now - timedelta(days=30) <= each[0] < now]
        found = learned(archived, rows, now)
        for name, row in found.items():
            if (at := following(row, now)) is not None:
                known[name] += 1
                truth = min(at for at, opened, _ in openings if opened == name and at >= now)
                distances.append(abs(at - truth.replace(tzinfo=UTC).timestamp()))
    assert sum(distance <= 1800 for distance in distances) >= 0.9 * len(distances)
    # Between the first opening of the day and the others the next one is unknown.
    assert all(known[books[habit.workbook]] >= 5 for habit in habits(company)), known
