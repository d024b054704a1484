"""The Metadata API: first of all, in pages it can bear, and never a reason to fail."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from exporter.inventory import Inventory
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HTML, WELL_FORMED_HTML, Answer, ReceivedRequest, asset, at, error

JSON = {"Content-Type": "application/json"}
REFRESHED, SIX_TEXT = "extractLastRefreshTime", "2026-07-27T06:00:00Z"
SIX, SEVEN, NINE = (datetime.fromisoformat(f"2026-07-27T{hour}:00:00") for hour in ("06", "07", "09"))


def graph(answer: dict[str, Any] | list[Any]) -> Answer:
    """Return an answer of the Metadata API."""
    return Answer(json.dumps(answer), headers=JSON)


def known(inventory: Inventory) -> pa.Table:
    """Return the described assets, of which there must be some."""
    assert inventory.described is not None
    return inventory.described


def described(harness: RestHarness) -> dict[str, list[tuple[bool | None, datetime | None, datetime | None]]]:
    """Poll, and return the data sources that each asset lives on."""
    rows = known(harness.inventory()).to_pylist()
    found: dict[str, list[tuple[bool | None, datetime | None, datetime | None]]] = {}
    for row in rows:
        found.setdefault(row["asset_id"], []).append((row["has_extracts"], row["refreshed_at"], row["made_at"]))
    return found


def test_the_later_of_two_refreshes(harness: RestHarness) -> None:
    """A refresh may be full or incremental; the creation of an extract is another field than both."""
    harness.tableau.sites[""].nodes["publishedDatasourcesConnection"] = [
        {"luid": "d1", "hasExtracts": True, "extractLastRefreshTime": "2026-07-27T06:00:00Z"},
        {
            "luid": "d2",
            "hasExtracts": True,
            "extractLastRefreshTime": "2026-07-27T06:00:00Z",
            "extractLastIncrementalUpdateTime": "2026-07-27T07:00:00.000Z",
            "extractLastUpdateTime": "2026-07-27T09:00:00Z",
        },
        {"luid": "d3", "hasExtracts": True, "extractLastUpdateTime": "2026-07-27T06:00:00Z"},
        {"luid": "d4", "hasExtracts": False},
        {"luid": "d5", "hasExtracts": None, "extractLastRefreshTime": "soon"},
    ]
    found = described(harness)
    assert found["d1"] == [(True, SIX, None)]
    assert found["d2"] == [(True, SEVEN, NINE)]
    assert found["d3"] == [(True, None, SIX)]
    assert found["d4"] == [(False, None, None)]
    assert found["d5"] == [(None, None, None)]


def test_a_workbook_lives_on_its_own_and_on_published_sources(harness: RestHarness) -> None:
    """Each source is a row; an entry that stands for a published one is that one; without any there is a row too."""
    extract = {"hasExtracts": True, "extractLastRefreshTime": "2026-07-27T07:00:00Z", "upstreamDatasources": []}
    stand_in = {"hasExtracts": False, "upstreamDatasources": [{"luid": "d1"}]}
    live = {"hasExtracts": False, "upstreamDatasources": []}
    harness.tableau.sites[""].nodes["workbooksConnection"] = [
        {"luid": "own", "embeddedDatasources": [extract, extract], "upstreamDatasources": []},
        {"luid": "both", "embeddedDatasources": [extract, stand_in], "upstreamDatasources": [{"luid": "d1"}]},
        {"luid": "live", "embeddedDatasources": [live], "upstreamDatasources": []},
        {"luid": "none", "embeddedDatasources": [], "upstreamDatasources": []},
        {"luid": "unseen", "embeddedDatasources": [], "upstreamDatasources": [{"luid": "of another project"}]},
    ]
    found = described(harness)
    assert found["own"] == [(True, SEVEN, None)] * 2
    assert sorted(found["both"], key=str) == sorted([(True, SEVEN, None), (None, None, None)], key=str)
    assert found["live"] == found["none"] == [(False, None, None)]
    assert found["unseen"] == [(None, None, None)]
    assert known(harness.inventory()).column("whole").to_pylist() == [True] * 8


@pytest.mark.parametrize(
    "node",
    [
        {"embeddedDatasources": None, "upstreamDatasources": []},
        {"embeddedDatasources": [None], "upstreamDatasources": []},
        {"embeddedDatasources": [], "upstreamDatasources": None},
        {"embeddedDatasources": [], "upstreamDatasources": [{"luid": None}]},
        {"embeddedDatasources": [], "upstreamDatasources": [{}]},
        {"embeddedDatasources": [{"hasExtracts": False, "upstreamDatasources": None}], "upstreamDatasources": []},
        {"embeddedDatasources": [], "upstreamDatasources": [], "upstreamVirtualConnectionTables": None},
        {"embeddedDatasources": []},
    ],
)
def test_a_list_that_is_none_means_nothing(harness: RestHarness, node: dict[str, Any]) -> None:
    """Where a list is no list of objects, or a source has no name, the workbook is not described whole: a note."""
    harness.tableau.sites[""].nodes["workbooksConnection"] = [{"luid": "w1", **node}]
    inventory = harness.inventory()
    rows = [row for row in known(inventory).to_pylist() if row["asset_id"] == "w1"]
    assert rows
    assert not any(row["whole"] for row in rows)
    assert "the Metadata API leaves out what some workbooks read" in inventory.gaps
    assert inventory.read_whole["metadata"] is False


def test_virtual_connections(harness: RestHarness) -> None:
    """Their extracted tables are extracts, those that are not are live; a source that reads one is no live source."""
    table = {"isExtracted": True, "extractLastRefreshedAt": "2026-07-27T07:00:00Z"}
    live = {"hasExtracts": False, "upstreamDatasources": []}
    harness.tableau.sites[""].nodes = {
        "publishedDatasourcesConnection": [
            {"luid": "d1", "hasExtracts": False, "upstreamVirtualConnectionTables": [table]},
        ],
        "workbooksConnection": [
            {
                "luid": "w1",
                "embeddedDatasources": [live],
                "upstreamDatasources": [],
                "upstreamVirtualConnectionTables": [table, {"isExtracted": False}, {"isExtracted": None}],
            }
        ],
    }
    found = described(harness)
    assert found["d1"] == [(True, SEVEN, None)]
    assert found["w1"] == [(False, None, None), (True, SEVEN, None), (False, None, None), (None, None, None)]


def test_every_page_is_asked_for(harness: RestHarness) -> None:
    """The cursor is followed to its end, a thousand at a time."""
    extract = {"hasExtracts": True, "extractLastRefreshTime": "2026-07-27T06:00:00Z"}
    harness.tableau.sites[""].nodes["publishedDatasourcesConnection"] = [
        {"luid": f"d{number}", **extract} for number in range(2500)
    ]
    assert len(described(harness)) == 2501
    assert harness.tableau.count("graphql") == 4


def limited(most: int, code: str = "NODE_LIMIT_EXCEEDED") -> Callable[[ReceivedRequest], Answer | None]:
    """Let queries for more than so many give a part and an error."""

    def override(received: ReceivedRequest) -> Answer | None:
        if "graphql" not in received.path or (size := json.loads(received.body)["variables"]["first"]) <= most:
            return None
        name = "workbooksConnection" if b"workbooksConnection" in received.body else "publishedDatasourcesConnection"
        assert size
        part = {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
        return graph({"data": {name: part}, "errors": [{"message": "too much", "extensions": {"code": code}}]})

    return override


def test_a_page_that_is_too_much_is_halved(harness: RestHarness) -> None:
    """The limit on nodes makes the pages smaller until they fit; nothing is lost, and the size is remembered."""
    rest = harness.rest()
    with harness.tableau.doing(limited(130)):
        inventory = harness.inventory(rest)
        assert (known(inventory).num_rows, inventory.notes) == (2, ())
        sizes = [
            json.loads(received.body)["variables"]["first"]
            for received in harness.tableau.received
            if "graphql" in received.path
        ]
        assert sizes == [1000, 500, 250, 125, 1000, 500, 250, 125]
        harness.tableau.received.clear()
        harness.inventory(rest)
        sizes = [
            json.loads(received.body)["variables"]["first"]
            for received in harness.tableau.received
            if "graphql" in received.path
        ]
        assert sizes == [250, 125] * 2


def sizes_of(harness: RestHarness) -> list[int]:
    """Return the sizes of the requested pages, and forget them."""
    found = [
        json.loads(received.body)["variables"]["first"]
        for received in harness.tableau.received
        if "graphql" in received.path
    ]
    harness.tableau.received.clear()
    return found


def test_a_limit_of_time_without_a_code_is_halved(harness: RestHarness) -> None:
    """Tableau reports it in the message alone, with ``extensions`` null, beside half of the nodes."""
    whole = [{"luid": f"w{number}", "embeddedDatasources": [], "upstreamDatasources": []} for number in range(200)]
    harness.tableau.sites[""].nodes["workbooksConnection"] = whole

    def slow(received: ReceivedRequest) -> Answer | None:
        if b"workbooksConnection" not in received.body or json.loads(received.body)["variables"]["first"] <= 100:
            return None
        part = {"nodes": whole[:50], "pageInfo": {"hasNextPage": False}, "totalCount": 200}
        reported = {"message": "Reached time limit of PT5S for query execution.", "path": None, "extensions": None}
        return graph({"data": {"workbooksConnection": part}, "errors": [reported]})

    with harness.tableau.doing(slow):
        inventory = harness.inventory()
    assert sizes_of(harness)[1:] == [1000, 500, 250, 125, 62, 62, 62, 62]
    found = set(known(inventory).column("asset_id").to_pylist())
    assert found >= {f"w{number}" for number in range(200)}
    assert inventory.read_whole["metadata"] is True


def test_pages_grow_again(three: RestHarness) -> None:
    """A site whose server was slow once requests whole pages two polls later; the others never request less."""
    sizes: dict[str, list[int]] = {}
    nodes = [{"luid": f"w{number}", "embeddedDatasources": [], "upstreamDatasources": []} for number in range(3000)]
    three.tableau.sites["marketing"].nodes["workbooksConnection"] = nodes
    rest = three.rest(timeout=5.0)
    slow = [True]

    def watch(received: ReceivedRequest) -> Answer | None:
        if b"workbooksConnection" not in received.body:
            return None
        size = json.loads(received.body)["variables"]["first"]
        site = three.tableau.sessions[received.headers["x-tableau-auth"]][1]
        sizes.setdefault(site, []).append(size)
        if site == "marketing" and slow[0] and size > 10:
            return graph({"data": None, "errors": [{"message": "m", "extensions": {"code": "TIME_LIMIT_EXCEEDED"}}]})
        return None

    with three.tableau.doing(watch):
        three.poll(rest)
        assert sizes.pop("marketing")[:8] == [1000, 500, 250, 125, 62, 31, 15, 10]
        slow[0] = False
        three.poll(rest)
        assert sizes.pop("marketing") == [20, 40, 80, 160, 320, 640, 1000, 1000]
        three.poll(rest)
        assert sizes.pop("marketing") == [1000, 1000, 1000]
    assert set(sizes["Finance"]) == set(sizes[""]) == {1000}


def test_fewer_described_than_promised(harness: RestHarness) -> None:
    """A catalogue that shifts between two pages leaves one out: its count is noticed, and pages have an order."""
    page = {"nodes": [], "pageInfo": {"hasNextPage": False}, "totalCount": 1}

    def shifted(received: ReceivedRequest) -> Answer | None:
        return graph({"data": {"workbooksConnection": page}}) if b"workbooksConnection" in received.body else None

    with harness.tableau.doing(shifted):
        inventory = harness.inventory()
    assert "the Metadata API described 0 of 1 workbooks" in inventory.gaps
    assert inventory.read_whole["metadata"] is False
    queries = [received.body for received in harness.tableau.received if "graphql" in received.path]
    assert all(b"orderBy: {field: ID, direction: ASC}" in query for query in queries)
    harness.tableau.sites[""].nodes["workbooksConnection"] = []
    inventory = harness.inventory()
    assert "the Metadata API does not describe 1 assets that are listed" in inventory.notes
    assert (inventory.gaps, inventory.read_whole["metadata"]) == ((), True)


def refused(*words: bytes) -> Callable[[ReceivedRequest], Answer | None]:
    """Refuse a query with one of these words, as a release that does not know it."""
    reported = {
        "message": "Validation error of type FieldUndefined",
        "extensions": {"classification": "ValidationError"},
    }

    def override(received: ReceivedRequest) -> Answer | None:
        is_refused = "graphql" in received.path and any(word in received.body for word in words)
        return graph({"data": None, "errors": [reported]}) if is_refused else None

    return override


@pytest.mark.parametrize(("words", "most"), [([b"Virtual"], 3), ([b"Virtual", b"orderBy"], 4), ([b"luid"], 3)])
def test_a_release_that_does_not_know_all(harness: RestHarness, words: list[bytes], most: int) -> None:
    """Unknown fields are not requested, and not tried again for a day."""
    rest = harness.rest()
    with harness.tableau.doing(refused(*words)):
        inventory = harness.inventory(rest)
        assert (inventory.described is None) == (b"luid" in words)
        assert len(sizes_of(harness)) == most
        if inventory.described is None:
            assert "this release may be too old" in str(inventory.notes)
            return
        harness.inventory(rest)
        assert len(sizes_of(harness)) == 2
        harness.now += 86_400
        harness.inventory(rest)
        assert len(sizes_of(harness)) == most


def test_beside_an_error_nothing_is_whole_but_a_refresh(harness: RestHarness) -> None:
    """A refresh that is there is true; that a source has no extract, or a workbook reads nothing else, is not."""
    sources = [{"luid": "d1", "hasExtracts": False}, {"luid": "d2", "hasExtracts": True, REFRESHED: SIX_TEXT}]
    harness.tableau.sites[""].nodes["publishedDatasourcesConnection"] = sources

    def beside(received: ReceivedRequest) -> Answer | None:
        if "graphql" not in received.path:
            return None
        name = "workbooksConnection" if b"workbooksConnection" in received.body else "publishedDatasourcesConnection"
        data = {name: {"nodes": harness.tableau.sites[""].nodes[name], "pageInfo": {"hasNextPage": False}}}
        return graph({"data": data, "errors": [{"extensions": {"code": "PERMISSIONS_MODE_SWITCHED"}}]})

    with harness.tableau.doing(beside):
        rows = known(harness.inventory()).to_pylist()
    assert {(row["asset_id"], row["whole"]) for row in rows} == {("d1", False), ("d2", True), ("w1", False)}


@pytest.mark.parametrize("errors", [5, "no", {"code": "X"}, [5], [None], [{"extensions": {"code": 7}}]])
def test_errors_that_are_no_list_of_errors(harness: RestHarness, errors: object) -> None:
    """Whatever the field holds, the assets are there, and the answer counts as partial."""
    data = {"publishedDatasourcesConnection": {"nodes": [], "pageInfo": 3}, "workbooksConnection": {"nodes": "x"}}
    with harness.tableau.doing(at("graphql", graph({"data": data, "errors": errors}))):
        inventory = harness.inventory()
    assert inventory.content.num_rows == 3
    assert inventory.read_whole["metadata"] is False


def test_a_part_is_kept_and_marked(harness: RestHarness) -> None:
    """Nodes beside an error are used, and the note warns that they may be a part."""
    answer = {
        "data": {
            "publishedDatasourcesConnection": {
                "nodes": [{"luid": "d1", "hasExtracts": True}],
                "pageInfo": {"hasNextPage": False},
            }
        },
        "errors": [{"message": "m", "extensions": {"code": "BACKFILL_RUNNING", "severity": "WARNING"}}],
    }

    def backfill(received: ReceivedRequest) -> Answer | None:
        return graph(answer) if b"publishedDatasources" in received.body else None

    with harness.tableau.doing(backfill):
        inventory = harness.inventory()
    assert known(inventory).num_rows == 2
    assert "the Metadata API answers in part (BACKFILL_RUNNING)" in inventory.notes


def test_a_limit_that_no_page_meets(harness: RestHarness) -> None:
    """At the smallest page the part is used."""
    with harness.tableau.doing(limited(1)):
        inventory = harness.inventory()
    assert known(inventory).num_rows == 0
    assert "the Metadata API answers in part (NODE_LIMIT_EXCEEDED)" in inventory.notes


@pytest.mark.parametrize(
    "answer",
    [
        error(403, "403004"),
        graph({"errors": [{"message": "no", "extensions": {"code": "ACCESS_DENIED"}}]}),
        Answer("busy", 500),
        Answer(HTML),
        Answer(WELL_FORMED_HTML),
        Answer(""),
        graph([]),
        graph({}),
        graph({"data": None}),
        graph({"errors": ["strange"], "data": {"publishedDatasourcesConnection": 7}}),
        Answer("[" * 100_000),
    ],
)
def test_without_the_metadata_api(harness: RestHarness, answer: Answer) -> None:
    """An API that is forbidden or broken is a note; the assets are there."""
    with harness.tableau.doing(at("graphql", answer)):
        inventory = harness.inventory()
    assert inventory.described is None
    assert inventory.content.num_rows == 3
    (note,) = [note for note in inventory.notes if note.startswith("the Metadata API gave nothing: ")]
    assert len(note.splitlines()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "404000"),
        Answer(HTML, 404),
        Answer(WELL_FORMED_HTML, 404),
        Answer("", 404),
        graph({"errors": [{"message": "off", "extensions": {"code": "FEATURE_DISABLED"}}]}),
    ],
)
def test_a_metadata_api_that_is_off(harness: RestHarness, answer: Answer) -> None:
    """The note is the command that switches it on."""
    with harness.tableau.doing(at("graphql", answer)):
        inventory = harness.inventory()
    assert inventory.described is None
    assert inventory.notes == ("the Metadata API is off: tsm maintenance metadata-services enable",)


@pytest.mark.parametrize("nodes", [None, [None, 3, "x"], [{}], [{"luid": 7}], [{"luid": "\ud800"}], [{"luid": ""}]])
def test_nodes_that_are_none(harness: RestHarness, nodes: object) -> None:
    """A node that cannot be a data source is ignored."""
    page = {"nodes": nodes, "pageInfo": None}
    answer = graph({"data": {"publishedDatasourcesConnection": page, "workbooksConnection": page}})
    with harness.tableau.doing(at("graphql", answer)):
        assert known(harness.inventory()).num_rows == 0


@pytest.mark.parametrize("nodes", [[{"luid": "d1"}], []])
def test_cursors_in_a_circle(harness: RestHarness, nodes: list[Any]) -> None:
    """Pages that come again, or are empty and go on, end."""

    def circle(received: ReceivedRequest) -> Answer | None:
        if "graphql" not in received.path:
            return None
        after = json.loads(received.body)["variables"]["afterToken"]
        page = {"nodes": nodes, "pageInfo": {"hasNextPage": True, "endCursor": "b" if after == "a" else "a"}}
        return graph({"data": {"publishedDatasourcesConnection": page}})

    with harness.tableau.doing(circle):
        inventory = harness.inventory()
    assert harness.tableau.count("graphql") <= 3
    assert [note for note in inventory.notes if "its pages do not go on" in note]


def test_a_refresh_that_is_yet_to_come(harness: RestHarness) -> None:
    """An instant by a wrong clock is none: it would make an extract fresh for ever."""
    ahead = {"hasExtracts": True, REFRESHED: "2099-01-01T00:00:00Z"}
    harness.tableau.sites[""].nodes["publishedDatasourcesConnection"] = [{"luid": "d1", **ahead}]
    rows = [row for row in known(harness.inventory()).to_pylist() if row["asset_id"] == "d1"]
    assert [(row["refreshed_at"], row["whole"]) for row in rows] == [(None, False)]


@pytest.mark.parametrize("answer", [Answer(HTML, 429), Answer("", 403), Answer("", 429)])
def test_a_throttled_metadata_api_is_not_off(harness: RestHarness, answer: Answer) -> None:
    """Only Tableau's 404, or its code for a disabled API, means that the API is off."""
    with harness.tableau.doing(at("graphql", answer)):
        inventory = harness.inventory()
    assert inventory.gaps
    assert "metadata-services enable" not in str(inventory.notes)


def test_a_code_is_a_word(harness: RestHarness) -> None:
    """Any text of a server in the place of a code is not printed."""

    def echo(received: ReceivedRequest) -> Answer | None:
        code = received.headers.get("x-tableau-auth", "")
        return graph({"errors": [{"extensions": {"code": code}}]}) if "graphql" in received.path else None

    with harness.tableau.doing(echo):
        notes = str(harness.inventory().notes)
    assert "session-" not in notes
    assert "an error without a code" in notes


def test_a_cursor_that_stands_still(harness: RestHarness) -> None:
    """Pages that do not go on end, and received nodes are used."""
    page = {"nodes": [{"luid": "d1"}], "pageInfo": {"hasNextPage": True, "endCursor": "same"}}
    with harness.tableau.doing(at("graphql", graph({"data": {"publishedDatasourcesConnection": page}}))):
        inventory = harness.inventory()
    assert harness.tableau.count("graphql") == 2
    assert [note for note in inventory.notes if "gave a part" in note]


def test_a_query_that_takes_too_long_is_halved(harness: RestHarness) -> None:
    """No answer in time makes the pages smaller too, and patience ends."""

    def slow(received: ReceivedRequest) -> Answer | None:
        if "graphql" in received.path and json.loads(received.body)["variables"]["first"] > 500:
            return Answer(b" " * 1000, pause=0.05)
        return None

    with harness.tableau.doing(slow):
        inventory = harness.inventory(harness.rest(timeout=1.0))
    assert known(inventory).num_rows == 2
    with harness.tableau.doing(at("graphql", Answer(b" " * 1000, pause=0.05))):
        inventory = harness.inventory(harness.rest(timeout=1.0))
    assert inventory.described is None
    assert inventory.content.num_rows == 3


def test_workbooks_that_are_not_described_are_still_assets(harness: RestHarness) -> None:
    """An asset that the Metadata API does not know is in the content."""
    harness.tableau.sites[""].entries["workbooks"].append(asset("workbook", "w2"))
    inventory = harness.inventory()
    assert "w2" in inventory.content.column("asset_id").to_pylist()
    assert "w2" not in known(inventory).column("asset_id").to_pylist()


def test_which_published_sources_a_workbook_uses(harness: RestHarness) -> None:
    """Those of the workbook and those of its embedded sources, each once; an extract of its own is none."""
    own = {"hasExtracts": True, "upstreamDatasources": [{"luid": "d1"}, {"luid": "d2"}]}
    harness.tableau.sites[""].nodes["workbooksConnection"] = [
        {"luid": "both", "embeddedDatasources": [own], "upstreamDatasources": [{"luid": "d3"}, {"luid": "d1"}]},
        {"luid": "own", "embeddedDatasources": [{"hasExtracts": True}], "upstreamDatasources": []},
        {"luid": "odd", "embeddedDatasources": None, "upstreamDatasources": [None, 7, {}, {"luid": ""}, {"luid": 3}]},
    ]
    rows = known(harness.inventory()).to_pylist()
    found: dict[str, list[str | None]] = {}
    for row in rows:
        found.setdefault(row["asset_id"], []).append(row["source_id"])
    assert found["both"] == [None, "d1", "d2", "d3"]
    assert found["own"] == found["odd"] == found["d1"] == [None]
