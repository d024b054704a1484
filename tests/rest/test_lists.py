"""Lists: read to their end, counted, and not believed when the count is wrong."""

from datetime import datetime

import pytest

from exporter.inventory import TAG_SEPARATOR
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HEAD, HTML, WELL_FORMED_HTML, Answer, ReceivedRequest, asset, element, error


def workbooks(count: int) -> list[str]:
    """Return as many workbooks."""
    return [asset("workbook", f"w{number}") for number in range(count)]


def test_a_list_is_read_to_its_end(harness: RestHarness) -> None:
    """Each entry is there once, also where the list fills its last page, in pages of a thousand."""
    for count in (0, 1, 999, 1000, 1001, 3000):
        harness.tableau.sites[""].entries["workbooks"] = workbooks(count)
        content = harness.inventory().content.to_pylist()
        ids = [row["asset_id"] for row in content if row["asset_type"] == "workbook"]
        assert sorted(ids) == sorted(f"w{number}" for number in range(count))
    received = [received.query for received in harness.tableau.received if received.path.endswith("/workbooks")]
    assert {query["pageSize"] for query in received} == {"1000"}
    assert {query["sort"] for query in received} == {"createdAt:asc,name:asc"}


def test_a_server_may_give_smaller_pages(harness: RestHarness) -> None:
    """With any page size, the list goes on until its total has come."""
    harness.tableau.largest_page = 7
    harness.tableau.sites[""].entries["workbooks"] = workbooks(50)
    assert harness.inventory().content.num_rows == 52


def test_what_an_entry_becomes(harness: RestHarness) -> None:
    """Each field comes from its place; dates may have fractions and zones; an absent field is None."""
    tags = element("tags", element("tag", label="gold") + element("tag", label="no-sla"))
    there = {"createdAt": "2025-03-01T10:00:00.123456Z", "updatedAt": "2025-03-01T12:00:00+02:00"}
    harness.tableau.sites[""].entries = {
        "workbooks": [
            asset("workbook", "w1", tags, **{"name": "Sales & <more>", **there}),
            asset("workbook", "w2", element("location", id="u1", type="PersonalSpace"), createdAt="yesterday"),
            element("workbook", id="w3"),
        ],
        "datasources": [asset("datasource", "d1", hasExtracts="false"), asset("datasource", "d2")],
        "projects": [element("project", id="p1", name="Sales"), element("project", id="p2", parentProjectId="p1")],
        "users": [
            element("user", id="u1", name="anna", siteRole="Creator", fullName="Anna & <Söhne>", email="a@example.com"),
            element("user", id="u2", name="bo", fullName="", email=""),
        ],
    }
    inventory = harness.inventory()
    assert inventory.projects is not None
    assert inventory.people is not None
    rows = {row["asset_id"]: row for row in inventory.content.to_pylist()}
    assert rows["w1"] == {
        "asset_type": "workbook",
        "asset_id": "w1",
        "asset_name": "Sales & <more>",
        "project_id": "p1",
        "project_name": "Sales",
        "owner_id": "u1",
        "tags": f"gold{TAG_SEPARATOR}no-sla",
        "has_extracts": None,
        "created_at": datetime.fromisoformat("2025-03-01T10:00:00.123456"),
        "updated_at": datetime.fromisoformat("2025-03-01T10:00:00"),
        "url_id": None,
        "content_url": None,
        "megabytes": None,
    }
    assert (rows["w2"]["project_name"], rows["w2"]["created_at"]) == ("Personal Space", None)
    assert {key for key, value in rows["w3"].items() if value is not None} == {"asset_type", "asset_id"}
    assert (rows["d1"]["has_extracts"], rows["d2"]["has_extracts"]) == (False, None)
    assert inventory.projects.to_pylist() == [
        {"project_id": "p1", "name": "Sales", "parent_id": None},
        {"project_id": "p2", "name": None, "parent_id": "p1"},
    ]
    assert [list(row.values()) for row in inventory.people.to_pylist()] == [
        ["u1", "anna", "Creator", "Anna & <Söhne>", "a@example.com"],
        ["u2", "bo", None, None, None],
    ]
    assert inventory.people.column_names == ["owner_id", "name", "site_role", "full_name", "email"]


@pytest.mark.parametrize("endpoint", ["workbooks", "datasources", "flows"])
@pytest.mark.parametrize("body", [HTML, WELL_FORMED_HTML, b"", HEAD.encode(), f"{HEAD}</tsResponse>".encode()])
def test_a_login_page_is_no_empty_list(harness: RestHarness, endpoint: str, body: bytes) -> None:
    """A page with status 200 that is not Tableau's, or has no list, is a failure of the site."""

    def instead(received: ReceivedRequest) -> Answer | None:
        return Answer(body) if received.path.endswith(f"/site-default/{endpoint}") else None

    rest = harness.rest()
    with harness.tableau.doing(instead):
        harness.failure(rest)
    assert harness.inventory(rest).content.num_rows == 3


def test_a_short_list_is_read_again(harness: RestHarness) -> None:
    """A list that changed between two pages is read once more, and is then whole."""
    entries = harness.tableau.sites[""].entries["workbooks"] = workbooks(2500)
    removed = [False]

    def change(received: ReceivedRequest) -> None:
        if received.query.get("pageNumber") == "2" and not removed[0]:
            removed[0] = True
            del entries[0]

    with harness.tableau.doing(change):
        ids = harness.inventory().content.column("asset_id").to_pylist()
    assert sorted(ids) == sorted([f"w{number}" for number in range(1, 2500)] + ["d1", "f1"])
    assert harness.tableau.count("/workbooks") == 6


def test_a_page_beyond_the_end(harness: RestHarness) -> None:
    """A list that shrank below the requested page is read again, and is then whole."""
    entries = harness.tableau.sites[""].entries["workbooks"] = workbooks(2001)
    removed = [False]

    def change(received: ReceivedRequest) -> Answer | None:
        if received.query.get("pageNumber") != "3":
            return None
        if not removed[0]:
            removed[0] = True
            del entries[0]
        return error(400, "400006", "Invalid page number")

    with harness.tableau.doing(change):
        ids = harness.inventory().content.column("asset_id").to_pylist()
    assert sorted(ids) == sorted([f"w{number}" for number in range(1, 2001)] + ["d1", "f1"])


def test_names_and_addresses_are_asked_for(harness: RestHarness) -> None:
    """A list of users has neither displayed names nor addresses by default; no other list is requested with fields."""
    harness.inventory()
    received = {
        received.path.rpartition("/")[2]: received.query.get("fields")
        for received in harness.tableau.received
        if received.query
    }
    assert received.pop("users") == "email,fullName,id,name,siteRole"
    assert set(received) >= {"workbooks", "datasources", "flows", "projects"}
    assert set(received.values()) == {None}


def test_fields_that_are_not_known(harness: RestHarness) -> None:
    """A server that refuses the fields is requested without them, then on at once: users still have login names."""

    def refuse(received: ReceivedRequest) -> Answer | None:
        return error(400, "400065", "No such field") if "fields" in received.query else None

    harness.tableau.sites[""].entries["users"] = [element("user", id="u1", name="anna")]
    rest = harness.rest()
    with harness.tableau.doing(refuse):
        for count in (2, 3):
            people = harness.inventory(rest).people
            assert people is not None
            assert people.select(["name", "full_name", "email"]).to_pylist() == [
                {"name": "anna", "full_name": None, "email": None}
            ]
            assert harness.tableau.count("/users") == count


def test_an_order_that_is_not_known(harness: RestHarness) -> None:
    """A server that does not sort this list is requested without an order, from then on at once."""

    def refuse(received: ReceivedRequest) -> Answer | None:
        return error(400, "400065", "Cannot sort") if "sort" in received.query else None

    rest = harness.rest()
    with harness.tableau.doing(refuse):
        assert harness.inventory(rest).content.num_rows == 3
        assert harness.tableau.count("/workbooks") == 2
        harness.inventory(rest)
    assert harness.tableau.count("/workbooks") == 3


def test_a_list_that_grows_is_not_read_again(harness: RestHarness) -> None:
    """Content that is published meanwhile comes last."""
    entries = harness.tableau.sites[""].entries["workbooks"] = workbooks(1500)

    def change(received: ReceivedRequest) -> None:
        if received.query.get("pageNumber") == "2":
            entries.append(asset("workbook", "new"))

    with harness.tableau.doing(change):
        assert harness.inventory().content.num_rows == 1503
    assert harness.tableau.count("/workbooks") == 2


@pytest.mark.parametrize(("promised", "came"), [(3, 2), (1, 2), (5, 0)])
def test_a_count_that_is_wrong(harness: RestHarness, promised: int, came: int) -> None:
    """The entries must match the total, or the list is not used."""
    pagination = element("pagination", pageNumber="1", pageSize="1000", totalAvailable=str(promised))
    body = f"{HEAD}{pagination}{element('workbooks', ''.join(workbooks(came)))}</tsResponse>"
    with harness.tableau.doing(lambda received: Answer(body) if received.path.endswith("/workbooks") else None):
        assert f" of {promised} entries" in harness.failure()


def test_an_entry_that_comes_twice_is_one(harness: RestHarness) -> None:
    """A thousand and one entries of which one is there twice do not match the total."""
    harness.tableau.sites[""].entries["workbooks"] = [*workbooks(1000), workbooks(1)[0]]
    assert "the list of workbooks has 1000 of 1001 entries" in harness.failure()


def test_an_entry_that_comes_again_is_no_second(harness: RestHarness) -> None:
    """Where the list is complete, and some entries come twice, each is there once."""
    pagination = element("pagination", pageNumber="1", pageSize="1000", totalAvailable="2")
    body = f"{HEAD}{pagination}{element('workbooks', ''.join([*workbooks(2), *workbooks(1)]))}</tsResponse>"
    with harness.tableau.doing(lambda received: Answer(body) if received.path.endswith("/workbooks") else None):
        ids = harness.inventory().content.column("asset_id").to_pylist()
    assert sorted(ids) == ["d1", "f1", "w0", "w1"]


def test_entries_without_an_id_do_not_count(harness: RestHarness) -> None:
    """An entry without an id cannot be identified, and is missing."""
    harness.tableau.sites[""].entries["workbooks"] = [element("workbook", name="nobody")]
    assert "the list of workbooks has 0 of 1 entries" in harness.failure()


@pytest.mark.parametrize(("endpoint", "what"), [("flows", "flows"), ("projects", "projects"), ("users", "users")])
def test_what_only_some_may_see(harness: RestHarness, endpoint: str, what: str) -> None:
    """Projects, users and flows that are not for this user are left out, and noted."""
    with harness.tableau.doing(
        lambda received: error(403, "403004") if received.path.endswith(f"/{endpoint}") else None
    ):
        inventory = harness.inventory()
    assert [note for note in inventory.notes if note.startswith(f"no {what}: ")]
    assert inventory.content.num_rows == (2 if endpoint == "flows" else 3)
    assert (inventory.projects is None, inventory.people is None) == (endpoint == "projects", endpoint == "users")


def test_workbooks_must_be_seen(harness: RestHarness) -> None:
    """A site whose workbooks may not be listed has failed."""
    with harness.tableau.doing(lambda received: error(403, "403004") if received.path.endswith("/workbooks") else None):
        assert "403004" in harness.failure()


@pytest.mark.parametrize(
    ("webpage_url", "url_id"),
    [
        ("http://tableauserver/#/workbooks/1/views", 1),
        ("https://10ax.online.tableau.com/#/site/exampledev/workbooks/265605", 265605),
        ("https://elsewhere.example/#/workbooks/7", 7),
        ("https://web.com", None),
        ("", None),
        ("http://tableauserver/#/datasources/1", None),
        ("http://tableauserver/#/workbooks/6d13b0ca", None),
        ("http://tableauserver/#/workbooks/1234567890123456789", None),
        ("http://tableauserver/#/workbooks/\u0661", None),
        ("http://tableauserver/#/workbooks/1/views?:x=1", None),
        ("http://tableauserver/#/site/a/b/workbooks/1", None),
        ("javascript:alert(1)//", None),
    ],
)
def test_the_number_of_a_page(harness: RestHarness, webpage_url: str, url_id: int | None) -> None:
    """Of the address of a page its number is retained, where the address is that of a page of such an asset."""
    harness.tableau.sites[""].entries["workbooks"] = [asset("workbook", "w1", webpageUrl=webpage_url)]
    (found,) = [row for row in harness.inventory().content.to_pylist() if row["asset_id"] == "w1"]
    assert found["url_id"] == url_id
