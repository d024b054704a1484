"""Secrets in URIs and referers are removed before anything is stored; the viewed content is parsed from them."""

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.history import redaction
from exporter.history.redaction import URI_COLUMNS, Privacy, clean_uri, cleaning, parsed, pieces

SECRET = "C4n4ry"
KEPT = (":embed",)

URIS = {
    None: None,
    "": "",
    "/": "/",
    "/views/Sales/Overview": "/views/Sales/Overview",
    "/views/Sales/Overview?": "/views/Sales/Overview",
    f"/views/Sales/Overview?token={SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview?:embed=y&token={SECRET}": "/views/Sales/Overview?:embed=y",
    f"/views/Sales/Overview?token={SECRET}&:embed=y": "/views/Sales/Overview?:embed=y",
    f"/views/Sales/Overview?:embed={SECRET}x&:embed=y#{SECRET}": None,
    "/views/Sales/Overview?:embed": "/views/Sales/Overview?:embed",
    f"/views/Sales/Overview?x:embed={SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview#{SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview;jsessionid={SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview;jsessionid={SECRET}?:embed=y": "/views/Sales/Overview?:embed=y",
    f"/trusted/{SECRET}/views/Sales/Overview": "/trusted/-/views/Sales/Overview",
    f"/trusted/{SECRET}": "/trusted/-",
    f"/Trusted/{SECRET}/t/emea/views/Sales/Overview?:embed=y": "/trusted/-/t/emea/views/Sales/Overview?:embed=y",
    f"/%2Ftrusted%2F{SECRET}/views": "/%2Ftrusted%2F-/views",
    f"/trusted/trusted/{SECRET}/x": "/trusted/-/x",
    f"/trusted/./trusted//Trusted/{SECRET}": "/trusted/-",
    "/trusted/trusted": "/trusted/-",
    f"/trusted/{SECRET}/trusted/{SECRET}/x": "/trusted/-/trusted/-/x",
    f"/views/Sales/Overview%3Ftoken={SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview%23{SECRET}": "/views/Sales/Overview",
    f"/views/Sales/Overview%253Ftoken={SECRET}": "/views/Sales/Overview",
    f"https://ann:{SECRET}@tableau.example/views/Sales": "https://tableau.example/views/Sales",
    f"//ann:{SECRET}@tableau.example/": "//tableau.example/",
    f" https://ann:{SECRET}@tableau.example/": "https://tableau.example/",
    f"/trusted//{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/trusted/%20/{SECRET}/views/Sales": None,
    f"https://ann:{SECRET}#{SECRET}@tableau.example/views": "-",
    f"https://ann:{SECRET}?{SECRET}@tableau.example/views": "-",
    f"https://tableau.example/#/site/emea/views/Sales/Overview?:iid={SECRET}": (
        "https://tableau.example/#/site/emea/views/Sales/Overview"
    ),
    f"https://tableau.example/#/trusted/{SECRET}/views": "https://tableau.example/#/trusted/-/views",
    f"/vizql/w/Sales/v/Overview/bootstrapSession/sessions/1\n?{SECRET}": (
        "/vizql/w/Sales/v/Overview/bootstrapSession/sessions/1\n"
    ),
    "/views/Ventas%20é/😀": "/views/Ventas%20é/😀",
    "/views/Sales/Overview?:embed=y%26ticket=C4n4ry": "/views/Sales/Overview?:embed=y",
    f"/views/Sales/Overview?:embed=eyJhbGciOiJIUzI1NiJ9.{SECRET}": "/views/Sales/Overview?:embed=eyJhbGciOiJIUzI1",
    f"/views/Sales/Overview?a=b&:embed=eyJhbGciOiJIUzI1NiJ9.{SECRET}": "/views/Sales/Overview?:embed=eyJhbGciOiJIUzI1",
    f"/%74rusted/{SECRET}/views/Sales": "-",
    f"/t%72usted%2f{SECRET}/views/Sales": "-",
    f"/%74rusted/{SECRET}/%FF": "/",
    f"/trusted%5c{SECRET}": "-",
    f"/%2e/trusted/{SECRET}/views/Sales": "/%2e/trusted/-/views/Sales",
    f"/trusted/./{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/trusted/%2e/{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/trusted/%09/{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/trusted/x/../{SECRET}/views/Sales": "-",
    f"/trusted/x/%2e%2e/{SECRET}/views/Sales": "-",
    f"/TRusted/{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/tRuStEd/{SECRET}/views/Sales": "/trusted/-/views/Sales",
    f"/trusted/x/tRuStEd/{SECRET}": "/trusted/-/trusted/-",
    f"trusted/{SECRET}": "-",
    f"https%3A%2F%2Fann:{SECRET}@tableau.example/views": "-",
    f"https://tableau.example/to/https://ann:{SECRET}@other.example/views": "-",
    "/views/Sales%2FOverview": "/views/Sales%2FOverview",
    f"/trusted/../trusted/{SECRET}/views": "-",
    f"/trusted/%2e%2E/trusted/{SECRET}/views": "-",
    f"/Trusted/..%2ftrusted/{SECRET}/views": "-",
    f"/trusted/..\\%74rusted/{SECRET}": "-",
    f"https://tableau.example/#/trusted/../trusted/{SECRET}": "-",
    f"/tru%C5%BFted/{SECRET}": "-",
    f"///ann:{SECRET}@tableau.example/": "-",
    f"/\\ann:{SECRET}@tableau.example/": "-",
    f"http:\\\\ann:{SECRET}@tableau.example": "-",
    f"https:/ann:{SECRET}@tableau.example/views": "-",
    f"https:ann:{SECRET}@tableau.example/views": "-",
    f"ann:{SECRET}@tableau.example:443": "-",
    f"https://tableau.example/to/https:/ann:{SECRET}@other.example/": "-",
    "/views/Sales/Overview/ann@corp/../Mine": "/views/Sales/Overview/ann@corp/../Mine",
    "https://tableau.example:8443/views/Sales/Overview/ann@corp": "https://tableau.example:8443/views/Sales/Overview/ann@corp",
}


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """A database in memory."""
    return duckdb.connect()


def _clean(connection: duckdb.DuckDBPyConnection, uri: str | None, kept: tuple[str, ...] = KEPT) -> str | None:
    given_uri = f"SELECT *, {pieces(['uri'])} FROM (SELECT ?::VARCHAR AS uri)"
    rows = connection.execute(f"SELECT {clean_uri('uri', kept)} FROM ({given_uri})", [uri]).fetchall()
    answer: str | None = rows[0][0]
    return answer


@pytest.mark.attack("uris")
@pytest.mark.parametrize("uri", URIS)
def test_the_shapes_of_uris(connection: duckdb.DuckDBPyConnection, uri: str | None) -> None:
    """A path stays; tickets, credentials, fragments and parameters that are not kept go."""
    cleaned = _clean(connection, uri)
    if uri is not None and f":embed={SECRET}" not in uri:
        assert SECRET not in (cleaned or "")
    expected = URIS[uri]
    if uri is None or expected is not None:
        assert cleaned == expected


def test_parameters_are_kept_by_name(connection: duckdb.DuckDBPyConnection) -> None:
    """The list of kept parameters is the operator's, and may be empty or hold odd names."""
    uri = f"/views/A/B?:embed=y&Region=West&x'y=1&a.c=2&abc={SECRET}"
    assert _clean(connection, uri, ()) == "/views/A/B"
    assert _clean(connection, uri, ("Region",)) == "/views/A/B?Region=West"
    assert _clean(connection, uri, ("Region", ":embed")) == "/views/A/B?Region=West&:embed=y"
    assert _clean(connection, uri, ("x'y",)) == "/views/A/B?x'y=1"
    assert _clean(connection, uri, ("a.c",)) == "/views/A/B?a.c=2"


PARTS = st.text(alphabet="abcXYZ019-_.~%é '\n", max_size=12)
PLACES = (
    "{path}?{name}={secret}",
    "{path}?:embed=y&{name}={secret}",
    "{path}?{name}={secret}&:embed=y",
    "{path}#{secret}",
    "{path}#!{name}={secret}",
    "{path};jsessionid={secret}",
    "{path}&{name}={secret}",
    "/trusted/{secret}{path}",
    "/t/x/trusted/{secret}",
    "https://h/trusted/{secret}{path}?{name}={secret}",
    "https://{name}:{secret}@h{path}",
    "{path}%3F{name}={secret}",
    "{path}%3f{name}%3d{secret}",
    "{path}%23{secret}",
    "{path}%3Bjsessionid={secret}",
    "https://h/#{path}?{name}={secret}",
    "https://h/#{path}&{name}={secret}",
    "https://h/#/trusted/{secret}{path}",
    "%2Ftrusted%2F{secret}",
)


@pytest.mark.attack("uris")
@settings(max_examples=150, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    path=st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    name=st.text(alphabet="abcXYZ_.-", min_size=1, max_size=8),
    secret=st.text(alphabet="qrstuvQRSTUV23456", min_size=16, max_size=24),
)
def test_no_secret_survives(place: str, path: str, name: str, secret: str) -> None:
    """Whatever stands around it, a secret in a query, a fragment, a ticket or credentials is not stored."""
    uri = place.format(path=path, name=name, secret=secret)
    with duckdb.connect() as connection:
        assert secret not in str(_clean(connection, uri))


MARKED = ("/trusted/", "/", "?", "&", ":embed=", "y", ":embed", "/views", SECRET, "=", " ", "x:embed=", "rusted", "é")
MARKS = st.lists(st.sampled_from(MARKED), max_size=4).map("".join)


BEGINNINGS = st.sampled_from(["", "/trusted/", "/x?", "/x?:embed=y", "/trusted/a?:embed=y"])


# Ten texts in each query: to plan it costs more than to run it.
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(BEGINNINGS, MARKS).map("".join), min_size=10, max_size=10, unique=True))
def test_the_short_way_is_the_long_way(connection: duckdb.DuckDBPyConnection, uris: list[str]) -> None:
    """Splitting at delimiters alone yields the same as the expressions for all texts."""
    long_way = redaction._clean_thoroughly("uri", KEPT, custom_views=True)
    texts = "SELECT unnest(?::VARCHAR[]) AS uri"
    expected = connection.execute(f"SELECT uri, {long_way} FROM ({texts})", [uris]).fetchall()
    short_way = f"SELECT uri, {clean_uri('uri', KEPT)} FROM (SELECT *, {pieces(['uri'])} FROM ({texts}))"
    assert connection.execute(short_way, [uris]).fetchall() == expected


def test_the_privacy_options() -> None:
    """Users and addresses are removed where the options require it."""
    assert cleaning(Privacy()).keys() == {"http_request_uri", "http_referer"}
    none = cleaning(Privacy(users="none", addresses="none"))
    assert (none["user_id"], none["remote_ip"], none["user_ip"]) == ("NULL", "NULL", "NULL")
    pseudonym = cleaning(Privacy(users="pseudonym"))
    assert "user_id" not in pseudonym
    with duckdb.connect() as connection:
        sheet = "SELECT {} FROM (SELECT 'Sales/Overview/ann@example.org/Mine' AS currentsheet)"
        assert connection.execute(sheet.format(pseudonym["currentsheet"])).fetchall() == [("Sales/Overview",)]
        uri = (
            f"SELECT {{}} FROM (SELECT *, {pieces(URI_COLUMNS[:1])}"
            " FROM (SELECT '/views/Sales/Overview/ann/Mine' AS http_request_uri))"
        )
        assert connection.execute(uri.format(pseudonym["http_request_uri"])).fetchall() == [("/views/Sales/Overview",)]


JANE = "jane.doe@corp"
PERSONAL = {
    f"/views/Sales/Overview/{JANE}/cv": "/views/Sales/Overview",
    f"/Views/Sales/Overview/{JANE}/cv?:embed=y": "/Views/Sales/Overview",
    f"/VIZQL/W/Sales/V/Overview/{JANE}/cv": "/VIZQL/W/Sales/V/Overview",
    f"/views/Sales/Overview%2f{JANE}%2fcv": "-",
    f"/%76iews/Sales/Overview/{JANE}/cv": "-",
    f"/views//Sales/Overview/{JANE}/cv": "-",
    f"/views/./Sales/Overview/{JANE}/cv": "/views/./Sales",
    f"/x/../%76iews/Sales/Overview/{JANE}": "-",
    f"/USERS/{JANE}": "/USERS/-",
    f"/%55sers/{JANE}": "-",
    f"/users%2f{JANE}": "-",
    f"/U%C5%BFer%C5%BF/{JANE}": "-",
    f"/offline_views/Sales/Overview/{JANE}/cv.png": "/offline_views/Sales/Overview",
    f"/offline%5fviews/Sales/Overview/{JANE}": "-",
    "/offline_views/Sales/Overview.png": "/offline_views/Sales/Overview.png",
    "/views/Sales/Ein%20Blatt": "/views/Sales/Ein%20Blatt",
    "/vizportal/api/web/v1/getViews": "/vizportal/api/web/v1/getViews",
}


@pytest.mark.parametrize("uri", PERSONAL)
def test_the_owner_of_a_custom_view(connection: duckdb.DuckDBPyConnection, uri: str) -> None:
    """Under pseudonyms no URI keeps the owner's name, in whatever case and coding a server would read it."""
    text = f"SELECT *, {pieces(['uri'])} FROM (SELECT ?::VARCHAR AS uri)"
    cleaned = clean_uri("uri", KEPT, custom_views=False)
    assert connection.execute(f"SELECT {cleaned} FROM ({text})", [uri]).fetchall() == [(PERSONAL[uri],)]


# currentsheet and http_request_uri; then the type of the asset, its workbook, its view.
ASSETS: tuple[tuple[str | None, str | None, str | None, str | None, str | None], ...] = (
    ("Sales/Overview", "/vizql/w/Other/v/Sheet", "view", "Sales", "Overview"),
    ("Sales/Overview/ann/Mine", None, "view", "Sales", "Overview"),
    ("Sales/null", None, "workbook", "Sales", None),
    ("Sales", None, "workbook", "Sales", None),
    ("ds:Orders", "/vizql/w/x/v/y", "datasource", None, None),
    ("", "/views/Sales/Overview?:embed=y", "view", "Sales", "Overview"),
    (None, "/views/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/t/emea/views/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/trusted/x/views/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/vizql/w/Sales/v/Overview/bootstrapSession/sessions/1", "view", "Sales", "Overview"),
    (None, "/vizql/t/emea/w/Sales/v/Overview/vud/sessions/1", "view", "Sales", "Overview"),
    (None, "/authoring/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/views/Sales/Overview.csv", "view", "Sales", "Overview"),
    (None, "/t/emea/views/Sales/Overview.pdf?x=1", "view", "Sales", "Overview"),
    (None, "/api/3.4/sites/x/views/y/data", None, None, None),
    (None, "/datasources/Orders", "datasource", None, None),
    (None, "/vizportal/api/web/v1/getViews", None, None, None),
    (None, "/", None, None, None),
    # The data source behind a workbook that is being made, queried or edited: it has no view.
    ("", "/vizql/t/finance/w/ds:Orders/v/null/bootstrapSession/sessions/1", "datasource", None, None),
    ("", "/vizql/w/ds%3AOrders/v/null/bootstrapSession", "datasource", None, None),
    ("Orders/Sheet1", "/vizql/w/ds:Orders/v/Sheet1/bootstrapSession", "datasource", None, None),
    ("ds:My Orders/null", "/vizql/w/x/v/y", "datasource", None, None),
    (None, "/askData/Orders", "datasource", None, None),
    (None, "/t/finance/askData/Orders?x=1", "datasource", None, None),
    (None, "/startAskData/Orders?x=1", "datasource", None, None),
    (None, "/authoringNewWorkbook/1dv6l8v3t/Orders", "datasource", None, None),
    (None, "/t/finance/authoringNewWorkbook/1dv6l8v3t/Orders#1", "datasource", None, None),
    (None, "/newWorkbook/1dv6l8v3t", None, None, None),
    # A workbook without a view.
    ("", "/vizql/w/Sales/v/null/bootstrapSession/sessions/1", "workbook", "Sales", None),
    ("Sales Book/null", "/vizql/t/emea/w/Sales/v/null/bootstrapSession", "workbook", "Sales", None),
    # The URI spells the sheet as repository_url does.
    ("Sales Book/Sheet 1", "/vizql/w/Sales/v/Overview/bootstrapSession", "view", "Sales", "Overview"),
    ("Sales Book/Sheet 1", "/t/emea/views/Sales/Overview?:iid=1", "view", "Sales", "Overview"),
    ("Sales/null", "/vizql/t/emea/w/Sales/v/Overview/bootstrapSession", "view", "Sales", "Overview"),
    ("Sales/Overview/null", "/vizql/w/Sales/v/Overview/vud/sessions/1", "view", "Sales", "Overview"),
    ("Sales", "/views/Sales/Overview", "view", "Sales", "Overview"),
    ("Sales Book/Sheet 1", "/vizportal/api/web/v1/getViews", "view", "Sales Book", "Sheet 1"),
    (None, "/offline_views/Sales/Overview?x=1", "view", "Sales", "Overview"),
    (None, "/t/emea/offline_views/Sales/Overview.png", "view", "Sales", "Overview"),
    # In another case, coded, on a site that is called as a part of a path, and elsewhere than in the path.
    (None, "/T/emea/Views/Sales/Overview.PDF", "view", "Sales", "Overview"),
    (None, "/views/Umsatz%C3%BC/Ein%20Blatt?x=%20", "view", "Umsatzü", "Ein Blatt"),
    (None, "/views/Umsatz%FF/Blatt", None, None, None),
    (None, "/views/Sales/Over%00view", "view", "Sales", "Over"),
    (None, "/t/views/views/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/vizql/t/w/w/Sales/v/Overview/bootstrapSession", "view", "Sales", "Overview"),
    (None, "/#/site/views/views/Sales/Overview?:iid=1", "view", "Sales", "Overview"),
    (None, "/authoring/t/emea/Sales/Overview#1", "view", "Sales", "Overview"),
    (None, "/t/emea/authoring/Sales/Overview", "view", "Sales", "Overview"),
    (None, "/views/Sales/v/ann/Mine", "view", "Sales", "v"),
    (None, "/signin?externalRedirect=/views/Sales/Overview", None, None, None),
    (None, None, None, None, None),
)


@pytest.mark.parametrize("case", ASSETS)
def test_what_was_looked_at(
    connection: duckdb.DuckDBPyConnection, case: tuple[str | None, str | None, str | None, str | None, str | None]
) -> None:
    """The sheet that Tableau filled in counts where it is spelled as an address, else the shape of the URI."""
    names = ("currentsheet", "http_request_uri")
    connection.register(
        "requests", pa.table({name: pa.array([text], pa.string()) for name, text in zip(names, case[:2], strict=True)})
    )
    found: list[tuple[Any, ...]] = connection.execute(
        f"SELECT asset_type, workbook, view FROM ({parsed('requests')})"
    ).fetchall()
    assert found == [case[2:]]


@pytest.mark.attack("uris")
@pytest.mark.parametrize("mark", ["%3F", "%3f", "%23", "%26", "%2F"])
def test_no_secret_is_read_as_a_view(connection: duckdb.DuckDBPyConnection, mark: str) -> None:
    """The content parsed from a URI ends where its path ends, also behind a percent sign."""
    rows = pa.table(
        {
            "currentsheet": pa.array([""], pa.string()),
            "http_request_uri": pa.array([f"/views/Sales/Overview{mark}ticket={SECRET}"], pa.string()),
        }
    )
    connection.register("asked", rows)
    found = connection.execute(f"SELECT asset_type, workbook, view FROM ({parsed('asked')})").fetchall()
    assert found == [("view", "Sales", "Overview")]
