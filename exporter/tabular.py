"""A table as CSV or JSON, line by line.

CSV: a text that a spreadsheet would take for a formula gets an apostrophe before it. Texts are quoted, all of them, for
spreadsheets that take semicolons or tabs for the ends of cells. What is not known is empty without quotes, as databases
have it. This is why no writer of Python's ``csv`` does it. JSON: one array, with an object for each row.
"""

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

ROWS_AT_ONCE = 1000
# What begins a formula in a spreadsheet, after the signs that some leave out.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BREAKS = ("\t", "\r", "\n")
_UNSEEN = ("Cc", "Cf")

Cell = str | float | int | None


def in_parts(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield lines in parts of many; what UTF-8 cannot have is replaced."""
    part: list[str] = []
    for line in lines:
        part.append(line)
        if len(part) > ROWS_AT_ONCE:
            yield _encoded(part)
            part = []
    yield _encoded(part)


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Yield CSV as RFC 4180 has it, with a line of names."""
    yield ",".join(map(_name, head)) + "\r\n"
    for row in rows:
        yield ",".join(map(_written, row)) + "\r\n"


def json_lines(head: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield one array with an object for each row, in ASCII; a number that is none is null."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps({name: _plain(value) for name, value in zip(head, row, strict=True)})
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _plain(value: object) -> object:
    """Return what JSON has: no infinity, and no half of a sign."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def cell(value: Cell) -> str | float | int:
    """Return a value as it stands in a cell: what is not known is empty, a text is never a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return f"'{value}" if _is_formula(value) else value
    return value


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
    return _quoted(shown) if isinstance(value, str) else str(shown)


def _name(text: str) -> str:
    """Return the name of a column: plain where nobody can take it for something else."""
    return text if text.replace("_", "a").isalnum() else _written(text)


def _quoted(text: object) -> str:
    return '"' + str(text).replace('"', '""') + '"'


def _encoded(lines: Sequence[str]) -> bytes:
    return "".join(lines).encode(errors="replace")
