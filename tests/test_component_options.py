"""Constructor arguments from the configuration: each component gets its own, and secrets as they are when used."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import collectors, component_options
from exporter.alerting.alertmanager import AlertmanagerOptions
from exporter.collector import Distribution
from exporter.config import Configuration, load

KNOWN = collectors.discover()


def configured(folder: Path, text: str) -> Configuration:
    """Load a configuration."""
    path = folder / "tableau-exporter.yml"
    path.write_text(f"repository: {{hosts: [db]}}\n{text}")
    return load(path, {}, KNOWN, explicit=True)


def alertmanagers(configuration: Configuration) -> list[AlertmanagerOptions]:
    """Return the options of each Alertmanager."""
    assert configuration.alertmanager is not None
    return component_options.alertmanager_options(configuration.alertmanager)


def test_each_alertmanager_has_a_login(tmp_path: Path) -> None:
    """Every URL is notified with the same files, the same time, and the same proof."""
    for name in ("ca", "crt", "key"):
        (tmp_path / name).touch()
    tls = f"{{ca_file: {tmp_path}/ca, cert_file: {tmp_path}/crt, key_file: {tmp_path}/key}}"
    one, two = alertmanagers(
        configured(
            tmp_path,
            "alertmanager: {urls: ['http://a/', 'https://b/x'], timeout: 3s, labels: {deployment: eu}, "
            f"tls: {tls}}}",
        )
    )
    assert (one.url, two.url) == ("http://a", "https://b/x")
    for login in (one, two):
        assert (login.ca_file, login.cert_file, login.key_file) == tuple(tmp_path / n for n in ("ca", "crt", "key"))
        assert (login.timeout, login.labels) == (3.0, {"deployment": "eu"})
        assert login.authorization() is None


@pytest.mark.parametrize(
    ("repository", "rest", "expected"),
    [
        ("30s", "", {"repository": 90.0}),
        ("5m", "90s", {"repository": 900.0, "rest": 270.0}),
        ("1s", "1s", {"repository": 60.0, "rest": 60.0}),
    ],
)
def test_a_poll_is_stuck_after_three_timeouts(
    tmp_path: Path, repository: str, rest: str, expected: dict[str, float]
) -> None:
    """Of each polled source; not before the total of a poll's shortest timeouts."""
    path = tmp_path / "tableau-exporter.yml"
    document: dict[str, Any] = {"repository": {"hosts": ["db"], "statement_timeout": repository}}
    if rest:
        login = {"url": "https://t", "token_name": "t", "token_value": "v"}
        document["rest"] = {**login, "timeout": rest}
    path.write_text(yaml.safe_dump(document))
    assert component_options.stuck_after(load(path, {}, KNOWN, explicit=True)) == expected


def test_secrets_of_alertmanagers_are_read_at_each_use(tmp_path: Path) -> None:
    """A rotated password or token needs no reload."""
    file = tmp_path / "secret"
    file.write_text("old\n")
    basic = f"basic_auth: {{username: me, password_file: {file}}}"
    (user,) = alertmanagers(configured(tmp_path, f"alertmanager: {{urls: [https://a], {basic}}}"))
    (token,) = alertmanagers(configured(tmp_path, f"alertmanager: {{urls: [https://a], bearer_token_file: {file}}}"))
    assert (user.authorization(), token.authorization()) == (("me", "old"), "old")
    file.write_text("new\n")
    assert (user.authorization(), token.authorization()) == (("me", "new"), "new")
    (token,) = alertmanagers(configured(tmp_path, "alertmanager: {urls: [https://a], bearer_token: here}"))
    assert token.authorization() == "here"


@pytest.mark.parametrize(
    ("rest", "url"),
    [("rest: {url: 'https://t.example/', token_name: a, token_value: b}", "https://t.example"), ("", None)],
)
def test_links_lead_to_the_server_of_the_rest_api(tmp_path: Path, rest: str, url: str | None) -> None:
    """Pages and notifications have the same, without a closing slash; none where it is not configured."""
    configuration = configured(tmp_path, f"alertmanager: {{urls: [https://a]}}\n{rest}")
    assert configuration.tableau_url == url
    assert configuration.alertmanager is not None
    options = component_options.notification_options(configuration.alertmanager, configuration)
    assert options.tableau_url == url


@pytest.mark.parametrize(("unit", "seconds"), [("", []), ("duration_unit: ms", [0.001]), ("duration_unit: s", [1.0])])
def test_durations_of_cloud_need_a_unit(unit: str, seconds: list[float], tmp_path: Path) -> None:
    """Without one there is no histogram of them; with one it is in seconds."""
    settings = f"activity_log: {{url: 'https://tcm', token_value: t, {unit}}}"
    enabled = component_options.enabled(configured(tmp_path, settings), KNOWN)
    (requests,) = enabled["http_requests"].activity
    durations = [fold.seconds for fold in requests.folds if isinstance(fold, Distribution)]
    assert durations == [f"(duration) * {number}" for number in seconds]


@pytest.mark.parametrize(
    ("setting", "switched"), [("", False), ("system_info: false", False), ("system_info: true", True)]
)
def test_processes_are_collected_where_systeminfo_is_switched_on(setting: str, switched: bool, tmp_path: Path) -> None:
    """It needs a server administrator: it is off by default."""
    configuration = configured(tmp_path, f"rest: {{url: 'https://t', token_name: a, token_value: b, {setting}}}")
    assert ("processes" in component_options.enabled(configuration, KNOWN)) is switched
    assert "disks" in component_options.enabled(configuration, KNOWN)


@pytest.mark.parametrize(("limit", "merging"), [("64MB", "64MB"), ("1GB", "128MB")])
def test_merges_obey_the_limit_of_memory(limit: str, merging: str, tmp_path: Path) -> None:
    """Row groups are merged within the configured limit, however low, and within their own where it is high."""
    configuration = configured(tmp_path, f"history: {{memory_limit: {limit}}}")
    assert component_options.history_limits(configuration).merge_memory == merging
