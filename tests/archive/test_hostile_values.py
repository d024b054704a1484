"""Values that no well-behaved server writes: each is archived as it is, and stops nothing."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest

from exporter.demo.postgres import Postgres
from exporter.repository.connection import connect
from tests.support.poller_harness import PollerHarness
from tests.support.source import Source

pytestmark = pytest.mark.fault(43)

ODD_TEXTS = (
    "",
    "\n",
    "\r\n\t",
    "one\nline\rand\u2028another",
    "\x01\x1f\x7f\x85",
    "'\"`$$",
    "'",
    '"',
    "''; DROP TABLE http_requests; --",
    "\\N",
    "\\",
    "{}",
    "é😀\u202e",
    "a" * 12,
    "b" * 13,
)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, -1])
def test_ids_at_the_ends(source: Source, harness: PollerHarness, number: int) -> None:
    """The smallest and the largest id are archived, and what comes after them too."""
    source.request(number)
    harness.polled()
    source.requests(100, 120)
    harness.polled()
    harness.polled(exact=True)
    assert harness.ids() == sorted([number, *range(100, 121)])
    harness.assert_once()


@pytest.mark.usefixtures("fast")
def test_an_outlier_does_not_hide_the_others(source: Source, harness: PollerHarness) -> None:
    """After the largest possible id, smaller ones are still found by the exact reading."""
    source.request(2**63 - 1)
    harness.polled(exact=True)
    source.requests(1, 50)
    harness.polled()
    harness.polled(exact=True)
    assert harness.ids() == [*range(1, 51), 2**63 - 1]
    harness.assert_once()


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_fast_readings_at_the_ends(source: Source, harness: PollerHarness, number: int) -> None:
    """Beside the largest or the smallest id, requests are still read fast, and open ones are completed."""
    source.request(number, completed_at=None)
    harness.polled(exact=True)
    source.requests(1, 20)
    source.run("UPDATE http_requests SET completed_at = created_at WHERE completed_at IS NULL")
    harness.polled()
    assert harness.mode() == "fast"
    assert number in harness.ids()
    harness.polled(exact=True)
    assert harness.ids() == sorted([number, *range(1, 21)])
    harness.assert_once()


INSTANTS = (
    "infinity",
    "-infinity",
    "294276-12-31 23:59:59.999999",
    "20000-06-01",
    "4713-01-01 BC",
    "0001-01-01",
    "9999-12-31",
    None,
)


@pytest.mark.parametrize("created_at", INSTANTS)
def test_odd_instants(source: Source, harness: PollerHarness, created_at: str | None) -> None:
    """Whatever stands in created_at is half of a key: known again at every reading, alone and beside others."""
    source.request(1, created_at=created_at)
    source.request(2, created_at=created_at, completed_at=None)
    harness.polled()
    source.request(3)
    source.run("UPDATE http_requests SET status = 201")
    harness.polled()
    harness.polled(exact=True)
    # Requests created long ago are final at once, all others wait.
    assert harness.open_ids() == ([] if created_at in {"-infinity", "4713-01-01 BC", "0001-01-01"} else [2])
    source.run("UPDATE http_requests SET completed_at = 'infinity', status = 202 WHERE id = 2")
    harness.polled()
    source.run("VACUUM FULL http_requests")
    harness.polled()
    assert harness.ids() == [1, 2, 3]
    assert harness.open_ids() == []
    harness.assert_once()


def test_instants_far_apart(source: Source, harness: PollerHarness) -> None:
    """The time between the ends of the calendar can be measured, or is not."""
    source.request(1, created_at="4713-01-01 BC", completed_at="294276-12-31")
    source.request(2, created_at="0001-01-01", completed_at="9999-12-31")
    source.request(3, created_at="9999-12-31", completed_at="0001-01-01")
    harness.polled()
    assert harness.ids() == [1, 2, 3]
    harness.assert_once()


def test_text_as_it_is(source: Source, harness: PollerHarness) -> None:
    """Quotes, newlines, backslashes and empty text arrive as they were sent, and labels stay apart."""
    for number, text in enumerate(ODD_TEXTS, 1):
        source.request(number, http_user_agent=text, action=text, worker=None)
    harness.polled()
    assert [row[0] for row in harness.query("SELECT http_user_agent FROM http_requests ORDER BY id")] == list(ODD_TEXTS)
    assert harness.query("SELECT count(worker) FROM http_requests") == [(0,)]
    harness.assert_once()


def test_no_text_holds_nul(source: Source, harness: PollerHarness) -> None:
    """PostgreSQL's text cannot hold the character NUL, so that none can arrive; written as an escape it is text."""
    with pytest.raises(psycopg.Error, match="null character not permitted"):
        source.run("SELECT chr(0)")
    with pytest.raises(psycopg.Error, match="NUL"):
        source.request(1, action="a\0b")
    source.request(1, action=r"a\0b\x00%00")
    harness.polled()
    assert harness.query("SELECT action FROM http_requests") == [(r"a\0b\x00%00",)]


def test_a_megabyte(source: Source, harness: PollerHarness) -> None:
    """Long URIs are archived whole, in batches that do not grow with them."""
    path = "/" + "long" * 250_000
    for number in range(1, 41):
        source.request(number, http_request_uri=path, http_referer=path + "?ticket=x")
    harness.polled()
    assert harness.query("SELECT DISTINCT http_request_uri, http_referer FROM http_requests") == [(path, path)]
    harness.assert_once()


def test_everything_null(source: Source, harness: PollerHarness) -> None:
    """A request of which only the id is known is open, and final after a day."""
    source.run("INSERT INTO http_requests (id) VALUES (1), (2)")
    harness.polled()
    harness.polled(exact=True)
    assert harness.open_ids() == [1, 2]
    harness.now += 25 * 3600
    harness.polled()
    harness.polled(exact=True)
    assert (harness.ids(), harness.open_ids()) == ([1, 2], [])
    harness.assert_once()


@pytest.fixture
def ascii_source(postgres: Postgres) -> Iterator[Source]:
    """A database whose encoding (SQL_ASCII) validates no bytes."""
    name = f"ascii_{secrets.token_hex(6)}"
    with connect(postgres.admin()) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'".encode())
    with Source(postgres.admin(name)) as opened:
        yield opened
    with connect(postgres.admin()) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_bytes_that_are_not_text(
    ascii_source: Source, make_harness: Callable[[Source], PollerHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are not UTF-8 are replaced, and the request is archived once."""
    ascii_source.run(
        "CREATE TABLE http_requests (id int PRIMARY KEY, created_at timestamp, completed_at timestamp, action text)"
    )
    ascii_source.run(r"INSERT INTO http_requests VALUES (1, now(), now(), E'caf\xe9 \xff')")
    harness = make_harness(ascii_source)
    harness.poll()
    harness.poll(exact=True)
    assert harness.query("SELECT id, action FROM http_requests") == [(1, "caf\ufffd \ufffd")]
    assert harness.requests_counted() == 1
