"""Formats are found by their names, with their libraries."""

import importlib

import pytest

from exporter import exports
from exporter.errors import ExporterError


@pytest.mark.parametrize("name", exports.FORMATS)
def test_every_format_has_its_module(name: str) -> None:
    """Each name has a module with the function that all of them have."""
    assert callable(exports.load(name))


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package to install."""

    def refuse(_: str) -> None:
        raise ModuleNotFoundError("No module named 'deltalake'", name="deltalake")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ExporterError) as error:
        exports.load("delta")
    assert str(error.value) == "--format=delta needs deltalake: pip install 'tableau-exporter[delta]'"
