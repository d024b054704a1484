"""The content of each site."""

from collections import Counter
from typing import Any

import pytest

from exporter.collectors.content import COLLECTOR
from exporter.collectors.content.datasources import DataConnection, Datasource, Extract, Flow
from exporter.collectors.content.sites_projects import Project, Site
from exporter.collectors.content.workbooks import View, Workbook
from exporter.demo.simulation import Simulation
from tests.collectors.repositories import CONTEXT, SITES, Handmade, Samples, at, read, samples

STATES = {state.row: state for state in COLLECTOR.states}
TABLES = {
    Project: "projects",
    Workbook: "workbooks",
    View: "views",
    Datasource: "datasources",
    Extract: "extracts",
    Flow: "flows",
}


def published(row: type, repository: Handmade, family: str = "tableau_content") -> Samples:
    """Return the samples of one type of content that is above zero."""
    state = STATES[row]
    with_rows = read(repository.parameters(), state)
    return {labels: value for labels, value in samples(list(state.expose(with_rows, CONTEXT)), family).items() if value}


def hidden(version: str, row: dict[str, object]) -> bool:
    """Return whether content of the company is deleted or archived, or private before there were private workbooks."""
    private = bool(row.get("is_private")) and version == "2019.3"
    return bool(row.get("is_deleted")) or row.get("state") == "archived" or private


@pytest.mark.parametrize("row", [Project, Workbook, View, Datasource, Flow])
def test_a_company_is_counted(simulation: Simulation, row: type) -> None:
    """Against its own tables, in each version: published, neither deleted nor archived."""
    tables = simulation.company.tables
    private = {each["id"] for each in tables["workbooks"] if hidden(simulation.version, each)}
    counted = [
        each
        for each in tables[TABLES[row]]
        if not hidden(simulation.version, each)
        and each.get("connectable", True)
        and not (row is View and each["workbook_id"] in private)
    ]
    expected = Counter(SITES[int(str(each["site_id"]))] for each in counted)
    state = STATES[row]
    blocks = list(state.expose(read(simulation.parameters(), state), CONTEXT))
    asset_type = TABLES[row].removesuffix("s")
    assert samples(blocks, "tableau_content") == {(site, asset_type): expected[site] for site in SITES.values()}
    if row in {Workbook, Datasource, Flow}:
        sizes: Counter[str] = Counter()
        for each in counted:
            sizes[SITES[int(str(each["site_id"]))]] += int(str(each["size"]))
        assert samples(blocks, "tableau_content_bytes") == {(site, asset_type): sizes[site] for site in SITES.values()}


@pytest.mark.parametrize("row", [Site, Project, Workbook, View, Datasource])
def test_the_views_tell_the_same_names(simulation: Simulation, row: type) -> None:
    """The tableau user lacks only columns that the views lack; ids are unique."""
    state = STATES[row]
    tables, views = (read(simulation.parameters(role), state).to_pylist() for role in ("readonly", "tableau"))
    if row is Datasource:
        tables = [each for each in tables if each["published"]]
    elsewhere = {"project_id", "path", "db_class", "db_name"}
    names = [name for name in tables[0] if name not in elsewhere and any(each[name] is not None for each in views)]
    assert {"id", "name"} < set(names) - {"published"}
    by_id = {
        each["id"]: [each[name] for name in names if name != "repository_url" or row is not View] for each in views
    }
    assert by_id == {each["id"]: [each[name] for name in names] for each in tables}
    assert len(views) == len(by_id)


@pytest.mark.parametrize(
    ("row", "lacks"),
    [
        (Extract, "extracts: no such table, or no right to read it"),
        (DataConnection, "data_connections: no such table, or no right to read it"),
        (Flow, "flows: no such table, or no right to read it"),
    ],
)
def test_what_the_tableau_user_may_not_read_is_named(simulation: Simulation, row: type, lacks: str) -> None:
    """It is an error, not an empty list."""
    from exporter.errors import SourceIncomplete

    with pytest.raises(SourceIncomplete, match=lacks):
        read(simulation.parameters("tableau"), STATES[row])


def test_the_address_of_a_view_is_what_requests_call_it(simulation: Simulation) -> None:
    """Its repository_url without /sheets, for both roles."""
    expected = {
        row["id"]: "/".join(str(row["repository_url"]).split("/sheets/")) for row in simulation.company.tables["views"]
    }
    for role in ("readonly", "tableau"):
        found = {row["id"]: row["view_url"] for row in read(simulation.parameters(role), STATES[View]).to_pylist()}
        assert found
        assert found.items() <= expected.items()


@pytest.mark.parametrize(
    ("url", "expected"), [("a/sheets/sheets", "a/sheets"), ("sheets/sheets/b", "sheets/b"), (None, None)]
)
def test_a_workbook_may_be_called_sheets(newest: Handmade, url: str | None, expected: str | None) -> None:
    """Only the word between workbook and sheet is left out."""
    newest.add("views", name="x", site_id=1, repository_url=url)
    assert newest.read(STATES[View])[0]["view_url"] == expected


def test_before_2021_an_extract_is_where_its_owner_is(oldest: Handmade) -> None:
    """The site comes from the workbook or the data source."""
    book, source = oldest.add("workbooks", site_id=3), oldest.add("datasources", site_id=4)
    oldest.add("extracts", workbook_id=book)
    oldest.add("extracts", datasource_id=source)
    oldest.add("extracts")
    assert [row["site_id"] for row in oldest.read(STATES[Extract])] == [3, 4, None]


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({"connectable": True}, True),
        ({"connectable": False}, False),
        ({"connectable": None}, True),
        ({"connectable": None, "parent_workbook_id": 5}, False),
        ({"connectable": True, "state": "Archived"}, False),
        ({"connectable": True, "state": None}, True),
    ],
)
def test_only_published_data_sources_count(newest: Handmade, values: dict[str, Any], counted: bool) -> None:
    """Those inside of a workbook are retained, and not counted."""
    newest.add("datasources", name="x", site_id=1, **values)
    assert len(newest.read(STATES[Datasource])) == 1
    assert published(Datasource, newest) == ({("default", "datasource"): 1} if counted else {})


def test_a_data_source_with_two_connections_is_one(newest: Handmade) -> None:
    """The view that the tableau user reads has a row for each connection."""
    number = newest.add("datasources", name="x", site_id=1, connectable=True)
    for dbclass in ("oracle", "postgres"):
        newest.add("data_connections", owner_type="Datasource", owner_id=number, dbclass=dbclass)
    assert [row["db_class"] for row in newest.read(STATES[Datasource], "tableau")] == ["oracle"]


def test_a_size_that_is_not_known_is_absent(newest: Handmade) -> None:
    """A site with content of unknown size has the sum of the known; with none known, nothing; without content, 0."""
    newest.add("workbooks", name="x", site_id=1, size=None)
    newest.add("workbooks", name="y", site_id=2, size=None)
    newest.add("workbooks", name="z", site_id=2, size=7)
    state = STATES[Workbook]
    blocks = list(state.expose(read(newest.parameters(), state), CONTEXT))
    assert samples(blocks, "tableau_content_bytes") == {
        ("marketing", "workbook"): 7,
        ("finance", "workbook"): 0,
        ("emea", "workbook"): 0,
    }


def test_a_workbook_stands_where_projects_contents_says(newest: Handmade) -> None:
    """Of several lines the newest."""
    book = newest.add("workbooks", name="x", site_id=1, project_id=5)
    newest.add("workbooks", name="y", site_id=1, project_id=5)
    for project in (6, 7):
        newest.add("projects_contents", content_type="Workbook", content_id=book, project_id=project)
    assert {row["name"]: row["project_id"] for row in newest.read(STATES[Workbook])} == {"x": 7, "y": 5}


def test_a_project_has_its_whole_path(newest: Handmade) -> None:
    """And its own name where it is in a circle."""
    newest.add("projects", id=1, name="Finance", site_id=1)
    newest.add("projects", id=2, name="R&D / Labs", parent_project_id=1, site_id=1)
    newest.add("projects", id=3, name="loop", parent_project_id=3, site_id=1)
    paths = {row["name"]: row["path"] for row in newest.read(STATES[Project])}
    assert paths == {"Finance": "Finance", "R&D / Labs": "Finance/R&D / Labs", "loop": "loop"}


def test_a_deleted_workbook_is_kept_and_not_counted(newest: Handmade) -> None:
    """The history retains its name."""
    newest.add("workbooks", name="x", site_id=1, is_deleted=True, created_at=at(1))
    assert [row["name"] for row in newest.read(STATES[Workbook])] == ["x"]
    assert published(Workbook, newest) == {}


SERVERS = {
    "db.example.com": "db.example.com",
    "https://db.example.com/data": "https://db.example.com/data",
    "https://me:secret@db.example.com/data?key=secret": "https://db.example.com/data",
    "https://me:se?c/r@et@db.example.com": "https://db.example.com",
    "me:secret@db.example.com": "db.example.com",
    "jdbc:oracle:thin:me/secret@db.example.com:1521": "db.example.com:1521",
    "jdbc:sqlserver://db.example.com;user=me;password=secret": "jdbc:sqlserver://db.example.com",
    "//me@db.example.com#secret": "//db.example.com",
    "https://db.example.com?a=secret\n@x": "https://x",
    "": "",
}


@pytest.mark.parametrize("address", [*SERVERS, None])
def test_a_server_is_kept_without_credentials(newest: Handmade, address: str | None) -> None:
    """Neither user info nor parameters are read: of a doubtful address less is retained."""
    newest.add("data_connections", owner_type="Workbook", owner_id=1, server=address, username="etl")
    (row,) = newest.read(STATES[DataConnection])
    assert row["server"] == (None if address is None else SERVERS[address])
    assert "secret" not in str(row)


def test_the_connections_of_a_company(simulation: Simulation) -> None:
    """All of them, in each version, without a column that holds a secret."""
    found = read(simulation.parameters(), STATES[DataConnection]).to_pylist()
    there = {row["id"]: (row["owner_type"], row["owner_id"], row["dbname"]) for row in found}
    everywhere = simulation.company.tables["data_connections"]
    invented = {row["id"]: (row["owner_type"], row["owner_id"], row["dbname"]) for row in everywhere}
    # Before there were private workbooks, theirs are not there.
    assert there.items() <= invented.items()
    assert len(there) > 20
    read_columns = {name for state in COLLECTOR.states for relation in state.reads for name in relation.columns}
    assert read_columns.isdisjoint({"password", "keychain", "embedded"})


def test_the_columns_of_a_data_source(simulation: Simulation) -> None:
    """The columns of the text files are read in each version."""
    expected = {row["id"]: row for row in simulation.company.tables["datasources"]}
    kept = "description document_version revision is_hierarchical incrementable_extracts refreshable_extracts"
    names = f"{kept} table_name content_version lock_version".split()
    for row in read(simulation.parameters(), STATES[Datasource]).to_pylist():
        assert [row[name] for name in names] == [expected[row["id"]][name] for name in names]
        assert row["description"]
