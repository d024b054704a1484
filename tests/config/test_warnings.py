"""Warnings about valid configurations."""

from pathlib import Path

import pytest

from exporter.config import load
from tests.config.conftest import COLLECTORS, Load

SOURCE = "repository: {hosts: [db]}\n"
CLEAR = "alertmanager.urls: plain http sends the password or token in the clear; use https"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (SOURCE, ()),
        (
            "repository: {hosts: [db], sslmode: disable}",
            ("repository.sslmode: disable sends everything, the password too, in the clear; verify-full does it all",),
        ),
        ("repository: {hosts: [/run/postgresql], sslmode: disable}", ()),
        (
            "rest: {url: http://tableau, token_name: a, token_value: b}",
            ("rest.url: plain http sends the token in the clear; use https",),
        ),
        (
            "activity_log: {url: http://tcm, token_value: b}",
            ("activity_log.url: plain http sends the token in the clear; use https",),
        ),
        ("activity_log: {url: http://localhost:80, token_value: b}", ()),
        ("rest: {url: http://localhost:80, token_name: a, token_value: b}", ()),
        ("rest: {url: https://tableau, token_name: a, token_value: b}", ()),
        (SOURCE + "alertmanager: {urls: http://a}", ()),
        (SOURCE + "alertmanager: {urls: http://a, bearer_token: b}", (CLEAR,)),
        (SOURCE + "alertmanager: {urls: http://a, basic_auth: {username: a, password: b}}", (CLEAR,)),
        (
            SOURCE + "freshness: {rules: [{match: {name: a}, critical: 4h}]}",
            ("freshness.rules.0: has one tier of the default, and its warning comes after its critical; set both",),
        ),
    ],
)
def test_each_weakness_has_its_warning(read: Load, text: str, warnings: tuple[str, ...]) -> None:
    """A warning names the key and what to do, and only where there is something to do."""
    assert read(text).warnings == warnings


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_every_sslmode_but_the_default_is_warned_of(read: Load, sslmode: str) -> None:
    """Anything weaker than verify-full is written out and warned of."""
    assert len(read(f"repository: {{hosts: [/run, db], sslmode: {sslmode}}}").warnings) == 1


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [
        (0o644, "repository: {hosts: [db], password: hunter2}", True),
        (0o640, "repository: {hosts: [db], password: hunter2}", False),
        (0o644, "repository: {hosts: [db]}", False),
    ],
)
def test_a_secret_that_others_may_read_is_warned_of(tmp_path: Path, mode: int, text: str, *, warned: bool) -> None:
    """A file with a secret belongs to its owner and a group; one without may be read by all."""
    path = tmp_path / "tableau-exporter.yml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    warnings = load(path, {"TABLEAU_EXPORTER_REPOSITORY__USER": "me"}, COLLECTORS, explicit=True).warnings
    assert any("others may read it" in warning for warning in warnings) is warned
