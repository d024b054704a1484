"""The pages over HTTP: errors, files, HEAD, and access."""

import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import pytest

from exporter.pagedata.asset_table import AssetTable, Judged
from exporter.pagedata.builder import PageData
from exporter.status import FiringAlert
from exporter.web.application import application
from exporter.web.asset_list import Row, row_of
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import NOW, FakeEndpoint, ask
from tests.web.page_fixtures import an_asset, some_pages

PATHS = [
    *("/", "/assets", "/assets.csv", "/assets.json", "/assets/workbook/w-1"),
    *("/usage", "/usage.csv", "/usage.json", "/usage.csv?of=content", "/usage.json?of=content"),
]
APP = application(FakeEndpoint(pages_shown=some_pages(firing=None)))


@pytest.mark.parametrize("path", PATHS)
def test_head(path: str) -> None:
    """HEAD is answered like GET, without a body."""
    get, head = ask(APP, "GET", path), ask(APP, "HEAD", path)
    assert (get.status, head.status) == (200, 200)
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert (head.body, bool(get.body)) == (b"", True)


def test_head_of_a_file_makes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD of a file of any length costs no more than its head."""
    made: list[int] = []

    def noted(table: AssetTable, judged: Judged, place: int) -> Row:
        made.append(place)
        return row_of(table, judged, place)

    monkeypatch.setattr("exporter.web.asset_list.row_of", noted)
    assert ask(APP, "HEAD", "/assets.csv").status == 200
    assert not made
    assert ask(APP, "GET", "/assets.csv").body.count(b"\r\n") == len(made) + 1 > 2


@pytest.mark.parametrize("path", PATHS)
def test_users(path: str) -> None:
    """Where users are configured, no other client gets a page or a file."""
    access = Access(passwords=Passwords({"ada": "$2b$10$" + "x" * 53}))
    answer = ask(application(FakeEndpoint(pages_shown=some_pages()), access), "GET", path)
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")


@pytest.mark.parametrize("path", [path for path in PATHS[1:] if "?" not in path and ".json" not in path])
def test_wrong_parameters(path: str) -> None:
    """An unknown parameter, or an invalid one, is a page of status 400 that names the valid ones."""
    answer = ask(APP, "GET", f"{path}?<script>=1")
    assert answer.status == 400
    assert b"There is no parameter \xe2\x80\x9c&lt;script&gt;\xe2\x80\x9d here" in answer.body


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/assets?sort=colour", "sort cannot be “colour”; it is one of name, type,"),
        ("/assets?status=Fine", "status cannot be “Fine”"),
        ("/assets?page=2", "page cannot be 2; there is one page."),
        ("/assets?alert=TableauAssetStale", "alert is not available: the agent evaluates no alert rules."),
        ("/assets.csv?alert=TableauAssetStale", "alert is not available: the agent evaluates no alert rules."),
        ("/assets?format=xml", "format cannot be “xml”; it is one of html, csv, json."),
        ("/usage?days=9", "days cannot be “9”; it is one of 1, 2, 8."),
        ("/usage?site=elsewhere", "There is no such site"),
        ("/usage.csv?of=people", "of cannot be “people”"),
        ("/usage?of=hours", "There is no parameter “of” here; there are site, days, list, page."),
        ("/usage.csv?page=zz", "page cannot be “zz”; it is a number from 1 on."),
        ("/assets.csv?page=zz", "page cannot be “zz”; it is a number from 1 on."),
        ("/assets?format=csv&page=zz", "page cannot be “zz”; it is a number from 1 on."),
        ("/assets.csv?format=xls", "format cannot be “xls”; it is one of csv."),
        ("/assets.csv?rows=7", "rows cannot be “7”; it is one of 25, 100, 500."),
        ("/assets/workbook/w-1?x=1", "There is no parameter “x” here; there is none."),
        ("/?x=1", "There is no parameter “x” here; there is none."),
    ],
)
def test_wrong_values(path: str, line: str) -> None:
    """A page that cannot be rendered is one line, and a link."""
    answer = ask(APP, "GET", path)
    assert answer.status == 400
    text = answer.body.decode()
    assert line in text
    back = path.split("?", maxsplit=1)[0].removesuffix(".csv")
    assert f'href="{"../" * (back.count("/") - 1) or "./"}{back.removeprefix("/")}"' in text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/assets",
        "/assets?q=traffic&page=1",
        "/usage",
        "/assets/workbook/w-1",
        "/assets/workbook/a%2Fb",
        "/assets?sort=x",
    ],
)
def test_a_page_works_below_a_path_of_a_proxy(path: str) -> None:
    """Every address of a page is relative: below the path at which a proxy serves the agent it stays there."""
    text = ask(APP, "GET", path).body.decode()
    found = [html.unescape(each) for each in re.findall(r'(?:href|action|src)="([^"]*)"', text) if each[0] != "#"]
    below = "https://proxy.example/monitoring/tableau"
    assert len(found) > 8
    assert [each for each in found if not urljoin(below + path, each).startswith(f"{below}/")] == []
    assert {urljoin(below + path, each) for each in found} >= {f"{below}/", f"{below}/assets", f"{below}/metrics"}


@pytest.mark.parametrize("path", ["/assets/workbook/none", "/assets/flow/w-1", "/assets/workbook/"])
def test_no_such_asset(path: str) -> None:
    """An asset that is not listed now is a page of status 404."""
    answer = ask(APP, "GET", path)
    assert answer.status == 404
    assert b"There is no such asset" in answer.body


@pytest.mark.parametrize(
    ("changes", "hours"),
    [
        ({}, "<dd>3</dd>"),
        ({"freshness_source": "updated_at"}, "<dd>at least 3</dd>"),
        ({"connection": None}, "<dd>at least 3</dd>"),
        ({"last_refresh_at": None}, '<dd><span class="none">unknown</span></dd>'),
        ({"connection": "live"}, '<dd><span class="none">none, it is a live connection</span></dd>'),
    ],
)
def test_hours_of_an_asset_are_no_more_than_is_known(changes: Mapping[str, Any], hours: str) -> None:
    """Hours that may be more are "at least" so many, those of a live asset are none, and all others unknown."""
    app = application(FakeEndpoint(pages_shown=some_pages([an_asset(**changes)])))
    text = ask(app, "GET", "/assets/workbook/w-1").body.decode()
    assert f"<dt>Hours since refresh</dt>{hours}" in text


def test_what_no_source_gave_is_unknown() -> None:
    """A project, an owner and an age that no source gave are unknown in the table, not blank."""
    bare = an_asset(project=None, content_owner=None, last_refresh_at=None)
    text = ask(application(FakeEndpoint(pages_shown=some_pages([bare]))), "GET", "/assets").body.decode()
    for label in ("Project", "Owner", "Hours", "Last refresh"):
        cell = text.partition(f'data-label="{label}"')[2].partition("</td>")[0]
        assert cell.endswith('<span class="none">unknown</span>')


def test_files() -> None:
    """CSV is a file of its own name, and the same by every way to request it."""
    answer = ask(APP, "GET", "/assets.csv?project=Finance&sort=name")
    assert answer.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="assets.csv"'
    assert answer.body == ask(APP, "GET", "/assets?project=Finance&sort=name&format=csv").body
    assert len(_rows(answer.body)) == 6


@pytest.mark.parametrize(
    ("path", "more"),
    [("/assets.csv", "?page=999&rows=25&format=csv"), ("/usage.csv", "?page=999&list=unused30")],
)
def test_a_file_is_everything(path: str, more: str) -> None:
    """Parameters that divide the list change no file."""
    assert ask(APP, "GET", path + more).body == ask(APP, "GET", path).body


def test_hours_as_a_file() -> None:
    """The hours of a site are those of its chart; all sites together are the sum."""
    both, one = (_rows(ask(APP, "GET", f"/usage.csv?days=2{site}").body) for site in ("", "&site=hr"))
    assert (len(both), len(one)) == (48, 48)
    assert both[-1] == {"hour_utc": "2026-07-27T10:00:00Z", "requests": "1221", "active_people": "33"}
    assert one[-1] == {"hour_utc": "2026-07-27T10:00:00Z", "requests": "814", "active_people": "22"}


def test_content_as_a_file() -> None:
    """Each list of opened content is a file: the most opened first."""
    most = _rows(ask(APP, "GET", "/usage.csv?of=content").body)
    assert [row["name"] for row in most][:2] == ["Sales", "Costs"]
    page = ask(APP, "GET", "/usage").body.decode()
    for row in most[:2]:
        assert f'data-label="Project">{row["project"]}</td>' in page
        assert f'data-label="Owner">{row["content_owner"]}</td>' in page
    assert _rows(ask(APP, "GET", "/usage.csv?of=content&list=views").body) == most


@pytest.mark.parametrize(
    "query",
    [
        *("/assets{}", "/assets{}?project=Finance&sort=name", "/assets{}?status=Unknown", "/assets{}?q=nowhere"),
        *("/usage{}", "/usage{}?days=2&site=hr", "/usage{}?of=content", "/usage{}?of=content&list=unused30"),
    ],
)
def test_json_is_what_csv_is(query: str) -> None:
    """JSON has the rows and columns of CSV in their order: numbers as numbers, unknown as null."""
    csv_file, json_file = (ask(APP, "GET", query.format(form)) for form in (".csv", ".json"))
    assert json_file.headers["Content-Type"] == "application/json"
    head, *rows = csv.reader(io.StringIO(csv_file.body.decode(), newline=""))
    objects = json.loads(json_file.body)
    assert [list(row) for row in objects] == [head] * len(rows)
    assert [["" if value is None else str(value) for value in row.values()] for row in objects] == rows
    assert not [value for row in objects for value in row.values() if value == ""]


def test_types_in_json() -> None:
    """Counts and hours are numbers, names are exact, instants are ISO 8601 in UTC."""
    pages = some_pages([an_asset(asset_name="=1+1", project=None)])
    (asset,) = json.loads(ask(application(FakeEndpoint(pages_shown=pages)), "GET", "/assets.json").body)
    assert (asset["asset_name"], asset["project"]) == ("=1+1", None)
    assert isinstance(asset["hours_since_refresh"], float)
    hour = json.loads(ask(APP, "GET", "/usage.json?days=2").body)[-1]
    assert hour == {"hour_utc": "2026-07-27T10:00:00Z", "requests": 1221, "active_people": 33}


def test_json_however_it_is_asked_for() -> None:
    """The parameter of the page returns the same as the path; a browser displays it, and stores nothing."""
    answer = ask(APP, "GET", "/assets.json?project=Finance")
    assert answer.body == ask(APP, "GET", "/assets?project=Finance&format=json").body
    assert "Content-Disposition" not in answer.headers
    assert ask(APP, "GET", "/assets.json?page=999&rows=25&format=json").body == ask(APP, "GET", "/assets.json").body


@pytest.mark.parametrize("path", ["/assets.json", "/usage.json"])
def test_wrong_parameters_of_json(path: str) -> None:
    """An invalid request of a program gets status 400 and an object with the valid parameters."""
    answer = ask(APP, "GET", f"{path}?<script>=1")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert json.loads(answer.body)["error"].startswith("There is no parameter \u201c<script>\u201d here; there are")


@pytest.mark.parametrize("path", ["/assets?project=Finance", "/usage?site=hr"])
def test_pages_lead_to_their_files(path: str) -> None:
    """Beside each link to CSV is one to the same as JSON."""
    text = ask(APP, "GET", path).body.decode()
    links = [part.partition('"')[0] for part in text.split('href="')]
    files = [link for link in links if ".csv" in link]
    assert files
    assert [link.replace(".csv", ".json") for link in files] == [link for link in links if ".json" in link]


def test_files_of_nothing() -> None:
    """Where nothing is known, CSV has its head alone, and JSON is an empty array."""
    for path in ("/assets.json", "/usage.json", "/usage.json?of=content"):
        assert ask(application(FakeEndpoint(pages_shown=PageData())), "GET", path).body == b"[]\n"
    for path in ("/assets.csv", "/usage.csv", "/usage.csv?of=content"):
        answer = ask(application(FakeEndpoint(pages_shown=PageData())), "GET", path)
        assert (answer.status, answer.body.count(b"\r\n")) == (200, 1)


def test_what_is_old_is_said() -> None:
    """A source that does not answer is named on every page, with how old its word is."""
    for path in ("/assets", "/usage", "/assets/workbook/w-1"):
        text = ask(APP, "GET", path).body.decode()
        assert "The source rest is down: the data shown was read at <time" in text
        assert ">2026-07-27 08:00 UTC</time>, 2 h ago" in text


def _rows(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def test_every_time_with_its_zone_is_an_element() -> None:
    """No time of the pages is out of the script's reach: each one followed by UTC stands in an element of its own."""
    pages = some_pages(firing=[FiringAlert("TableauAssetStale", "critical", (("asset_id", "w-2"),), NOW)])
    for path in ("/", "/assets", "/assets/workbook/w-2", "/usage"):
        text = ask(application(FakeEndpoint(pages_shown=pages)), "GET", path).body.decode()
        in_charts = text.count("by hour, UTC") + len(re.findall(r"<title>[^<]* UTC", text))
        assert text.count(" UTC") == text.count(" UTC</time>") + in_charts


def test_the_script_is_cached_and_renewed() -> None:
    """Its address changes with it, as that of a style sheet does, so that a browser may keep it for ever."""
    page = ask(APP, "GET", "/").body.decode()
    address = page.split('<script src="./', 1)[1].split('"', 1)[0]
    script = ask(APP, "GET", f"/{address}")
    assert address == f"static/local_time.js?v={hashlib.sha256(script.body).hexdigest()[:12]}"
    assert script.headers["Content-Type"].split(";")[0] in {"text/javascript", "application/javascript"}
    assert "immutable" in script.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("changes", "tableau_url", "link"),
    [
        ({"url_id": 7}, "https://t.example", "https://t.example/#/workbooks/7"),
        ({"url_id": 7, "site": "hr"}, "https://t.example", "https://t.example/#/site/hr/workbooks/7"),
        ({"url_id": 8, "asset_type": "flow"}, "https://t.example", "https://t.example/#/flows/8"),
        ({"url_id": 7}, None, None),
        ({"url_id": None}, "https://t.example", None),
        ({"url_id": 7, "site": None}, "https://t.example", None),
    ],
)
def test_the_page_in_tableau(changes: Mapping[str, Any], tableau_url: str | None, link: str | None) -> None:
    """The table and the page of an asset lead to its page in Tableau, without a referrer, where that is known."""
    row = an_asset(asset_name='"Sales"', **changes)
    app = application(FakeEndpoint(pages_shown=replace(some_pages([row]), tableau_url=tableau_url)))
    for path in ("/assets", f"/assets/{row['asset_type']}/w-1"):
        text = ask(app, "GET", path).body.decode()
        assert re.findall(r'<a [^>]*href="([^"]*)" rel="noreferrer"', text) == ([link] if link else [])
        assert text.count("in Tableau") == (2 if path == "/assets" else 1) * bool(link)
    if link:
        assert 'aria-label="Open &#34;Sales&#34; in Tableau"' in ask(app, "GET", "/assets").body.decode()


def test_an_asset_has_its_use_and_size() -> None:
    """The page of an asset has its users, its next use in its site's time zone, and the course of its size."""
    estate = [an_asset(bytes=40_000_000, time_zone="Asia/Kolkata"), an_asset(asset_id="w-2", asset_name="Unknown")]
    app = application(FakeEndpoint(pages_shown=some_pages(estate, used={"w-1": 37})))
    text = ask(app, "GET", "/assets/workbook/w-1").body.decode()
    local = datetime.fromtimestamp(NOW + 3600, ZoneInfo("Asia/Kolkata"))
    assert f"opened by 37 users this week, usually next at {local:%H:%M}" in text
    assert "74 in 30 days" in text
    assert '40.0 MB <span class="ago">100.0 MB were expected' in text
    assert text.count("100.0 MB</td>") == 3
    assert (
        '<dt>Use</dt><dd><span class="none">unknown</span></dd>'
        in ask(app, "GET", "/assets/workbook/w-2").body.decode()
    )
    row = ask(app, "GET", "/assets").body.decode().partition(">Sales</a>")[2].partition("</tr>")[0]
    assert f'37 <span class="ago">next {local:%H:%M}</span></td>' in row
    (line,) = [line for line in _rows(ask(app, "GET", "/assets.csv").body) if line["asset_id"] == "w-1"]
    assert (line["users"], line["bytes"], line["usual_bytes"]) == ("37", "40000000", "100000000")
