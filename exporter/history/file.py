"""The history file: opened only while a poll writes, so that its owner can open it in between."""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import structlog

from exporter.errors import HistoryBusy, HistoryDamaged, HistoryError, HistoryLocked, HistoryUnwritable
from exporter.history import wal
from exporter.history.duckdb_errors import first_line, history_error
from exporter.history.locking import Reserve, file_identity, is_held, open_lock, retry
from exporter.history.opening import CONFINED, Settings, Version, checked, last_version, refuse_other_bytes

log = structlog.get_logger()

# A storage version that DuckDB 1.5 reads, whichever version writes: the owner's tools open the file.
STORAGE_VERSION = "v1.5.0"
FREE_BYTES_NEEDED = 100_000_000
# Opening and closing costs as much as archiving ten thousand rows; a reader waits no longer than this.
HOLD_SECONDS = 1.0
# Long enough for a reader who tries again and again to get in between two long openings.
_GAP_SECONDS = 0.03
# Longer than the longest pause of an agent who tries again: it gets in between two openings by a command.
COMMANDS_GAP_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """Limits of DuckDB on its host: memory (another while row groups are merged), threads, waiting, disk."""

    memory: str = "256MB"
    threads: int = 1
    patience_seconds: float = 10.0
    free_bytes: int = FREE_BYTES_NEEDED
    spills: bool = True
    """Whether what does not fit into memory may be written beside the file for the moment."""
    merge_memory: str = "128MB"


@dataclass
class HistoryFile:
    """One history file and the lock beside it."""

    path: Path
    limits: Limits = field(default_factory=Limits)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    read_only: bool = False
    repairs: bool = True
    """Whether a log that cannot be replayed is set aside: that is for the agent, who writes it down."""
    gap_seconds: float = _GAP_SECONDS
    quarantined: list[str] = field(default_factory=list)
    """What was set aside and is not yet written down as an incident."""
    turn: threading.RLock = field(default_factory=threading.RLock)
    """Held while the file is open, and during several operations in a row: each source has a thread."""
    _lock: int | None = None
    _reserve: Reserve = field(default_factory=Reserve)
    _connection: duckdb.DuckDBPyConnection | None = None
    _opened_at: float = 0.0
    _trusted: Version | None = None
    _keep_for: float = 0.0
    merges: int | None = None

    def __post_init__(self) -> None:
        """Go to where a link leads: DuckDB's log, the lock and a file written anew are beside the file itself."""
        if self.path.is_symlink():
            self.path = Path(os.path.realpath(self.path))

    @property
    def bytes(self) -> int | None:
        """The file's size; None while there is no file."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return None

    def lock(self) -> None:
        """Lock the history for as long as this process lives, and keep the descriptors for it.

        Raises HistoryLocked, HistoryUnwritable.
        """
        refuse_other_bytes(self.path)
        path = self._lock_path
        try:
            descriptor = open_lock(path)
        except OSError as error:
            message = f"{path}: {error.strerror}; make the folder exist and writable for the agent, or set history.path"
            raise HistoryUnwritable(message) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            message = f"{self.path}: another agent writes this history; stop it, or give this one its own history.path"
            raise HistoryLocked(message) from None
        self.unlock()
        self._lock = descriptor
        self._reserve.keep()

    def _hold_lock(self) -> None:
        """Acquire the lock again where it was removed: a second agent would find none. Raises as ``lock()`` does."""
        if self._lock is None:
            return
        try:
            there = os.path.samestat(os.fstat(self._lock), self._lock_path.stat())
        except OSError:
            there = False
        if not there:
            self.lock()

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._reserve.release()

    @contextlib.contextmanager
    def taking_turn(self, wait_seconds: float | None) -> Iterator[None]:
        """Hold the turn; raises HistoryBusy where another thread holds it for longer than that. None waits for ever."""
        if not self.turn.acquire(timeout=-1 if wait_seconds is None else wait_seconds):
            message = f"{self.path}: another thread of the agent has used it for more than {wait_seconds:g} s"
            raise HistoryBusy(message)
        try:
            yield
        finally:
            self.turn.release()

    @contextlib.contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file; waits while somebody else holds it, then raises HistoryBusy."""
        with self.turn:
            yield from self._open()

    def _open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._connection is None:
            if not self.read_only:
                self._hold_lock()
                self._check_space()
            self._connection = self._connect()
            self._opened_at = self.clock()
        try:
            try:
                yield self._connection
            except BaseException:
                self._close(trusted=False)
                raise
            if self.clock() - self._opened_at >= self._keep_for:
                self._close()
                if self._keep_for:
                    self.sleep(self.gap_seconds)
        except duckdb.Error as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def kept_open(self, seconds: float, *, merges: int | None = None) -> Iterator[None]:
        """Leave the file open between openings, so many seconds; only at the end so many ``merges`` of row groups."""
        self._keep_for, self.merges = seconds, merges
        try:
            yield
        finally:
            self._keep_for, self.merges = 0.0, None
            try:
                with self.turn:
                    if self._connection is not None and merges is not None:
                        memory = self.limits.merge_memory
                        self._connection.execute(f"SET max_vacuum_tasks = {merges}; SET memory_limit = '{memory}'")
                    self._close()
            except duckdb.Error as error:
                raise self._unwritable(error) from error

    def _close(self, *, trusted: bool = True) -> None:
        connection, self._connection = self._connection, None
        self._trusted = None
        if connection is not None:
            try:
                self._trusted = last_version(connection, self.path) if trusted else None
            finally:
                try:
                    connection.close()
                finally:
                    self._keep_reserve()

    def _keep_reserve(self) -> None:
        """Keep the descriptors of an agent again; where too few are left, the next opening fails with a message."""
        if self._lock is not None:
            self._reserve.keep()

    def _check_space(self) -> None:
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            message = f"{self.path.parent}: {error.strerror}; make the folder exist, or set history.path"
            raise HistoryUnwritable(message) from None
        if free < self.limits.free_bytes:
            least = self.limits.free_bytes // 1_000_000
            # How much exactly changes all the time, and would be logged again each time.
            message = f"{self.path.parent}: less than {least} MB free; nothing is archived until there is more room"
            raise HistoryUnwritable(message)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        refuse_other_bytes(self.path)
        try:
            return self._connect_in_time()
        except duckdb.Error as error:
            if not wal.blames_the_log(error):
                raise self._unwritable(error) from None
            if self.read_only or not self.repairs:
                message = f"{self.path}: its log is damaged: {first_line(error)}; the agent sets it aside when it polls"
                raise HistoryDamaged(message) from None
            return self._connect_without_log(error)

    def _connect_without_log(self, refusal: duckdb.Error) -> duckdb.DuckDBPyConnection:
        """Open the file as it was at its last checkpoint, its log set aside."""
        try:
            aside = wal.set_aside(self.path)
        except OSError as error:
            message = (
                f"{self.path}: its log is damaged and cannot be renamed: {error.strerror}; check the folder's rights"
            )
            raise HistoryUnwritable(message) from None
        try:
            connection = self._connect_in_time()
        except (duckdb.Error, HistoryError):
            wal.put_back(aside)
            raise self._unwritable(refusal) from None
        names = ", ".join(name.name for name in aside.values())
        self.quarantined.append(f"{names}: {first_line(refusal)}")
        log.warning(
            "the history's log was damaged: it was set aside, and what the source still has is read again",
            set_aside=names,
            error=first_line(refusal),
        )
        return connection

    def _connect_in_time(self) -> duckdb.DuckDBPyConnection:
        """Open the file, waiting while another process holds it. Raises HistoryBusy, or what DuckDB raises."""
        wait = retry(self.path, self.limits.patience_seconds, self.sleep, self.clock)
        if not self.read_only and not os.path.lexists(self.path):
            self._create()
        while True:
            before = file_identity(self.path)
            try:
                connection = self._opened(self.path)
            except duckdb.IOException as error:
                if not is_held(error):
                    raise
                wait(first_line(error))
                continue
            if before in {None, file_identity(self.path)}:
                return checked(connection, self.path, self._trusted)
            # Another file was put in its place in between: what is open is nobody's any more.
            connection.close()

    def _opened(self, path: Path) -> duckdb.DuckDBPyConnection:
        """Open a file with the descriptors that are kept. Raises HistoryUnwritable, or what DuckDB raises."""
        self._reserve.use()
        try:
            return duckdb.connect(str(path), read_only=self.read_only, config=settings(self))
        except duckdb.Error:
            self._keep_reserve()
            raise

    def _create(self) -> None:
        """Make the file under another name first: a full disk or a crash in the midst would leave one that never opens.

        Raises HistoryUnwritable, or what DuckDB raises.
        """
        unborn = self.path.with_name(self.path.name + ".new")
        try:
            unborn.unlink(missing_ok=True)
            self._opened(unborn).close()
            unborn.rename(self.path)
        except OSError as error:
            message = f"{self.path}: {error.strerror}; make the folder exist and writable for the agent"
            raise HistoryUnwritable(message) from None

    def _unwritable(self, error: duckdb.Error) -> HistoryError:
        return history_error(error, self.path, writes=self.repairs and not self.read_only)


def settings(file: HistoryFile) -> Settings:
    """Return the settings of every opening: DuckDB is a guest, and reaches its file alone; it spills beside that."""
    return {
        "memory_limit": file.limits.memory,
        "threads": file.limits.threads,
        "storage_compatibility_version": STORAGE_VERSION,
        **CONFINED,
        **({} if file.limits.spills else {"temp_directory": ""}),
        **({} if file.merges is None else {"max_vacuum_tasks": 0}),
    }
