"""``history import`` as a command: exit codes, lines, rejects, and refusals."""

import os
import re
import signal
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from exporter import importing
from exporter.cli import main
from exporter.config import RunOptions
from exporter.history import staging
from exporter.imports.dialect import COLUMNS, NEWER_NAMES
from tests.history.synthetic_history import SyntheticHistory, configured, copied
from tests.history.synthetic_history import requests as past_requests
from tests.history.test_importing import numbered
from tests.imports.older_tool import BEGIN, line, request, written
from tests.imports.test_records import quoted
from tests.support.forked_process import ended
from tests.test_documentation import ROOT


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that the agent has begun."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("begun") / "history.duckdb")
    synthetic.poll(BEGIN)
    return synthetic.file.path


@pytest.fixture
def path(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and an environment that names the copy."""
    configured(tmp_path, monkeypatch)
    return copied(begun, tmp_path)


def history(*arguments: str) -> Result:
    """Run a command of ``history``."""
    return CliRunner().invoke(main, ["history", *arguments])


def archived(path: Path) -> list[str]:
    """Return the sessions of the archived requests, in order."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return [key for (key,) in connection.execute("SELECT session_id FROM http_requests ORDER BY ALL").fetchall()]


BROKEN = line(request(2))[:99] + "\n"


def test_importing(path: Path, tmp_path: Path) -> None:
    """A line for the result of the file and one for each note; a second time nothing is new."""
    file = tmp_path / "http_requests.txt"
    file.write_text(written([request(1), request(3), request(1)]) + BROKEN)
    result = history("import", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    at = [request(number)["created_at"] for number in range(4)]
    assert result.stdout.splitlines() == [
        f"ok     http_requests.txt: 2 requests imported, from {at[1]} to {at[3]} UTC; none was archived before",
        "note   http_requests.txt: 1 lines stand there again, as after a second run: each is one request",
        f"note   http_requests.txt: 1 pieces are no request that can be read, with their reasons in {file}.rejects",
    ]
    assert archived(path) == ["S000001", "S000003"]
    assert "0 requests imported; 2 are archived already" in history("import", str(file)).stdout
    assert history("verify").exit_code == 0


def test_rejects(path: Path, tmp_path: Path) -> None:
    """Rejected rows are in a file of their own with line and reason, unchanged, for its owner alone."""
    file = tmp_path / "http_requests.txt"
    file.write_bytes(written([request(1)]).encode() + BROKEN.encode() + b"\xff|\n")
    assert history("import", str(file)).exit_code == 0
    rejects = tmp_path / "http_requests.txt.rejects"
    assert rejects.read_bytes() == (b"# http_requests.txt, line 3: not all 16 columns\n" + BROKEN.encode() + b"\xff|\n")
    assert rejects.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "others.txt"
    assert history("import", f"--rejects={other}", str(file), str(file)).exit_code == 0
    assert other.read_bytes() == rejects.read_bytes() * 2


def test_rejects_replace_nothing_that_counts(path: Path, tmp_path: Path) -> None:
    """The history, an imported file, and other kinds of files are refused before any change."""
    file, corrected, before = tmp_path / "http_requests.txt", tmp_path / "http_requests.txt.rejects", path.read_bytes()
    file.write_text(written([request(1)]) + BROKEN)
    corrected.write_text(written([request(2)]))
    os.mkfifo(tmp_path / "pipe")
    for refused, reason, sources in (
        (path, "it is a DuckDB file, such as a history, and is not replaced", [file]),
        (file, "it is imported, and is not replaced", [file]),
        (corrected, "it is imported, and is not replaced", [file, corrected]),
        (tmp_path / "pipe", "is no file", [file]),
        (tmp_path, "is no file", [file]),
    ):
        flags = [] if refused == corrected else [f"--rejects={refused}"]
        result = history("import", *flags, *map(str, sources))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"{refused}: {reason}; name another file with --rejects\n"
    assert path.read_bytes() == before
    assert file.read_text() == written([request(1)]) + BROKEN
    assert corrected.read_text() == written([request(2)])


def test_a_dry_run(path: Path, tmp_path: Path) -> None:
    """The result of an import is reported, and nothing is written: no history, no rejects."""
    before, file = path.read_bytes(), tmp_path / "http_requests.txt"
    file.write_text(written([request(1)]) + BROKEN)
    result = history("import", "--dry-run", str(file))
    assert result.exit_code == 0
    assert "1 requests would be imported" in result.stdout
    assert "1 pieces are no request that can be read, and would be written down" in result.stdout
    assert path.read_bytes() == before
    assert not (tmp_path / "http_requests.txt.rejects").exists()


def test_zone_delimiter_and_counting(path: Path, tmp_path: Path) -> None:
    """The flags set how the file is read, and whether its requests are counted."""
    file = tmp_path / "http_requests.txt"
    file.write_text(written([request(0)], delimiter=";", hours=3))
    result = history("import", "--timezone=+03:00", "--delimiter=;", "--count", str(file))
    assert "from 2025-01-01 12:00:00 to" in result.stdout
    with duckdb.connect(str(path), read_only=True) as connection:
        family = "family = 'tableau_http_requests_total'"
        assert connection.execute(f"SELECT sum(value) FROM counters WHERE {family}").fetchall() == [(1.0,)]
    assert history("verify").exit_code == 0


def test_the_retention(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that history.retention would remove at once are not imported, and that is reported."""
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__RETENTION", "30d")
    file = tmp_path / "http_requests.txt"
    file.write_text(written([request(1)]))
    result = history("import", str(file))
    assert "0 requests imported" in result.stdout
    assert "1 requests are older than history.retention, and left out" in result.stdout


HOSTILE = 'Mozilla/5.0 "x" | (a\nb)\r\n'


def rows(path: Path) -> list[tuple[object, ...]]:
    """Return the text files' columns of the archived requests, in order."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM http_requests ORDER BY ALL").fetchall()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_imported_exported_and_imported_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Imported rows, exported as text and imported again are the same set, here and in another history."""
    repeated = {"created_at": datetime(2024, 10, 27, 1, 30), "completed_at": None}  # noqa: DTZ001
    requests = [
        *(request(number, http_user_agent=HOSTILE) for number in range(5)),
        *(request(number, **repeated) for number in (7, 8)),
        request(9, http_referer=None, user_id=None, currentsheet="", completed_at=None),
    ]
    file, folder = tmp_path / "http_requests.txt", tmp_path / "exported"
    file.write_text("|".join(NEWER_NAMES) + "\n" + "".join(map(quoted, requests)), newline="")
    folder.mkdir()
    assert "8 requests imported" in history("import", str(file)).stdout
    export = ("export", "--format=text", "--table=http_requests", f"--timezone={zone}", f"--output={folder}")
    assert history(*export).exit_code == 0
    exported = folder / "http_requests.txt"
    before = rows(path)
    assert (
        "0 requests imported; 8 are archived already" in history("import", f"--timezone={zone}", str(exported)).stdout
    )
    assert rows(path) == before
    other = tmp_path / "other.duckdb"
    SyntheticHistory(other).poll(BEGIN)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(other))
    result = history("import", f"--timezone={zone}", str(exported))
    assert "8 requests imported" in result.stdout
    if zone == "UTC":
        assert rows(other) == before
    else:
        assert "2 requests are of the hour that the end of summer time repeats" in result.stdout
    assert history("verify").exit_code == 0


def test_parquet_exported_and_imported(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions that were exported are recognised, and make the same history elsewhere."""
    file, folder = tmp_path / "http_requests.txt", tmp_path / "lake"
    file.write_text(written(request(number * 9000) for number in range(30)))
    history("import", str(file))
    SyntheticHistory(path).poll(BEGIN, past_requests(100, 5, BEGIN))
    assert history("export", "--format=parquet", "--table=http_requests", f"--output={folder}").exit_code == 0
    assert "0 requests imported; 35 are archived already" in history("import", str(folder)).stdout
    before, other = rows(path), tmp_path / "other.duckdb"
    SyntheticHistory(other).poll(BEGIN)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(other))
    assert "35 requests imported" in history("import", str(folder)).stdout
    assert rows(other) == before
    assert history("verify").exit_code == 0


def test_exports_go_on_where_imported_requests_gave_way(path: Path, tmp_path: Path) -> None:
    """An export whose last rows were imported, and have been replaced by the repository's, is not refused."""
    file, folder = tmp_path / "http_requests.txt", tmp_path / "csv"
    folder.mkdir()
    file.write_text(written([request(1)]))
    history("import", str(file))
    export = ("export", "--format=csv", "--table=http_requests", f"--output={folder}")
    assert history(*export).exit_code == 0
    SyntheticHistory(path).poll(BEGIN, numbered([request(1)]))
    result = history(*export)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "1 rows appended" in result.stdout


REFUSED = {
    "no file": ([], 2, "Missing argument 'FILE...'"),
    "a file that is not there": (["nowhere.txt"], 1, "nowhere.txt: no such file"),
    "no zone": (["--timezone=Mars", "x"], 2, "'Mars' is neither a zone such as Europe/Berlin"),
    "no delimiter": (["--delimiter=ab", "x"], 2, "'ab' is no delimiter"),
    "a digit for a delimiter": (["--delimiter=1", "x"], 2, "'1' is no delimiter"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(path: Path, arguments: list[str], code: int, message: str) -> None:
    """Contradictory flags are refused before any read, in one line."""
    result = history("import", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert archived(path) == []


def test_no_history(path: Path, tmp_path: Path) -> None:
    """Without a history there is nothing to import into: the agent begins it."""
    path.unlink()
    file = tmp_path / "http_requests.txt"
    file.write_text(written([request(1)]))
    result = history("import", str(file))
    assert (result.exit_code, result.stderr) == (1, f"{path}: no such file; check history.path and --config.file\n")


def _import_and_be_killed(environ: dict[str, str], file: Path, slices: int) -> None:
    staging.SLICE_ROWS = 10
    seen = []

    def progress(done: int, whole: int) -> None:
        seen.append(done / whole > 0.5)
        if sum(seen) == slices:
            os.kill(os.getpid(), signal.SIGKILL)

    options = RunOptions(Path("none.yml"), config_file_explicit=False, overrides={}, environ=environ)
    list(importing.import_files(options, [file], importing.ImportOptions(), progress))


@pytest.mark.parametrize("slices", [1, 4])
def test_killed_and_run_again(path: Path, tmp_path: Path, slices: int) -> None:
    """An import that was killed leaves whole slices; run again, it brings in the rest, and leaves nothing behind."""
    file = tmp_path / "http_requests.txt"
    file.write_text(written(request(number) for number in range(60)))
    assert ended(_import_and_be_killed, dict(os.environ), file, slices) == -signal.SIGKILL
    assert len(archived(path)) == slices * 10
    assert "60 requests" not in history("import", str(file)).stdout
    assert archived(path) == [f"S{number:06d}" for number in range(60)]
    assert history("verify").exit_code == 0
    assert not list(tmp_path.glob("history.duckdb.import")) + list(tmp_path.glob("*.part"))


def test_the_commands_of_the_migration(path: Path, tmp_path: Path) -> None:
    """The flags in docs/migration-text-files.md recognise archived rows, in a file whose times are two hours ahead."""
    SyntheticHistory(path).poll(BEGIN + timedelta(hours=1), numbered([request(1), request(2)]))
    (tmp_path / "http_requests.txt").write_text(written([request(0), request(1), request(2)], hours=2))
    text = (ROOT / "docs/migration-text-files.md").read_text()
    commands = re.findall(r"(?m)^ +tableau-exporter (history import .*?)(?: +#.*)?$", text)
    assert len(commands) == 2
    for command, done in zip(commands, ("would be imported", "imported"), strict=True):
        result = history(*command.split()[1:])
        at = request(0)["created_at"]
        reported = f"ok     http_requests.txt: 1 requests {done}, from {at} to {at} UTC; 2 are archived already\n"
        assert (result.exit_code, result.stdout) == (0, reported)
    assert archived(path) == ["S000000", "S000001", "S000002"]
