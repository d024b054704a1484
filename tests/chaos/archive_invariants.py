"""Invariants of a history after each step, read from the file itself and compared with the source."""

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from tests.chaos.random_writer import Key, Version

_COUNTER = "SELECT coalesce(sum(value), 0)::BIGINT FROM counters WHERE family = '{}'"
# Everything that reading the same rows again may not change; the order of rows means nothing.
CONTENTS = ("http_requests", "http_requests_open", "counters", "histograms", "last_seen", "incidents")


@dataclass(frozen=True)
class Held:
    """The rows of a history file."""

    final: dict[Key, Version]
    open: dict[Key, Version]
    doubled: list[Key]
    requests: int
    rows: int
    lost: int
    pruned: datetime | None
    version: int
    mode: str

    def is_pruned(self, key: Key) -> bool:
        """Whether the retention has removed, or will not archive, the row of this key."""
        return self.pruned is not None and key[1] is not None and key[1] < self.pruned


NOTHING = Held({}, {}, [], 0, 0, 0, None, 0, "")


def held_by(path: Path) -> Held:
    """Read the rows of a file; one left by a crash is read from a copy, and stays as it is."""
    log = path.with_name(path.name + ".wal")
    if log.exists():
        folder = path.parent / "looked at"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in (path, log):
            shutil.copy(name, folder / name.name)
        path = folder / path.name
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        return held_in(connection)


def held_in(connection: duckdb.DuckDBPyConnection) -> Held:
    """Read the rows of an open file."""

    def rows(table: str) -> list[tuple[Key, Version]]:
        found = connection.execute(f"SELECT id, created_at, completed_at, session_id FROM {table}").fetchall()
        return [((row[0], row[1]), Version(row[3], row[2])) for row in found]

    def counter(family: str) -> int:
        return int(connection.execute(_COUNTER.format(family)).fetchall()[0][0])

    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'positions'").fetchall():
        return NOTHING
    source = "source = 'http_requests'"
    pruned = connection.execute("SELECT marked_at FROM marks WHERE name = 'pruned'").fetchall()
    version = connection.execute(f"SELECT version FROM positions WHERE {source}").fetchall()
    mode = connection.execute(f"SELECT mode FROM poll_log WHERE {source} ORDER BY rowid DESC LIMIT 1").fetchall()
    final, waiting = rows("http_requests"), rows("http_requests_open")
    counted = Counter(key for key, _ in [*final, *waiting])
    return Held(
        dict(final),
        dict(waiting),
        [key for key, count in counted.items() if count > 1],
        counter("tableau_http_requests_total"),
        counter("tableau_history_rows_total"),
        counter("tableau_history_possibly_lost_requests_total"),
        pruned[0][0] if pruned else None,
        version[0][0] if version else 0,
        mode[0][0] if mode else "",
    )


def contents(path: Path) -> dict[str, list[str]]:
    """Return the rows of everything that reading again may not change."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return {table: sorted(str(row) for row in connection.execute(f"FROM {table}").fetchall()) for table in CONTENTS}


def assert_once(held: Held, ever_final: set[Key], versions: dict[str, tuple[Key, Version]]) -> None:
    """Nothing stands twice, the counters count each final request, and every row is a version that was committed."""
    assert not held.doubled, f"doubled: {held.doubled}"
    assert held.requests == held.rows == len(ever_final), (held.requests, held.rows, len(ever_final))
    for key, version in [*held.final.items(), *held.open.items()]:
        assert versions.get(version.tag) == (key, version), f"{key} was never committed as {version}"


def assert_kept(before: Held, now: Held) -> None:
    """Every earlier row is here, and final ones are unchanged; the retention alone removes."""
    for key, version in before.final.items():
        assert now.final.get(key) == version or (key not in now.final and now.is_pruned(key)), (
            f"{key} was final as {version} and is {now.final.get(key)}"
        )
    gone = {key for key in before.open if key not in now.open and key not in now.final and not now.is_pruned(key)}
    assert not gone, f"no longer here: {gone}"


def missing(now: Held, there: dict[Key, Version]) -> set[Key]:
    """Return the rows that the source had before and after the read, and the history has not."""
    here = now.final.keys() | now.open.keys()
    return {key for key in there if key not in here and not now.is_pruned(key)}


def assert_read(before: Held, now: Held, there: dict[Key, Version], young: set[Key]) -> None:
    """After an exact reading everything is here that was there, as it was; ``there`` did not change meanwhile.

    What is still open there is open here, at least as long as it is ``young``.
    """
    assert not missing(now, there), f"missing: {missing(now, there)}"
    for key, version in there.items():
        if now.is_pruned(key) or key in before.final:
            continue
        if version.completed_at is not None:
            assert now.final.get(key) == version, f"{key} is complete as {version}, here {now.final.get(key)}"
        else:
            assert version in {now.final.get(key), now.open.get(key)}, f"{key} is {version}, here it is not"
            assert key in now.open or key not in young, f"{key} is open as {version}, here it is final"
