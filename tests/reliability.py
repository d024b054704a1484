"""The archive's faults by number, and the table of docs/reliability.md, made of what tests counted.

A test says with ``@pytest.mark.fault(12)`` which fault it drives, and with the fixture ``tally`` how often it did and
what was lost or doubled. ``pytest -m fault --reliability docs/reliability.md`` writes the table anew.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- the table: written by make soak -->", "<!-- end of the table -->"

FAULTS = {
    1: "commits out of the order of their ids",
    2: "ids handed out in blocks",
    3: "gaps left by rollbacks",
    4: "a transaction that stays open for an hour",
    5: "a completion after its request was archived",
    6: "a completion between the ranges of a full reading",
    7: "rows of savepoints",
    8: "two updates between two polls",
    9: "equal times of creation",
    10: "an id used again",
    11: "TRUNCATE between two polls",
    12: "TRUNCATE around lock, snapshot and reading",
    13: "TRUNCATE ... RESTART IDENTITY",
    14: "DELETE in batches",
    15: "an empty table",
    16: "VACUUM FULL",
    17: "pg_restore --clean",
    18: "the table dropped and made again",
    19: "an older physical backup",
    20: "failover to a standby",
    21: "failover that lost its tail",
    22: "a lagging standby, and back",
    23: "a recovery conflict",
    24: "crossing 2^32 transactions",
    25: "away for more than 2^31 transactions",
    26: "a newer PostgreSQL",
    27: "a column added",
    28: "a column dropped",
    29: "a column renamed",
    30: "a column widened",
    31: "a right revoked",
    32: "the connection cut in mid-stream",
    33: "a server that accepts and never answers",
    34: "refused: too many clients, password rotated, certificate expired",
    35: "a lock that is not given",
    36: "SIGKILL at every step of a poll",
    37: "a torn write-ahead log",
    38: "a flipped byte in the write-ahead log",
    39: "a full disk",
    40: "the file held by somebody else; a second agent",
    41: "an older copy of the file put back",
    42: "the folder read-only or gone",
    43: "a clock that jumps; hostile values",
}
# Not a fault of its own: sequences in which many of them follow each other by chance.
EVERYTHING = 0


@dataclass
class Tally:
    """How often a test drove its fault, and what was lost or doubled by it."""

    runs: int = 0
    lost: int = 0
    doubled: int = 0

    def add(self, other: "Tally") -> None:
        """Add what another test counted."""
        self.runs += other.runs
        self.lost += other.lost
        self.doubled += other.doubled

    def run(self, *, lost: int = 0, doubled: int = 0) -> None:
        """Count one run."""
        self.runs += 1
        self.lost += lost
        self.doubled += doubled


@dataclass
class Driven:
    """What all tests of one fault counted."""

    tests: set[str] = field(default_factory=set)
    total: Tally = field(default_factory=Tally)


class Reliability:
    """Collects the tallies of a session, and writes them into a document."""

    def __init__(self, document: Path) -> None:
        self._document = document
        self._driven: dict[int, Driven] = {}
        self._all = Tally()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add a test that has passed."""
        report = yield
        if call.when == "call" and report.passed:
            numbers = {number for mark in item.iter_markers("fault") for number in mark.args}
            tally = getattr(item, "funcargs", {}).get("tally")
            if numbers:
                # A test without a tally drives its faults once, and passes only when nothing is lost or doubled.
                self._add(numbers, item.nodeid.split("[")[0], tally if tally and tally.runs else Tally(1))
        return report

    def _add(self, numbers: set[int], test: str, tally: Tally) -> None:
        """Add a test to each of its faults; in all it counts once."""
        self._all.add(tally)
        for number in numbers:
            driven = self._driven.setdefault(number, Driven())
            driven.tests.add(test)
            driven.total.add(tally)

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        text = self._document.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        self._document.write_text(f"{before}{BEGIN}\n{self.table()}\n{END}{after}")

    def table(self) -> str:
        """Return the table."""
        lines = ["| fault | what befalls | runs | lost | doubled | tests |", "|---|---|---|---|---|---|"]
        lines += [self._line(str(number), title, number) for number, title in FAULTS.items()]
        lines.append(self._line("", "seeded sequences of everything", EVERYTHING))
        total = self._all
        return "\n".join([*lines, f"|  | in all | {total.runs} | {total.lost} | {total.doubled} |  |"])

    def _line(self, shown: str, title: str, number: int) -> str:
        driven = self._driven.get(number, Driven())
        names = ", ".join(f"`{name.split('/')[-1]}`" for name in sorted(driven.tests))
        total = driven.total
        return f"| {shown} | {title} | {total.runs} | {total.lost} | {total.doubled} | {names} |"
