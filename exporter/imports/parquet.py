"""Parquet of ``http_requests``, a file or a folder of partitions, as ``history export --format=parquet`` writes it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from exporter.errors import ImportUnreadable
from exporter.imports import Counts, Reject
from exporter.imports.dialect import COLUMNS, NUMBERS, TIMES

BATCH_ROWS = 20_000
_MAGIC = b"PAR1"
_ENDING = ".parquet"
_TYPES = {
    **dict.fromkeys(COLUMNS, pa.string()),
    **dict.fromkeys((*NUMBERS, "id", "status", "flags_used"), pa.int64()),
    **dict.fromkeys(TIMES, pa.timestamp("us")),
}
_NEEDED = frozenset({"id", "created_at", "controller", "session_id"})


def is_parquet(path: Path) -> bool:
    """Whether a path is a folder, or a file that begins as Parquet does."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class ParquetReader:
    """One file, or all files of a folder."""

    def __init__(self, path: Path) -> None:
        """Check that the file has requests. Raises ImportUnreadable."""
        self.counts = Counts()
        self.position = 0
        self._files = sorted(path.rglob(f"*{_ENDING}")) if path.is_dir() else [path]
        if not self._files:
            message = f"{path}: no file in it ends with {_ENDING}"
            raise ImportUnreadable(message)
        self.size = sum(self._rows(file) for file in self._files)

    def batches(self, _reject: Callable[[Reject], None]) -> Iterator[pa.Table]:
        """Yield the requests, so many at a time; nothing is rejected. Raises ImportUnreadable."""
        for path in self._files:
            with _opened(path) as file:
                names = [name for name in _TYPES if name in file.schema_arrow.names]
                try:
                    for batch in file.iter_batches(BATCH_ROWS, columns=names):
                        self.position += batch.num_rows
                        yield _cast(pa.Table.from_batches([batch]))
                except (pa.ArrowException, OSError) as error:
                    raise ImportUnreadable(_message(path, error)) from None

    @staticmethod
    def _rows(path: Path) -> int:
        with _opened(path) as file:
            missing = _NEEDED.difference(file.schema_arrow.names)
            if missing:
                message = f"{path}: lacks {', '.join(sorted(missing))}; it is no Parquet of http_requests"
                raise ImportUnreadable(message)
            return int(file.metadata.num_rows)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ImportUnreadable(_message(path, error)) from None


def _message(path: Path, error: Exception) -> str:
    return f"{path}: cannot be read as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}"


def _cast(rows: pa.Table) -> pa.Table:
    for place, name in enumerate(rows.column_names):
        column = rows.column(name)
        if name in TIMES:
            column = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
        rows = rows.set_column(place, name, column.cast(_TYPES[name]))
    return rows
