"""Damaged write-ahead logs: a log that cannot be replayed is set aside, a damaged file is left alone.

DuckDB replays the log that a crash has left at the next opening. Where that fails the file could never be opened again.
Without the log it stands at its last checkpoint, rows, counters and position together, and what the source still has is
read once more. Nothing is deleted: docs/decisions/0008-recovery.md.
"""

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from exporter.history.opening import LOGS

_REPLAYING = "while replaying"
# What the log is to blame for. A disk that is full or a right that is missing while it is replayed is not its fault.
_BLAMED = (
    "Corrupt",
    "does not match",
    "Invalid WAL entry",
    "WAL version",
    "WAL of version",
    "checkpoint marker",
    "Serialization Error",
)
_DAMAGED = (
    "Corrupt",
    "corrupted",
    "Could not read enough bytes",
    "MetadataReader",
    "mode that is not recognized",
    "not a valid DuckDB database file",
    "Serialization Error",
)


def blames_the_log(error: duckdb.Error) -> bool:
    """Whether the file would open but for its write-ahead log."""
    text = str(error)
    return _REPLAYING in text and any(words in text for words in _BLAMED)


def blames_the_file(error: duckdb.Error) -> bool:
    """Whether the file itself holds what DuckDB never wrote."""
    return any(words in str(error) for words in _DAMAGED)


def set_aside(path: Path) -> Mapping[Path, Path]:
    """Rename a file's logs, after the time when they were last written; return the new name of each."""
    aside = {}
    for suffix in LOGS:
        log = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            written_at = datetime.fromtimestamp(log.stat().st_mtime, UTC)
            aside[log] = _unused(log, f"{written_at:%Y%m%dT%H%M%SZ}")
            log.rename(aside[log])
    return aside


def put_back(aside: Mapping[Path, Path]) -> None:
    """Give the logs their names again: without them the file is no better."""
    for log, name in aside.items():
        if not log.exists():
            name.rename(log)


def _unused(log: Path, stamp: str) -> Path:
    name, number = log.with_name(f"{log.name}.damaged-{stamp}"), 1
    while name.exists():
        number += 1
        name = log.with_name(f"{log.name}.damaged-{stamp}-{number}")
    return name
