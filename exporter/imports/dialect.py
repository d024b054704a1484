"""Detects the dialect of a text file: delimiter, trailing delimiter, NULL, quotes.

The older tool joined ``str()`` of each value, without quoting, and ended each row with a delimiter; NULL is ``None``.
``history export --format=text`` quotes as RFC 4180 has it, and leaves NULL empty. Both begin with the same header.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

COLUMNS = (
    "controller",
    "action",
    "http_referer",
    "http_user_agent",
    "http_request_uri",
    "remote_ip",
    "created_at",
    "session_id",
    "completed_at",
    "port",
    "user_id",
    "worker",
    "vizql_session",
    "user_ip",
    "currentsheet",
    "site_id",
)
"""The columns in the order of every header; an older generation of the tool wrote these names themselves."""
NEWER_NAMES = (
    "Controller (http)",
    "Action (http)",
    "http_referer (http)",
    "http_user_agent (http)",
    "http_request_uri (http)",
    "remote_ip (http)",
    "Date - Created At (http)",
    "session_id (http)",
    "Date - Completed At (http)",
    "port",
    "ID - User ID (http)",
    "worker (http)",
    "vizql_session (http)",
    "user_ip (http)",
    "Currentsheet (http)",
    "ID - Site ID (http)",
)
TIMES = ("created_at", "completed_at")
NUMBERS = ("port", "user_id", "site_id")
NULL = "None"
DEFAULT_DELIMITER = "|"

WHEN = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?"
NUMBER = r"-?\d{1,18}"
_FORMS = {**dict.fromkeys(TIMES, WHEN), **dict.fromkeys(NUMBERS, NUMBER)}
_NOT_A_DELIMITER = re.compile(r"[\w\"'\r\n:.+-]")


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are written."""

    delimiter: str = DEFAULT_DELIMITER
    trailing: bool = False
    """Whether every row ends with a delimiter."""
    quoted: bool = False
    """Whether texts are quoted where they need it, and NULL is empty."""

    @cached_property
    def row(self) -> re.Pattern[str]:
        """What a whole row in one line is like: 16 columns, times and numbers at their places."""
        return re.compile(_row(self.delimiter) + (re.escape(self.delimiter) if self.trailing else ""))

    @cached_property
    def start(self) -> re.Pattern[str]:
        """How a row begins: two words, and a URL or nothing. Where texts are quoted, every line begins one."""
        d = re.escape(self.delimiter)
        return re.compile("" if self.quoted else rf"[\w./:-]+{d}[\w./:-]+{d}(?:{NULL}(?:{d}|$)|{d}|[A-Za-z][\w+.-]*:)")


def _row(delimiter: str) -> str:
    d = re.escape(delimiter)
    forms = (rf"({NULL}|{_FORMS[name]}|)" if name in _FORMS else rf"([^{d}]*)" for name in COLUMNS)
    return d.join(forms)


def check_delimiter(text: str) -> str:
    """Return a delimiter; a tab may be written as a backslash and a t. Raises ValueError."""
    text = "\t" if text == "\\t" else text
    if len(text) != 1 or _NOT_A_DELIMITER.fullmatch(text):
        message = f"{text!r} is no delimiter: one character that is no letter, digit, quote or part of a time"
        raise ValueError(message)
    return text


def header_delimiter(line: str, delimiter: str | None) -> str | None:
    """Return the delimiter of a header, None for a line that is none; names may stand in any case."""
    if not line.casefold().startswith(COLUMNS[0]):
        return None
    for names in (COLUMNS, NEWER_NAMES):
        found = delimiter or line[len(names[0]) : len(names[0]) + 1]
        if found and _same_names(line.split(found), names):
            return found
    return None


def _same_names(found: Sequence[str], names: Sequence[str]) -> bool:
    stripped = [name.strip().casefold() for name in found]
    if len(stripped) == len(names) + 1 and not stripped[-1]:
        stripped.pop()
    return stripped == [name.casefold() for name in names]


def detect(delimiter: str, lines: Iterable[str]) -> Dialect:
    """Return how the rows of a sample are written. What is neither ended nor has a None was written by our export."""
    row = re.compile(_row(delimiter) + f"({re.escape(delimiter)}?)")
    typed = [index for index, name in enumerate(COLUMNS) if name in _FORMS]
    lines = list(lines)
    ended = open_ = nones = 0
    for found in map(row.fullmatch, lines):
        if found:
            values = found.groups()
            ended, open_ = ended + bool(values[-1]), open_ + (not values[-1])
            nones += any(values[index] == NULL for index in typed)
    if not ended + open_:
        # Every row of the sample is broken: only the older tool's can be.
        return Dialect(delimiter, trailing=sum(line.endswith(delimiter) for line in lines) * 2 > len(lines))
    trailing = ended > open_
    return Dialect(delimiter, trailing, quoted=not trailing and not nones)
