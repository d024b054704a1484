"""Text files of requests, lines of the Activity Log, and COPY's binary rows."""

import io
import json
import struct
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.activity_log.lines import pieces, split
from exporter.collectors import discover
from exporter.errors import ImportUnreadable, SourceIncomplete
from exporter.history.activity_parser import FILES, ActivityParser
from exporter.history.redaction import Privacy
from exporter.imports import FileOptions, Reject, open_reader
from exporter.repository.binary_copy import Field, _batches, arrow_schema
from tests.fuzz.cases import JSON, SECRET, TEXTS, counted, damaged, fuzzed, is_one_line, refusal
from tests.imports.older_tool import line, request, written

ROWS = st.builds(
    line,
    st.builds(
        request,
        st.integers(0, 9),
        http_user_agent=TEXTS | st.none(),
        http_request_uri=TEXTS.map("/{}".format),
        currentsheet=TEXTS,
        port=st.none() | st.integers(0, 9) | TEXTS,
    ),
)
TEXT_FILES = st.lists(ROWS | TEXTS, max_size=4).map(
    lambda rows: (written([request(1)]) + "".join(rows)).encode("utf-8", "replace")
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a file."""
    return tmp_path_factory.mktemp("fuzz") / "http_requests.txt"


@fuzzed()
@given(TEXT_FILES.flatmap(damaged) | st.binary(max_size=60))
def test_text_files(path: Path, content: bytes) -> None:
    """Any file is requests and rejected lines, the latter byte for byte, or unreadable in one line."""
    counted("text import")
    path.write_bytes(content)
    rejects: list[Reject] = []
    found: list[pa.Table] = []
    message = refusal(lambda: found.extend(open_reader(path, FileOptions()).batches(rejects.append)), ImportUnreadable)
    assert message is None or is_one_line(message)
    assert all(reject.original in content for reject in rejects)
    assert sum(table.num_rows for table in found) <= content.count(b"\n") + 1


EVENT = st.fixed_dictionaries(
    {},
    optional={
        "eventTime": st.sampled_from(["2026-01-31T00:59:59.123Z", "2026-01-31", "999999-01-01T00:00:00Z"]) | JSON,
        "eventType": st.sampled_from(["vizql_http_request", "login", "background_job"]) | JSON,
        "duration": st.sampled_from(["815", "1e308", "-1"]) | JSON,
        "actorUserId": st.integers() | JSON,
        "ipAddress": st.sampled_from(["10.1.2.3", "::1", "::ffff:1.2.3.4"]) | JSON,
        "requestUri": TEXTS.map(lambda text: f"/trusted/{SECRET}/{text}") | st.just(f"/a?x={SECRET}"),
        "referrer": st.just(f"https://me:{SECRET}@h/#{SECRET}"),
        "accessToken": st.just(SECRET),
        "viewRepoUrl": TEXTS | JSON,
        "further": JSON,
    },
)
LINES = st.lists(EVENT | JSON, min_size=1, max_size=20)


@pytest.fixture(scope="module")
def parser() -> ActivityParser:
    """Return a parser, which keeps what it learned of fields."""
    return ActivityParser(Privacy(addresses="truncated"))


TABLES = [events for collector in discover().values() for events in collector.activity]
HOUR = datetime(2026, 1, 31, 1)  # noqa: DTZ001 - naive, as in the history
OF_FILES = pa.table([pa.array([3]), pa.array([HOUR], pa.timestamp("us")), pa.array(["login"])], schema=FILES)


@fuzzed(0.25)
@given(LINES, st.data())
def test_lines_of_the_activity_log(parser: ActivityParser, events: list[object], data: st.DataObject) -> None:
    """Any lines are events without secrets, or rejected; each is counted once."""
    whole = "\n".join(json.dumps(event) for event in events).encode()
    content = data.draw(damaged(whole))
    lines = split(pieces(3, io.BytesIO(content)))
    counted("Activity Log lines", lines.num_rows)
    found = parser.parse(lines, OF_FILES, 55, "luid-of-site", TABLES)
    (read, rejected) = found.files.get(3, (0, 0))
    assert read + rejected == lines.num_rows
    if content == whole:
        assert SECRET not in str([table.to_pylist() for table in found.tables.values()])


COLUMNS = [
    Field("a", "bigint"),
    Field("b", "text"),
    Field("c", "boolean"),
    Field("d", "text"),
    Field("e", "double precision"),
]
SCHEMA = arrow_schema(COLUMNS)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.tuples(
    st.none() | INT64,
    st.none() | TEXTS,
    st.none() | st.booleans(),
    st.none() | TEXTS,
    st.none() | st.floats(allow_nan=False),
)


def coded(values: tuple[object, ...]) -> bytes:
    """Return a row as PostgreSQL sends it."""
    forms = {int: ">q", bool: ">?", float: ">d"}
    row = struct.pack(">h", len(values))
    for value in values:
        if value is None:
            row += struct.pack(">i", -1)
        else:
            text = value.encode() if isinstance(value, str) else struct.pack(forms[type(value)], value)
            row += struct.pack(">i", len(text)) + text
    return row


def decoded(rows: list[bytes]) -> list[tuple[object, ...]]:
    """Decode rows as they come from the wire."""
    messages = [*rows, struct.pack(">h", -1)]
    messages[0] = HEADER + messages[0]
    batches = list(_batches(map(memoryview, messages), SCHEMA, valid_text=False))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@fuzzed()
@given(st.lists(VALUES, max_size=10))
def test_binary_rows(rows: list[tuple[object, ...]]) -> None:
    """Rows arrive as they were sent."""
    counted("binary COPY, whole")
    assert decoded(list(map(coded, rows))) == rows


@fuzzed()
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_damaged_binary_rows(rows: list[tuple[object, ...]], data: st.DataObject) -> None:
    """Rows of another form are refused in one line: nothing beyond them is read."""
    counted("binary COPY, damaged")
    sent = [data.draw(damaged(coded(row))) for row in rows]
    message = refusal(lambda: decoded(sent), SourceIncomplete)
    assert message is None or is_one_line(message)
