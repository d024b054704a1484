"""Exports to a store of objects, by S3's protocol on loopback: each row once there too."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import boto3
import duckdb
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable
from moto.server import ThreadedMotoServer

from exporter.audit.delta_table import append_audit
from exporter.errors import OutputUnwritable
from exporter.exports import ExportOptions, csv_files, delta, parquet, stores
from exporter.exports.stores import Store, deltalake_options, open_store
from tests.exports.requests import HISTORY, OURS, Requests, ids
from tests.history.test_freshness_audit import judged

BUCKET = "lake"
PROXIES = ("http_proxy", "HTTP_PROXY")
TARGET = f"s3://{BUCKET}/tableau/http_requests"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Serve S3's protocol on loopback."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name the store by the variables of its own tools; no proxy is used. The bucket is empty."""
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=endpoint).Bucket(BUCKET)
    bucket.create(CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with monkeypatch.context() as proxied:
        for name in PROXIES:
            proxied.setenv(name, "http://127.0.0.1:9")
        yield
    bucket.objects.all().delete()
    bucket.delete()


def names(store: Store) -> list[str]:
    """Return the names of all objects."""
    return sorted(store.names())


def read(target: str = TARGET) -> list[int]:
    """Return the ids of all rows in Parquet, each as often as it is there."""
    store = open_store(target)
    found = ds.dataset(store._base, filesystem=store._files, partitioning="hive", format="parquet").to_table()
    return sorted(found["id"].to_pylist())


def test_parquet_is_appended_once() -> None:
    """As in a folder: by day, with the position beside, and a second export adds nothing."""
    assert parquet.export(Requests(5, a_slice=5), TARGET, OURS) == 10
    assert parquet.export(Requests(5), TARGET, OURS) == 0
    assert parquet.export(Requests(7), TARGET, OURS) == 4
    assert read() == ids(7)
    assert names(open_store(TARGET))[:2] == [
        "_tableau_exporter/http_requests.json",
        "day=2025-11-18/http_requests-0.parquet",
    ]
    assert parquet.export(Requests(3), TARGET, replace(OURS, rewrite=True)) == 6
    assert read() == ids(3)


def test_csv_is_an_object_a_slice(tmp_path: Path) -> None:
    """Each with a header; together they are the table."""
    assert csv_files.export(Requests(5), TARGET, OURS) == 10
    assert csv_files.export(Requests(5), TARGET, OURS) == 0
    store = open_store(TARGET)
    objects = [name for name in names(store) if name.endswith(".csv")]
    assert len(objects) == 3
    for name in objects:
        (tmp_path / name).write_bytes(store.read(name) or b"")
    found = duckdb.execute("SELECT list(id ORDER BY id) FROM read_csv(?)", [f"{tmp_path}/*.csv"]).fetchall()
    assert found == [(ids(5),)]
    csv_files.export(Requests(2), f"{TARGET}/log", ExportOptions(HISTORY, "poll_log"))
    assert "poll_log.csv" in names(open_store(f"{TARGET}/log"))


def test_delta_is_appended_once() -> None:
    """Two exports at once too: the store refuses a commit that another was faster with."""
    assert delta.export(Requests(3), TARGET, OURS) == 6
    assert delta.export(Requests(3), TARGET, OURS) == 0
    assert delta.export(Requests(6), TARGET, OURS) == 6
    table = DeltaTable(TARGET, storage_options=deltalake_options(TARGET))
    assert sorted(table.to_pyarrow_table()["id"].to_pylist()) == ids(6)
    assert table.version() == 1


def test_an_audit_is_appended_to_a_delta_table() -> None:
    """A job without a history appends each of its audits, once."""
    first = judged({"asset_id": "a"}, {"asset_id": "b"})
    append_audit(delta.export, first, TARGET, "everything")
    with pytest.raises(OutputUnwritable, match=f"^{TARGET}: it has this audit or a later one"):
        append_audit(delta.export, first, TARGET, "everything")
    table = DeltaTable(TARGET, storage_options=deltalake_options(TARGET))
    assert sorted(table.to_pyarrow_table()["asset_id"].to_pylist()) == ["a", "b"]


def test_an_upload_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever write the store fails: the next export, to another end, has each row once."""
    write = Store.write
    for failing in range(9):
        target = f"{TARGET}/{failing}"
        count = iter(range(failing))

        def fail(store: Store, name: str, content: bytes, count: Iterator[int] = count) -> None:
            if next(count, None) is None:
                raise OutputUnwritable("the store has gone")
            write(store, name, content)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", fail)
            with pytest.raises(OutputUnwritable, match="the store has gone"):
                parquet.export(Requests(5, a_slice=3), target, OURS)
        parquet.export(Requests(8, a_slice=1), target, OURS)
        assert read(target) == ids(8), failing


def test_two_exports_at_once() -> None:
    """The second is refused while the first is at work."""
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(OutputUnwritable) as error:
            parquet.export(Requests(9), TARGET, OURS)
        refused.append(str(error.value))

    parquet.export(Requests(4, meanwhile=meanwhile), TARGET, OURS)
    assert refused == [f"{TARGET}: another export writes it, or was killed; try again in 15 minutes"] * 2
    assert read() == ids(4)


def test_the_lock_of_a_killed_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is valid for 15 minutes by the store's clock, and removed then; an exporter that lost it stops."""
    store = open_store(TARGET)
    store.write("_tableau_exporter/http_requests.lock/killed", b"{}")
    with pytest.raises(OutputUnwritable, match="try again in 15 minutes"):
        parquet.export(Requests(2), TARGET, OURS)
    written_at = Store.written_at

    def later(store: Store, folder: str) -> dict[str, object]:
        found = written_at(store, folder)
        return {name: at - timedelta(minutes=16) if name == "killed" else at for name, at in found.items()}

    monkeypatch.setattr(Store, "written_at", later)
    assert parquet.export(Requests(2), TARGET, OURS) == 4
    assert not [name for name in names(store) if "lock" in name]
    lost = Requests(8, meanwhile=partial(remove_locks, store))
    with pytest.raises(OutputUnwritable, match="another export may have begun"):
        parquet.export(lost, TARGET, OURS)
    monkeypatch.setattr(stores, "LOCK_SECONDS", 0.0)
    with pytest.raises(OutputUnwritable, match="a write lasted too long"):
        parquet.export(Requests(9), TARGET, OURS)
    monkeypatch.undo()


def remove_locks(store: Store) -> None:
    """Remove every lock, as an export does that thinks them dead."""
    for name in names(store):
        if ".lock/" in name:
            store.remove(name)


def test_faults_of_a_store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is not there and a server that is not there are one line each, without a credential."""
    for target, export in (("s3://nowhere/x", parquet.export), ("s3://nowhere/x", csv_files.export)):
        with pytest.raises(
            OutputUnwritable, match=r"s3://nowhere/x: .+NO_SUCH_BUCKET.+; check --output, the env"
        ) as error:
            export(Requests(1), target, OURS)
        assert "\n" not in str(error.value)
        assert "Request ID" not in str(error.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(OutputUnwritable, match=r"NETWORK_CONNECTION.+; check --output") as error:
        parquet.export(Requests(1), TARGET, OURS)
    assert "canary" not in str(error.value)


def test_names_of_containers() -> None:
    """Azure's and Google's are parsed as their tools write them."""
    azure = {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}
    for uri in ("az://container/a/b", "abfss://container@account.dfs.core.windows.net/a/b", "gs://container/a/b"):
        assert open_store(uri, azure)._base == "container/a/b"
