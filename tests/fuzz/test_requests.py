"""The columns of a request: secrets of URIs are gone, and a content is parsed from anything."""

from urllib.parse import quote

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.history.redaction import clean_uri, parsed, pieces
from tests.fuzz.cases import SECRET, TEXTS, counted, fuzzed

KEPT = (":embed",)
WORDS = (
    "views",
    "authoring",
    "w",
    "v",
    "t",
    "site",
    "api",
    "trusted",
    "users",
    "datasources",
    "askdata",
    "ds:",
    "..",
    ".",
)
PARTS = st.lists(st.sampled_from(WORDS) | st.text(alphabet="aZ09-_.~% é@:=\n\\", max_size=6), max_size=5).map("/".join)
CODED = (
    str,
    str.upper,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
)
# Each has the secret where a ticket, a password, a parameter or a fragment is.
PLACES = st.sampled_from(
    [
        ("/trusted/", "/"),
        ("/trusted//", ""),
        ("/trusted/./", "/views"),
        ("?x=", ""),
        ("?x=", "&:embed=y"),
        ("?:embed=y&x=", ""),
        ("#", ""),
        (";jsessionid=", "?"),
        ("&token=", ""),
    ]
)


@st.composite
def uris(draw: st.DrawFn) -> str:
    """Return a URI with the secret; its marks may be written in several ways."""
    before, after = draw(PLACES)
    code = draw(st.sampled_from(CODED))
    start = draw(st.sampled_from(["/", "https://h/", "//h/", "", f"https://me:{SECRET}@h/", f"http://{SECRET}@h:80/"]))
    middle = draw(PARTS)
    return f"{start}{middle}{code(before)}{SECRET}{after}{draw(PARTS)}"


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """Return a database in memory."""
    return duckdb.connect(config={"threads": 1})


@fuzzed()
@given(st.lists(uris() | TEXTS.map(lambda text: f"/{text}?x={SECRET}"), min_size=1, max_size=40))
def test_the_redaction_of_uris(connection: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    """No ticket, password, parameter or fragment is left, however it is written, and nothing is made longer."""
    counted("URI redaction", len(texts))
    given_uris = pa.table({"uri": pa.array(texts, pa.string())})
    rows = f"SELECT *, {pieces(['uri'])} FROM given_uris"
    found = connection.execute(f"SELECT uri, {clean_uri('uri', KEPT)} FROM ({rows})").fetchall()
    assert len(found) == len(given_uris)
    for uri, cleaned in found:
        assert SECRET not in cleaned, uri
        assert len(cleaned) <= len(uri) + len("/trusted/-") * (uri.count("/") + 1)


SHEETS = st.none() | PARTS | TEXTS | st.builds("{}/{}".format, TEXTS, TEXTS)


@fuzzed()
@given(st.lists(st.tuples(SHEETS, st.none() | uris() | PARTS | TEXTS), min_size=1, max_size=40))
def test_the_viewed_content(connection: duckdb.DuckDBPyConnection, rows: list[tuple[str | None, str | None]]) -> None:
    """A content is of a known type, no longer than its sources, and no parameter is part of it."""
    counted("currentsheet", len(rows))
    requests = pa.table(
        {
            "currentsheet": pa.array([sheet for sheet, _ in rows], pa.string()),
            "http_request_uri": pa.array([uri for _, uri in rows], pa.string()),
        }
    )
    found = connection.sql(f"SELECT * FROM ({parsed('requests')})").to_arrow_table().to_pylist()
    assert len(found) == len(requests)
    for row in found:
        assert row["asset_type"] in {None, "view", "workbook", "datasource"}
        longest = max(len(row["currentsheet"] or ""), len(row["http_request_uri"] or ""))
        for name in ("workbook", "view"):
            assert len(row[name] or "") <= longest
