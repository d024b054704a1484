"""Sources of the configuration, and its values without any."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config import DEFAULT_FILE, Configuration, Endpoint, RunOptions, default_file, load, loading
from exporter.config.sections import Repository
from exporter.errors import ConfigurationError
from tests.config.conftest import COLLECTORS, FaultsOf, Load

EXAMPLE = Path(__file__).parents[2] / "docs" / "tableau-exporter.example.yml"


def repository_of(configuration: Configuration) -> Repository:
    """The repository of a configuration that has one."""
    assert configuration.repository is not None
    return configuration.repository


@pytest.fixture
def example(tmp_path: Path) -> str:
    """The documented example, with every file that it names at hand."""
    text = EXAMPLE.read_text(encoding="utf-8")

    def provide(match: re.Match[str]) -> str:
        path = tmp_path / match[2].lstrip("/").replace("/", "-")
        path.write_text("hunter2\n", encoding="utf-8")
        return f"{match[1]}: {path}"

    return re.sub(r"((?:password|token_value|ca|config)_file|sslrootcert): (\S+)", provide, text)


def test_the_example_of_the_documentation_loads(read: Load, example: str) -> None:
    """Every section of the documented example is understood."""
    configuration = read(example)
    repository = repository_of(configuration)
    assert repository.hosts == (Endpoint("tableau1", 8060), Endpoint("tableau2", 8060))
    assert (repository.poll_interval, repository.exact_interval, repository.statement_timeout) == (60.0, 300.0, 30.0)
    assert configuration.rest is not None
    assert configuration.rest.sites == ("default", "marketing")
    assert configuration.history.retention == 730 * 86_400
    assert configuration.history.memory_limit == 256_000_000
    assert configuration.privacy.query_strings == (":embed",)
    assert configuration.collectors == {"views": True}
    assert [export.format for export in configuration.exports] == ["parquet", "text"]
    assert configuration.alertmanager is not None
    assert configuration.alertmanager.urls == ("http://alertmanager:9093",)
    assert configuration.alertmanager.owner_email_label is False
    assert configuration.web.listen_address == Endpoint("127.0.0.1", 10071)


def test_what_the_example_leaves_in_comments_loads_too(read: Load, tmp_path: Path) -> None:
    """The commented keys of the example are keys."""
    file = tmp_path / "file"
    file.write_text("hunter2", encoding="utf-8")
    hidden = re.findall(r"^  # (\w+: .*?)(?:  +#.*)?$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    hidden = [re.sub(r"((?:_file|sslcert|sslkey)): [^,}\s]+", rf"\1: {file}", line) for line in hidden]
    client, key, app, unit, key_file, basic_auth, token, tls, runbooks, dashboards, labels = hidden
    sections = [
        f"repository: {{hosts: [db], {client}, {key}}}",
        f"rest: {{url: https://tableau, {app}}}",
        f"activity_log: {{url: https://tcm, token_value: a, {unit}}}",
        f"privacy: {{{key_file}}}",
        f"alertmanager: {{urls: [http://a], {basic_auth}, {tls}, {runbooks}, {dashboards}, {labels}}}",
    ]
    assert read("\n".join(sections)).alertmanager is not None
    sections[-1] = f"alertmanager: {{urls: [http://a], {token}}}"
    assert read("\n".join(sections)).alertmanager is not None


def test_the_example_shows_the_defaults(read: Load) -> None:
    """An absent section has the example's values, retention apart: it retains everything."""
    configuration = read("repository: {hosts: [db]}")
    repository = repository_of(configuration)
    assert (repository.database, repository.user, repository.sslmode) == ("workgroup", "readonly", "verify-full")
    assert (repository.poll_interval, repository.exact_interval) == (60.0, 300.0)
    assert (repository.connect_timeout, repository.statement_timeout) == (5.0, 30.0)
    assert configuration.rest is None
    assert configuration.alertmanager is None
    assert configuration.history.path == Path("history.duckdb")
    assert configuration.history.retention is None
    assert (configuration.history.memory_limit, configuration.history.threads) == (256_000_000, 1)
    assert (configuration.privacy.users, configuration.privacy.addresses) == ("name", "full")
    assert (configuration.freshness.warning, configuration.freshness.critical) == (43_200.0, 86_400.0)
    assert configuration.freshness.schedule_grace == 3_600.0
    assert (configuration.limits.series_per_family, configuration.limits.series) == (200_000, 2_000_000)
    assert (configuration.log.level, configuration.log.format) == ("info", "logfmt")
    assert configuration.exports == ()
    assert configuration.warnings == ()


def test_the_key_of_pseudonyms_stands_beside_the_history(read: Load) -> None:
    """Unless it is configured, the key's file has the name of the history with another ending."""
    source = "repository: {hosts: [db]}\n"
    assert read(source + "history: {path: /data/history.duckdb}").pseudonym_key_file == Path("/data/history.key")
    assert read(source + "privacy: {key_file: /data/other}").pseudonym_key_file == Path("/data/other")


def test_the_environment_alone_is_enough(read: Load) -> None:
    """Without a file the environment sets everything: texts, lists, mappings, spans, sizes, switches."""
    configuration = read(
        None,
        {
            "PATH": "/bin",
            "TABLEAU_EXPORTER_REPOSITORY__HOSTS": "[::1]:8061, db2:8062",
            "TABLEAU_EXPORTER_REPOSITORY__USER": "",
            "TABLEAU_EXPORTER_REPOSITORY__PASSWORD": "[hunter2]",
            "TABLEAU_EXPORTER_REPOSITORY__POLL_INTERVAL": "10s",
            "TABLEAU_EXPORTER_HISTORY__MEMORY_LIMIT": "1GiB",
            "TABLEAU_EXPORTER_HISTORY__THREADS": "4",
            "TABLEAU_EXPORTER_PRIVACY__QUERY_STRINGS": "[]",
            "TABLEAU_EXPORTER_COLLECTORS__HTTP_REQUESTS": "false",
            "TABLEAU_EXPORTER_FRESHNESS__RULES": "[{match: {project: 'a, b'}, critical: never}]",
            "TABLEAU_EXPORTER_LOG": "{level: warn}",
            "TABLEAU_EXPORTER_LOG__FORMAT": "json",
        },
    )
    repository = repository_of(configuration)
    assert repository.hosts == (Endpoint("::1", 8061), Endpoint("db2", 8062))
    assert repository.user == "readonly"
    assert repository.read_password() == "[hunter2]"
    assert repository.poll_interval == 10.0
    assert (configuration.history.memory_limit, configuration.history.threads) == (1024**3, 4)
    assert configuration.privacy.query_strings == ()
    assert configuration.collectors == {"http_requests": False}
    assert configuration.freshness.rules[0].match.project == ("a, b",)
    assert (configuration.log.level, configuration.log.format) == ("warning", "json")


def test_every_key_can_be_set_from_the_environment(faults_of: FaultsOf) -> None:
    """The variable of each key of the example is known."""
    keys = re.findall(r"^(?:  )?(?:# )?(\w+):", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(keys) > 40
    section, names = "", []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(  (?:# )?)?(\w+):", line):
            section = section if match[1] else match[2]
            names.append("__".join(dict.fromkeys((section, match[2]))).upper())
    lines = faults_of(None, {f"TABLEAU_EXPORTER_{name}": "" for name in names})
    assert len(lines) == 1
    assert lines[0].startswith("tableau-exporter.yml: no such file: write one, or set TABLEAU_EXPORTER_REPOSITORY")


def test_the_command_line_beats_the_environment_beats_the_file(read: Load) -> None:
    """Each layer replaces single keys of the one below and leaves the rest."""
    configuration = read(
        "repository: {hosts: [db], database: a, user: a}\nlog: {level: error, format: json}",
        {"TABLEAU_EXPORTER_REPOSITORY__USER": "b", "TABLEAU_EXPORTER_LOG__LEVEL": "warning"},
        log__level="debug",
    )
    repository = repository_of(configuration)
    assert (repository.database, repository.user) == ("a", "b")
    assert (configuration.log.level, configuration.log.format) == ("debug", "json")


def test_a_secret_of_the_environment_displaces_the_file_of_the_file(read: Load, tmp_path: Path) -> None:
    """A layer's secret or its file replaces both of the layers below."""
    secret = tmp_path / "secret"
    secret.write_text("from a file", encoding="utf-8")
    name = "TABLEAU_EXPORTER_REPOSITORY__PASSWORD"
    in_file = read(f"repository: {{hosts: [db], password_file: {secret}}}", {name: "given"})
    in_environment = read("repository: {hosts: [db], password: given}", {f"{name}_FILE": str(secret)})
    assert repository_of(in_file).read_password() == "given"
    assert repository_of(in_environment).read_password() == "from a file"


def test_a_secret_given_twice_in_the_environment_is_a_fault(faults_of: FaultsOf, tmp_path: Path) -> None:
    """Within one layer a secret and its file contradict each other."""
    secret = tmp_path / "secret"
    secret.write_text("x", encoding="utf-8")
    name = "TABLEAU_EXPORTER_REPOSITORY__PASSWORD"
    environ = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "db", name: "hunter2", f"{name}_FILE": str(secret)}
    assert faults_of(None, environ) == [
        f"repository.password_file: stands beside password: give one of the two (set by {name}_FILE)",
    ]


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"TABLEAU_EXPORTER_REPOSITORY__PASWORD": "hunter2"},
            "TABLEAU_EXPORTER_REPOSITORY__PASWORD: unknown key, did you mean TABLEAU_EXPORTER_REPOSITORY__PASSWORD?",
        ),
        (
            {"TABLEAU_EXPORTER_repository__user": "me"},
            "TABLEAU_EXPORTER_repository__user: unknown key",
        ),
        (
            {"TABLEAU_EXPORTER_PORT": "10071"},
            "TABLEAU_EXPORTER_PORT: unknown key, did you mean TABLEAU_EXPORTER_EXPORTS?",
        ),
        (
            {"TABLEAU_EXPORTER_COLLECTORS__VEWS": "true"},
            "collectors.vews: unknown collector, did you mean views? (set by TABLEAU_EXPORTER_COLLECTORS__VEWS)",
        ),
        (
            {"TABLEAU_EXPORTER_COLLECTORS__VIEWS__X": "true"},
            "TABLEAU_EXPORTER_COLLECTORS__VIEWS__X: unknown key, did you mean TABLEAU_EXPORTER_COLLECTORS?",
        ),
        (
            {"TABLEAU_EXPORTER_FRESHNESS__RULES": "[a: b: c]"},
            "TABLEAU_EXPORTER_FRESHNESS__RULES: is no YAML: line 1, column 6: expected ',' or ']', but got ':'",
        ),
        (
            {"TABLEAU_EXPORTER_LOG": "{level: info, level: debug}"},
            "log.level: is given twice, in line 1 and in line 1 (set by TABLEAU_EXPORTER_LOG)",
        ),
    ],
)
def test_a_bad_variable_is_a_fault(faults_of: FaultsOf, environ: Mapping[str, str], line: str) -> None:
    """A variable with our prefix is a key or a fault that names it."""
    assert line in faults_of("repository: {hosts: [db]}", environ)


def test_variables_of_kubernetes_are_not_ours(read: Load) -> None:
    """A service called tableau-exporter puts variables with our prefix into every pod beside it."""
    environ = {
        "TABLEAU_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "TABLEAU_EXPORTER_SERVICE_PORT": "10071",
        "TABLEAU_EXPORTER_SERVICE_PORT_HTTP_METRICS": "10071",
        "TABLEAU_EXPORTER_PORT": "tcp://10.0.0.1:10071",
        "TABLEAU_EXPORTER_PORT_10071_TCP": "tcp://10.0.0.1:10071",
        "TABLEAU_EXPORTER_PORT_10071_TCP_PROTO": "tcp",
        "TABLEAU_EXPORTER_PORT_10071_TCP_ADDR": "10.0.0.1",
        "TABLEAU_EXPORTER_CLOUD_SERVICE_HOST": "10.0.0.2",
    }
    assert read("repository: {hosts: [db]}", environ).repository is not None


def test_a_missing_file_is_a_fault_when_it_was_named(tmp_path: Path) -> None:
    """A file named on the command line must exist, with any environment."""
    path = tmp_path / "absent.yml"
    environ = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "db"}
    with pytest.raises(ConfigurationError) as error:
        load(path, environ, COLLECTORS, explicit=True)
    assert str(error.value) == f"{path}: cannot be read: No such file or directory"
    assert load(path, environ, COLLECTORS, explicit=False).repository is not None
    assert load(None, environ, COLLECTORS, explicit=True).repository is not None


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    """A configuration is UTF-8, with or without a byte order mark."""
    path = tmp_path / "tableau-exporter.yml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(path, {}, COLLECTORS, explicit=False)
    path.write_text("\ufeffrepository: {hosts: [db]}", encoding="utf-8")
    assert load(path, {}, COLLECTORS, explicit=False).repository is not None


def test_options_read_the_same_configuration_again(tmp_path: Path) -> None:
    """The command's arguments suffice to detect a changed file, and to keep the flags."""
    path = tmp_path / "tableau-exporter.yml"
    options = RunOptions(path, config_file_explicit=True, overrides={"log.level": "debug"}, environ={})
    path.write_text("repository: {hosts: [a]}", encoding="utf-8")
    first = options.load(COLLECTORS)
    path.write_text("repository: {hosts: [b]}", encoding="utf-8")
    second = options.load(COLLECTORS)
    assert repository_of(first).hosts != repository_of(second).hosts
    assert second.log.level == "debug"
    assert RunOptions().config_file == DEFAULT_FILE


def test_a_connected_app_stands_for_the_token(read: Load) -> None:
    """With a connected app there is no token; jobs may be left unasked, and no grace may be given."""
    app = "{client_id: a, secret_id: b, secret_value: c, user: me}"
    text = f"rest: {{url: https://tableau, job_lookups_per_day: 0, connected_app: {app}}}\n"
    configuration = read(text + "freshness: {schedule_grace: 0s}")
    assert configuration.rest is not None
    assert configuration.rest.connected_app is not None
    assert configuration.rest.connected_app.read_secret_value() == "c"
    assert (configuration.rest.token_name, configuration.rest.read_token_value()) == (None, None)
    assert configuration.rest.job_lookups_per_day == 0
    assert configuration.freshness.schedule_grace == 0.0
    rest = read("rest: {url: https://tableau, token_name: a, token_value: b}").rest
    assert rest is not None
    assert (rest.job_lookups_per_day, rest.sites, rest.connected_app) == (5000, (), None)


def test_exports_are_read_from_the_file_and_from_the_environment(read: Load) -> None:
    """One output or several, with commas or without; a list of the environment replaces the file's."""
    text = """
repository: {hosts: [db]}
exports:
- {format: text, output: ["/srv/a, b", /srv/c], every: 1d, since: 2025-01-01T00:00:00+01:00, timezone: Europe/Berlin,
   delimiter: "\t"}
- {format: csv, table: usage, output: "abfss://lake@account.dfs.core.windows.net/x", every: 90s}
"""
    daily, usage = read(text).exports
    assert (daily.output, daily.every, str(daily.since)) == (("/srv/a, b", "/srv/c"), 86_400.0, "2024-12-31 23:00:00")
    assert (daily.table, daily.timezone, daily.delimiter) == (None, "Europe/Berlin", "\t")
    assert ("Extracts_To_Workbooks", "text", "/srv/c") in daily.names
    assert len(daily.names) == 2 * 7
    assert usage.names == (("usage", "csv", "abfss://account.dfs.core.windows.net/x"),)
    given = read(text, {"TABLEAU_EXPORTER_EXPORTS": "[{format: csv, table: users, output: 'x, y', every: 1h}]"})
    assert [(export.table, export.output) for export in given.exports] == [("users", ("x, y",))]


def test_without_a_file_in_the_working_directory_the_systems_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is the file of the working directory, then the one in /etc, then the one to write."""
    assert Path("/etc/tableau-exporter/tableau-exporter.yml") == loading.SYSTEM_FILE
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SYSTEM_FILE", tmp_path / "etc.yml")
    assert default_file() == DEFAULT_FILE
    (tmp_path / "etc.yml").touch()
    assert default_file() == tmp_path / "etc.yml"
    DEFAULT_FILE.touch()
    assert default_file() == DEFAULT_FILE


def test_a_working_directory_that_may_not_be_searched_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by another user in a closed folder, a command reads the environment alone."""

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    environment = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "db", "TABLEAU_EXPORTER_REPOSITORY__SSLMODE": "require"}
    assert load(DEFAULT_FILE, environment, (), explicit=False).repository is not None
    with pytest.raises(ConfigurationError, match=r"tableau-exporter.yml: no such file: write one"):
        load(DEFAULT_FILE, {}, (), explicit=False)


def test_a_history_in_a_closed_folder_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may not enter the history's folder gets its name, and what to change."""

    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    environment = {"TABLEAU_EXPORTER_HISTORY__PATH": "/closed/history.duckdb"}
    with pytest.raises(ConfigurationError) as caught:
        load(None, environment, (), explicit=False, sections=("history",))
    (fault,) = caught.value.faults
    assert fault.path == "history.path"
    assert fault.message.startswith("cannot be read: /closed/history.duckdb: Permission denied for the user")


@pytest.mark.parametrize(
    ("web", "prefix", "hosts"),
    [
        ("{}", "/", ()),
        ("{route_prefix: tableau/}", "/tableau", ()),
        ("{external_url: 'https://Monitor.example.com:9/tableau/one/'}", "/tableau/one", ("monitor.example.com",)),
        ("{external_url: 'https://monitor/tableau', route_prefix: /}", "/", ("monitor",)),
        ("{external_url: 'https://monitor', allowed_hosts: [a]}", "/", ("a", "monitor")),
    ],
    ids=["nothing", "prefix", "path", "both", "host"],
)
def test_the_prefix_is_by_default_the_path_of_the_external_url(
    read: Load, web: str, prefix: str, hosts: tuple[str, ...]
) -> None:
    """As in Prometheus; a proxy that takes the path off is configured with / as the prefix, and its host is allowed."""
    found = read(f"repository: {{hosts: [db]}}\nweb: {web}").web
    assert (found.route_prefix, found.hosts) == (prefix, hosts)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("{}", {"http_requests": False, "views": False}),
        ("{views: true}", {"http_requests": False, "views": True}),
    ],
    ids=["nothing", "one"],
)
def test_collectors_may_be_disabled_by_default(tmp_path: Path, text: str, enabled: dict[str, bool]) -> None:
    """The configuration, and flags above it, enable those that are wanted."""
    file = tmp_path / "tableau-exporter.yml"
    file.write_text(f"repository: {{hosts: [db]}}\ncollectors: {text}")
    options = RunOptions(file, config_file_explicit=True, disable_collectors=True)
    assert options.load(COLLECTORS).collectors == enabled
    flagged = replace(options, overrides={"collectors.views": "true"})
    assert flagged.load(COLLECTORS).collectors == {"http_requests": False, "views": True}
