"""The simulated Metadata API: the language of its queries, its pages, and when extracts were refreshed."""

import pytest

from exporter.demo.company import Company
from exporter.demo.tableau.server import TableauServer
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
            told = [
                source["extractLastRefreshTime"] or source["extractLastIncrementalUpdateTime"] for source in embedded
            ]
            assert max((at for at in told if at), default=None) == latest(item)
            assert any(source["hasExtracts"] for source in embedded) == item.has_extracts
            read = {source.published for source in item.sources if source.published in sources}
            assert {source["luid"] for source in upstream} == read
            for source in upstream:
                expected = latest(sources[source["luid"]])
                assert expected in {source["extractLastRefreshTime"], source["extractLastIncrementalUpdateTime"]}


def test_a_page_is_no_larger_than_allowed(tableau: TableauServer) -> None:
    """More than the largest page is cut to it, with a warning."""
    tableau.traps.metadata_page_limit = 2
    with signed_in(tableau) as server:
        answer = server.metadata.query(SOURCES, {"first": 3})
    assert len(answer["data"]["publishedDatasourcesConnection"]["nodes"]) == 2
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["MAX_PAGE_SIZE_EXCEEDED"]


def test_defaults_aliases_and_filters(tableau: TableauServer) -> None:
    """What a query leaves out has its default, and what it renames comes under that name."""
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
