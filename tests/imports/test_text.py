"""Text files on disk: headers, delimiters, encodings, and files of other kinds."""

from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ImportUnreadable
from exporter.imports import FINGERPRINT, FileOptions, Reject, open_reader
from exporter.imports.dialect import COLUMNS, NEWER_NAMES
from exporter.imports.zones import parse_zone
from tests.imports.older_tool import BEGIN, line, request, written
from tests.imports.test_records import quoted


def read(path: Path, options: FileOptions | None = None) -> tuple[list[dict[str, Any]], list[Reject], Any]:
    """Return the requests of a file, its rejects and its counts."""
    reader = open_reader(path, options or FileOptions())
    rejects: list[Reject] = []
    rows = [row for batch in reader.batches(rejects.append) for row in batch.to_pylist()]
    assert reader.position == reader.size
    return rows, rejects, reader.counts


def test_a_request(tmp_path: Path) -> None:
    """Every column is where it belongs and of its type; None and nothing are NULL."""
    path = tmp_path / "http_requests.txt"
    values = request(7, http_referer=None, user_id=None, currentsheet="")
    path.write_text(written([values]), encoding="utf-8")
    ((row,), rejects, counts) = read(path)
    assert {name: row[name] for name in COLUMNS} == values | {"currentsheet": None}
    assert (rejects, counts.headers, counts.recovered) == ([], 1, 0)


@pytest.mark.parametrize("delimiter", ["|", "\t", ";", "§", "^"])
@pytest.mark.parametrize("names", [COLUMNS, NEWER_NAMES], ids=["older", "newer"])
def test_both_generations_of_the_header(tmp_path: Path, names: tuple[str, ...], delimiter: str) -> None:
    """The delimiter is that of the header, and columns are read by position."""
    path = tmp_path / "http_requests.txt"
    path.write_text(written([request(1), request(2)], names, delimiter), encoding="utf-8")
    rows, rejects, _ = read(path)
    assert ([row["session_id"] for row in rows], rejects) == (["S000001", "S000002"], [])
    assert [row["created_at"] for row in rows] == [request(1)["created_at"], request(2)["created_at"]]


def test_a_header_again(tmp_path: Path) -> None:
    """A header within the file, also of the other generation, begins anew."""
    path = tmp_path / "http_requests.txt"
    text = written([request(1)], COLUMNS) + written([request(2)], NEWER_NAMES, ";") + written([request(3)])
    path.write_text(text, encoding="utf-8")
    rows, rejects, counts = read(path)
    assert ([row["session_id"] for row in rows], rejects, counts.headers) == (["S000001", "S000002", "S000003"], [], 3)


def test_no_header(tmp_path: Path) -> None:
    """A file that was split is read by its rows."""
    path = tmp_path / "http_requests.txt"
    path.write_text(line(request(1), "\t"), encoding="utf-8")
    assert [row["port"] for row in read(path, FileOptions(delimiter="\t"))[0]] == [8001]


def test_encodings(tmp_path: Path) -> None:
    """UTF-8 with a mark or without is read, a line that is none as Windows-1252; those are counted."""
    path = tmp_path / "http_requests.txt"
    accented = request(2, currentsheet="Büro/Übersicht")
    path.write_bytes(written([request(1), accented]).encode("utf-8-sig") + line(accented).encode("cp1252"))
    rows, rejects, counts = read(path)
    assert [row["currentsheet"] for row in rows] == ["Sales/Overview1", "Büro/Übersicht", "Büro/Übersicht"]
    assert (rejects, counts.decoded_as_cp1252, counts.headers) == ([], 1, 1)


def test_windows_line_ends(tmp_path: Path) -> None:
    """Where Windows wrote the file, line ends in texts are those that were there before."""
    path = tmp_path / "http_requests.txt"
    text = written([request(1, http_user_agent="a\nb"), request(2)])
    path.write_bytes(text.replace("\n", "\r\n").encode())
    rows, rejects, _ = read(path)
    assert (rows[0]["http_user_agent"], len(rows), rejects) == ("a\nb", 2, [])


def test_rejects_have_their_lines(tmp_path: Path) -> None:
    """Rejected text has the number of its line in the file and its bytes; an invalid time is rejected too."""
    path = tmp_path / "http_requests.txt"
    thirteenth = line(request(2)).replace("2025-01-01", "2025-13-01", 1)
    text = written([request(1)]) + thirteenth + line(request(3)) + "junk\xff\n"
    path.write_bytes(text.encode("latin-1"))
    rows, rejects, _ = read(path)
    assert [row["session_id"] for row in rows] == ["S000001", "S000003"]
    assert [(reject.line, reject.original) for reject in rejects] == [(3, thirteenth.encode()), (5, b"junk\xff\n")]
    assert rejects[0].reason.startswith("is no time: ")


def test_times_of_a_zone(tmp_path: Path) -> None:
    """Times are UTC; a repeated hour has both readings, or the one that its end allows; both are counted."""
    path = tmp_path / "http_requests.txt"
    fall = {"created_at": "2025-10-26 02:59:59", "completed_at": "2025-10-26 02:59:59.5"}
    over = {"created_at": "2025-10-26 02:59:59", "completed_at": "2025-10-26 03:00:00"}
    spring = {"created_at": "2025-03-30 02:30:00", "completed_at": None}
    path.write_text(written([request(1, **fall), request(2, **over), request(3, **spring)]), encoding="utf-8")
    rows, _, counts = read(path, FileOptions(parse_zone("Europe/Berlin")))
    assert [(str(row["created_at"]), str(row["created_otherwise"])) for row in rows] == [
        ("2025-10-26 00:59:59", "2025-10-26 01:59:59"),
        ("2025-10-26 01:59:59", "2025-10-26 00:59:59"),
        ("2025-03-30 01:30:00", "None"),
    ]
    assert (counts.ambiguous_times, counts.missing_times) == (2, 1)


def test_the_older_tools_hours(tmp_path: Path) -> None:
    """An offset undoes the hours that the tool added the whole year round."""
    path = tmp_path / "http_requests.txt"
    path.write_text(written([request(0)], hours=2), encoding="utf-8")
    assert read(path, FileOptions(parse_zone("+02:00")))[0][0]["created_at"] == BEGIN


def test_our_own_export_keeps_empty_texts(tmp_path: Path) -> None:
    """In a file that is quoted an empty text is none of nothing, and the word None is a text."""
    path = tmp_path / "http_requests.txt"
    row = quoted(request(1, http_user_agent="None", http_referer=None, currentsheet="EMPTY")).replace("EMPTY", '""')
    path.write_text("|".join(NEWER_NAMES) + "\n" + row, encoding="utf-8")
    ((read_, *_), _, _) = read(path)
    assert [read_[name] for name in ("http_user_agent", "http_referer", "currentsheet")] == ["None", None, ""]


def test_only_lines_of_the_older_tool_may_repeat(tmp_path: Path) -> None:
    """Equal lines of the older tool have one fingerprint; those of our own export are a request each."""
    path = tmp_path / "http_requests.txt"
    path.write_text(written([request(1), request(1), request(2)]), encoding="utf-8")
    first, again, other = (row[FINGERPRINT] for row in read(path)[0])
    assert first == again != other
    path.write_text("|".join(NEWER_NAMES) + "\n" + quoted(request(1)) * 2, encoding="utf-8")
    assert [row[FINGERPRINT] for row in read(path)[0]] == [None, None]


REFUSED = {
    "nothing": (b"", "begins with no header"),
    "something else": (b"a,b,c\n1,2,3\n", "begins with no header"),
    "UTF-16": ("controller|".encode("utf-16"), "is UTF-16"),
    "another order": ("|".join(sorted(COLUMNS)).encode(), "begins with no header"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_such_file(tmp_path: Path, content: bytes, message: str) -> None:
    """A file without requests is refused in one line before any read."""
    path = tmp_path / "http_requests.txt"
    path.write_bytes(content)
    with pytest.raises(ImportUnreadable, match=message):
        open_reader(path, FileOptions())


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there, or a folder without Parquet, is refused in one line."""
    with pytest.raises(ImportUnreadable, match="no such file"):
        open_reader(tmp_path / "nowhere", FileOptions())
    with pytest.raises(ImportUnreadable, match=r"ends with \.parquet"):
        open_reader(tmp_path, FileOptions())
