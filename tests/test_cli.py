"""The command line: flags, exit codes, and the texts on stderr."""

import errno
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from exporter import __version__, app, cli, collectors, texts
from exporter.cli import Program, common, main
from exporter.config import RunOptions
from exporter.errors import ConfigurationError, DemoError, ExporterError, Fault

ROOT = Path(__file__).parents[1]
SOURCE = "repository: {hosts: [db]}\n"
COLLECTORS = sorted(collectors.discover())
SWITCHES = ["--collector.disable-defaults", *(f"--{no}collector.{name}" for name in COLLECTORS for no in ("", "no-"))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("TABLEAU_EXPORTER_"):
            monkeypatch.delenv(name)
    return tmp_path


def call(*args: str, env: dict[str, str] | None = None) -> Result:
    """Call the program within this process."""
    return CliRunner().invoke(main, args, env=env)


def check_configuration(*args: str, env: dict[str, str] | None = None) -> Result:
    """Call ``run --config.check``."""
    return call("run", "--config.check", *args, env=env)


def test_help_names_every_command_and_exit_code() -> None:
    """The help is the documentation of commands and exit codes."""
    result = call("--help")
    assert result.exit_code == 0
    for word in ("run", "check", "demo", "history", "metrics", "0 ", "1 ", "2 ", "70 ", "130 "):
        assert f"  {word}" in result.stdout


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (
            "run",
            [
                "--config.file",
                "--config.check",
                "--web.listen-address",
                "--web.systemd-socket",
                "--web.telemetry-path",
                "--web.external-url",
                "--web.route-prefix",
                "--web.config.file",
                *SWITCHES,
                "--log.level",
                "--log.format",
            ],
        ),
        ("check", ["--config.file", "--send-test-alert", *SWITCHES]),
        (
            "healthcheck",
            ["--config.file", "--web.listen-address", "--web.external-url", "--web.route-prefix", "--web.config.file"],
        ),
        ("metrics", ["--format"]),
        ("demo", ["--cloud", "--alerts", "--for", "--keep", "--port"]),
        ("history verify", ["--config.file"]),
        ("history backup", ["--config.file", "--output", "--keep", "--with-key"]),
        ("history prune", ["--config.file", "--older-than", "--before", "--compact"]),
    ],
)
def test_each_command_has_its_flags(command: str, flags: list[str]) -> None:
    """The flags are public: exactly these, and help."""
    result = call(*command.split(), "--help")
    found = [word for line in result.stdout.splitlines() for word in line.split() if word.startswith("--")]
    assert sorted(set(found) - {"--help"}) == sorted(flags)


def test_the_version_is_the_packages() -> None:
    """``--version`` names the program and its version."""
    assert call("--version").stdout == f"tableau-exporter, version {__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        ["unknown"],
        ["run", "--unknown"],
        ["run", "--log.level=loud"],
        ["run", "--log.format=xml"],
        ["demo", "--for=60"],
        ["demo", "--port=70000"],
        ["metrics", "--format=html"],
        ["history", "backup"],
        ["history", "backup", "--output=.", "--keep=0"],
        ["history", "prune", "--older-than=730"],
        ["history", "prune", "--before=yesterday"],
    ],
)
def test_wrong_usage_ends_with_2(args: Sequence[str]) -> None:
    """An invalid command line is reported with the usage."""
    result = call(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "Traceback" not in result.stderr


def test_a_span_without_a_unit_says_so() -> None:
    """``--for`` accepts durations as the configuration does."""
    assert "has no unit: write 30s, 5m, 12h or 730d" in call("demo", "--for=60").stderr


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("flag", ["--collector.vews", "--no-collector.vews"])
def test_an_unknown_collector_is_one_line(command: str, flag: str) -> None:
    """It lists the known ones, and ends as every wrong usage does."""
    result = call(command, flag)
    assert result.exit_code == 2
    assert result.stderr == f"Error: unknown collector vews: the known are {', '.join(COLLECTORS)}\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"views": True}),
        (["--no-collector.views", "--collector.disks"], {"views": False, "disks": True}),
        (["--no-collector.views", "--collector.views"], {"views": True}),
        (["--collector.disable-defaults"], {**dict.fromkeys(COLLECTORS, False), "views": True}),
        (
            ["--collector.disable-defaults", "--no-collector.views", "--collector.disks"],
            {**dict.fromkeys(COLLECTORS, False), "disks": True},
        ),
    ],
    ids=["none", "both ways", "the last wins", "no defaults", "all"],
)
def test_flags_of_collectors_override_the_configuration(
    folder: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], expected: dict[str, bool]
) -> None:
    """They stand above the file, as every flag does; what the file enables is no default. A reload loads the same."""
    (folder / "tableau-exporter.yml").write_text(SOURCE + "collectors: {views: true}")
    loaded: list[dict[str, bool]] = []

    def run(options: RunOptions) -> int:
        loaded.extend(options.load(COLLECTORS).collectors for _ in range(2))
        return 0

    monkeypatch.setattr(app, "run", run)
    assert call("run", *flags).exit_code == 0
    assert loaded == [expected, expected]


def test_a_valid_configuration_ends_with_0(folder: Path) -> None:
    """``--config.check`` reports that it is valid, and starts nothing."""
    (folder / "tableau-exporter.yml").write_text(SOURCE)
    result = check_configuration()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "the configuration is valid\n", "")
    assert [path.name for path in folder.iterdir()] == ["tableau-exporter.yml"]


def test_warnings_do_not_make_a_configuration_invalid(folder: Path) -> None:
    """A warning stands on stderr, and the exit code stays 0."""
    (folder / "other.yml").write_text("repository: {hosts: [db], sslmode: require}")
    result = check_configuration("--config.file=other.yml")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: repository.sslmode: require does not check who answers")


def test_each_fault_is_one_line_on_stderr(folder: Path) -> None:
    """All faults at once, path and message, exit code 1."""
    (folder / "tableau-exporter.yml").write_text("repository: {hosts: [db], usr: me, poll_interval: 60}")
    result = check_configuration("--log.format=json", "--web.config.file=absent")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "repository.poll_interval: has no unit: write 30s, 5m, 12h or 730d",
        "repository.usr: unknown key, did you mean user?",
        "web.config_file: cannot be read: No such file or directory (set by the command line)",
    ]


def test_a_file_that_was_named_must_be_there(folder: Path) -> None:
    """The default file may be absent where the environment sets everything; one that was named may not."""
    env = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "db"}
    assert check_configuration(env=env).exit_code == 0
    named = check_configuration("--config.file=tableau-exporter.yml", env=env)
    assert named.exit_code == 1
    assert named.stderr == "tableau-exporter.yml: cannot be read: No such file or directory\n"
    assert check_configuration().stderr.startswith("tableau-exporter.yml: no such file: write one, or set")


def test_every_flag_of_run_reaches_the_configuration(folder: Path) -> None:
    """A flag overrides its key: a bad value is a fault that names the command line."""
    (folder / "tableau-exporter.yml").write_text(SOURCE + "web: {config_file: absent}\nlog: {level: loud, format: xml}")
    flags = ["--log.level=warn", "--log.format=json", "--web.config.file=other", "--web.listen-address=here"]
    assert len(check_configuration().stderr.splitlines()) == 3
    assert check_configuration(*flags).stderr.splitlines() == [
        f"{key} (set by the command line)"
        for key in (
            "web.listen_address: must be host:port, such as 127.0.0.1:10071, [::1]:10071, or :10071 for every address",
            "web.config_file: cannot be read: No such file or directory",
        )
    ]


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("web: {config_file: words}", "web.config_file: words: must be a mapping"),
        ("web: {config_file: web}", "web.config_file: web: basic_auth_users.jane: is no bcrypt hash"),
        ("web: {config_file: empty}", "web.config_file: empty is empty; write {}"),
        ("web: {config_file: deep}", "web.config_file: deep: is nested too deeply"),
        ("rest: {url: https://t, token_name: a, token_value: b, ca_file: words}", "rest.ca_file: words: holds no"),
        ("alertmanager: {urls: [http://a], tls: {ca_file: words}}", "alertmanager.tls.ca_file: words: holds no"),
        ("alertmanager: {urls: [http://a], tls: {cert_file: words}}", "alertmanager.tls.cert_file: words: no cert"),
        ("history: {path: words}", "history.path: words: is no history"),
        ("history: {path: empty}", "history.path: empty: is no history"),
        ("history: {path: /}", "history.path: / is a folder"),
        ("history: {path: /dev/null}", "history.path: /dev/null is no regular file"),
        ("history: {path: ':memory:'}", "history.path: begins with :, to DuckDB"),
        ("history: {path: 'md:mine'}", "history.path: begins with md:, to DuckDB"),
        ("history: {path: ''}", "history.path: must not be empty"),
        ("history: {path: .}", "history.path: must not be empty or a folder"),
    ],
)
def test_what_is_in_the_files_is_judged(folder: Path, extra: str, line: str) -> None:
    """A file with the wrong contents is a fault of one line with its key; no check passes the configuration."""
    (folder / "words").write_text("plain words\n")
    (folder / "empty").touch()
    (folder / "deep").write_text("[" * 5_000)
    (folder / "web").write_text("basic_auth_users: {jane: hunter2}")
    (folder / "tableau-exporter.yml").write_text(f"{SOURCE}\n{extra}")
    for result in (check_configuration(), call("check")):
        assert [line in found for found in (result.stdout + result.stderr).splitlines()].count(True) == 1
        assert "web.config_file: web.config_file" not in result.stdout + result.stderr
        assert result.exit_code == 1
        assert "hunter2" not in result.stdout + result.stderr


def test_a_history_path_that_is_no_utf8_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that `run` refuses, the checks refuse, in a line that any terminal prints."""
    (folder / "tableau-exporter.yml").write_text(SOURCE)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", os.fsdecode(b"h\xff.duckdb"))
    for result in (check_configuration(), call("check"), call("run")):
        assert "history.path: is not UTF-8, which DuckDB needs" in result.stdout + result.stderr
        assert result.exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        "run --log.level=debug --log.level=info",
        "run --config.check --config.file=a --config.file=b",
        "check --config.file=a --config.file=b",
        "demo --port=1 --port=2",
        "history verify --config.file=a --config.file=b",
    ],
)
def test_a_flag_of_one_value_is_given_once(words: str) -> None:
    """Of two values the first would vanish: that is wrong usage, in a line that names the flag."""
    result = call(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    flag = words.rpartition(" ")[2].partition("=")[0]
    assert f"{flag} is given twice: it accepts one value" in result.stderr


def test_several_addresses_are_one_configuration(folder: Path) -> None:
    """The flag may be repeated, and each address is checked."""
    (folder / "tableau-exporter.yml").write_text(SOURCE)
    good = check_configuration("--web.listen-address=[::1]:1", "--web.listen-address=:2")
    assert (good.exit_code, good.stderr) == (0, "")
    bad = check_configuration("--web.listen-address=[::1]:1", "--web.listen-address=2")
    assert bad.exit_code == 1
    assert bad.stderr.startswith("web.listen_address: must be host:port")


def test_the_module_is_the_program(folder: Path) -> None:
    """``python -m exporter`` behaves as the command does, with its name."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "exporter", "run", "--config.check"]
    result = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    usage = subprocess.run([*command, "--x"], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert usage.stderr.startswith("Usage: tableau-exporter run")


def test_help_imports_nothing_heavy() -> None:
    """Help is printed at once: databases, web server and demo are not imported."""
    program = (
        "import sys, exporter.cli\n"
        "heavy = {'duckdb', 'psycopg', 'pyarrow', 'pydantic', 'rich', 'starlette', 'structlog', 'exporter.demo'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


def end_of(error: BaseException) -> Result:
    """How a program ends whose command raises this error."""

    @click.group(cls=Program)
    def program() -> None:
        """Stand in for the real commands."""

    @program.command()
    def command() -> None:
        raise error

    return CliRunner().invoke(program, ["command"])


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (ExporterError("two\n  lines"), 1, "two lines\n"),
        (DemoError("no PostgreSQL here: pip install it"), 1, "no PostgreSQL here: pip install it\n"),
        (ConfigurationError([Fault("a.b", "is missing"), Fault("", "is odd")]), 1, "a.b: is missing\nis odd\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            RuntimeError("line\nline"),
            70,
            "internal error: RuntimeError: line line (set log.level=debug for the traceback)\n",
        ),
        (OSError(errno.ENOSPC, "full"), 70, None),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int, stderr: str | None) -> None:
    """An expected error is one line; an unexpected one is marked as internal; an interruption prints nothing."""
    result = end_of(error)
    assert result.exit_code == code
    assert stderr is None or result.stderr == stderr
    assert "Traceback" not in result.stderr


ENDLESS = """
import click, duckdb, os, signal, threading
from exporter.cli import Program

@click.group(cls=Program)
def program(): ...

@program.command()
def query():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    duckdb.execute("SELECT sum(range) FROM range(100000000000)")

program(["query"])
"""


def test_an_interrupted_query_is_no_defect() -> None:
    """Ctrl-C while DuckDB is at work ends a command as at any other moment: with 130, without a word."""
    ended = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_reader_that_went_away_is_no_error() -> None:
    """``tableau-exporter metrics | head`` ends without a word."""
    result = end_of(BrokenPipeError(errno.EPIPE, "gone"))
    assert (result.exit_code, result.stderr) == (1, "")


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With log.level=debug an internal error comes with its traceback."""
    monkeypatch.setenv("TABLEAU_EXPORTER_LOG__LEVEL", "debug")
    assert "Traceback" in end_of(RuntimeError("odd")).stderr


def test_a_command_ends_with_the_code_it_returns() -> None:
    """A command's return value is the exit code; None is 0."""
    program = Program("program")
    program.command("two")(lambda: 2)
    program.command("none")(lambda: None)
    assert CliRunner().invoke(program, ["two"]).exit_code == 2
    assert CliRunner().invoke(program, ["none"]).exit_code == 0


@dataclass(frozen=True)
class Found:
    """A finding of a check."""

    ok: bool | None
    subject: str
    message: str


FINE = Found(ok=True, subject="repository", message="answers")
NOTE = Found(ok=None, subject="rest", message="is not configured")
BAD = Found(ok=False, subject="history", message="cannot\nbe [red]written")


def test_findings_are_lines_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a finding; a note is no fault."""
    assert common.print_findings([FINE, NOTE]) == 0
    assert common.print_findings([BAD, FINE]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok     repository: answers",
        "note   rest: is not configured",
        "fault  history: cannot be [red]written",
        "ok     repository: answers",
    ]


def test_progress_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nothing of it is written."""
    for is_terminal in (False, True):
        stderr = io.StringIO()
        monkeypatch.setattr(stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", "xterm")
        with common.progress_bar("exporting usage") as progress:
            progress(50, 200)
        assert ("exporting usage" in stderr.getvalue(), "200/200" in stderr.getvalue()) == (is_terminal, False)
        assert ("50/200" in stderr.getvalue()) is is_terminal


def test_findings_are_a_table_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has the lines' content, and reads no text as markup."""
    assert list(common.as_table([FINE, BAD])) == [FINE, BAD]
    published = capsys.readouterr().out
    assert "cannot be [red]written" in published


def test_columns_are_never_cut() -> None:
    """Every cell is printed whole, at any width of the terminal."""
    assert texts.columns([("name", "meaning"), ("a", "x" * 300), ("long", "")]) == [
        "name  meaning",
        f"a     {'x' * 300}",
        "long",
    ]


def test_a_table_for_a_document_escapes_its_bars() -> None:
    """A bar in a cell does not make another cell."""
    assert cli._markdown([("name", "meaning"), ("a", "x|y")]) == ["| name | meaning |", "|---|---|", "| a | x\\|y |"]


def test_process_1_ends_while_it_starts() -> None:
    """As process 1 of a container the program heeds SIGTERM from its first import on: the kernel drops it otherwise."""
    program = "import exporter, os, signal; os.kill(1, signal.SIGTERM); print('lost')"
    alone = ["unshare", "--pid", "--fork", sys.executable, "-c"]
    try:
        subprocess.run([*alone, ""], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine allows no namespace of processes")
    ended = subprocess.run([*alone, program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
