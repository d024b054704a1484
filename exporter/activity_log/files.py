"""Sites and files of the Activity Log, and what the path of a file says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from exporter.errors import SourceError

DEFAULT_SITE = "default"

_PATH = re.compile(r"[\w.=@:+,~ -]+(/[\w.=@:+,~ -]+)*")
_HOUR = re.compile(r"(?:^|/)y=(\d{4})/m=(\d{1,2})/d=(\d{1,2})/h=(\d{1,2})(?:/|$)")
_EVENT_TYPE = re.compile(r"(?:^|/)eventType=([^/]+)(?:/|$)")


@dataclass(frozen=True)
class CloudSite:
    """A site of the tenant; ``name`` is its content URL, as in labels."""

    luid: str
    name: str


@dataclass(frozen=True)
class Sites:
    """The sites that are read, and a line for each that is not."""

    sites: Sequence[CloudSite]
    notes: Sequence[str] = ()


@dataclass(frozen=True, order=True)
class ListedFile:
    """A file of events: its path, the hour in which it was made available (UTC, naive), and the type of its events."""

    hour: datetime
    path: str
    event_type: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a window, in the order of their hours, and how many were refused because of their paths."""

    files: Sequence[ListedFile]
    refused: int = 0


@dataclass
class Download:
    """What became of a file: its bytes, or the error. ``content`` is to be closed."""

    file: ListedFile
    content: IO[bytes] | None = None
    size: int = 0
    error: SourceError | None = None


def is_plain(path: str) -> bool:
    """Whether a path is relative, and leads nowhere else."""
    return bool(_PATH.fullmatch(path)) and not set(path.split("/")) & {"", ".", ".."}


def described(path: str, begin: datetime) -> ListedFile:
    """Return what a path says of its file; ``begin`` stands for an hour that it does not name."""
    hour, kind = begin, _EVENT_TYPE.search(path)
    if found := _HOUR.search(path):
        try:
            hour = datetime(*map(int, found.groups()))  # type: ignore[arg-type] # noqa: DTZ001 - four numbers, naive
        except ValueError:
            hour = begin
    return ListedFile(hour, path, kind[1] if kind else "")
