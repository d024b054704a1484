"""Answers of Tableau: XML and JSON of any kind are read, or refused with one line."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import SourceError, SourceIncomplete, SourceRefused
from exporter.inventory import SystemInfo
from exporter.rest.arrow import TableBuilder
from exporter.rest.lists import CONTENT, PEOPLE, PROJECTS, Listing
from exporter.rest.metadata import SOURCES, WORKBOOKS, MetadataReader
from exporter.rest.response_xml import XmlPage, read_page
from exporter.rest.session import RestSession
from exporter.rest.system_info import LONGEST_NAME, parse
from exporter.rest.vizql_data import QueryBudget, VizqlData
from tests.fuzz.cases import JSON, SECRET, TEXTS, counted, damaged, fuzzed, is_one_line, refusal

LISTINGS = (*CONTENT.values(), PROJECTS, PEOPLE)
LUID = "11111111-2222-3333-4444-555555555555"
PAGE = f"""<?xml version="1.0"?><tsResponse xmlns="http://tableau.com/api"><pagination pageNumber="1" pageSize="100"
totalAvailable="2"/><workbooks><workbook id="{LUID}" name="a&#x1F600;&amp;b" createdAt="2026-01-01T00:00:00Z" size="1"
webpageUrl="https://h/#/site/a/workbooks/7"><project id="{LUID}" name="p"/><owner id="{LUID}"/><tags><tag
label="x"/></tags></workbook></workbooks><users>
<user id="{LUID}" name="é" siteRole="Viewer"/></users></tsResponse>""".encode()
INFO = b"""<systeminfo xmlns="a"><machines><machine name="n1"><repository worker="n1:8060" status="Active"/>
<filestore worker="n1:9345" status="Active" pendingTransfers="1" failedTransfers="0"/></machine></machines>
<service status="Active"/></systeminfo>"""
LONG = INFO.replace(b"n1", b"n" * 400).replace(b"repository", b"r" * 400)
ERROR = f"<error><code>1</code><summary>no {SECRET}</summary></error>".encode()
NODE = {
    "luid": LUID,
    "hasExtracts": True,
    "extractLastRefreshTime": "2026-01-01T00:00:00Z",
    "upstreamDatasources": [{"luid": LUID}],
    "embeddedDatasources": [{"hasExtracts": False}],
    "upstreamVirtualConnectionTables": [],
}
NODES = st.fixed_dictionaries({}, optional={name: st.just(value) | JSON for name, value in NODE.items()})
PAGE_INFO = st.fixed_dictionaries({}, optional={"hasNextPage": st.booleans() | JSON, "endCursor": TEXTS | JSON})
CONNECTION = st.fixed_dictionaries(
    {}, optional={"nodes": st.lists(NODES | JSON, max_size=4) | JSON, "pageInfo": PAGE_INFO | JSON, "totalCount": JSON}
)
ERRORS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "message": TEXTS | st.just(f"Validation error {SECRET}"),
            "extensions": JSON | st.fixed_dictionaries({"code": TEXTS | st.just("NODE_LIMIT_EXCEEDED")}),
        },
    ),
    max_size=2,
)
GRAPH = JSON | st.fixed_dictionaries(
    {"data": JSON | st.fixed_dictionaries({}, optional={SOURCES: CONNECTION | JSON, WORKBOOKS: CONNECTION | JSON})},
    optional={"errors": ERRORS | JSON},
)


def session(answer: Callable[[], object]) -> RestSession:
    """Return a session that has these answers."""
    return cast("RestSession", SimpleNamespace(call=lambda _function: answer(), place="rest: site default"))


@fuzzed()
@given(damaged(PAGE), st.sampled_from(LISTINGS))
def test_answers_of_the_rest_api(content: bytes, listing: Listing) -> None:
    """Any bytes are a page whose entries become rows or are left out, or incomplete in one line."""
    counted("REST answers")
    pages: list[XmlPage] = []
    message = refusal(lambda: pages.append(read_page(content, listing.shape, "rest")), SourceIncomplete)
    assert message is None or is_one_line(message)
    rows = TableBuilder(listing.row)
    rows.add([row for page in pages for entry in page.entries if (row := listing.row_of(entry)) is not None])
    assert rows.table().num_rows <= content.count(b"<")


@fuzzed()
@given(st.lists(GRAPH, min_size=1, max_size=4))
def test_answers_of_the_metadata_api(answers: list[object]) -> None:
    """Any answers of JSON end in rows, and in notes of one line: never in an error."""
    counted("GraphQL answers")
    left = iter(json.loads(json.dumps(answers)))
    found = MetadataReader(lambda: 0.0).describe(session(lambda: next(left, {})), "default")
    assert all(is_one_line(note) for note in found.notes)
    assert found.notes or found.rows is not None


@fuzzed()
@given(JSON | st.fixed_dictionaries({"data": st.lists(st.dictionaries(TEXTS, JSON, max_size=3) | JSON, max_size=3)}))
def test_answers_of_vizql_data_service(answer: object) -> None:
    """Any answer of JSON is rows, or incomplete in one line."""
    counted("VizQL Data Service answers")
    data = VizqlData(session(lambda: answer), QueryBudget(lambda: 0.0))
    for read in (lambda: data.captions(LUID), lambda: data.query(LUID, ["a"], [])):
        message = refusal(read, SourceError)
        assert message is None or is_one_line(message)


@fuzzed()
@given(damaged(INFO) | damaged(LONG) | damaged(ERROR))
def test_system_info(content: bytes) -> None:
    """Any bytes are processes with bounded names, or a refusal in one line with its secrets masked."""
    counted("systeminfo.xml")
    found: list[SystemInfo] = []

    def read() -> None:
        found.append(parse(content, "rest", lambda text: str(text).replace(SECRET, "<secret>")))

    message = refusal(read, SourceIncomplete, SourceRefused)
    assert message is None or SECRET not in message
    for process in (process for info in found for process in info.processes):
        assert max(len(process.node), len(process.process)) <= LONGEST_NAME
