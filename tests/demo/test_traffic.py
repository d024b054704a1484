"""The requests of the simulated days."""

from collections import Counter
from datetime import datetime, timedelta

import pytest

from exporter.demo.company import Company
from exporter.demo.rows import Row
from exporter.demo.simulation import Simulation
from exporter.demo.traffic import past
from exporter.repository.connection import connect


@pytest.fixture(scope="module")
def requests(company: Company, now: datetime) -> list[Row]:
    """Three weeks of requests."""
    return list(past(company, now, days=21, requests_per_day=1000))


def instants(requests: list[Row]) -> list[datetime]:
    """Return when each request began."""
    return [at for row in requests if isinstance(at := row["created_at"], datetime)]


def values(requests: list[Row], column: str) -> set[object]:
    """Return every value of a column."""
    return {row[column] for row in requests}


def text(requests: list[Row], *columns: str) -> str:
    """Return all that stands in some columns."""
    return "\n".join(str(row[column]) for row in requests for column in columns)


def test_requests_are_numbered_in_order(requests: list[Row], now: datetime) -> None:
    """Ids count up from one without a gap, instants never go back, and none lies outside the days."""
    assert [row["id"] for row in requests] == list(range(1, len(requests) + 1))
    assert instants(requests) == sorted(instants(requests))
    assert now - timedelta(days=21) <= instants(requests)[0] <= instants(requests)[-1] < now


def test_the_same_seed_gives_the_same_past(company: Company, now: datetime) -> None:
    """The simulated days are a function of the company, the instant and the seed."""
    first, again, other = (list(past(company, now, 1, 300, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_volume_is_as_asked(requests: list[Row]) -> None:
    """A working day has about as many requests as configured."""
    tuesdays = Counter(at.date() for at in instants(requests) if at.weekday() == 1)
    assert 700 < sum(tuesdays.values()) / len(tuesdays) < 1400


def test_people_work_by_day_and_rest_at_weekends(requests: list[Row]) -> None:
    """Hours and weekdays have a rhythm, and each site has that of its own time zone."""
    weekdays = Counter(at.weekday() for at in instants(requests))
    assert weekdays[2] > 3 * weekdays[6]
    hours = {site: Counter[int]() for site in (2, 4)}
    for row, at in zip(requests, instants(requests), strict=True):
        if row["site_id"] in (2, 4):
            hours[int(str(row["site_id"]))][at.hour] += 1
    new_york, dubai = hours[2], hours[4]
    assert new_york[15] > 3 * new_york[6]
    assert dubai[6] > 3 * dubai[18]


def test_windows_of_active_people_differ(simulation: Simulation) -> None:
    """Each longer window has more users in it, and the shortest has some."""
    counts: list[int] = []
    with connect(simulation.parameters()) as connection:
        for seconds in (300, 3600, 86400, 3 * 86400):
            found = connection.execute(
                """
                SELECT count(DISTINCT system_user_id)
                FROM http_requests
                JOIN users ON users.id = http_requests.user_id
                WHERE http_requests.created_at >= %s
                """,
                [simulation.now - timedelta(seconds=seconds)],
            ).fetchone()
            counts += found or ()
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3]


def test_only_the_latest_requests_are_open(requests: list[Row], now: datetime) -> None:
    """Requests under way at the end have neither an end nor a status; all earlier ones have an end."""
    open_ones = [row for row in requests if row["completed_at"] is None]
    assert open_ones
    assert min(instants(open_ones)) >= now - timedelta(seconds=10)
    assert values(open_ones, "status") == {None}


def test_every_shape_occurs(requests: list[Row]) -> None:
    """Current sheets, addresses, statuses and missing values come in all the shapes that Tableau writes."""
    sheets = values(requests, "currentsheet")
    assert {None, ""} <= sheets
    endings = {"ds": "ds:", "null": "/null", "custom": "/jo@example.com/Myview1"}
    assert any(str(sheet).startswith(endings["ds"]) for sheet in sheets)
    assert any(str(sheet).endswith(endings["null"]) for sheet in sheets)
    assert any(str(sheet).endswith(endings["custom"]) for sheet in sheets)
    statuses = {status // 100 if isinstance(status, int) else None for status in values(requests, "status")}
    assert statuses == {2, 3, 4, 5, None}
    assert None in values(requests, "user_id")
    assert None in values(requests, "site_id")
    assert {":" in str(address) for address in values(requests, "user_ip")} == {True, False}
    uris = text(requests, "http_request_uri")
    for part in ("/trusted/", "/t/emea/views/", "/#/site/finance/", "/authoring/", ".pdf", "format=csv", ":refresh"):
        assert part in uris


def test_canaries_are_where_secrets_would_be(requests: list[Row]) -> None:
    """Tickets, tokens, fragments and cookies hold texts to search for wherever they must not arrive."""
    assert "/trusted/CANARYTICKET" in text(requests, "http_request_uri")
    assert "token=CANARYTOKEN" in text(requests, "http_request_uri")
    assert "#CANARYFRAGMENT" in text(requests, "http_request_uri")
    assert "token=CANARYTOKEN" in text(requests, "http_referer")
    assert "#CANARYFRAGMENT" in text(requests, "http_referer")
    assert all(str(row["user_cookie"]).startswith("CANARYCOOKIE") for row in requests)


def test_the_sequence_goes_on_after_the_past(simulation: Simulation) -> None:
    """The next request gets the next id."""
    with connect(simulation.admin()) as connection:
        (newest,) = connection.execute("SELECT max(id) FROM http_requests").fetchone() or (0,)
        (last,) = connection.execute("SELECT last_value FROM http_requests_id_seq").fetchone() or (0,)
    assert newest == last
