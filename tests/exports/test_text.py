"""Text files in the older tool's form, each row once, with values that any reader of CSV gets back."""

import csv
import random
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from exporter import exports
from exporter.cli import main
from exporter.exports.text import local_times, quoted_fields
from exporter.history.text_files import TEXT_FILES
from tests.exports.headers import HEADERS
from tests.exports.text_history import HOSTILE, begin, transactions, visits
from tests.history.synthetic_history import BEGIN, SyntheticHistory
from tests.support.soak import LONG

KILLED = 100 if LONG else 4
ROOT = Path(__file__).parents[2]
FIRST, LAST = (datetime.fromisoformat(each) for each in ("0001-01-01", "9999-12-31T23:59:59"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The history as a file."""
    path = tmp_path_factory.mktemp("written") / "history.duckdb"
    begin(path)
    return path.read_bytes()


@pytest.fixture
def synthetic(written: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticHistory:
    """The history of two sites, which the environment names; requests are archived by the test."""
    path = tmp_path / "history.duckdb"
    path.write_bytes(written)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(path))
    (tmp_path / "out").mkdir()
    return SyntheticHistory(path)


def archive(synthetic: SyntheticHistory, rows: Sequence[pa.Table], begun: int = 0) -> None:
    """Archive some requests, a transaction each."""
    for number, each in enumerate(rows, begun):
        synthetic.poll(BEGIN + timedelta(days=30, hours=number), each)


def export(*arguments: str, output: str = "out") -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["history", "export", "--format=text", f"--output={output}", *arguments])


def done(*arguments: str, output: str = "out") -> None:
    """Run the command, which succeeds."""
    result = export(*arguments, output=output)
    assert (result.exit_code, result.stderr) == (0, ""), result.output


def read(name: str, delimiter: str = "|", folder: str = "out") -> list[dict[str, str]]:
    """Return the rows of a file as Python's csv reads them."""
    with (Path(folder) / f"{name}.txt").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter, strict=True))


def sessions(folder: str = "out") -> list[str]:
    """Return the session of each exported request."""
    return [row["session_id (http)"] for row in read("http_requests", folder=folder)]


def all_of(count: int) -> list[str]:
    """Return the sessions of so many requests."""
    return [f"session {number}" for number in range(count)]


def test_the_first_lines_are_those_of_the_older_tool(synthetic: SyntheticHistory) -> None:
    """Byte for byte, in files of the same names; each file has the columns that it is documented with."""
    archive(synthetic, list(transactions(1)))
    done()
    names = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert names == {f"{name}.txt" for name in exports.DAILY_TEXT_FILES}
    done("--table=usage")
    for name in exports.TEXT_FILES:
        first, *rest = Path(f"out/{name}.txt").read_bytes().split(b"\n")
        assert first == HEADERS[name].encode()
        assert rest[-1] == b""
        assert len(read(name)) > 0
    assert tuple(TEXT_FILES) == exports.TEXT_FILES
    assert {name: "|".join(item.header) for name, item in TEXT_FILES.items()} == HEADERS


@pytest.mark.parametrize("delimiter", ["|", "\t", ",", " ", "¦", "a"], ids=ascii)
def test_any_text_is_read_back(synthetic: SyntheticHistory, delimiter: str) -> None:
    """Delimiters, line ends, quotes, formulas, control characters and characters of four bytes; no field too many."""
    archive(synthetic, list(transactions(2)))
    done("--table=http_requests", f"--delimiter={delimiter}")
    rows = read("http_requests", delimiter)
    assert [row["http_user_agent (http)"] for row in rows] == [*HOSTILE, *HOSTILE]
    assert all(set(row) == set(HEADERS["http_requests"].split("|")) for row in rows)


def test_quotes_stand_only_where_they_are_needed() -> None:
    """Around the delimiter, a quote, a line's end, a blank at either end, and an empty text, which is not NULL."""
    texts = ["plain", None, "", 'a"b', "a|b", "a;b", "a\rb", "a\nb", " a", "a ", "a b"]
    expected = ["plain", None, '""', '"a""b"', '"a|b"', "a;b", '"a\rb"', '"a\nb"', '" a"', '"a "', "a b"]
    assert quoted_fields(pa.array(texts, pa.large_string()), "|").to_pylist() == expected


def test_a_second_run_changes_nothing(synthetic: SyntheticHistory) -> None:
    """Neither content nor the files change; rows archived since are appended once, however many days later."""
    archive(synthetic, list(transactions(2)))
    done()
    done("--table=usage")
    files = sorted(Path("out").glob("*.txt"))
    before = [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    done()
    done("--table=usage")
    assert [(path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before
    archive(synthetic, list(transactions(5))[2:], begun=2)
    done()
    assert sessions() == all_of(100)
    assert [path.stat().st_ino for path in files] == [inode for _, inode, _ in before]


DAYLIGHT = {
    ("Europe/Berlin", "2025-03-30T00:59:59.999999"): "2025-03-30 01:59:59.999999",
    ("Europe/Berlin", "2025-03-30T01:00:00"): "2025-03-30 03:00:00.000000",
    ("Europe/Berlin", "2025-10-26T00:30:00"): "2025-10-26 02:30:00.000000",
    ("Europe/Berlin", "2025-10-26T01:30:00"): "2025-10-26 02:30:00.000000",
    ("Europe/Berlin", "2025-12-31T23:30:00"): "2026-01-01 00:30:00.000000",
    ("America/New_York", "2025-03-09T06:59:59.999999"): "2025-03-09 01:59:59.999999",
    ("America/New_York", "2025-03-09T07:00:00"): "2025-03-09 03:00:00.000000",
    ("America/New_York", "2025-11-02T05:30:00"): "2025-11-02 01:30:00.000000",
    ("America/New_York", "2025-11-02T06:30:00"): "2025-11-02 01:30:00.000000",
    ("Asia/Kathmandu", "2025-06-01T12:00:00"): "2025-06-01 17:45:00.000000",
    ("UTC", "2025-06-01T12:00:00.000001"): "2025-06-01 12:00:00.000001",
}


@pytest.mark.parametrize("zone", sorted({zone for zone, _ in DAYLIGHT}))
def test_hours_are_right_over_daylight_saving(synthetic: SyntheticHistory, zone: str) -> None:
    """On the days on which the clocks are changed too, and the day of completion is that of the same clock."""
    instants = [instant for name, instant in DAYLIGHT if name == zone]
    archive(synthetic, [visits(0, [datetime.fromisoformat(each) for each in instants])])
    done("--table=usage", f"--timezone={zone}")
    expected = [DAYLIGHT[zone, instant] for instant in instants]
    rows = read("usage")
    assert [row["Date - Created At (http)"] for row in rows] == expected
    assert [row["Date - Completed At (http)"] for row in rows] == expected
    assert [row["Date - Completion (http)"] for row in rows] == [each[:10] for each in expected]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_every_quarter_of_an_hour_is_that_of_the_zone(zone: str) -> None:
    """Over a year, as zoneinfo has it."""
    begun = datetime.fromisoformat("2025-01-01T00:00:00+00:00")
    instants = [begun + timedelta(minutes=15 * number) for number in range(366 * 96)]
    naive = pa.array([each.replace(tzinfo=None) for each in instants], pa.timestamp("us"))
    expected = [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for each in instants]
    assert local_times(naive, ZoneInfo(zone)).to_pylist() == expected


def test_times_that_nobody_can_mean(synthetic: SyntheticHistory) -> None:
    """Infinity is empty, as NULL is; a year beyond the calendars of Python is written, and ends nothing."""
    archive(synthetic, [visits(0, [None, LAST, FIRST, BEGIN])])
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("UPDATE http_requests SET completed_at = 'infinity' WHERE completed_at = created_at")
        connection.execute("UPDATE http_requests SET created_at = '12345-06-07 08:09:10' WHERE id = 3")
        expected = connection.execute("SELECT count(*) FROM http_requests").fetchall()[0][0]
    done("--table=http_requests", "--timezone=Europe/Berlin")
    rows = read("http_requests")
    assert len(rows) == expected
    assert {row["Date - Completed At (http)"] for row in rows} == {""}
    assert any("12345-06-07 " in row["Date - Created At (http)"] for row in rows)


def test_what_is_gone_is_in_no_reference_file(synthetic: SyntheticHistory) -> None:
    """Neither removed content nor that in the recycle bin, with its views and extracts."""
    archive(synthetic, list(transactions(1)))
    done()
    assert [row["id"] for row in read("workbooks")] == ["10", "15", "20", "25"]
    assert [row["id"] for row in read("views")] == ["10", "11", "15", "20", "21", "25"]
    assert {row["ID - (Extract)"] for row in read("extracts")} == {"10", "11", "20", "21"}
    names = {row["Name (WB)"] for row in read("Extracts_To_Workbooks")}
    assert names == {"Sales", "Live"}


def test_what_each_file_has(synthetic: SyntheticHistory) -> None:
    """Owners, projects and the newest login of each user stand beside their numbers; secrets are empty."""
    synthetic.poll(BEGIN + timedelta(days=31))
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("UPDATE logins SET user_id = 11")
    done()
    book = read("workbooks")[0]
    published = ("name", "workbook_url", "created_at", "owner_name", "project_name", "system_user_id", "size")
    assert [book[name] for name in published] == [
        "Sales",
        "Sales",
        "2025-01-01 01:00:00.000000",
        "ann1",
        "EMEA",
        "7",
        "101",
    ]
    logins = {row["id"]: row["login_at"] for row in read("users")}
    assert logins == {"10": "", "11": "2025-02-01 00:00:00.000000", "20": "", "21": "2025-01-01 02:00:00.000000"}
    extract = read("extracts")[0]
    secret = [name for name in extract if name.startswith(("Password", "Keychain", "Embedded"))]
    assert len(secret) == 5
    assert {row[name] for row in read("Extracts_To_Workbooks") for name in secret} == {""}


def test_sites_with_equal_names_are_not_mixed(synthetic: SyntheticHistory) -> None:
    """An extract of a published source stands beside the workbook of its own site that uses it, by the connection."""
    synthetic.poll(BEGIN)
    done()
    columns = ("ID - (Extract)", "A_WB_ID", "ID - (Conn WB)", "ID - (DS)", "ID - (Conn DS)", "ID - Site (WB DS)")
    found = [tuple(row[name] for name in columns) for row in read("extracts")]
    assert sorted(found) == [
        ("10", "10", "10", "", "", "1"),
        ("11", "10", "11", "10", "12", "1"),
        ("20", "20", "20", "", "", "2"),
        ("21", "20", "21", "20", "22", "2"),
    ]
    joined = Counter((row["A_WB_ID"], row["F_WB_ID"], row["ID - (Views)"]) for row in read("Extracts_To_Workbooks"))
    assert joined == {
        ("10", "10", "10"): 2,
        ("10", "10", "11"): 2,
        ("", "15", "15"): 1,
        ("20", "20", "20"): 2,
        ("20", "20", "21"): 2,
        ("", "25", "25"): 1,
    }


def test_the_master_table_has_each_request_once(synthetic: SyntheticHistory) -> None:
    """With the view of its site, though several extracts belong to it, and with its user, though there may be none."""
    sheets = ["Sales/Map", "Sales/Map", "Live/Map", "Gone/Map", "Nowhere/Map", None]
    at = [BEGIN + timedelta(seconds=number) for number in range(len(sheets))]
    sites, users = [1, 2, 2, 1, 1, 1], [10, 20, 21, None, 99, 10]
    archive(synthetic, [visits(0, at, currentsheet=sheets, site_id=sites, user_id=users)])
    done("--table=usage")
    columns = ("ID - (Views)", "Name (WB)", "A_WB_ID", "name (http User)", "Distinct Count - Friendly Name (http User)")
    assert [tuple(row[name] for name in columns) for row in read("usage")] == [
        ("10", "Sales", "10", "ann1", "1"),
        ("20", "Sales", "20", "ann2", "1"),
        ("25", "Live", "", "bob2", "0"),
        ("90", "Gone", "", "", ""),
        ("", "", "", "", ""),
        ("", "", "", "ann1", "1"),
    ]


@pytest.mark.parametrize("format_", ["text", "csv"])
def test_requests_to_cloud_are_usage_too(synthetic: SyntheticHistory, format_: str) -> None:
    """Requests to Server and to Cloud stand in the order in which they were archived, each once, also a later run."""
    archive(synthetic, list(transactions(1)))
    server = exported(format_)
    assert len(server) == 20
    cloud(synthetic, action="a request to Cloud")
    for _ in range(2):
        assert exported(format_) == [*server, "a request to Cloud"]


def test_usage_that_was_begun_without_requests_to_cloud(synthetic: SyntheticHistory) -> None:
    """The documented command adds to the file of an older version what was archived before its last row."""
    archive(synthetic, list(transactions(1)))
    server = exported("text")
    cloud(synthetic, action="a request to Cloud", seconds=-60)
    assert exported("text") == server
    document = (ROOT / "docs/migration-text-files.md").read_text(encoding="utf-8")
    command = shlex.split(document.split("<!-- usage anew -->\n```sh\n")[1].split("\n")[0])
    assert command[:3] == ["tableau-exporter", "history", "export"]
    rewritten = ["--output=out" if argument.startswith("--output") else argument for argument in command[1:]]
    result = CliRunner().invoke(main, rewritten)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert sorted(exported("text", "--timezone=Europe/Berlin")) == sorted(["a request to Cloud", *server])


def exported(format_: str, *others: str) -> list[str]:
    """Export usage, and return the action of each row."""
    path = Path("out/usage.txt" if format_ == "text" else "out/usage.csv")
    output = "out" if format_ == "text" else str(path)
    arguments = ["history", "export", f"--format={format_}", "--table=usage", f"--output={output}", *others]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="|" if format_ == "text" else ","))
    return [row["Action (http)" if format_ == "text" else "action"] for row in rows]


def cloud(synthetic: SyntheticHistory, *, action: str, seconds: int = 1) -> None:
    """Archive a request to Tableau Cloud, so many seconds after all others."""
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute(
            "INSERT INTO cloud_requests (id, created_at, action, archived_at)"
            " SELECT -7, ?, ?, max(archived_at) + to_seconds(?) FROM http_requests",
            [BEGIN, action, seconds],
        )


def test_since_bounds_the_first_export_alone(synthetic: SyntheticHistory) -> None:
    """Rows archived later are exported whatever their time, with any later --since."""
    early, late = list(transactions(3)), transactions(4)
    archive(synthetic, early)
    done("--table=http_requests", "--since=2025-01-01T01:00:00")
    assert sessions() == all_of(60)[20:]
    old = visits(900, [BEGIN - timedelta(days=9)], session_id=["old"])
    archive(synthetic, [*list(late)[3:], old], begun=3)
    done("--table=http_requests", "--since=2025-01-01T03:00:00")
    assert sessions() == [*all_of(80)[20:], "old"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("--delimiter=;", "was begun with another delimiter"),
        ("--timezone=Europe/Berlin", "was begun with another timezone"),
    ],
)
def test_other_options_are_refused(synthetic: SyntheticHistory, changed: str, reason: str) -> None:
    """In one line that names --rewrite, which begins the file anew."""
    archive(synthetic, list(transactions(1)))
    done("--table=http_requests")
    before = Path("out/http_requests.txt").read_bytes()
    result = export("--table=http_requests", changed)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 1)
    assert reason in result.stdout
    assert "--rewrite" in result.stdout
    assert Path("out/http_requests.txt").read_bytes() == before
    done("--table=http_requests", changed, "--rewrite")
    done("--table=http_requests", changed)
    assert len(read("http_requests", ";" if "delimiter" in changed else "|")) == 20


def test_another_history_is_refused(synthetic: SyntheticHistory) -> None:
    """Its rows would come twice, or not at all."""
    archive(synthetic, list(transactions(1)))
    done("--table=logins")
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("UPDATE marks SET marked_at = marked_at + INTERVAL 1 SECOND WHERE name = 'begun'")
    result = export("--table=logins")
    assert result.exit_code == 1
    assert "another history" in result.stdout
    assert "--rewrite" in result.stdout


def test_a_share_that_is_away(synthetic: SyntheticHistory) -> None:
    """The local folder gets its files; the other gets the missing ones when it is there again."""
    archive(synthetic, list(transactions(1)))
    result = export("--output=share", "--table=http_requests")
    assert result.exit_code == 1
    assert "share: no such folder" in result.stdout
    Path("share").mkdir()
    archive(synthetic, list(transactions(2))[1:], begun=1)
    done("--output=share", "--table=http_requests")
    assert sessions() == sessions("share") == all_of(40)


def test_a_history_without_names(synthetic: SyntheticHistory) -> None:
    """Archived rows are exported; each file that needs names is a line that names the collector that writes them."""
    archive(synthetic, list(transactions(1)))
    with duckdb.connect(str(synthetic.file.path)) as connection:
        connection.execute("DROP VIEW latest_data_connections")
    result = export()
    marks = [line.split(":")[0].split() for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (1, "")
    assert [(mark, name) for mark, name in marks] == [
        ("ok" if name in {"http_requests", "logins"} else "fault", name) for name in exports.DAILY_TEXT_FILES
    ]
    assert "has no latest_data_connections yet: let the agent poll" in result.stdout


def test_an_object_store_has_no_text(synthetic: SyntheticHistory) -> None:
    """Nothing can be appended to an object."""
    archive(synthetic, list(transactions(1)))
    result = export("--table=logins", output="s3://bucket/folder")
    assert result.exit_code == 1
    assert "needs a folder" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--timezone=Mars/Olympus"], "is no time zone"),
        (["--timezone=Europe"], "is no time zone"),
        (["--timezone=../../etc/passwd"], "is no time zone"),
        (["--timezone="], "is no time zone"),
        (["--delimiter=||"], "is one character"),
        (["--delimiter=\n"], "is one character"),
        (['--delimiter="'], "is one character"),
        (["--delimiter="], "is one character"),
        (["--until=2025-01-01"], "--until"),
        (["--table=counters"], "the files of the format text are"),
        (["--format=csv", "--table=logins", "--delimiter=;"], "--delimiter: only"),
        (["--format=csv", "--table=Extracts_To_Workbooks"], "only the format text knows it"),
        (["--format=csv"], "--table: is missing"),
        (["--output="], "must not be empty"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, list) else "",
)
def test_what_is_refused(arguments: list[str], reason: str) -> None:
    """Before anything is opened, with the reason."""
    command = ["history", "export", *([] if "--format=csv" in arguments else ["--format=text"]), "--output=out"]
    result = CliRunner().invoke(main, [*command, *arguments])
    assert result.exit_code == 2
    assert reason in " ".join(result.stderr.split())


def test_the_commands_of_the_document(synthetic: SyntheticHistory, tmp_path: Path) -> None:
    """Those of docs/migration-text-files.md write the files, in folders here; those of the schedules too."""
    archive(synthetic, list(transactions(1)))
    text = (ROOT / "docs/migration-text-files.md").read_text()
    found = re.findall(r"tableau-exporter (history export .*)", text)
    folders = set(re.findall(r"--output=([\w/-]+)", text))
    for folder in folders:
        (tmp_path / folder.strip("`/")).mkdir(parents=True)
    assert len(found) == 6
    assert len(folders) == 3
    for command in found:
        here = re.sub(r"--config.file=\S+ ", "", command).replace("--output=/", "--output=")
        result = CliRunner().invoke(main, here.split())
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        assert all(line.startswith("ok ") for line in result.stdout.splitlines())
    for folder in folders:
        local = tmp_path / folder.strip("`/")
        assert {f"{name}.txt" for name in exports.DAILY_TEXT_FILES} <= {path.name for path in local.iterdir()}


@pytest.mark.timeout(3600 if LONG else 300)
def test_killed_at_random(synthetic: SyntheticHistory) -> None:
    """Killed again and again, in the midst of a write too, while requests are archived: every row once, in order."""
    made = list(transactions(2 + 2 * KILLED))
    archive(synthetic, made[:2])
    outcomes = [run(synthetic, 10_000)]
    chance = random.Random(7)
    for number in range(1, 1 + KILLED):
        archive(synthetic, made[2 * number : 2 * number + 2], begun=2 * number)
        outcomes.append(run(synthetic, chance.randrange(9)))
    assert run(synthetic, 10_000) == 0
    assert outcomes.count(-signal.SIGKILL) > KILLED // 2
    assert sessions() == all_of(20 * len(made))


def run(synthetic: SyntheticHistory, step: int) -> int:
    """Export in a process that is killed at a step; return how it ended."""
    command = [
        sys.executable,
        "-m",
        "tests.exports.killed_export",
        "text",
        str(synthetic.file.path),
        str(Path("out").resolve()),
        str(step),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_a_first_export_that_was_killed(synthetic: SyntheticHistory) -> None:
    """An interrupted export leaves no file that a reader could use; the next begins it, and has every row."""
    archive(synthetic, list(transactions(8)))
    for step in range(5):
        assert run(synthetic, step) == -signal.SIGKILL
        assert not Path("out/http_requests.txt").exists()
    assert run(synthetic, 10_000) == 0
    assert sessions() == all_of(160)
