"""Exports to Azure's storage by its protocol on loopback: ``make azurite`` runs these, for it takes 360 MB from npm."""

import os
import re
from collections.abc import Iterator

import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable
from pyarrow import fs

from exporter import exports
from exporter.errors import OutputUnwritable
from exporter.exports.stores import deltalake_options, open_store
from tests.exports.requests import OURS, Requests, ids
from tests.support.components import require
from tests.support.listening import listening

pytestmark = pytest.mark.skipif(os.environ.get("AZURITE") != "true", reason="make azurite runs it")

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's own, publicly known."""
LISTENING = re.compile(r"successfully listen\w* (?:at|on) http://(127\.0\.0\.1:\d+)")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve Azure's protocol on loopback, with one container."""
    command = [str(require("azurite")), "--inMemoryPersistence", "--disableTelemetry", "--blobPort=0"]
    folder = tmp_path_factory.mktemp("azurite")
    with listening([*command, "--skipApiVersionCheck"], folder / "log", LISTENING) as address:
        place = {"blob_storage_authority": address, "dfs_storage_authority": address}
        schemes = {"blob_storage_scheme": "http", "dfs_storage_scheme": "http"}
        fs.AzureFileSystem(ACCOUNT, account_key=KEY, **place, **schemes).create_dir("lake")
        yield f"http://{address}/{ACCOUNT}"


@pytest.fixture(autouse=True)
def azure(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the store by the variables of its own tools; no proxy is used."""
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


TARGETS = {"az": "az://lake/tableau", "abfss": f"abfss://lake@{ACCOUNT}.dfs.core.windows.net/spark"}


def read(format_: str, target: str) -> list[int]:
    """Return the ids of all rows of a target, each as often as it is there."""
    if format_ == "delta":
        table = DeltaTable(target, storage_options=deltalake_options(target)).to_pyarrow_table()
    else:
        store = open_store(target)
        partitioning = "hive" if format_ == "parquet" else None
        names = [f"{store._base}/{name}" for name in store.names() if name.endswith(f".{format_}")]
        table = ds.dataset(names, filesystem=store._files, format=format_, partitioning=partitioning).to_table()
    return sorted(table["id"].to_pylist())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("format_", ["csv", "parquet", "delta"])
def test_appended_once(format_: str, target: str) -> None:
    """A second export adds no row, a third those archived since, and --rewrite begins anew."""
    write, place = exports.load(format_), f"{target}/{format_}"
    assert [write(Requests(count), place, OURS) for count in (5, 5, 8)] == [10, 0, 6]
    assert read(format_, place) == ids(8)
    assert write(Requests(3), place, exports.ExportOptions(OURS.history, OURS.table, rewrite=True)) == 6
    assert read(format_, place) == ids(3)


@pytest.mark.parametrize("format_", ["csv", "parquet", "delta"])
def test_a_container_that_is_not_there(format_: str) -> None:
    """It is one line, without a credential."""
    with pytest.raises(OutputUnwritable) as raised:
        exports.load(format_)(Requests(1), "az://nowhere/folder", OURS)
    assert "az://nowhere/folder" in str(raised.value)
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)
