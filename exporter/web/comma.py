"""Lists as CSV, row by row. A text that a spreadsheet would take for a formula gets an apostrophe before it.

Texts are quoted, all of them, for spreadsheets that take semicolons or tabs for the ends of cells. What is not known
is empty without quotes, as databases have it. This is why no writer of Python's ``csv`` does it.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from starlette.responses import StreamingResponse

from exporter.web.environment import instant

ROWS_AT_ONCE = 1000
# What begins a formula in a spreadsheet, after the signs that some leave out.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BREAKS = ("\t", "\r", "\n")
_UNSEEN = ("Cc", "Cf")

Cell = str | float | int | None


def csv_answer(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> StreamingResponse:
    """Return a file of this name that is made while it is sent."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(
        csv_parts(head, rows), media_type="text/csv; charset=utf-8; header=present", headers=headers
    )


def csv_parts(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """Yield the file in parts, as RFC 4180 has it."""
    lines = [",".join(head)]
    for number, row in enumerate(rows, start=1):
        lines.append(",".join(map(_written, row)))
        if number % ROWS_AT_ONCE == 0:
            yield _encoded(lines)
            lines = []
    yield _encoded(lines)


def cell(value: Cell) -> str | float | int:
    """Return a value as it stands in a cell: what is not known is empty, a text is never a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return f"'{value}" if _is_formula(value) else value
    return value


def at(seconds: float) -> str:
    """Return an instant as a cell, empty where it is not known."""
    return "" if math.isnan(seconds) else instant(seconds)


def _is_formula(text: str) -> bool:
    if text[:1].isalnum():
        return False
    first = next((sign for sign in text if not _is_left_out(sign)), "")
    return text.startswith(_BREAKS) or first in _FORMULA


def _is_left_out(sign: str) -> bool:
    """Whether a program may leave this out at the begin of a text: white space, and what only steers."""
    return sign.isspace() or unicodedata.category(sign) in _UNSEEN


def _written(value: Cell) -> str:
    shown = cell(value)
    if shown == "" or not isinstance(shown, str):
        return str(shown)
    return '"' + shown.replace('"', '""') + '"'


def _encoded(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode(errors="replace")
