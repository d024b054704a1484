"""The fields of a row: 16, or more where a text holds the delimiter.

A surplus is attributed only where there is one way to do it: columns of a recognisable form (addresses, times, numbers)
are found from both ends, and what stands between them is the text. Two ways, and the row is rejected.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from exporter.imports.dialect import COLUMNS, NULL, NUMBER, NUMBERS, TIMES, WHEN, Dialect

_WIDTH = len(COLUMNS)
_WHEN = re.compile(WHEN)
_NUMBER = re.compile(NUMBER)
_ADDRESS = re.compile(r"[0-9A-Fa-f.:%, \[\]]+|unknown")
_WORD = re.compile(r"[\w./:-]*")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:")
_URI = re.compile(r"/|https?://", re.IGNORECASE)
_PRODUCT = re.compile(r"[^\s/]+/\S*\s")
_FREE = slice(2, 5)
"""Referer, user agent and URI: they stand together, before the address."""
_ANCHOR = COLUMNS.index("remote_ip")
_SHEET = COLUMNS.index("currentsheet")
_QUOTE = '"'


class Unfit(StrEnum):
    """Why fields are no request."""

    SHORT = "not all 16 columns"
    OPEN = "a quoted text without an end"
    QUOTING = "a quote within a text that is not quoted"
    FORM = "no time or number in a column of these"
    AMBIGUOUS = "more delimiters than columns, and more than one way to attribute them"


def fit(text: str, dialect: Dialect) -> Sequence[str | None] | Unfit:
    """Return the 16 fields of a row, None for NULL; or why it is no row."""
    fields = split_quoted(text, dialect.delimiter) if dialect.quoted else list(text.split(dialect.delimiter))
    if isinstance(fields, Unfit):
        return fields
    if dialect.trailing and (fields.pop() or len(fields) < _WIDTH):
        return Unfit.SHORT
    if len(fields) < _WIDTH:
        return Unfit.SHORT
    if len(fields) == _WIDTH:
        forms = (*((name, _WHEN) for name in TIMES), *((name, _NUMBER) for name in NUMBERS))
        fits = all(_is(form, fields[COLUMNS.index(name)]) for name, form in forms)
        return fields if fits else Unfit.FORM
    return Unfit.AMBIGUOUS if dialect.quoted else _attribute([field or "" for field in fields], dialect.delimiter)


def _is_null(text: str | None) -> bool:
    return text is None or text in {"", NULL}


def _is(form: re.Pattern[str], text: str | None) -> bool:
    return _is_null(text) or form.fullmatch(text or "") is not None


def _attribute(fields: list[str], delimiter: str) -> Sequence[str] | Unfit:
    """Return the 16 fields of a row with surplus delimiters."""
    last = len(fields) - (_WIDTH - _ANCHOR)
    anchors = [place for place in range(_ANCHOR, last + 1) if _anchored(fields, place)]
    if not anchors or not _is(_NUMBER, fields[-1]):
        return Unfit.FORM
    if len(anchors) > 1 or not all(map(_WORD.fullmatch, fields[:2])):
        return Unfit.AMBIGUOUS
    place = anchors[0]
    texts = _free_texts(fields[2:place], delimiter)
    if texts is None:
        return Unfit.AMBIGUOUS
    sheet = place + _SHEET - _ANCHOR
    return [*fields[:2], *texts, *fields[place:sheet], delimiter.join(fields[sheet:-1]), fields[-1]]


def _anchored(fields: Sequence[str], place: int) -> bool:
    """Whether the columns from remote_ip to user_ip may stand from this place on."""
    row = dict(zip(COLUMNS[_ANCHOR:_SHEET], fields[place:], strict=False))
    return (
        _WHEN.fullmatch(row["created_at"]) is not None
        and _is(_WHEN, row["completed_at"])
        and all(_is(_NUMBER, row[name]) for name in NUMBERS if name in row)
        and all(_is(_ADDRESS, row[name]) for name in ("remote_ip", "user_ip"))
    )


def _free_texts(parts: Sequence[str], delimiter: str) -> Sequence[str] | None:
    """Return referer, user agent and URI of their parts; None where there are two ways.

    A URI begins with a slash or http, a referer with a scheme or is NULL, and neither has a blank.
    """
    if not (_is_null(parts[0]) or _SCHEME.match(parts[0])):
        return None
    if len(parts) == _FREE.stop - _FREE.start:
        return parts
    begins = [place for place in range(2, len(parts)) if _URI.match(parts[place])]
    if _is_null(parts[-1]):
        begins.append(len(parts) - 1)
    if len(begins) != 1 or _another_row(parts):
        return None
    before, uri = parts[: begins[0]], delimiter.join(parts[begins[0] :])
    if len(before) > 2 and not (_is_null(before[0]) or _PRODUCT.match(before[1])):
        return None
    return before[0], delimiter.join(before[1:]), uri


def _another_row(parts: Sequence[str]) -> bool:
    """Whether a row may begin among the parts: a line that was cut, and the next was appended to it."""
    return any(
        _WORD.fullmatch(word) and (following == NULL or _SCHEME.match(following))
        for word, following in pairwise(parts[1:])
    )


def split_quoted(text: str, delimiter: str) -> list[str | None] | Unfit:
    """Return the fields of a row that is quoted as RFC 4180 has it; an empty one without quotes is NULL."""
    fields: list[str | None] = []
    place = 0
    while True:
        if text.startswith(_QUOTE, place):
            end = _closing_quote(text, place + 1)
            if end is None:
                return Unfit.OPEN
            fields.append(text[place + 1 : end].replace(_QUOTE * 2, _QUOTE))
            end += 1
        else:
            end = text.find(delimiter, place)
            end = len(text) if end < 0 else end
            fields.append(text[place:end] or None)
        if end == len(text):
            return fields
        if text[end] != delimiter:
            return Unfit.QUOTING
        place = end + 1


def _closing_quote(text: str, place: int) -> int | None:
    while (place := text.find(_QUOTE, place)) >= 0:
        if not text.startswith(_QUOTE, place + 1):
            return place
        place += 2
    return None
