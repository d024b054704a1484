"""The command ``history import``: each file is read, cleaned and merged into the configured history."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa

from exporter import collectors, component_options, imports
from exporter.collector import Fold
from exporter.config import Configuration, RunOptions
from exporter.history.aggregation import Lookups
from exporter.history.cleaner import Cleaner
from exporter.history.dimensions import site_label
from exporter.history.file import HistoryFile
from exporter.history.history import plausible_now
from exporter.history.importing import Folding, Imported, Importer
from exporter.history.pruning import newest_request
from exporter.history.tables import REQUESTS
from exporter.history.verification import Verdict
from exporter.imports.rejects import Rejects
from exporter.maintenance import archived_events, check_owner, configured

_WHOLE = 1000
_SECTIONS = ("history", "privacy", "collectors")


@dataclass(frozen=True)
class ImportOptions:
    """How files are imported."""

    reading: imports.FileOptions = field(default_factory=imports.FileOptions)
    rejects: Path | None = None
    """Where rejected lines of all files go; None: beside each file."""
    counted: bool = False
    dry_run: bool = False


def import_files(
    options: RunOptions, paths: Sequence[Path], chosen: ImportOptions, progress: Callable[[int, int], None]
) -> Iterator[Verdict]:
    """Import files one after the other; what was imported stays, even if the next fails.

    ``progress`` is called with how much is done of how much, in thousandths of a file.
    """
    readers = [(path, imports.open_reader(path, chosen.reading)) for path in paths]
    common = Rejects(chosen.rejects, written=not chosen.dry_run) if chosen.rejects else None
    for path in paths:
        (common or Rejects.beside(path, written=not chosen.dry_run)).check(paths)
    importer = _importer(options, chosen)
    with common or contextlib.nullcontext():
        for number, (path, reader) in enumerate(readers):
            own = None if common else Rejects.beside(path, written=not chosen.dry_run)
            with own or contextlib.nullcontext():
                rejects = own or common or Rejects.beside(path)
                before = rejects.count
                found = importer.bring_in(reader, partial(rejects.add, path), _share_of(progress, number, len(readers)))
            yield from _verdicts(path, found, dry_run=chosen.dry_run)
            yield from _notes(path, reader.counts)
            if rejects.count > before:
                yield _rejected(path, rejects.count - before, rejects)


def _share_of(progress: Callable[[int, int], None], number: int, files: int) -> Callable[[float], None]:
    """Return what is called with the share of one file that is done."""
    return lambda share: progress(int((number + share) * _WHOLE), files * _WHOLE)


def _importer(options: RunOptions, chosen: ImportOptions) -> Importer:
    configuration = options.load(collectors.discover(), sections=_SECTIONS)
    file = configured(configuration)
    file.read_only = chosen.dry_run
    if not chosen.dry_run:
        check_owner(file.path)
    now = datetime.now(UTC)
    before = _retained_since(file, configuration.history.retention, now)
    privacy = component_options.privacy(configuration)
    (events,) = (item for item in archived_events() if item.table == REQUESTS)
    return Importer(
        file,
        events,
        Cleaner(privacy),
        now,
        stores_users=privacy.users != "none",
        before=before,
        counted=_folding(configuration, file) if chosen.counted else None,
    )


def _retained_since(file: HistoryFile, retention: float | None, now: datetime) -> datetime | None:
    """Return the instant (UTC, naive) before which the retention lets nothing stand, as the agent reckons it."""
    newest, at = newest_request(file), now.replace(tzinfo=None)
    return None if retention is None else plausible_now(at, newest or at) - timedelta(seconds=retention)


def _folding(configuration: Configuration, file: HistoryFile) -> Folding:
    folds: list[Fold] = []
    for name, collector in collectors.discover().items():
        if collector.events and collector.events.table == REQUESTS:
            folds += collector.events.folds
        if configuration.collectors.get(name, collector.enabled):
            folds += collector.folds
    with file.open() as connection:
        sites = connection.execute("SELECT id, url_namespace FROM latest_sites").fetchall()
    nobody = pa.table({"user_id": pa.array([], pa.int64()), "person": pa.array([], pa.int64())})
    return Folding(folds, Lookups({site: site_label(namespace) for site, namespace in sites}, nobody))


def _verdicts(path: Path, found: Imported, *, dry_run: bool) -> Iterator[Verdict]:
    done = "would be imported" if dry_run else "imported"
    span = f", from {found.oldest} to {found.newest} UTC" if found.oldest else ""
    known = f"{found.known:,} are archived already" if found.known else "none was archived before"
    yield Verdict(ok=True, subject=path.name, message=f"{found.new:,} requests {done}{span}; {known}")
    if found.repeated:
        yield _note(path, f"{found.repeated:,} lines stand there again, as after a second run: each is one request")
    if found.too_old:
        yield _note(path, f"{found.too_old:,} requests are older than history.retention, and left out")


def _notes(path: Path, counts: imports.Counts) -> Iterator[Verdict]:
    for count, message in (
        (counts.recovered, "requests with line ends or delimiters in a text were put together"),
        (counts.decoded_as_cp1252, "lines are not UTF-8, and were read as Windows-1252"),
        (counts.ambiguous_times, "requests are of the hour that the end of summer time repeats: read as the first one"),
        (counts.missing_times, "requests are of an hour that summer time leaves out: check --timezone"),
    ):
        if count:
            yield _note(path, f"{count:,} {message}")


def _rejected(path: Path, count: int, rejects: Rejects) -> Verdict:
    where = f"with their reasons in {rejects.path}" if rejects.written else "and would be written down with reasons"
    return _note(path, f"{count:,} pieces are no request that can be read, {where}")


def _note(path: Path, message: str) -> Verdict:
    return Verdict(ok=None, subject=path.name, message=message)
