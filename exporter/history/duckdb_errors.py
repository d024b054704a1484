"""Errors of DuckDB as errors of the history: what happened, to which file, and the fix."""

from pathlib import Path

import duckdb

from exporter.errors import HistoryDamaged, HistoryError, HistoryUnwritable
from exporter.history.wal import blames_the_file

# Texts of DuckDB's errors: the disk is full, for the file or for what does not fit into memory.
_NO_ROOM = ("No space left on device", "failed to offload data block")
_NEWER = "created with a newer version"
_NO_DESCRIPTOR = "Too many open files"
_NO_MEMORY = ("Out of Memory", "failed to pin block", "failed to allocate")


def history_error(error: duckdb.Error, path: Path, *, writes: bool) -> HistoryError:
    """Return the error of a history that cannot be opened or written, with its fix; ``writes`` is the agent's."""
    if _NEWER in str(error):
        return HistoryUnwritable(f"{path}: a newer version of the program wrote it; go back to that version")
    if _NO_DESCRIPTOR in str(error):
        return HistoryUnwritable(f"{path}: {first_line(error)}; raise the limit of open files (LimitNOFILE, ulimit -n)")
    if blames_the_file(error):
        then = "nothing is archived until a backup is put back, or the file is moved away"
        return HistoryDamaged(f"{path}: {first_line(error)}; {then if writes else 'it is damaged, and no backup'}")
    if any(words in str(error) for words in _NO_ROOM):
        return HistoryUnwritable(f"{path}: {first_line(error)}; nothing is archived until there is more room")
    if any(words in str(error) for words in _NO_MEMORY):
        return HistoryUnwritable(f"{path}: {first_line(error)}; raise history.memory_limit")
    return HistoryUnwritable(f"{path}: {first_line(error)}; check the folder's rights and the file")


def first_line(error: Exception) -> str:
    """Return the first line of a driver's error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
