"""The commands of ``history``: exit codes, one line a finding, and refusals."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable

from exporter.cli import main
from exporter.exports import FORMATS, TABLES
from exporter.history.backup import back_up_key
from exporter.history.export_reader import Slices
from tests.history.synthetic_history import SyntheticHistory, configured, copied, requests
from tests.history.test_freshness_audit import audit

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history whose newest request is of yesterday."""
    synthetic = SyntheticHistory(tmp_path_factory.mktemp("made") / "history.duckdb")
    for days in (400, 100, 0):
        at = TODAY - timedelta(days=days)
        synthetic.poll(at + timedelta(hours=2), requests(1000 - days, 5, at))
    return synthetic.file.path


@pytest.fixture
def path(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and an environment that names the copy."""
    configured(tmp_path, monkeypatch)
    return copied(made, tmp_path)


def history(*arguments: str) -> Result:
    """Run a command of ``history``."""
    return CliRunner().invoke(main, ["history", *arguments])


def left(path: Path) -> int:
    """Return how many requests a history holds."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return int(connection.execute("SELECT count(*) FROM http_requests").fetchall()[0][0])


def test_verifying(path: Path) -> None:
    """A line for each check; a fault makes the exit code 1."""
    result = history("verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(line.startswith("ok     ") for line in result.stdout.splitlines())
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM http_requests WHERE id = 1000")
    result = history("verify")
    assert (result.exit_code, result.stderr) == (1, "")
    assert [line.split(":")[0] for line in result.stdout.splitlines() if line.startswith("fault")] == [
        "fault  http_requests by day",
        "fault  http_requests in the counters",
    ]


def test_verifying_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a copy no configuration is needed; one that is not there is one line."""
    monkeypatch.delenv("TABLEAU_EXPORTER_HISTORY__PATH")
    monkeypatch.delenv("TABLEAU_EXPORTER_REPOSITORY__HOSTS")
    assert history("verify", str(path)).exit_code == 0
    result = history("verify", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nowhere: no such file\n"
    assert history("verify", str(path.parent)).stderr == f"{path.parent}: is no file\n"


def test_backing_up(path: Path, tmp_path: Path) -> None:
    """The backup can be verified; a folder that is not there is one line."""
    folder = tmp_path / "backups"
    result = history("backup", f"--output={folder}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No such file or directory" in result.stderr
    folder.mkdir()
    result = history("backup", f"--output={folder}")
    assert (result.exit_code, result.stderr) == (0, "")
    (made,) = folder.glob("*.duckdb")
    assert str(made) in result.stdout.splitlines()[-1]
    assert history("verify", str(made)).exit_code == 0
    assert left(made) == left(path)


def test_a_backup_that_is_none(path: Path, tmp_path: Path) -> None:
    """A copy with a fault ends with 1."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM http_requests WHERE id = 1000")
    result = history("backup", f"--output={tmp_path}")
    assert result.exit_code == 1
    assert ".faulty: " in result.stdout.splitlines()[-1]


def test_the_key_of_pseudonyms(path: Path, tmp_path: Path) -> None:
    """The key stays in place by default: it would undo the pseudonyms of the backup beside it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    key = path.with_suffix(".key")
    key.write_bytes(b"k" * 32)
    result = history("backup", f"--output={folder}")
    assert "note   key: " in result.stdout
    assert "without it pseudonyms start anew" in result.stdout
    assert [made.suffix for made in folder.iterdir() if not made.name.startswith(".")] == [".duckdb"]
    for made in folder.glob("*.duckdb"):
        made.unlink()
    result = history("backup", f"--output={folder}", "--with-key")
    assert result.exit_code == 0
    copy = folder / "history.key"
    assert copy.read_bytes() == key.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.attack("links")
def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    """Another key is copied under another name; one that is there already is not copied again; no link is followed."""
    key, folder = tmp_path / "history.key", tmp_path / "backups"
    folder.mkdir()
    for number in range(2):
        for stamp in ("20250601T120000Z", "20250602T120000Z"):
            key.write_bytes(b"%d" % number * 32)
            copy = back_up_key(key, folder, stamp)
            assert copy.read_bytes() == key.read_bytes()
            assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["history-20250601T120000Z.key", "history.key"]
    assert (folder / "history.key").read_bytes() == b"0" * 32
    assert back_up_key(key, tmp_path, "20250603T120000Z") == key
    theirs = tmp_path / "theirs"
    for copy in folder.iterdir():
        copy.unlink()
    (folder / "history.key").symlink_to(theirs)
    assert back_up_key(key, folder, "20250603T120000Z").name == "history-20250603T120000Z.key"
    assert not theirs.exists()


def test_secrets_that_only_the_agent_may_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration of the sources is not read: its files may be closed to the account of backups."""
    monkeypatch.setenv("TABLEAU_EXPORTER_REPOSITORY__PASSWORD_FILE", "/run/credentials/gone")
    monkeypatch.setenv("TABLEAU_EXPORTER_REPOSITORY__SSLROOTCERT", "/nowhere")
    assert history("verify").exit_code == 0
    monkeypatch.delenv("TABLEAU_EXPORTER_HISTORY__PATH")
    configuration = path.with_name("agents.yml")
    configuration.write_text(f"repository: {{hosts: [db], password_file: /nowhere}}\nhistory: {{path: {path}}}\n")
    assert history("verify", f"--config.file={configuration}").exit_code == 0
    configuration.write_text("history: {pfad: here}\n")
    result = history("verify", f"--config.file={configuration}")
    assert (result.exit_code, "history.pfad: unknown key" in result.stderr) == (1, True)


def test_a_history_of_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another account than the owner prunes nothing: its log would block the agent's writes."""
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    result = history("prune", "--before=2020-01-01")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "belongs to the user" in result.stderr
    assert not path.with_name("history.duckdb.prune").exists()


def test_pruning_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which the agent writes no more can be pruned: that is how it gets room."""
    usage = shutil.disk_usage(path.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=50_000_000))
    result = history("prune", "--before=2020-01-01", "--compact")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "written anew" in result.stdout


def test_pruning_as_configured(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a flag it is history.retention that counts; without either nothing is removed."""
    result = history("prune")
    assert (result.exit_code, result.stdout, left(path)) == (1, "", 15)
    assert "set history.retention, or give --older-than or --before" in result.stderr
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__RETENTION", "365d")
    result = history("prune")
    assert (result.exit_code, result.stderr, left(path)) == (0, "", 10)
    assert "1 of background_jobs, 5 of http_requests, 1 of logins older than" in result.stdout
    assert "free for what comes" in result.stdout
    assert history("verify").exit_code == 0


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S+0200"])
def test_pruning_before_an_instant(path: Path, written: str) -> None:
    """An instant is UTC by default; rows of that instant stay."""
    before = TODAY - timedelta(days=100) + (timedelta(hours=2) if "+" in written else timedelta())
    result = history("prune", f"--before={before.strftime(written)}")
    assert (result.exit_code, result.stderr, left(path)) == (0, "", 10)


def test_a_span_is_reckoned_from_the_newest_request(path: Path) -> None:
    """A clock that is far ahead of the newest request removes no more than the span before that."""
    result = history("prune", "--older-than=99d")
    assert (result.exit_code, left(path)) == (0, 5)


REFUSED = {
    "the future": ("--before=2999-01-01", "is too late"),
    "younger than the newest day": (f"--before={TODAY:%Y-%m-%dT%H:%M:%S}", "is too late"),
    "hours": ("--older-than=1h", "is too late"),
    "nothing": ("--older-than=0d", "is too late"),
}


@pytest.mark.parametrize("refusal", REFUSED)
def test_what_nobody_can_mean(path: Path, refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instant that would remove the newest day, or everything, is refused in one line, and nothing is removed."""
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__RETENTION", "365d")
    flag, message = REFUSED[refusal]
    result = history("prune", flag)
    assert (result.exit_code, result.stdout, left(path)) == (1, "", 15)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_two_answers_to_one_question(path: Path) -> None:
    """Both flags at once are wrong usage."""
    assert history("prune", "--before=2020-01-01", "--older-than=1y").exit_code == 2
    assert left(path) == 15


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+1400", "9999-12-31T23:59:59-1400"])
def test_an_instant_beyond_all_years(path: Path, instant: str) -> None:
    """An instant that is none in UTC is wrong usage."""
    assert history("prune", f"--before={instant}").exit_code == 2
    assert left(path) == 15


def test_compacting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with much free space is rewritten; one with little is left as it is, and this is reported."""
    assert "written anew" in history("prune", "--before=2020-01-01", "--compact").stdout
    assert (history("verify").exit_code, left(path)) == (0, 15)
    monkeypatch.setattr("exporter.maintenance.FREE_SHARE", 1.0)
    result = history("prune", "--before=2020-01-01", "--compact")
    assert result.exit_code == 0
    assert "nothing older than 2020-01-01" in result.stdout
    assert "not worth writing anew" in result.stdout


def export(*arguments: str) -> Result:
    """Run the export of audits to Delta Lake."""
    return history("export", "--format=delta", "--table=freshness_audit", *arguments)


def test_exporting(path: Path, tmp_path: Path) -> None:
    """A relative folder is one; the second time there are no new rows; the agent's later rows are exported next."""
    synthetic = SyntheticHistory(path)
    audit(synthetic, TODAY.replace(tzinfo=UTC), {}, {"asset_id": "luid-2"})
    result = export("--output=lake/audits")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("ok     freshness_audit: 2 rows appended to lake/audits")
    assert "freshness_audit: 0 rows appended" in export(f"--output=file://{tmp_path}/lake/audits").stdout
    audit(synthetic, TODAY.replace(tzinfo=UTC) + timedelta(hours=1), {"status": "Critical"})
    assert "freshness_audit: 1 rows appended" in export("--output=lake/audits").stdout
    assert DeltaTable("lake/audits").to_pyarrow_dataset().count_rows() == 3


def test_exporting_nothing(path: Path, tmp_path: Path) -> None:
    """A table without rows is a note, and makes no table elsewhere."""
    result = export("--output=lake")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "note   freshness_audit: has no rows yet" in result.stdout
    assert not (tmp_path / "lake").exists()


def test_exporting_a_backup_that_was_put_back(path: Path, tmp_path: Path) -> None:
    """Rows of the lake later than the backup stay, and none before is there twice."""
    synthetic, noon = SyntheticHistory(path), TODAY.replace(tzinfo=UTC)
    audit(synthetic, noon, {})
    backup = path.read_bytes()
    audit(synthetic, noon + timedelta(hours=1), {"status": "Critical"})
    assert "1 rows" not in export("--output=lake").stdout
    path.write_bytes(backup)
    assert "0 rows" in export("--output=lake").stdout
    audit(SyntheticHistory(path), noon + timedelta(hours=2), {"status": "Warning"})
    assert "1 rows" in export("--output=lake").stdout
    assert sorted(DeltaTable("lake").to_pyarrow_dataset().to_table()["status"].to_pylist()) == [
        "Critical",
        "Healthy",
        "Warning",
    ]


@pytest.mark.parametrize("format_", FORMATS)
def test_requests_of_a_backup_that_was_put_back(path: Path, format_: str, one_hyperd: object) -> None:
    """Missing rows are archived again: an export that would double them is refused, a full one is not."""
    synthetic = SyntheticHistory(path)
    backup = path.read_bytes()
    later = TODAY.replace(tzinfo=UTC) + timedelta(days=3)
    synthetic.poll(later, requests(5000, 5, TODAY))
    Path("lake").mkdir()
    command = ("export", f"--format={format_}", "--table=http_requests", "--output=lake")
    assert "20 rows appended" in history(*command).stdout
    path.write_bytes(backup)
    SyntheticHistory(path).poll(later + timedelta(hours=1), requests(5000, 6, TODAY))
    refused = history(*command)
    assert (refused.exit_code, refused.stderr) == (1, "")
    assert "a backup was put back" in refused.stdout
    assert "21 rows appended" in history(*command, "--rewrite").stdout
    assert "0 rows appended" in history(*command).stdout


@pytest.mark.parametrize(
    ("arguments", "there_is"),
    [
        (
            ["--format=xml", "--table=freshness_audit", "--output=x"],
            "'xml' is not one of 'csv', 'delta', 'hyper', 'parquet'",
        ),
        (
            ["--format=delta", "--table=audits", "--output=x"],
            "'audits' is not one of 'http_requests', 'archived_requests'",
        ),
        (["--format=delta", "--table=freshness_audit"], "Missing option '--output'"),
        (["--format=csv", "--table=usage", "--output=x", "--since=yesterday"], "must be an instant such as 2025-01-01"),
    ],
)
def test_what_cannot_be_exported(arguments: list[str], there_is: str) -> None:
    """Wrong usage prints the commands."""
    result = history("export", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert there_is in result.stderr


@pytest.mark.parametrize("format_", ["csv", "delta", "parquet"])
def test_every_table_in_every_format(path: Path, tmp_path: Path, format_: str) -> None:
    """Run twice: no row is there twice, and a replaced table has the rows of the history."""
    audit(SyntheticHistory(path), TODAY.replace(tzinfo=UTC), {})
    with duckdb.connect(str(path), read_only=True) as connection:
        counts = {table: connection.table(table).count("*").fetchall()[0][0] for table in TABLES}
    for table, kind in TABLES.items():
        for times in range(2 if kind.order or format_ == "csv" else 1):
            result = history("export", f"--format={format_}", f"--table={table}", f"--output={tmp_path}/{table}")
            assert (result.exit_code, result.stderr) == (0, "")
            new = 0 if kind.order and times else counts[table]
            written = f"{new} rows {'appended' if kind.order else 'written'} to {tmp_path}/{table}"
            if kind.order and not counts[table]:
                written = f"{table}: has no rows yet"
            assert written in result.stdout, table


def test_exporting_to_several_places(path: Path, tmp_path: Path) -> None:
    """Each by itself: a fault of one is one line and the code 1, and the others are served."""
    arguments = ["export", "--format=csv", "--table=http_requests", "--output=a", "--output=nothing://x", "--output=b"]
    result = history(*arguments)
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line[:5] for line in lines] == ["ok   ", "fault", "ok   "]
    assert "nothing://x: unknown scheme" in lines[1]
    assert Path("a/http_requests.csv").read_bytes() == Path("b/http_requests.csv").read_bytes()


def test_parquet_and_delta_share_no_folder(path: Path) -> None:
    """Who reads all Parquet files of a folder would find each row twice."""
    for first, second, reason in (
        ("parquet", "delta", "holds files of --format=parquet"),
        ("delta", "parquet", "is a Delta table"),
    ):
        command = ("export", "--table=http_requests", f"--output={first}")
        assert history(*command, f"--format={first}").exit_code == 0
        before = sorted(Path(first).rglob("*.parquet"))
        for flags in ([], ["--rewrite"]):
            refused = history(*command, f"--format={second}", *flags)
            line = f"fault  http_requests: {first}: {reason}; name another --output\n"
            assert (refused.exit_code, refused.stdout) == (1, line)
        assert sorted(Path(first).rglob("*.parquet")) == before
        assert "0 rows appended" in history(*command, f"--format={first}").stdout


def test_exporting_a_span(path: Path) -> None:
    """--since bounds a first export by the rows' own time, --until each; --rewrite begins anew."""
    day = f"{TODAY - timedelta(days=100):%Y-%m-%d}"
    export_ = ("export", "--format=csv", "--table=http_requests")
    assert "10 rows appended" in history(*export_, "--output=since", f"--since={day}").stdout
    assert "0 rows appended" in history(*export_, "--output=since").stdout
    bounded = history(*export_, "--output=until", f"--until={day}").stdout
    assert bounded == "ok     http_requests: 5 rows appended to until\n"
    refused = history(*export_, "--output=until")
    assert (refused.exit_code, "an export with --until is appended to nothing" in refused.stdout) == (1, True)
    assert "15 rows appended" in history(*export_, "--output=until", "--rewrite").stdout
    timeless = history("export", "--format=csv", "--table=counters", "--output=x", f"--since={day}")
    assert (timeless.exit_code, "counters has no time" in timeless.stderr) == (1, True)


@pytest.mark.parametrize("format_", FORMATS)
def test_polls_go_on_while_an_export_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch, format_: str, one_hyperd: object
) -> None:
    """Before each slice an agent without any patience archives a poll: all of them succeed, and are exported next."""
    monkeypatch.setattr("exporter.history.export_reader.SLICE_ROWS", 5)
    synthetic, polls = SyntheticHistory(path), list[int]()
    read = Slices._read

    def poll_and_read(slices: Slices, *arguments: object) -> pa.Table:
        polls.append(len(polls))
        synthetic.poll(TODAY.replace(tzinfo=UTC) + timedelta(hours=len(polls)), requests(5000 + len(polls), 1, TODAY))
        return read(slices, *arguments)  # type: ignore[arg-type]

    Path("out").mkdir()
    command = ("export", f"--format={format_}", "--table=http_requests", "--output=out")
    with monkeypatch.context() as patch:
        patch.setattr(Slices, "_read", poll_and_read)
        assert "15 rows appended" in history(*command).stdout
    assert len(polls) >= 3
    assert f"{len(polls)} rows appended" in history(*command).stdout


def test_exporting_to_nowhere(path: Path) -> None:
    """A place that cannot be written is one line, and the code 1."""
    audit(SyntheticHistory(path), TODAY.replace(tzinfo=UTC), {})
    result = export("--output=nothing://here")
    assert (result.exit_code, result.stderr) == (1, "")
    assert len(result.stdout.splitlines()) == 1
