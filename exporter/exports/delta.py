"""Delta Lake: rows are appended to a table of Spark's types, each once, however often an export runs.

The table remembers how far each history was exported, in the transaction that appends the rows: an application
transaction whose version is the newest position in microseconds. Columns that the table lacks are added to it. A table
without an order is overwritten in one commit, and so is one that is begun anew.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from exporter.errors import OutputUnwritable
from exporter.exports import ExportOptions, Rows
from exporter.exports.datasets import STATES
from exporter.exports.stores import deltalake_options, local_path
from exporter.history.export_reader import Slice
from exporter.texts import UNSHOWN, one_line, safe_uri, safe_uris, visible

# Each time another has appended the same rows, or made the table, in the meantime.
ATTEMPTS = 5
BATCH_ROWS = 20_000
# A group of rows is in memory until it is written.
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=100_000)

# The library always colours its messages, and they are longer than a line: rows, lists of schemes.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SENTENCE = re.compile(r"\.\s|\.?$")
_LONGEST = 400
_WITHHELD = "(its words are withheld: they quote the user or the query of --output)"
_DELIMITER = re.compile(r"[:/?#&=@]")
_UNFIT = "Invalid data found"
_UNCAST = "Cannot cast"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as in the history
_MICROSECOND = timedelta(microseconds=1)


def export(rows: Rows, target: str, options: ExportOptions) -> int:
    """Append what the table at a path or URI does not have yet, in one commit; return how many rows that were.

    Raises OutputUnwritable, or what keeps the rows from being read.
    """
    if safe_uri(target) == UNSHOWN:
        advice = "give a folder or a URI; a / in a password is written %2F, a @ in a path %40"
        raise OutputUnwritable(f"--output: {UNSHOWN}: {advice}")
    if options.until is not None and options.kind.order:
        raise OutputUnwritable(f"{safe_uri(target)}: --until is for csv and parquet: a Delta table is appended to")
    for _ in range(ATTEMPTS):
        count = _export(rows, target, options)
        if count is not None:
            return count
    message = f"{safe_uri(target)}: others write this table all the time; try again"
    raise OutputUnwritable(message)


def _export(rows: Rows, target: str, options: ExportOptions) -> int | None:
    """Commit once; return how many rows that were, None where another came first."""
    table = _open(target)
    if table is None:
        _check_is_new(target)
    if options.kind.order is None:
        outgoing = _Outgoing(rows.schema, _whole(rows), target, None)
        return outgoing.count if _write(table, target, outgoing, None, anew=True) else None
    if rows.newest is None:
        return 0
    application = f"tableau-exporter/{options.history}/{options.table}"
    version = (rows.newest - _EPOCH) // _MICROSECOND
    reached = table.transaction_version(application) if table is not None and not options.rewrite else None
    if reached is not None and reached >= version:
        return 0
    after = None if reached is None else _EPOCH + reached * _MICROSECOND
    outgoing = _Outgoing(rows.schema, _tables(rows.slices(after)), target, None if options.rewrite else table)
    written = _write(table, target, outgoing, Transaction(application, version), anew=options.rewrite)
    return outgoing.count if written else None


def _check_is_new(target: str) -> None:
    """Refuse a folder of Parquet: who reads it would find the rows of both."""
    folder = local_path(target)
    if folder is not None and (folder / STATES).is_dir():
        raise OutputUnwritable(f"{safe_uri(target)}: holds files of --format=parquet; name another --output")


def _tables(slices: Iterator[Slice]) -> Iterator[pa.Table]:
    for slice_ in slices:
        yield slice_.rows
        del slice_


def _whole(rows: Rows) -> Iterator[pa.Table]:
    yield rows.whole()


class _Outgoing:
    """The batches of a reader as Spark has them, for a table or for none yet.

    An error in reading them is kept: the library keeps only its text.
    """

    def __init__(self, schema: pa.Schema, rows: Iterator[pa.Table], target: str, table: DeltaTable | None) -> None:
        self._rows = rows
        self._target = target
        fields = [] if table is None else table.schema().fields
        mandatory = [field.name for field in fields if not field.nullable]
        self._mandatory = [name for name in mandatory if name in schema.names]
        self.missing = [name for name in mandatory if name not in schema.names]
        self._schema = pa.schema([(field.name, _spark(field.type)) for field in schema])
        self.count = 0
        self.stopped = False
        """Whether nothing of it is wanted any more."""
        self.error: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Return them as a stream."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for rows in self._rows:
                for batch in rows.cast(self._schema).to_batches(max_chunksize=BATCH_ROWS):
                    self.count += batch.num_rows
                    self._check(batch)
                    yield batch
                    del batch
                del rows  # before the next are read: there is room for one slice
        except BaseException as error:
            self.error = error
            raise

    def _check(self, batch: pa.RecordBatch) -> None:
        """Refuse NULL where the table forbids it: beside a column that is new the library forgets that it does."""
        if self.stopped:
            raise KeyboardInterrupt
        empty = [name for name in self._mandatory if batch.column(name).null_count]
        if empty:
            raise OutputUnwritable(f"{safe_uri(self._target)}: {_forbidden(empty)}")


def _spark(kind: pa.DataType) -> pa.DataType:
    """Return the type that Spark reads as its own: an instant is of UTC, in microseconds."""
    return pa.timestamp("us", UTC) if pa.types.is_timestamp(kind) else kind


def _open(target: str) -> DeltaTable | None:
    """Return the table as it is now: what is appended to it must be new to exactly this state."""
    try:
        return DeltaTable(target, storage_options=deltalake_options(target))
    except TableNotFoundError as error:
        if "://" in target and "nknown scheme" in str(error):
            raise _refused(target, error) from None
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise _refused(target, error) from None


def _write(
    table: DeltaTable | None, target: str, outgoing: _Outgoing, transaction: Transaction | None, *, anew: bool
) -> bool:
    """Append in one commit, or overwrite all that is there; return False where another came first."""
    # Who makes the table must not go on with one that another has made meanwhile: nothing would be compared.
    retries = 0 if table is None else None
    transactions = [] if transaction is None else [transaction]
    mode: Literal["error", "append", "overwrite"] = "append"
    if table is None or anew:
        mode = "error" if table is None else "overwrite"
    try:
        _interruptibly(
            outgoing,
            lambda: write_deltalake(
                target if table is None else table,
                outgoing.reader(),
                mode=mode,
                storage_options=deltalake_options(target),
                writer_properties=_WRITER,
                schema_mode="overwrite" if mode == "overwrite" else "merge",
                commit_properties=CommitProperties(app_transactions=transactions, max_commit_retries=retries),
            ),
        )
    except CommitFailedError:
        return False
    except Exception as error:
        if outgoing.error is not None:
            raise outgoing.error from None
        if not _is_refusal(error):
            raise
        if table is None and _open(target) is not None:
            return False
        raise _refused(target, error, outgoing.missing) from None
    return True


def _interruptibly(outgoing: _Outgoing, write: Callable[[], None]) -> None:
    """Write in a thread: in the main one the library would hear of Ctrl-C only after its commit."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(write).result()
        except KeyboardInterrupt:
            outgoing.stopped = True
            raise


def _is_refusal(error: Exception) -> bool:
    """Classify an error by its message: a value that does not fit has no class of its own."""
    return isinstance(error, DeltaError | OSError | ValueError) or type(error) is Exception


def _refused(target: str, error: Exception, missing: Sequence[str] = ()) -> OutputUnwritable:
    text = safe_uris(one_line(_COLOUR.sub("", str(error))))
    sentence = _WITHHELD if _quotes(text, target) else _SENTENCE.split(text, maxsplit=1)[0][:_LONGEST]
    advice = "check --output and the rights to write there"
    if _UNFIT in text:
        advice = _forbidden(missing) if missing else "check the constraints of the table: our rows break one"
    elif _UNCAST in text:
        advice = "check the types of the table's columns, or name another --output"
    return OutputUnwritable(f"{safe_uri(target)}: {sentence}; {advice}")


def _quotes(text: str, target: str) -> bool:
    """Whether a text quotes a part of a target that ``safe_uri`` hides, whole or cut."""
    hidden = set(_DELIMITER.split(target)) - set(_DELIMITER.split(safe_uri(target)))
    forms = {form for piece in hidden for form in (piece, unquote(piece), quote(piece, safe=""))}
    return any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) for form in forms if form)


def _forbidden(columns: Sequence[str]) -> str:
    names = ", ".join(map(visible, columns))
    return f"our rows have NULL in {names}, and the table forbids it: DROP NOT NULL there, or name another --output"
