"""A seeded sequence of everything: Tableau writes, faults hit it and the agent, polls come in between.

The same seed gives the same steps.
"""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import duckdb
import pytest

from tests.chaos.archive_invariants import Held, contents, missing
from tests.chaos.checked_poller import CheckedPoller
from tests.support.failing_connection import failing_at
from tests.support.source import CUT, Source

STEPS = 30


class Crash(BaseException):
    """The process has ended here; its files were set aside before."""


class FaultSequence(CheckedPoller):
    """One sequence. Each step reports its action."""

    def __init__(self, seed: int, source: Source, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(seed, source, folder, patch)
        self.copy: tuple[Path, Held] | None = None

    def run(self) -> tuple[int, int]:
        """Run the steps; return how many requests are missing and doubled at the end."""
        try:
            for _ in range(STEPS):
                step = self.chance.choices(list(CHOICES), list(CHOICES.values()))[0]
                at = len(self.steps)
                self.steps.append(step)
                self.steps[at] += f": {self._take(step)}"
                if self.chance.random() < 0.5:
                    self.poll()
            return self._end()
        finally:
            self.tableau.close()

    def _end(self) -> tuple[int, int]:
        """Let everything come to rest: then no row is missing, and lost ones were counted."""
        self.tableau.settle()
        self.grant()
        for _ in range(2):
            self.tableau.write()
            self.poll(exact=True)
        there, now = self.tableau.present(), self.held
        ever = self.ever_final() | now.open.keys()
        committed = {key for key, _ in self.tableau.versions().values()}
        unseen = {key for key in committed - ever - self.excused if not now.is_pruned(key)}
        assert now.lost >= len(unseen), f"{len(unseen)} came and went unseen, {now.lost} said: {unseen}"
        return len(missing(now, there)), len(now.doubled)

    def _take(self, step: str) -> str:
        """Run a step of this sequence, or one of the writer's."""
        done: str = getattr(self, step)() if hasattr(self, step) else getattr(self.tableau, step)()
        return done

    def delete(self) -> str:
        """Remove requests in a batch."""
        before = self.tableau.present()
        done = self.tableau.delete()
        # A single row may come and go without a trace: only the loss of a truncated table has a bound.
        self.remove(before.keys() - self.tableau.present().keys())
        return done

    def other_table(self) -> str:
        """Drop the table and make another one."""
        self.tableau.settle()
        # PostgreSQL forgets with a table how many rows it was given.
        self.remove({key for key, _ in self.tableau.versions().values()})
        self.revoked = False
        return self.tableau.make_table()

    def revoke(self) -> str:
        """Revoke the right to read."""
        self.revoked = True
        return self.tableau.revoke()

    def grant(self) -> str:
        """Grant the right to read again."""
        self.revoked = False
        return self.tableau.grant()

    def restart(self) -> str:
        """Begin anew with the same file, perhaps with another retention."""
        days = self.chance.choice((None, 1, 3, 30))
        self.harness.retention = None if days is None else timedelta(days=days)
        self.harness.restart()
        return f"retention of {days} days"

    def move_clock(self) -> str:
        """Move the clock of the agent, and perhaps of the requests with it."""
        seconds = self.chance.choice((1, 600, 1100, 3600, 26 * 3600, -3600, -86400, 10 * 86400))
        self.harness.now += seconds
        if seconds > 0:
            self.tableau.instant += timedelta(seconds=self.chance.choice((0, seconds)))
        return f"{seconds} s"

    def cut(self) -> str:
        """Cut the connection at one of the poll's snapshots."""
        at = self.chance.randint(1, 4)
        self.at_snapshot[at] = lambda: self.source.run(CUT)
        said = self.poll(fault=True)
        return f"at snapshot {at}, {said}"

    def write_meanwhile(self) -> str:
        """Let Tableau go on between the ranges of a reading."""
        at = self.chance.randint(2, 4)
        self.tableau.write()
        if self.chance.random() < 0.7:
            # A table that was rewritten is read whole.
            self.tableau.rewrite()
        step = self.chance.choice(("write", "complete", "end_transaction", "delete", "truncate", "rewrite"))
        done: list[str] = []
        self.at_snapshot[-at] = lambda: done.append(self._take(step))
        said = self.poll(fault=True, exact=True)
        return f"{step} before snapshot {at}, {said}: {done}"

    def fail(self) -> str:
        """Let a statement of DuckDB fail."""
        last = self._statement()
        written = self.tableau.write()

        def end() -> NoReturn:
            raise duckdb.IOException("IO Error: no space left on device")

        said = self.poll(fault=True, end=failing_at(duckdb.connect, last, end))
        return f"{written}; at statement {last}, {said}"

    def _statement(self) -> int:
        """Choose a statement of a poll, more often one that archives than one that prepares or reads again."""
        return self.chance.choice((self.chance.randint(1, 60), self.chance.randint(8, 28), self.chance.randint(11, 16)))

    def crash(self) -> str:
        """End the process at a statement of DuckDB; its log may be torn by that."""
        polls, torn = self.chance.randint(1, 3), self.chance.random() < 0.4
        last = self._statement() + 30 * self.chance.randrange(polls)
        written = self.tableau.write()
        left = self.next_path()
        if polls > 1:
            # The file stays open from poll to poll, and what they archive in its log.
            self.harness.file._keep_for = float("inf")

        def end() -> NoReturn:
            self.copy_file(self.harness.file.path, left)
            raise Crash

        ends = failing_at(duckdb.connect, last, end)
        said = "after the last"
        try:
            for _ in range(polls):
                self.poll(fault=True, end=ends)
            self.copy_file(self.harness.file.path, left)
        except Crash:
            said = "within one"
        log = left.with_name(left.name + ".wal")
        if torn and log.exists():
            log.write_bytes(log.read_bytes()[: self.chance.randrange(log.stat().st_size + 1)])
        abandoned = self.harness.file
        self.take_up(left, torn=torn)
        abandoned._close()
        return f"{written}; at statement {last} of {polls} polls, {said}{', torn' * torn}"

    def keep_copy(self) -> str:
        """Copy the file, as a backup does."""
        if not self.harness.file.path.exists():
            return "none yet"
        path = self.next_path()
        self.copy_file(self.harness.file.path, path)
        self.copy = (path, self.held)
        return ""

    def put_back(self) -> str:
        """Put an older copy in the file's place, under the running agent or a new one."""
        if self.copy is None:
            return self.keep_copy()
        path, self.held = self.copy
        for suffix in ("", ".wal"):
            self.harness.file.path.with_name(self.harness.file.path.name + suffix).unlink(missing_ok=True)
        shutil.copy(path, self.harness.file.path)
        self.go_back()
        running = self.chance.random() < 0.5
        self.harness._before = {}
        if running:
            # The agent notices at its next writing, and begins again from what it finds.
            self.grant()
            self.poll(fault=True)
            self.harness._before = {}
        else:
            self.harness.restart()
        return "under a running agent" if running else ""

    def read_again(self) -> str:
        """Read everything once more: nothing changes by that."""
        self.grant()
        self.poll(exact=True)
        self.poll(exact=True)
        before = contents(self.harness.file.path)
        with duckdb.connect(str(self.harness.file.path)) as connection:
            connection.execute("UPDATE positions SET horizon = horizon - 4294967296")
        self.harness.restart()
        pruned = self.held.pruned
        self.poll(exact=True)
        assert self.held.mode == "full"
        if self.held.pruned == pruned:
            again = contents(self.harness.file.path)
            changed = {
                table: set(again[table]) ^ set(before[table]) for table in again if again[table] != before[table]
            }
            assert not changed, changed
        return ""


CHOICES = {
    "write": 10,
    "open_transaction": 4,
    "end_transaction": 4,
    "complete": 6,
    "delete": 3,
    "truncate": 3,
    "rewrite": 1,
    "other_table": 1,
    "change_columns": 2,
    "revoke": 1,
    "grant": 2,
    "restart": 2,
    "move_clock": 3,
    "cut": 2,
    "write_meanwhile": 3,
    "fail": 3,
    "crash": 3,
    "keep_copy": 1,
    "put_back": 1,
    "read_again": 2,
}
