"""Delta Lake: rows are appended to a table of Spark's types, each once, whoever exports how often.

The table remembers how far each history was exported, in the transaction that appends the rows: an application
transaction whose version is the newest instant in microseconds. Columns that the table lacks are added to it.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from exporter.errors import OutputUnwritable
from exporter.exports import Options, Rows
from exporter.texts import UNSHOWN, one_line, safe_uri, safe_uris, visible

# Each time another has appended the same rows, or made the table, in the meantime.
ATTEMPTS = 5

# The library colours what it says, whoever reads it, and has more to say than a line takes: rows, lists of schemes.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SENTENCE = re.compile(r"\.\s|\.?$")
_LONGEST = 400
_WITHHELD = "(its words are withheld: they quote the user or the query of --output)"
_DELIMITER = re.compile(r"[:/?#&=@]")
_UNFIT = "Invalid data found"
_UNCAST = "Cannot cast"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as in the history
_MICROSECOND = timedelta(microseconds=1)


def export(rows: Rows, target: str, options: Options) -> int:
    """Append what the table at a path or URI does not have yet, in one commit; return how many rows that were.

    Raises OutputUnwritable, or what keeps the rows from being read.
    """
    if safe_uri(target) == UNSHOWN:
        advice = "give a folder or a URI; a / in a password is written %2F, a @ in a path %40"
        raise OutputUnwritable(f"--output: {UNSHOWN}: {advice}")
    application = f"tableau-exporter/{options.history}/{options.table}"
    version = (rows.newest - _EPOCH) // _MICROSECOND
    for _ in range(ATTEMPTS):
        table = _open(target)
        reached = table.transaction_version(application) if table is not None else None
        if reached is not None and reached >= version:
            return 0
        after = None if reached is None else _EPOCH + reached * _MICROSECOND
        outgoing = _Outgoing(rows.after(after), target, table)
        if _append(table, target, outgoing, Transaction(application, version)):
            return outgoing.count
    message = f"{safe_uri(target)}: others write this table all the time; try again"
    raise OutputUnwritable(message)


class _Outgoing:
    """The batches of a reader as Spark has them, for a table or for none yet.

    An error in reading them is kept: the library keeps only its text.
    """

    def __init__(self, rows: pa.RecordBatchReader, target: str, table: DeltaTable | None) -> None:
        self._rows = rows
        self._target = target
        fields = [] if table is None else table.schema().fields
        mandatory = [field.name for field in fields if not field.nullable]
        self._mandatory = [name for name in mandatory if name in rows.schema.names]
        self.missing = [name for name in mandatory if name not in rows.schema.names]
        self._schema = pa.schema([(field.name, _spark(field.type)) for field in rows.schema])
        self.count = 0
        self.error: Exception | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Return them as a stream."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._rows:
                self.count += batch.num_rows
                self._check(batch)
                yield batch.cast(self._schema)
        except Exception as error:
            self.error = error
            raise

    def _check(self, batch: pa.RecordBatch) -> None:
        """Refuse NULL where the table forbids it: beside a column that is new the library forgets that it does."""
        empty = [name for name in self._mandatory if batch.column(name).null_count]
        if empty:
            raise OutputUnwritable(f"{safe_uri(self._target)}: {_forbidden(empty)}")


def _spark(kind: pa.DataType) -> pa.DataType:
    """Return the type that Spark reads as its own: an instant is of UTC, in microseconds."""
    return pa.timestamp("us", UTC) if pa.types.is_timestamp(kind) else kind


def _open(target: str) -> DeltaTable | None:
    """Return the table as it is now: what is appended to it must be new to exactly this state."""
    try:
        return DeltaTable(target)
    except TableNotFoundError as error:
        if "://" in target and "nknown scheme" in str(error):
            raise _refused(target, error) from None
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise _refused(target, error) from None


def _append(table: DeltaTable | None, target: str, outgoing: _Outgoing, transaction: Transaction) -> bool:
    """Append in one commit; return False where another came first."""
    # Who makes the table must not go on with one that another has made meanwhile: nothing would be compared.
    retries = 0 if table is None else None
    try:
        write_deltalake(
            target if table is None else table,
            outgoing.reader(),
            mode="error" if table is None else "append",
            schema_mode="merge",
            commit_properties=CommitProperties(app_transactions=[transaction], max_commit_retries=retries),
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


def _is_refusal(error: Exception) -> bool:
    """Tell what the library says from what it stumbles over: a value that does not fit has no class of its own."""
    return isinstance(error, DeltaError | OSError | ValueError) or type(error) is Exception


def _refused(target: str, error: Exception, missing: Sequence[str] = ()) -> OutputUnwritable:
    said = safe_uris(one_line(_COLOUR.sub("", str(error))))
    sentence = _WITHHELD if _quotes(said, target) else _SENTENCE.split(said, maxsplit=1)[0][:_LONGEST]
    advice = "look at --output, and at the rights to write there"
    if _UNFIT in said:
        advice = _forbidden(missing) if missing else "look at the constraints of the table: our rows break one"
    elif _UNCAST in said:
        advice = "look at the types of the table's columns, or name another --output"
    return OutputUnwritable(f"{safe_uri(target)}: {sentence}; {advice}")


def _quotes(said: str, target: str) -> bool:
    """Tell whether a text quotes what ``safe_uri`` hides of a target, as a whole or in part."""
    hidden = set(_DELIMITER.split(target)) - set(_DELIMITER.split(safe_uri(target)))
    forms = {form for piece in hidden for form in (piece, unquote(piece), quote(piece, safe=""))}
    return any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", said) for form in forms if form)


def _forbidden(columns: Sequence[str]) -> str:
    names = ", ".join(map(visible, columns))
    return f"our rows have NULL in {names}, and the table forbids it: DROP NOT NULL there, or name another --output"
