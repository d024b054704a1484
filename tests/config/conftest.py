"""Shared by the tests of the configuration: loading a text as if it stood in the file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from exporter.config import Configuration, load
from exporter.errors import ConfigurationError

COLLECTORS = ("http_requests", "views")

Load = Callable[..., Configuration]
FaultsOf = Callable[..., list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load a text and an environment; None stands for a file that is not there."""

    def read(text: str | None, environ: Mapping[str, str] | None = None, **overrides: str) -> Configuration:
        path = tmp_path / "tableau-exporter.yml"
        if text is not None:
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        flags = {key.replace("__", "."): value for key, value in overrides.items()}
        return load(path, environ or {}, COLLECTORS, explicit=False, overrides=flags)

    return read


@pytest.fixture
def faults_of(read: Load, tmp_path: Path) -> FaultsOf:
    """The lines that a text and an environment are refused with; the file's folder is cut off."""

    def faults_of(text: str | None, environ: Mapping[str, str] | None = None, **overrides: str) -> list[str]:
        with pytest.raises(ConfigurationError) as error:
            read(text, environ, **overrides)
        return [str(fault).removeprefix(f"{tmp_path}/") for fault in error.value.faults]

    return faults_of
