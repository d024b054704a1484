"""Secrets: printed nowhere, read anew from their files."""

import base64
import os
import pwd
import traceback
from pathlib import Path

import pytest

from exporter.config import Configuration, RunOptions, load
from exporter.config.exports import PUBLISHED_FORMAT
from exporter.config.value_types import read_secret
from exporter.errors import ConfigurationError
from exporter.exports import FORMATS
from tests.config.conftest import COLLECTORS, Load

ALL = """
repository: {hosts: [db], password: hunter2-a}
rest: {url: https://tableau, token_name: me, token_value: hunter2-b}
alertmanager: {urls: [https://a], basic_auth: {username: me, password: hunter2-c}}
"""
CONNECTED = """
rest: {url: https://tableau, connected_app: {client_id: a, secret_id: b, secret_value: hunter2-e, user: me}}
"""
PUBLISHING = """
rest: {url: https://tableau, token_name: me, token_value: hunter2-b}
exports:
- {format: hyper, table: usage, output: x, every: 1d,
   publish: {project: a, name: b, token_name: c, token_value: hunter2-f}}
"""
TOKEN = "repository: {hosts: [db]}\nalertmanager: {urls: [https://a], bearer_token: hunter2-d}\n"


@pytest.fixture(autouse=True)
def publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format that can be published."""
    monkeypatch.setattr("exporter.config.exports.FORMATS", {**FORMATS, PUBLISHED_FORMAT: PUBLISHED_FORMAT})


@pytest.mark.parametrize("text", [ALL, CONNECTED, TOKEN, PUBLISHING])
def test_a_secret_prints_as_such(read: Load, text: str) -> None:
    """No representation of a configuration has a secret."""
    configuration = read(text)
    published = [str(configuration), repr(configuration), f"{configuration}", str(configuration.model_dump())]
    published += [configuration.model_dump_json(), str(configuration.warnings)]
    assert "<secret>" in published[0]
    assert "hunter2" not in "".join(published)


def test_every_secret_can_be_hidden_from_the_log(read: Load) -> None:
    """The log masks each secret, wherever it is configured."""
    assert read(ALL).secrets() == ("hunter2-a", "hunter2-b", "hunter2-c")
    assert read(CONNECTED).secrets() == ("hunter2-e",)
    assert read(PUBLISHING).secrets() == ("hunter2-b", "hunter2-f")
    assert read(TOKEN).secrets() == ("hunter2-d",)
    assert read("activity_log: {url: https://tcm, token_value: hunter2-g}").secrets() == ("hunter2-g",)
    assert read("repository: {hosts: [db]}").secrets() == ()


def test_a_secret_in_an_entry_of_a_list_is_warned_of(tmp_path: Path) -> None:
    """Others may read it there as anywhere in the file."""
    path = tmp_path / "tableau-exporter.yml"
    (tmp_path / "secret").write_text("hunter2")
    inside = PUBLISHING.replace("token_value: hunter2-b", f"token_value_file: {tmp_path / 'secret'}")
    for text, times in ((inside, 1), (inside.replace("value: hunter2-f", f"value_file: {tmp_path / 'secret'}"), 0)):
        path.write_text(text)
        path.chmod(0o644)
        assert len(load(path, {}, COLLECTORS, explicit=True).warnings) == times


def test_the_passwords_of_proxies_can_be_hidden_from_the_log(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password in a proxy variable is redacted as it is written, as it is meant, and as it is sent."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter%2F2@proxy.invalid:3128")
    sent = base64.b64encode(b"me:hunter/2").decode()
    assert read("repository: {hosts: [db]}").secrets() == ("hunter%2F2", "hunter/2", sent)
    monkeypatch.setenv("HTTPS_PROXY", "me:hunter/2@proxy.invalid")
    assert read("repository: {hosts: [db]}").secrets() == ("hunter/2", sent)


def test_the_environment_is_not_shown() -> None:
    """A command's arguments print without the environment."""
    options = RunOptions(environ={"TABLEAU_EXPORTER_REPOSITORY__PASSWORD": "hunter2"})
    assert "hunter2" not in f"{options} {options!r}"


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "text",
    [
        "repository: {hosts: [db], password: [hunter2]}",
        "repository: {hosts: [db], password: {hunter2-key: hunter2}}",
        "repository: {hosts: [db], password: *hunter2}",
        "repository: {hosts: [db], password: !hunter2 x}",
        "repository: {hosts: [db], password: &hunter2 [x]}",
        "repository: {hosts: [db], password: a\n hunter2: b",
        "repository: {hosts: ['me:hunter2@db:8060']}",
        "repository: {hosts: [db], password_file: hunter2}",
        "repository: {hosts: [db], sslmode: hunter2}",
        "repository: {hosts: [db], poll_interval: hunter2}",
        "rest: {url: https://me:hunter2@tableau, token_name: x, token_value: y}",
        "rest: {url: https://tableau:hunter2, token_name: x, token_value: y}",
        "rest: {url: https://tableau, token_name: x, token_value: hunter2, token_valu: hunter2}",
        "rest: {url: https://tableau, connected_app: {secret_value: hunter2, secret_value_file: hunter2}}",
        "rest: {url: https://tableau, token_name: x, token_value: y, sites: [hunter2, hunter2]}",
        "exports: [{format: hunter2, table: hunter2, output: hunter2, every: hunter2, since: hunter2}]",
        "exports: [{format: text, timezone: hunter2, delimiter: hunter2, output: [hunter2, hunter2]}]",
        "exports: [{format: csv, output: 's3://hunter2:hun/ter2@lake/x', publish: {token_value: hunter2}}]",
    ],
)
def test_no_fault_repeats_a_value(read: Load, text: str) -> None:
    """Neither an error nor its traceback has the invalid value."""
    with pytest.raises(ConfigurationError) as error:
        read(text)
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


@pytest.mark.attack("secrets")
def test_a_secret_of_the_environment_is_in_no_fault(read: Load) -> None:
    """An error names the variable, never its value."""
    environ = {"TABLEAU_EXPORTER_REPOSITORY__HOSTS": "hunter2@db", "TABLEAU_EXPORTER_REST": "{hunter2: *hunter2}"}
    with pytest.raises(ConfigurationError) as error:
        read(None, environ)
    assert "hunter2" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("content", "secret"),
    [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), (" hunter2 \n\n", " hunter2 \n")],
)
def test_a_secrets_file_loses_one_newline(read: Load, tmp_path: Path, content: str, secret: str) -> None:
    """The newline that editors add is not part of the secret; everything else is."""
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    configuration = read(f"repository: {{hosts: [db], password_file: {file}}}")
    assert configuration.secrets() == (secret,)


def test_a_secrets_file_is_read_at_each_use(read: Load, tmp_path: Path) -> None:
    """A rotated secret is used at once; one that went away is a fault with its path."""
    file = tmp_path / "secret"
    file.write_text("old", encoding="utf-8")
    repository = read(f"repository: {{hosts: [db], password_file: {file}}}").repository
    assert repository is not None
    assert repository.read_password() == "old"
    file.write_text("new", encoding="utf-8")
    assert repository.read_password() == "new"
    file.unlink()
    with pytest.raises(ConfigurationError) as error:
        repository.read_password()
    assert str(error.value) == "repository.password_file: cannot be read: No such file or directory"


def test_each_secret_has_its_file(read: Load, tmp_path: Path) -> None:
    """Every secret can stand in a file of its own."""
    file = tmp_path / "secret"
    file.write_text("hunter2\n", encoding="utf-8")
    text = f"""
repository: {{hosts: [db], password_file: {file}}}
rest: {{url: https://tableau, token_name: me, token_value_file: {file}}}
alertmanager: {{urls: [https://a], basic_auth: {{username: me, password_file: {file}}}}}
"""
    assert read(text).secrets() == ("hunter2",) * 3
    text = f"repository: {{hosts: [db]}}\nalertmanager: {{urls: [https://a], bearer_token_file: {file}}}\n"
    assert read(text).secrets() == ("hunter2",)
    app = f"{{client_id: a, secret_id: b, user: me, secret_value_file: {file}}}"
    assert read(f"rest: {{url: https://tableau, connected_app: {app}}}").secrets() == ("hunter2",)


def test_a_configuration_cannot_be_changed(read: Load) -> None:
    """A validated value stays as it was validated."""
    configuration: Configuration = read(ALL)
    with pytest.raises(ValueError, match="frozen"):
        setattr(configuration.limits, "series_per_family", 1)  # noqa: B010 - the type checker refuses it too


def test_a_closed_file_is_named_with_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose rights are missing, and on which file, is in the line."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    user = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigurationError) as raised:
        read_secret(None, tmp_path / "secret", "repository.password_file")
    closed = f"cannot be read: {tmp_path}/secret: Permission denied for the user {user}"
    assert str(raised.value).startswith(f"repository.password_file: {closed}: change its owner or mode")
