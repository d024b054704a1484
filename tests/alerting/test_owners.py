"""Whose assets are and who uses them, out of rows that come in pieces and lack much."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pytest

from exporter.alerting import owners as reading
from exporter.alerting.owners import MAX_LISTED, NO_OWNER, Owner, Owners
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.inventory import TAG_SEPARATOR

Row = Mapping[str, object]


def table(rows: Sequence[Row], size: int = 2) -> pa.Table:
    """Return rows as a table in pieces."""
    whole = [dict.fromkeys(ARROW_SCHEMA.names) | {"site": "s"} | dict(row) for row in rows]
    pieces = [
        pa.Table.from_pylist(whole[begin : begin + size], schema=ARROW_SCHEMA) for begin in range(0, len(whole), size)
    ]
    return pa.concat_tables(pieces)


def source(number: int, **more: object) -> Row:
    """Return a published data source."""
    return {"asset_type": "datasource", "asset_id": f"d{number}", "asset_name": f"Source {number}", **more}


def book(number: int, *uses: str, **more: object) -> Row:
    """Return a workbook that uses sources."""
    used = TAG_SEPARATOR.join(uses) or None
    return {"asset_type": "workbook", "asset_id": f"w{number}", "asset_name": f"Book {number}", "uses": used, **more}


ROWS = (
    source(0, content_owner="ann", owner_name="Ann", owner_email="ann@x"),
    source(1, content_owner="bob"),
    book(0, "d0", "d1", content_owner="bob", owner_name="Bob", owner_email="bob@x"),
    book(1, "d0", content_owner="bob", owner_name="Bob", owner_email="bob@x"),
    book(2, "d0", asset_name="Two\nlines", content_owner="cid"),
    book(3, asset_name=None),
)


def test_owners() -> None:
    """Each asset has its own owner, as far as known; an absent asset has none."""
    owners = Owners(table(ROWS))
    assert owners.owner(("s", "datasource", "d0")) == Owner("ann", "Ann", "ann@x")
    assert owners.owner(("s", "datasource", "d1")) == Owner("bob", "", "")
    assert owners.owner(("s", "workbook", "w3")) == owners.owner(("t", "workbook", "w0")) == NO_OWNER
    assert Owners().owner(("s", "workbook", "w0")) == NO_OWNER


def test_numbers_of_pages() -> None:
    """Each asset has its own, as far as known."""
    owners = Owners(table([book(0, url_id=7), book(1)]))
    assert owners.url_id(("s", "workbook", "w0")) == 7
    assert owners.url_id(("s", "workbook", "w1")) is owners.url_id(("s", "workbook", "w2")) is None


def test_users() -> None:
    """A data source names the workbooks that use it and their owners, each once, by name and in one line."""
    owners = Owners(table(ROWS))
    assert owners.users(("s", "datasource", "d0")) == ("Book 0, Book 1, Two lines", "Bob <bob@x>, cid")
    assert owners.users(("s", "datasource", "d1")) == ("Book 0", "Bob <bob@x>")
    assert owners.users(("s", "datasource", "d9")) == owners.users(("s", "workbook", "d0")) == ("", "")


def test_users_of_what_is_widely_used() -> None:
    """The first are named, and how many more there are."""
    rows = [source(0), *(book(number, "d0", content_owner=f"u{number % 30:02}") for number in range(1000, 1500))]
    names, people = Owners(table(rows, 100)).users(("s", "datasource", "d0"))
    assert names == ", ".join(f"Book {number}" for number in range(1000, 1000 + MAX_LISTED)) + ", and 480 more"
    assert people == ", ".join(f"u{number:02}" for number in range(MAX_LISTED)) + ", and 10 more"


def test_users_are_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many alerts are sent, and however often: the same rows are read once for a source."""
    listed, received = reading._listed, []

    def counted(texts: Iterable[str]) -> str:
        received.append(texts)
        return listed(texts)

    monkeypatch.setattr(reading, "_listed", counted)
    owners = Owners(table(ROWS))
    for _ in range(3):
        owners.users(("s", "datasource", "d0"))
        owners.users(("s", "datasource", "d1"))
    assert len(received) == 4
