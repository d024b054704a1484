"""The commits of every server, kept outside of them: a server that goes back forgets its own."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.source import Source

Key = tuple[int, Any]
Version = tuple[Any, Any]


class Ledger:
    """Every version of every request that was ever committed, and those that a reading without gaps must have seen."""

    def __init__(self, harness: PollerHarness) -> None:
        self._harness = harness
        self._committed: dict[Key, set[Version]] = {}
        self._owed: dict[Key, set[Version]] = {}
        self._given_up: set[Key] = set()

    def poll(self, source: Source, *, exact: bool = True) -> None:
        """Poll a source without other writers; its rows are owed from then on."""
        self.note(source)
        self._harness.polled(exact=exact)
        if exact:
            assert self._harness.mode() in {"exact", "full"}
        there = source.run("SELECT id, created_at, completed_at, status FROM http_requests")
        if source.run("SELECT pg_is_in_recovery()") == [(False,)]:
            # A row removed before its completion was read is final without it, also when a backup puts it back.
            waiting = {key for key, versions in self._owed.items() if not any(at for at, _ in versions)}
            self._given_up |= waiting - {(row[0], row[1]) for row in there}
        if self._harness.mode() != "fast":
            self._add(self._owed, there)

    def note(self, source: Source) -> None:
        """Record the rows committed there, before they are lost."""
        self._add(
            self._committed, source.run("SELECT DISTINCT id, created_at, completed_at, status FROM truth.versions")
        )

    @staticmethod
    def _add(book: dict[Key, set[Version]], rows: Iterable[tuple[Any, ...]]) -> None:
        for number, created_at, completed_at, status in rows:
            book.setdefault((number, created_at), set()).add((completed_at, status))

    def balance(self, tally: Tally | None = None) -> None:
        """Everything owed is in the history once, in a version that was committed, completed if it was seen so."""
        columns = "id, created_at, completed_at, status"
        final = self._harness.query(f"SELECT {columns} FROM http_requests")
        waiting = self._harness.query(f"SELECT {columns} FROM http_requests_open")
        stored = {(row[0], row[1]): (row[2], row[3]) for row in [*waiting, *final]}
        counted = Counter[Key]((row[0], row[1]) for row in [*waiting, *final])
        missed = self._owed.keys() - stored.keys()
        complete = {key for key, versions in self._owed.items() if any(at for at, _ in versions)}
        incomplete = {key for key in complete & stored.keys() - self._given_up if stored[key][0] is None}
        doubled = [key for key, count in counted.items() if count > 1]
        invented = {key for key, version in stored.items() if version not in self._committed.get(key, ())}
        if tally is not None:
            tally.run(lost=len(missed) + len(incomplete), doubled=len(doubled))
        assert not any((missed, incomplete, doubled, invented)), (missed, incomplete, doubled, invented)
        self._harness.assert_once()
