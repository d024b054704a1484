"""The archive's faults by number, attacks by name, and the tables of docs/reliability.md, made of the tests' counts.

A test declares its fault with ``@pytest.mark.fault(12)``, and counts with the fixture ``tally`` how often it drove the
fault and the rows lost or doubled; an attack with ``@pytest.mark.attack("guesses")``, as often as ``tally`` counts.
``pytest -m fault --reliability=docs/reliability.md`` writes the table of faults anew, ``-m attack`` that of attacks.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- the table: written by make soak -->", "<!-- end of the table -->"
BEGIN_ATTACKS, END_ATTACKS = "<!-- attacks: written by make soak -->", "<!-- end of attacks -->"

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
ATTACKS = {
    "everything": "idle connections, guesses and malformed requests at once, while 500 rows a second are archived",
    "silence": "hundreds of connections that send nothing, also within TLS; bursts; clients that stall",
    "guesses": "100 clients guess passwords, and half of them leave before the answer",
    "malformed": "what is no HTTP/1.1: other protocols, two lengths, bad chunks, distorted requests",
    "other sites": "a browser orders a reload on behalf of another site",
    "other names": "a name of others leads a browser to a loopback address (DNS rebinding)",
    "markup": "names of content that are markup, scripts or formulas, on the pages, in a browser and in CSV",
    "rewrite": "a reload of a web configuration file that was emptied, or lost users, TLS or client certificates",
    "bombs": "YAML and XML that nest, refer to themselves or multiply",
    "foreign history": "a history with views, macros and triggers of others, which read files of the agent's user",
    "links": "links to other files where the agent makes files of its own",
    "uris": "URIs that hide tickets, tokens and people by coding, case and dots",
    "proxies": "proxy variables that lead tokens elsewhere, or cannot be parsed",
    "peers": "hostile servers in the place of Tableau or Alertmanager: any bytes, redirects, answers without an end",
    "secrets": "peers, proxies, files and requests that repeat secrets, whole or cut, in any usual form",
}
# Not a fault of its own: sequences in which many of them follow each other by chance.
EVERYTHING = 0


@dataclass
class Tally:
    """How often a test drove its fault, and how many rows it lost or doubled."""

    runs: int = 0
    lost: int = 0
    doubled: int = 0

    def add(self, other: "Tally") -> None:
        """Add another test's counts."""
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
    """The counts of all tests of one fault."""

    tests: set[str] = field(default_factory=set)
    total: Tally = field(default_factory=Tally)


@dataclass
class Attacked:
    """The counts of all tests of one attack."""

    tests: set[str] = field(default_factory=set)
    tries: int = 0
    held: int = 0


class Reliability:
    """Collects the tallies of a session, and writes them into a document."""

    def __init__(self, document: Path) -> None:
        self._document = document
        self._attacked: dict[str, Attacked] = {}
        self._driven: dict[int, Driven] = {}
        self._all = Tally()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add a test of faults that has passed, and a test of attacks however it has ended."""
        report = yield
        if call.when == "call" and (names := {name for mark in item.iter_markers("attack") for name in mark.args}):
            counted = getattr(item, "funcargs", {}).get("tally")
            self.attack(names, item.nodeid.split("[")[0], (counted and counted.runs) or 1, held=report.passed)
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

    def attack(self, names: set[str], test: str, tries: int, *, held: bool) -> None:
        """Add a test to each of its attacks."""
        for name in names:
            attacked = self._attacked.setdefault(name, Attacked())
            attacked.tests.add(test)
            attacked.tries += tries
            attacked.held += tries if held else 0

    def pytest_sessionfinish(self) -> None:
        """Write the tables of which a test was run."""
        if self._driven:
            self._write(BEGIN, END, self.table())
        if self._attacked:
            self._write(BEGIN_ATTACKS, END_ATTACKS, self.attacks())

    def _write(self, begin: str, end: str, table: str) -> None:
        before, rest = self._document.read_text().split(begin)
        after = rest.split(end)[1]
        self._document.write_text(f"{before}{begin}\n{table}\n{end}{after}")

    def attacks(self) -> str:
        """Return the table of attacks."""
        lines = ["| attack | tries | held | tests |", "|---|---|---|---|"]
        for name, title in ATTACKS.items():
            attacked = self._attacked.get(name, Attacked())
            lines.append(f"| {title} | {attacked.tries:,} | {attacked.held:,} | {_short(attacked.tests)} |")
        return "\n".join(lines)

    def table(self) -> str:
        """Return the table."""
        lines = ["| fault | event | runs | lost | doubled | tests |", "|---|---|---|---|---|---|"]
        lines += [self._line(str(number), title, number) for number, title in FAULTS.items()]
        lines.append(self._line("", "seeded sequences of everything", EVERYTHING))
        total = self._all
        return "\n".join([*lines, f"|  | in all | {total.runs} | {total.lost} | {total.doubled} |  |"])

    def _line(self, published: str, title: str, number: int) -> str:
        driven = self._driven.get(number, Driven())
        total = driven.total
        return f"| {published} | {title} | {total.runs} | {total.lost} | {total.doubled} | {_short(driven.tests)} |"


def _short(tests: set[str]) -> str:
    return ", ".join(f"`{name.split('/')[-1]}`" for name in sorted(tests))
