"""Delimited text in the format of the older text-file tool: one file of a name in a folder, appended to or replaced.

A value stands in quotes where it holds the delimiter, a quote, CR or LF, or begins or ends with a blank; a quote inside
is doubled (RFC 4180). NULL is nothing between two delimiters, an empty text is ``""``. Instants are in the time zone of
the export, lines end in LF, and the encoding is UTF-8 without a mark.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.errors import OutputUnwritable
from exporter.exports import ExportOptions, Rows, TextOptions
from exporter.exports.appending import appending
from exporter.exports.stores import local_path
from exporter.texts import safe_uri

SUFFIX = ".txt"
_BATCH_ROWS = 10_000
_MINUTE = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS: Final = "%Y-%m-%d %H:%M:%S"
_DAY: Final = "%Y-%m-%d"


_TEXT: Final = pa.large_string()


def export(rows: Rows, target: str, options: ExportOptions) -> int:
    """Bring the file of a table in a folder up to date. Raises OutputUnwritable."""
    text = cast("TextOptions", options)
    folder = local_path(target)
    if folder is None:
        message = f"{safe_uri(target)}: text is appended to in place, which needs a folder; --format=csv writes objects"
        raise OutputUnwritable(message)
    path = folder / f"{text.table}{SUFFIX}"
    layout = {"columns": list(text.header), "delimiter": text.form.delimiter, "timezone": text.form.timezone}
    lines, written = _Lines(text), 0
    with appending(path, text.history, layout, whole=not text.is_appended, rewrite=text.rewrite) as file:
        _check(path, file.layout, layout)
        if file.is_new:
            file.append(lines.header())
            file.commit(None)
        slices = rows.slices(file.position) if text.is_appended else [(None, rows.whole())]
        for end, part in slices:
            for content in lines.of(part):
                file.append(content)
            file.commit(end)
            written += part.num_rows
            del part
    return written


def _check(path: Path, known: Mapping[str, Any], layout: Mapping[str, Any]) -> None:
    changed = [name for name in layout if known.get(name) != layout[name]]
    if changed:
        message = (
            f"{path}: was begun with another {', '.join(changed)}; name another --output, or --rewrite begins it anew"
        )
        raise OutputUnwritable(message)


class _Lines:
    """Rows as lines of text, made column by column."""

    def __init__(self, options: TextOptions) -> None:
        self._options = options
        self._zone = ZoneInfo(options.form.timezone)
        self._delimiter = options.form.delimiter
        self._separator = pa.scalar(self._delimiter, _TEXT)
        # What is added is made into text once, however many rows it is added to.
        self._added = [
            (added, self._joined(added.rows, added.columns) if added.columns else None) for added in options.added
        ]

    def header(self) -> bytes:
        """Return the first line."""
        names = quoted_fields(pa.array(self._options.header, _TEXT), self._delimiter)
        return self._delimiter.join(names.to_pylist()).encode() + b"\n"

    def of(self, rows: pa.Table) -> Iterator[memoryview]:
        """Yield rows as lines, some thousands at a time."""
        places = list(self._places(rows)) if rows.num_rows else []
        for begin in range(0, rows.num_rows, _BATCH_ROWS):
            parts = [self._joined(rows.slice(begin, _BATCH_ROWS), self._options.columns)]
            for lines, nothing, found in places:
                parts.append(pc.fill_null(lines.take(found.slice(begin, _BATCH_ROWS)), nothing))
            yield _bytes(pc.binary_join_element_wise(*parts, self._separator))

    def _places(self, rows: pa.Table) -> Iterator[tuple[pa.Array, pa.Scalar, pa.Array]]:
        """Yield the lines that are added, what stands where there is none, and which of them each row gets."""
        known: dict[str, pa.Array] = {}
        for added, lines in self._added:
            keys = known[added.key] if added.key in known else rows[added.key].combine_chunks()
            found = pc.index_in(keys, value_set=added.rows[added.key].combine_chunks(), skip_nulls=True)
            if added.leads_to:
                known[added.leads_to] = added.rows[added.leads_to].combine_chunks().take(found)
            if lines is not None:
                yield lines, pa.scalar(self._delimiter * (len(added.columns) - 1), _TEXT), found

    def _joined(self, rows: pa.Table, columns: Sequence[str]) -> pa.Array:
        cells = [self._cells(name, rows[name].combine_chunks()) for name in columns]
        return pc.binary_join_element_wise(*cells, self._separator, null_handling="replace", null_replacement="")

    def _cells(self, name: str, column: pa.Array) -> pa.Array:
        """Return the values of a column as they are written."""
        if pa.types.is_timestamp(column.type):
            format_ = _DAY if name in self._options.dates else _SECONDS
            column = pc.strftime(local_times(column, self._zone), format=format_)
        return quoted_fields(column.cast(_TEXT), self._delimiter)


def quoted_fields(texts: pa.Array, delimiter: str) -> pa.Array:
    """Return texts with those in quotes that need it."""
    needed = rf'["\r\n\x{{{ord(delimiter):x}}}]|^\s|\s$|^$'
    asked = pc.match_substring_regex(texts, needed)
    if not pc.any(asked).as_py():
        return texts
    empty, mark = pa.scalar("", _TEXT), pa.scalar('"', _TEXT)
    doubled = pc.replace_substring(texts, pattern='"', replacement='""')
    return pc.if_else(asked, pc.binary_join_element_wise(empty, doubled, empty, mark), texts)


def local_times(instants: pa.Array, zone: ZoneInfo) -> pa.Array:
    """Return instants (UTC, without a zone) as the clocks of a zone had them."""
    microseconds = instants.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0).to_numpy()
    minutes, places = np.unique(np.floor_divide(microseconds, _MINUTE), return_inverse=True)
    offsets = np.array([_offset(int(minute), zone) for minute in minutes], np.int64)
    mask = instants.is_null().to_numpy(zero_copy_only=False)
    return pa.array(microseconds + offsets[places], pa.int64(), mask=mask).cast(pa.timestamp("us"))


def _offset(minute: int, zone: ZoneInfo) -> int:
    """Return how many microseconds a zone is ahead of UTC in a minute since 1970."""
    try:
        offset = (_EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
    except OverflowError:
        offset = None  # beyond the years 1 to 9999 no zone has rules
    return (offset or timedelta()) // timedelta(microseconds=1)


def _bytes(texts: pa.Array) -> memoryview:
    """Return lines as they are written: an array of texts holds them one after another."""
    ended = pc.binary_join_element_wise(texts, pa.scalar("", _TEXT), pa.scalar("\n", _TEXT))
    _, offsets, content = ended.buffers()
    first, last = (int(np.frombuffer(offsets, np.int64)[place]) for place in (ended.offset, ended.offset + len(ended)))
    return memoryview(content)[first:last]
