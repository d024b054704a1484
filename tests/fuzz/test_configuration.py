"""The configuration and the web configuration: faults of one line each, and no value that was a secret."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import Configuration, keys, load
from exporter.errors import ConfigurationError
from exporter.web.web_config import load_access
from tests.fuzz.cases import JSON, SECRET, TEXTS, counted, damaged, fuzzed, refusal

PATHS = [".".join(path) for path in keys.paths(Configuration)]
COLLECTORS = ("http_requests", "views")
VALUES = (
    JSON
    | st.sampled_from(
        ["5m", "1h30m", "64MB", "never", "db:8060", "[::1]:1", "https://a.example/b", "true", "a,b", "[", "{}"]
    )
    | st.just(SECRET)
    | st.sampled_from(["https://me:{}@a.example", "me:{}@db:8060", "https://a/?x={}"]).map(
        lambda text: text.format(SECRET)
    )
)
WEB_KEYS = st.sampled_from(
    [
        *(
            "tls_server_config",
            "http_server_config",
            "basic_auth_users",
            "rate_limit",
            "http2",
        ),
        *("client_auth_type", "min_version", "headers", "X-Frame-Options"),
    ]
)
# The name of a file is no secret, and stands in the fault.
FILES = st.fixed_dictionaries({}, optional=dict.fromkeys(("cert_file", "key_file", "client_ca_file"), JSON))
TREES = st.recursive(VALUES | FILES, lambda inner: st.dictionaries(WEB_KEYS | TEXTS, inner, max_size=4), max_leaves=8)


def document(values: Mapping[str, object]) -> dict[str, object]:
    """Return dotted keys as sections; a key below another value replaces that."""
    made: dict[str, object] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        place = made
        for part in above:
            below = place.get(part)
            if not isinstance(below, dict):
                place[part] = below = {}
            place = below
        place[last] = value
    return made


def written(content: object) -> st.SearchStrategy[bytes]:
    """Return the bytes of a file, whole or damaged."""
    return damaged(yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "replace"))


CONFIGURATIONS = st.dictionaries(st.sampled_from(PATHS), VALUES, max_size=6).map(document)


def hides_secrets(read: Callable[[], object]) -> bool:
    """Whether a file is read, or refused without the secret."""
    message = refusal(read, ConfigurationError)
    return message is None or SECRET not in message


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a file."""
    return tmp_path_factory.mktemp("fuzz") / "file.yml"


@fuzzed(0.5)
@given((CONFIGURATIONS | JSON).flatmap(written))
def test_the_configuration(path: Path, content: bytes) -> None:
    """Any file is a configuration, or refused with faults that quote no secret."""
    counted("configuration")
    path.write_bytes(content)
    assert hides_secrets(lambda: load(path, {}, COLLECTORS, explicit=True).secrets())


@fuzzed(0.5)
@given(st.dictionaries(st.sampled_from(PATHS), VALUES.map(str), max_size=6))
def test_the_environment(values: dict[str, str]) -> None:
    """Any environment is a configuration, or refused with faults of one line that quote no secret."""
    counted("environment")
    environ = {"TABLEAU_EXPORTER_" + path.replace(".", "__").upper(): text for path, text in values.items()}
    assert hides_secrets(lambda: load(None, environ, COLLECTORS, explicit=False))


@fuzzed(0.5)
@given(TREES.flatmap(written))
def test_the_web_configuration(path: Path, content: bytes) -> None:
    """Any file is a web configuration, or refused with faults that quote no secret."""
    counted("web configuration")
    path.write_bytes(content)
    assert hides_secrets(lambda: load_access(path))
