"""A table of the history in Delta Lake: each row once, with any number of exporters, in the types of Spark."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from exporter.collectors.assets.status import SCHEMA
from exporter.errors import HistoryBusy, OutputUnwritable
from exporter.exports import ExportOptions, delta
from exporter.exports.delta import export
from exporter.history.export_reader import Slice
from tests.history.test_freshness_audit import judged

AT = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the history's times have no zone
HOUR = timedelta(hours=1)
UTC_TIME = pa.timestamp("us", "UTC")
THE_NOTEBOOKS = {
    "asset_type": pa.string(),
    "asset_id": pa.string(),
    "asset_name": pa.string(),
    "owner_id": pa.string(),
    "project_name": pa.string(),
    "last_refresh_utc": UTC_TIME,
    "hours_since_refresh": pa.float64(),
    "status": pa.string(),
    "audit_timestamp": UTC_TIME,
}
OURS = ExportOptions("2025-01-01T00:00:00.000001", "freshness_audit")

QUICKLY = {"max_retries": "0", "retry_timeout": "1s"}

Row = Mapping[str, Any]


class Rows:
    """Rows in memory; ``meanwhile`` runs after some of them were read."""

    def __init__(self, *rows: Row, meanwhile: Callable[[], None] = lambda: None, schema: pa.Schema = SCHEMA) -> None:
        table = judged(*rows)
        for name in schema.names[len(SCHEMA) :]:
            table = table.append_column(schema.field(name), pa.nulls(table.num_rows, schema.field(name).type))
        self._table = table
        self._meanwhile = meanwhile

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._table.schema

    @property
    def newest(self) -> datetime | None:
        """The last instant."""
        newest: datetime = max(self._table.column("audit_timestamp").to_pylist())
        return newest

    def slices(
        self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
    ) -> Iterator[Slice]:
        """Yield the rows after an instant, each by itself."""
        assert until is None
        rows = [row for row in self._table.to_pylist() if after is None or row["audit_timestamp"] > after]
        for position, row in enumerate(rows):
            yield Slice(row["audit_timestamp"], pa.Table.from_pylist([row], schema=self.schema))
            if position == 0:
                # A library of the format's own threads is at work in this one.
                other = threading.Thread(target=self._meanwhile)
                other.start()
                other.join()

    def whole(self) -> pa.Table:
        """Return all rows."""
        return self._table


def found(hours: int, **values: object) -> dict[str, object]:
    """Return the columns of a row that was found so many hours after noon."""
    return {"audit_timestamp": AT + hours * HOUR, "asset_id": f"luid-{hours}", **values}


@pytest.fixture
def target(tmp_path: Path) -> str:
    """A folder that is not there yet."""
    return str(tmp_path / "bronze_tableau_observability_logs")


def column(name: str, kind: str, *, nullable: bool = True) -> Field:
    """Return a column of a Delta table."""
    return Field(name, PrimitiveType(kind), nullable=nullable)


def read(target: str) -> pa.Table:
    """Read a table back by the library."""
    return DeltaTable(target).to_pyarrow_dataset().to_table().sort_by([("audit_timestamp", "ascending")])


def luids(target: str) -> list[str]:
    """Return the LUIDs of all rows in order of time, each as often as it is there."""
    found: list[str] = read(target).column("asset_id").to_pylist()
    return found


def test_the_columns_of_the_notebook_come_first(target: str) -> None:
    """Spark's types: text, double, and instants of UTC in microseconds; added columns stand behind them."""
    assert export(Rows(found(0, last_refresh_utc=AT, hours_since_refresh=0.5), found(1)), target, OURS) == 2
    table = read(target)
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == THE_NOTEBOOKS | {
        "site": pa.string(),
        "connection": pa.string(),
        "sla_hours": pa.float64(),
        "freshness_source": pa.string(),
    }
    assert table.schema.names == SCHEMA.names
    first = table.to_pylist()[0]
    assert first["last_refresh_utc"] == AT.replace(tzinfo=UTC)
    assert first["hours_since_refresh"] == 0.5


def test_duckdb_reads_what_the_log_names(target: str) -> None:
    """The Parquet files of the log are the rows: nothing else is needed to read them."""
    export(Rows(found(0), found(1, sla_hours=None)), target, OURS)
    files = DeltaTable(target).file_uris()
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT asset_id, sla_hours, epoch_us(audit_timestamp) FROM read_parquet(?) ORDER BY 1", [files]
        ).fetchall()
    noon = int(AT.replace(tzinfo=UTC).timestamp()) * 1_000_000
    assert rows == [("luid-0", 24.0, noon), ("luid-1", None, noon + 3_600_000_000)]


def test_twice_is_once(target: str) -> None:
    """The second export finds no new row and makes no commit; later ones append only newer rows, in one commit."""
    assert export(Rows(found(0), found(1)), target, OURS) == 2
    assert export(Rows(found(0), found(1)), target, OURS) == 0
    assert DeltaTable(target).version() == 0
    assert export(Rows(found(0), found(1), found(2), found(3)), target, OURS) == 2
    assert DeltaTable(target).version() == 1
    assert luids(target) == ["luid-0", "luid-1", "luid-2", "luid-3"]


def test_the_microsecond_after_is_new(target: str) -> None:
    """The table remembers the exact instant up to which it has everything."""
    at = AT + timedelta(microseconds=123_457)
    export(Rows(found(0, audit_timestamp=at)), target, OURS)
    later = found(1, audit_timestamp=at + timedelta(microseconds=1))
    assert export(Rows(found(0, audit_timestamp=at), later), target, OURS) == 1
    assert luids(target) == ["luid-0", "luid-1"]


def test_a_table_of_the_notebook_is_continued(target: str) -> None:
    """Its rows stay as they are, ours stand beside them, and the columns that it lacks are added behind."""
    old = [
        {"asset_type": "workbook", "asset_id": "old", "hours_since_refresh": -1.0, "status": "Healthy"},
        {"asset_type": "datasource", "asset_id": "older", "hours_since_refresh": 48.0, "status": "Critical"},
    ]
    schema = pa.schema(THE_NOTEBOOKS)
    rows = [{**dict.fromkeys(schema.names), "audit_timestamp": AT.replace(tzinfo=UTC) - HOUR, **row} for row in old]
    write_deltalake(target, pa.Table.from_pylist(rows, schema=schema))
    identity = DeltaTable(target).metadata().id
    assert export(Rows(found(0), found(1, hours_since_refresh=None, status="Live")), target, OURS) == 2
    table = read(target)
    assert DeltaTable(target).metadata().id == identity
    assert table.schema.names == SCHEMA.names
    assert table.select(schema.names).schema.types == schema.types
    assert sorted(table.column("asset_id").to_pylist()) == ["luid-0", "luid-1", "old", "older"]
    hours = dict(zip(table["asset_id"].to_pylist(), table["hours_since_refresh"].to_pylist(), strict=True))
    assert hours == {"luid-0": 1.0, "luid-1": None, "old": -1.0, "older": 48.0}
    assert export(Rows(found(0), found(1)), target, OURS) == 0


def test_an_instant_without_a_zone_is_continued_too(target: str) -> None:
    """A table whose instants have no zone, or are text, retains its types: its readers go on."""
    for name, kind in (("ntz", pa.timestamp("us")), ("text", pa.string())):
        place = f"{target}_{name}"
        write_deltalake(place, pa.table({"asset_id": pa.array([], pa.string()), "audit_timestamp": pa.array([], kind)}))
        assert export(Rows(found(0)), place, OURS) == 1
        assert read(place).schema.field("audit_timestamp").type == kind
        assert re.match(r"2025-11-19[ T]12:00:00Z?$", str(read(place)["audit_timestamp"][0].as_py()))


def test_a_column_that_is_added_is_merged(target: str) -> None:
    """A column of ours that comes later is added; one that is only there is left empty."""
    export(Rows(found(0)), target, OURS)
    write_deltalake(target, pa.table({"theirs": ["x"]}), mode="append", schema_mode="merge")
    more = pa.schema([*SCHEMA, pa.field("late_by_hours", pa.float64())])
    assert export(Rows(found(0), found(1), schema=more), target, OURS) == 1
    table = read(target)
    assert table.schema.names == [*SCHEMA.names, "theirs", "late_by_hours"]
    assert table.num_rows == 3


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("run_id", "string", "Generic DeltaTable error: .+ rows failed validation check; "),
        ("project_name", "string", ""),
        ("sla_hours", "double", ""),
    ],
)
def test_a_column_that_may_not_be_null(target: str, name: str, kind: str, message: str) -> None:
    """Whether the table alone has it or our rows leave it empty: one short line names it, and nothing is appended."""
    DeltaTable.create(target, schema=Schema([column("asset_id", "string"), column(name, kind, nullable=False)]))
    rows = Rows(*(found(hours, sla_hours=None, project_name=None) for hours in range(30)))
    with pytest.raises(OutputUnwritable) as error:
        export(rows, target, OURS)
    reported = str(error.value).removeprefix(f"{target}: ")
    assert re.fullmatch(rf"{message}our rows have NULL in {name}, and the table forbids it: DROP NOT NULL .+", reported)
    assert len(reported) < 250
    table = DeltaTable(target)
    assert (table.version(), table.schema().fields[1].nullable) == (0, False)


def test_a_column_that_is_never_empty_may_forbid_null(target: str) -> None:
    """NOT NULL is no obstacle where every row of ours has a value."""
    DeltaTable.create(target, schema=Schema([column("asset_id", "string", nullable=False)]))
    assert export(Rows(found(0)), target, OURS) == 1


def test_a_constraint_that_our_rows_break(target: str) -> None:
    """Where no column is to blame, the line points at the constraints, not at rights."""
    table = DeltaTable.create(target, schema=Schema([column("asset_id", "string"), column("status", "string")]))
    table.alter.add_constraint({"known": "status <> 'Healthy'"})
    with pytest.raises(OutputUnwritable, match="check the constraints of the table") as error:
        export(Rows(found(0, status="Healthy")), target, OURS)
    assert "Preview" not in str(error.value)


def test_a_value_that_the_type_of_the_column_cannot_take(target: str) -> None:
    """It is reported as such, in a line, and no row is appended."""
    DeltaTable.create(target, schema=Schema([column("asset_id", "long")]))
    with pytest.raises(OutputUnwritable, match=r"luid-0.*; check the types of the table's columns"):
        export(Rows(found(0)), target, OURS)
    assert DeltaTable(target).version() == 0


def test_two_histories_in_one_table(target: str) -> None:
    """Each history has its own position in the table: the rows of one are not those of the other."""
    other = ExportOptions("2025-06-01T00:00:00", "freshness_audit")
    assert export(Rows(found(0)), target, OURS) == 1
    assert export(Rows(found(0), found(1)), target, other) == 2
    assert export(Rows(found(0)), target, OURS) == 0
    assert luids(target) == ["luid-0", "luid-0", "luid-1"]


@pytest.mark.parametrize("there", [False, True])
def test_two_exports_at_once(target: str, there: bool) -> None:
    """The second commit finds the rows: none is doubled, also where both make the table."""
    if there:
        export(Rows(found(0)), target, OURS)
    everything = [found(hours) for hours in range(4)]
    counts: list[int] = []
    rows = Rows(*everything, meanwhile=lambda: counts.append(export(Rows(*everything), target, OURS)))
    counts.append(export(rows, target, OURS))
    assert sorted(counts) == [0, 3 if there else 4]
    assert luids(target) == ["luid-0", "luid-1", "luid-2", "luid-3"]


def test_an_export_between_looking_and_writing(target: str) -> None:
    """The table's version and its content come from the same read that the commit is compared with."""
    export(Rows(found(0)), target, OURS)
    everything = [found(hours) for hours in range(3)]
    done: list[int] = []

    class Late(Rows):
        def slices(
            self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
        ) -> Iterator[Slice]:
            if not done:
                done.append(export(Rows(*everything), target, OURS))
            return super().slices(after, until)

    assert export(Late(*everything), target, OURS) == 0
    assert done == [2]
    assert luids(target) == ["luid-0", "luid-1", "luid-2"]


def test_whoever_is_behind_takes_the_rest(target: str) -> None:
    """An export that lost against one of fewer rows appends the rest."""
    everything = [found(hours) for hours in range(4)]
    done: list[int] = []

    def meanwhile() -> None:
        if not done:
            done.append(export(Rows(*everything[:2]), target, OURS))

    assert export(Rows(*everything, meanwhile=meanwhile), target, OURS) == 2
    assert done == [2]
    assert luids(target) == ["luid-0", "luid-1", "luid-2", "luid-3"]


def test_others_may_append_meanwhile(target: str) -> None:
    """The running notebook does not conflict."""
    export(Rows(found(0)), target, OURS)
    theirs = pa.table({"asset_id": ["theirs"]})

    def append(rows: pa.Table) -> None:
        write_deltalake(target, rows, mode="append", schema_mode="merge")

    rows = Rows(found(0), found(1), meanwhile=lambda: append(theirs))
    assert export(rows, target, OURS) == 1
    assert sorted(luids(target)) == ["luid-0", "luid-1", "theirs"]


def test_a_reading_that_fails_commits_nothing(target: str) -> None:
    """The error is reported as it was raised; the table is unchanged, and the next export is whole."""
    export(Rows(found(0)), target, OURS)

    class Held(Rows):
        def slices(
            self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
        ) -> Iterator[Slice]:
            yield Slice(AT + HOUR, judged(found(1)))
            raise HistoryBusy("history.duckdb: somebody holds it")

    with pytest.raises(HistoryBusy, match="somebody holds it"):
        export(Held(found(1), found(2)), target, OURS)
    assert DeltaTable(target).version() == 0
    assert export(Rows(found(0), found(1), found(2)), target, OURS) == 2
    assert luids(target) == ["luid-0", "luid-1", "luid-2"]


def test_a_defect_is_no_refusal(target: str) -> None:
    """An error of this program while it reads is reported as such, not as one that a user could fix."""

    class Wrong(Rows):
        def slices(
            self, after: datetime | None, until: datetime | None = None, *, first: bool | None = None
        ) -> Iterator[Slice]:
            yield Slice(AT, judged(found(0)))
            raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        export(Wrong(found(0)), target, OURS)


def test_a_file_uri(target: str) -> None:
    """A folder may be given as file://."""
    assert export(Rows(found(0)), f"file://{target}", OURS) == 1
    assert export(Rows(found(0)), target, OURS) == 0
    assert luids(target) == ["luid-0"]


@pytest.mark.parametrize("place", ["nothing://here/table", "/proc/nowhere/table"])
def test_where_nothing_can_be_written(place: str) -> None:
    """A place that is none is one line."""
    with pytest.raises(OutputUnwritable, match="check --output") as error:
        export(Rows(found(0)), place, OURS)
    assert "\n" not in str(error.value)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing://me:canary@here/table", "nothing://here/table: "),
        ("nothing://here/table?sig=canary", "nothing://here/table: "),
        ("s3://KEY:canary@bucket/table", "s3://bucket/table: "),
        ("az://container/table?sv=2025&sig=canary", "az://container/table: "),
        ("s3://KEY:can/ary@bucket/table", "--output: (a URI that is not shown"),
        ("s3://KEY:1/canary@bucket/table", "--output: (a URI that is not shown"),
        ("http://[canary/table", "--output: (a URI that is not shown"),
    ],
)
def test_no_line_shows_the_credentials_of_a_place(place: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, password and query of --output stand in no line, whatever the library quotes."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(OutputUnwritable, match=r".") as error:
        export(Rows(found(0)), place, OURS)
    assert str(error.value).startswith(message)
    assert not re.search("canary|can/|ary@|KEY", str(error.value))


@pytest.mark.attack("secrets")
def test_words_that_quote_a_credential_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library repeats a part of the credentials outside any URI, none of its words is printed."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the signature canary/1 does not match")

    monkeypatch.setattr(delta, "DeltaTable", refuse)
    with pytest.raises(OutputUnwritable, match="its words are withheld") as error:
        export(Rows(found(0)), "az://container/table?sig=canary%2F1", OURS)
    assert "canary" not in str(error.value)


def test_an_object_store_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's message, in colours and lines, is one line without colour."""
    settings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "not to be told",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "exporter.exports.delta.DeltaTable", lambda target, **_: DeltaTable(target, storage_options=QUICKLY)
    )
    with pytest.raises(OutputUnwritable, match="s3://lake/audits: ") as error:
        export(Rows(found(0)), "s3://lake/audits", OURS)
    assert str(error.value).isprintable()
    assert "not to be told" not in str(error.value)


def test_the_log_has_the_transaction(target: str) -> None:
    """It names the history and the table, and its version is the newest instant in microseconds."""
    export(Rows(found(0), found(1)), target, OURS)
    (log,) = (Path(target) / "_delta_log").glob("*.json")
    (transaction,) = [json.loads(line)["txn"] for line in log.read_text().splitlines() if '"txn"' in line]
    assert transaction["appId"] == "tableau-exporter/2025-01-01T00:00:00.000001/freshness_audit"
    assert transaction["version"] == int((AT + HOUR).replace(tzinfo=UTC).timestamp()) * 1_000_000


def test_begun_anew(target: str) -> None:
    """All rows replace the previous ones in one commit; the next export appends."""
    other = ExportOptions("2024-01-01T00:00:00", "freshness_audit")
    export(Rows(found(0), found(1)), target, OURS)
    assert export(Rows(found(5), found(6)), target, replace(other, rewrite=True)) == 2
    assert luids(target) == ["luid-5", "luid-6"]
    assert export(Rows(found(5), found(6), found(7)), target, other) == 1
    assert luids(target) == ["luid-5", "luid-6", "luid-7"]


def test_a_table_that_is_replaced(target: str) -> None:
    """It is overwritten in one commit, with the columns of now."""
    whole = ExportOptions(OURS.history, "asset_freshness")
    assert export(Rows(found(0), found(1)), target, whole) == 2
    wider = pa.schema([*SCHEMA, ("added", pa.string())])
    assert export(Rows(found(2), schema=wider), target, whole) == 1
    assert luids(target) == ["luid-2"]
    assert read(target).schema.names[-1] == "added"


def test_an_export_with_an_end(target: str) -> None:
    """A Delta table remembers a position, which an export with an end has not."""
    with pytest.raises(OutputUnwritable, match="--until is for csv and parquet"):
        export(Rows(found(0)), target, replace(OURS, until=AT))
    assert not Path(target).exists()
