"""The simulated Metadata API: the language of its queries, its pages, and when extracts were refreshed."""

import subprocess
import sys
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from exporter.demo.company import Company
from exporter.demo.tableau.metadata import schema_text
from exporter.demo.tableau.resolvers import instant
from exporter.demo.tableau.server import TableauServer
from exporter.rest.metadata import SOURCES as AGENT_SOURCES
from exporter.rest.metadata import WORKBOOKS as AGENT_WORKBOOKS
from exporter.rest.metadata import query as agent_query
from tests.demo.tableau import by_url, latest, signed_in

EXTRACT = "hasExtracts extractLastRefreshTime extractLastIncrementalUpdateTime extractLastUpdateTime"
SOURCES = f"""
query sources($first: Int = 4, $afterToken: String) {{
  publishedDatasourcesConnection(first: $first, after: $afterToken) {{
    nodes {{ luid name {EXTRACT} }}
    pageInfo {{ hasNextPage endCursor }}
    totalCount
  }}
}}
"""
WORKBOOKS = f"""
query workbooks($first: Int, $afterToken: String) {{
  workbooksConnection(first: $first, after: $afterToken) {{
    nodes {{
      luid
      embeddedDatasources {{ {EXTRACT} upstreamDatasources {{ luid }} }}
      upstreamDatasources {{ luid {EXTRACT} }}
    }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}
"""


def nodes(pages: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    """Put the pages of a query together."""
    return [node for page in pages for node in page["data"][name]["nodes"]]  # type: ignore[index]


def test_published_sources_are_told_with_their_refreshes(tableau: TableauServer, company: Company) -> None:
    """Page by page, each with the instants that the repository has."""
    rows = {row["luid"]: row for row in company.tables["datasources"]}
    with signed_in(tableau) as server:
        pages = server.metadata.paginated_query(SOURCES, {"first": 3})["pages"]
    found = nodes(pages, "publishedDatasourcesConnection")
    assert [node["luid"] for node in found] == [item.luid for item in by_url(tableau).datasources]
    assert len(pages) == -(-len(found) // 3)
    for node in found:
        row = rows[node["luid"]]
        assert node["hasExtracts"] == row["data_engine_extracts"]
        for name, column in (
            ("extractLastRefreshTime", "extracts_refreshed_at"),
            ("extractLastIncrementalUpdateTime", "extracts_incremented_at"),
        ):
            expected = row[column].strftime("%Y-%m-%dT%H:%M:%SZ") if row[column] else None  # type: ignore[attr-defined]
            assert node[name] == expected
    never = [node for node in found if node["hasExtracts"] and not node["extractLastRefreshTime"]]
    assert all(node["extractLastUpdateTime"] for node in never)


def test_workbooks_are_told_with_all_that_they_live_on(tableau: TableauServer) -> None:
    """A workbook has embedded sources, and the published ones that those read; one that only reads has no extract."""
    for url in ("", "marketing", "finance", "emea"):
        site = by_url(tableau, url)
        with signed_in(tableau, url) as server:
            pages = server.metadata.paginated_query(WORKBOOKS, {"first": 5})["pages"]
        found = {str(node["luid"]): node for node in nodes(pages, "workbooksConnection")}
        sources = {item.luid: item for item in site.datasources}
        assert list(found) == [item.luid for item in site.workbooks]
        for item in site.workbooks:
            node = found[item.luid]
            embedded, upstream = node["embeddedDatasources"], node["upstreamDatasources"]
            assert isinstance(embedded, list)
            assert isinstance(upstream, list)
            reported = [
                source["extractLastRefreshTime"] or source["extractLastIncrementalUpdateTime"] for source in embedded
            ]
            assert max((at for at in reported if at), default=None) == latest(item)
            assert any(source["hasExtracts"] for source in embedded) == item.has_extracts
            read = {source.published for source in item.sources if source.published in sources}
            assert {source["luid"] for source in upstream} == read
            for source in upstream:
                expected = latest(sources[source["luid"]])
                assert expected in {source["extractLastRefreshTime"], source["extractLastIncrementalUpdateTime"]}


def test_a_page_is_no_larger_than_allowed(tableau: TableauServer) -> None:
    """More than the largest page is cut to it, with a warning."""
    tableau.failure_modes.metadata_page_limit = 2
    with signed_in(tableau) as server:
        answer = server.metadata.query(SOURCES, {"first": 3})
    assert len(answer["data"]["publishedDatasourcesConnection"]["nodes"]) == 2
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["MAX_PAGE_SIZE_EXCEEDED"]


def fetched(tableau: TableauServer, query: str = WORKBOOKS, **variables: object) -> dict[str, Any]:
    """Run a query on the Default site."""
    with signed_in(tableau) as server:
        answer: dict[str, Any] = server.metadata.query(query, variables)
    return answer


def books(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the workbooks of an answer."""
    found: list[dict[str, Any]] = answer["data"]["workbooksConnection"]["nodes"]
    return found


def codes(answer: dict[str, Any]) -> list[str]:
    """Return the codes of the errors that stand beside data."""
    return [error["extensions"]["code"] for error in answer.get("errors", ())]


def test_a_client_that_asks_too_often_gets_no_data(tableau: TableauServer) -> None:
    """The answer is well-formed, its data null; afterwards it is as before."""
    tableau.failure_modes.metadata_throttle_next = 1
    answer = fetched(tableau)
    assert (answer["data"], codes(answer)) == (None, ["RATE_EXCEEDED"])
    assert "errors" not in fetched(tableau)


def test_a_large_page_takes_too_long(tableau: TableauServer) -> None:
    """Half of its nodes come, beside an error that has neither code nor extensions; a small page is whole."""
    tableau.failure_modes.metadata_time_limit = 4
    answer = fetched(tableau, first=6)
    assert len(books(answer)) == 3
    assert answer["errors"] == [
        {"message": "Reached time limit of PT5S for query execution.", "path": None, "extensions": None}
    ]
    whole = fetched(tableau, first=4)
    assert len(books(whole)) == 4
    assert "errors" not in whole


@pytest.mark.parametrize(("manner", "value"), [("empty", []), ("null", None), ("null_items", [None])])
def test_a_backfill_knows_no_data_sources(tableau: TableauServer, manner: str, value: object) -> None:
    """Embedded data sources are no list of objects, beside an error with the reason."""
    tableau.failure_modes.metadata_backfill = manner
    answer = fetched(tableau)
    assert all(node["embeddedDatasources"] == value for node in books(answer))
    assert codes(answer) == ["BACKFILL_RUNNING"]


def test_a_source_above_has_no_name(tableau: TableauServer) -> None:
    """A workbook's upstream sources have no LUID; queried by themselves, they have."""
    tableau.failure_modes.metadata_nameless = True
    upstream = [source for node in books(fetched(tableau)) for source in node["upstreamDatasources"]]
    assert upstream
    assert {source["luid"] for source in upstream} == {None}
    sources = fetched(tableau, SOURCES)["data"]["publishedDatasourcesConnection"]["nodes"]
    assert all(source["luid"] and source["name"] for source in sources)


@pytest.mark.parametrize(("order", "lost"), [("", 1), (", orderBy: {field: LUID, direction: ASC}", 0)])
def test_pages_shift_without_an_order(tableau: TableauServer, order: str, lost: int) -> None:
    """One workbook is on no page, and the total still counts it; with an order all are there."""
    tableau.failure_modes.metadata_shifting = True
    query = WORKBOOKS.replace("after: $afterToken", f"after: $afterToken{order}")
    with signed_in(tableau) as server:
        pages = server.metadata.paginated_query(query, {"first": 4})["pages"]
    everything = {item.luid for item in by_url(tableau).workbooks}
    found = [node["luid"] for node in nodes(pages, "workbooksConnection")]
    assert len(everything - set(found)) == lost
    assert len(found) == len(set(found))
    if order:
        assert found == sorted(found, key=str)


def test_a_warning_may_stand_beside_all_of_the_data(tableau: TableauServer) -> None:
    """The permissions mode was switched, and nothing is missing."""
    plain = fetched(tableau)
    tableau.failure_modes.metadata_permissions = True
    answer = fetched(tableau)
    assert (answer["data"], codes(answer)) == (plain["data"], ["PERMISSIONS_MODE_SWITCHED"])


def test_nulls_come_wherever_the_schema_lets_them(tableau: TableauServer) -> None:
    """In every third asset each field that may be null is null, and none that may not be."""
    tableau.failure_modes.metadata_nulls = True
    answer = fetched(tableau, SOURCES, first=9)
    found = answer["data"]["publishedDatasourcesConnection"]["nodes"]
    assert "errors" not in answer
    for number, node in enumerate(found):
        assert node["luid"]
        assert (node["name"] is None) == (node["hasExtracts"] is None) == (number % 3 == 2)
    assert [node["upstreamDatasources"] is None for node in books(fetched(tableau, first=6))] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("form", [{}, {"virtual": False}, {"virtual": False, "ordered": False}], ids=str)
@pytest.mark.parametrize("name", [AGENT_SOURCES, AGENT_WORKBOOKS])
def test_the_agent_asks_what_the_schema_has(tableau: TableauServer, name: str, form: dict[str, bool]) -> None:
    """The agent's own queries are valid by the published schema, and answered without an error."""
    query = agent_query(name, **form)
    assert validate(build_schema(schema_text()), parse(query)) == []
    answer = fetched(tableau, query, first=3, afterToken=None)
    assert answer["data"][name]["nodes"]
    assert "errors" not in answer


def test_an_older_release_knows_no_virtual_connections(tableau: TableauServer) -> None:
    """A query that names one of them is refused whole, any other is answered."""
    tableau.failure_modes.metadata_old = True
    refused = fetched(tableau, agent_query(AGENT_WORKBOOKS))
    assert [error["extensions"] for error in refused["errors"]] == [{"classification": "ValidationError"}]
    assert "errors" not in fetched(tableau, agent_query(AGENT_WORKBOOKS, virtual=False))


def test_a_query_that_the_schema_lacks_is_refused(tableau: TableauServer) -> None:
    """An embedded data source has no LUID in any query."""
    query = WORKBOOKS.replace("embeddedDatasources {", "embeddedDatasources { luid")
    assert [error.message for error in validate(build_schema(schema_text()), parse(query))]
    assert set(fetched(tableau, query)) == {"errors"}


def test_without_graphql_the_demo_says_what_to_install() -> None:
    """A package without its extra raises one line, and nothing else."""
    program = "import sys; sys.modules['graphql'] = None; from exporter.cli import main; main(['demo', '--cloud'])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "pip install 'tableau-exporter[demo]'" in ended.stderr


def test_virtual_connections_have_tables_with_extracts(tableau: TableauServer) -> None:
    """A workbook names the tables of the virtual connection that it uses, some extracted and some not."""
    query = """{ workbooksConnection { nodes {
        luid upstreamVirtualConnections { luid } upstreamVirtualConnectionTables { isExtracted extractLastRefreshedAt }
    } } }"""
    (connection,) = by_url(tableau).virtual_connections
    (user,) = [node for node in books(fetched(tableau, query)) if node["upstreamVirtualConnections"]]
    assert user["upstreamVirtualConnections"] == [{"luid": connection.luid}]
    extracted, live = user["upstreamVirtualConnectionTables"]
    assert (extracted["isExtracted"], live) == (True, {"isExtracted": False, "extractLastRefreshedAt": None})
    assert extracted["extractLastRefreshedAt"] == instant(connection.tables[0][1])


def test_defaults_aliases_and_filters(tableau: TableauServer) -> None:
    """Omitted arguments have their defaults, and aliases name the fields."""
    wanted = by_url(tableau).workbooks[3]
    with signed_in(tableau) as server:
        answer = server.metadata.query(SOURCES)
        assert len(answer["data"]["publishedDatasourcesConnection"]["nodes"]) == 4
        query = f'{{ mine: workbooks(filter: {{luid: "{wanted.luid}"}}) {{ key: luid name }} }}'
        answer = server.metadata.query(query)
    assert answer == {"data": {"mine": [{"key": wanted.luid, "name": wanted.name}]}}


@pytest.mark.parametrize(
    "query",
    [
        "{ workbooks { nonsense } }",
        "{ nonsense { luid } }",
        "{ workbooks { luid }",
        "{ workbooks { ...everything } }",
        "{ workbooksConnection(after: $cursor) { nodes { luid } } }",
        "query q($cursor: String) { workbooksConnection(after: $cursor) { nodes { luid } } }",
        'query q($cursor: String) { workbooksConnection(after: "", offset: 1) { nodes { luid } } }',
        "{ workbooksConnection(orderBy: {field: SIZE, direction: ASC}) { nodes { luid } } }",
        "{ workbooksConnection { nodes { luid } pageInfo { startCursor } } }",
        "query ?",
    ],
)
def test_what_is_not_understood_is_an_error(tableau: TableauServer, query: str) -> None:
    """An unknown field or bad syntax is answered with errors and no data."""
    with signed_in(tableau) as server:
        answer = server.metadata.query(query, {"cursor": "nonsense"})
    assert "data" not in answer
    assert answer["errors"]
