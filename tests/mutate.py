"""Remove each protection of tests/mutations.py, one at a time, and check that its tests fail.

    python -m tests.mutate [--only FAULT] [--named WORDS] [--jobs N]

Works on copies in a temporary folder, never on the tree itself. First the tests must pass with everything in place: one
that fails anyway proves nothing. Ends with 1 below 85 %, with 2 where the result is inconclusive.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from threading import Event

from tests.mutations import PROTECTIONS, Protection

ROOT = Path(__file__).parents[1]
ENOUGH = 0.85
# Most tests take seconds. One that waits for what no longer happens gives up after a minute.
TEST_SECONDS = 240
GRACE_SECONDS = 60
EVERYTHING_SECONDS = 1200
PASSED, FAILED = 0, 1


class Inconclusive(Exception):
    """The tests could not be run, or fail with everything in place."""


@dataclass(frozen=True)
class Outcome:
    """The result of removing a protection."""

    protection: Protection
    noticed: bool
    by: str = ""

    def line(self) -> str:
        """Return the outcome as a line of the table."""
        faults = ", ".join(str(number) for number in self.protection.faults)
        reported = f"noticed | `{self.by}`" if self.noticed else "**survived** |"
        return f"| {faults} | {self.protection.name} | {reported} |"


def copy_tree(folder: Path) -> Path:
    """Copy the files that git has, or would add, as they stand in the tree."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    tree = folder / "whole"
    for name in names:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def take_out(tree: Path, protection: Protection) -> None:
    """Remove a protection from a copy."""
    path = tree / "exporter" / protection.file
    text = path.read_text()
    if text.count(protection.text) != 1:
        message = f"{protection.name}: its text stands {text.count(protection.text)} times in {protection.file}"
        raise Inconclusive(message)
    path.write_text(text.replace(protection.text, protection.without))


@dataclass(frozen=True)
class Trial:
    """Runs tests in copies of a tree; a caller that waits for them gives up when it is stopped."""

    whole: Path
    stopped: Event = field(default_factory=Event)

    def check(self, number: int, tests: Sequence[str]) -> None:
        """Run tests with everything in place. Raises Inconclusive."""
        code, output = self._run(self.whole, f"whole-{number}", tests, EVERYTHING_SECONDS)
        if code != PASSED:
            message = f"with everything in place pytest ended with {code}\n{output[-4000:]}"
            raise Inconclusive(message)

    def without(self, number: int, protection: Protection) -> Outcome:
        """Remove one protection from a copy of its own, and run its tests. Raises Inconclusive."""
        tree = self.whole.with_name(str(number))
        shutil.copytree(self.whole, tree)
        try:
            take_out(tree, protection)
            code, output = self._run(tree, tree.name, protection.tests, TEST_SECONDS)
        finally:
            shutil.rmtree(tree)
        if code not in {PASSED, FAILED}:
            message = f"{protection.name}: pytest ended with {code}\n{output[-2000:]}"
            raise Inconclusive(message)
        return Outcome(protection, code == FAILED, _first_failure(output))

    def _run(self, tree: Path, name: str, tests: Sequence[str], seconds: float) -> tuple[int, str]:
        """Return pytest's exit code, FAILED when it hangs, and its output."""
        temporary = tree.with_name(f"{name}.tmp")
        temporary.mkdir(mode=0o755)
        named = [f"tests/{test}" for test in tests]
        try:
            with _pytest(tree, temporary, named) as process:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    if self.stopped.is_set():
                        message = "stopped before the end"
                        raise Inconclusive(message)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        output, _ = process.communicate(timeout=0.5)
                        return process.returncode, output
                return FAILED, f"FAILED {named[-1]} - hangs"
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _pytest(tree: Path, temporary: Path, tests: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """Begin to run tests; at the end of the block let pytest tidy up its servers and disks, and leave nothing of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env={**{name: value for name, value in os.environ.items() if name != "SOAK"}, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def _first_failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" ", 1)[1].split(" - ")[0].removeprefix("tests/")
    return ""


def _by_file(protections: Sequence[Protection]) -> list[list[str]]:
    """Return all tests, those of one file together."""
    tests = sorted({test for protection in protections for test in protection.tests})
    return [list(some) for _, some in groupby(tests, lambda test: test.split("::")[0])]


def score(protections: Sequence[Protection], jobs: int) -> float:
    """Remove each, print the table, and return the share that was detected."""
    with tempfile.TemporaryDirectory(prefix="mutate-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # PostgreSQL runs as another user, who must pass through.
        folder.chmod(0o755)
        trial, noticed = Trial(copy_tree(folder)), 0
        with ThreadPoolExecutor(jobs) as pool:
            try:
                list(pool.map(lambda item: trial.check(*item), enumerate(_by_file(protections))))
                print("| fault | the protection that was taken out | | by |\n|---|---|---|---|", flush=True)
                for outcome in pool.map(lambda item: trial.without(*item), enumerate(protections)):
                    print(outcome.line(), flush=True)
                    noticed += outcome.noticed
            except BaseException:
                trial.stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
    return noticed / len(protections)


def main() -> int:
    """Print the table and the score."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description="Remove each protection once.")
    parser.add_argument("--only", type=int, metavar="FAULT", help="the protections of one fault")
    parser.add_argument(
        "--named", default="", metavar="WORDS", help="the protections that have these words in their names"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="so many at a time; 2")
    arguments = parser.parse_args()
    # However it is ended, its files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [
        item
        for item in PROTECTIONS
        if (arguments.only is None or arguments.only in item.faults) and arguments.named in item.name
    ]
    if not chosen:
        parser.error("there is no such protection")
    try:
        share = score(chosen, arguments.jobs)
    except Inconclusive as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"\n{round(share * len(chosen))} of {len(chosen)} noticed: {share:.0%}")
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
