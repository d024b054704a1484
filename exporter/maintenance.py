"""Maintenance of the history file: the implementation of ``tableau-exporter history``; each reports what it did."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exporter import collectors, component_options, exports
from exporter.collector import Events
from exporter.config import Configuration, RunOptions
from exporter.errors import ConfigurationError, Fault, HistoryReplaced, HistoryUnwritable, OutputUnwritable
from exporter.history import text_files
from exporter.history.backup import Backups, back_up_key
from exporter.history.compaction import FREE_SHARE, compact, free_share, sweep
from exporter.history.export_reader import ExportSource, Slices
from exporter.history.file import COMMANDS_GAP_SECONDS, HistoryFile, Limits
from exporter.history.history import plausible_now
from exporter.history.pruning import newest_request, prune_in_steps
from exporter.history.verification import Verdict, verify
from exporter.texts import safe_uri

# A request may be open for a day, and is counted when it is final: what is younger is not for pruning.
YOUNGEST = timedelta(days=1)
# An agent that reads a large past lets go for moments only: a command waits for one of these.
PATIENCE_SECONDS = 60.0
# A pruning is what makes room: it needs only a little for its log.
PRUNING_FREE_BYTES = 10_000_000


def verify_history(options: RunOptions, copy: Path | None) -> Iterator[Verdict]:
    """Check the history, or a copy of it, for which no configuration is needed."""
    file = _opened(copy, Limits(), "") if copy else configured(_configuration(options))
    file.read_only = True
    yield from verify(file, archived_events())


def back_up(options: RunOptions, folder: Path, keep: int, *, with_key: bool) -> Iterator[Verdict]:
    """Make one more backup."""
    configuration, now = _configuration(options), datetime.now(UTC)
    last: Verdict | None = None
    for last in Backups(configured(configuration), folder, keep).make(archived_events(), now):
        yield last
    key = configuration.pseudonym_key_file
    if last is not None and last.ok and key.exists():
        yield _back_up_key(key, folder, now) if with_key else _remind_of_key(key)


def _remind_of_key(key: Path) -> Verdict:
    message = f"{key} is not part of the backup: keep it elsewhere; without it pseudonyms start anew after a restore"
    return Verdict(ok=None, subject="key", message=message)


def _back_up_key(key: Path, folder: Path, now: datetime) -> Verdict:
    copy = back_up_key(key, folder, f"{now:%Y%m%dT%H%M%SZ}")
    return Verdict(ok=True, subject="key", message=f"{copy}: with it anybody can test which user is behind a pseudonym")


def prune(
    options: RunOptions, older_than: float | None, before: datetime | None, *, rewrite: bool
) -> Iterator[Verdict]:
    """Remove what is older than an instant, or than a span; by default history.retention."""
    configuration = _configuration(options)
    file = configured(configuration)
    file.limits = replace(file.limits, free_bytes=PRUNING_FREE_BYTES)
    check_owner(file.path)
    sweep(file)
    now = datetime.now(UTC).replace(tzinfo=None)
    span = configuration.history.retention if older_than is None else older_than
    instant = _instant(newest_request(file), now, span, before)
    rows, steps = Counter[str](), 0
    for pruned in prune_in_steps(file, archived_events(), instant):
        rows.update(pruned.rows)
        instant, steps = pruned.before, steps + 1
    removed = ", ".join(f"{count:,} of {table}" for table, count in sorted(rows.items())) or "nothing"
    message = f"{removed} older than {instant} UTC removed, in {steps} steps; counters and positions stay"
    yield Verdict(ok=True, subject="rows", message=message)
    yield _room(file, rewrite=rewrite)


@dataclass(frozen=True)
class ExportRequest:
    """What is exported, and where to: each target by itself; ``progress`` is called with the rows read and all.

    Without a table it is every file of ``--format=text``; ``form`` is how those are written.
    """

    format: str
    table: str | None
    targets: Sequence[str]
    since: datetime | None = None
    until: datetime | None = None
    rewrite: bool = False
    progress: Callable[[int, int], None] = lambda _done, _total: None
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported(Verdict):
    """What became of one table; ``rows`` is how many were written."""

    rows: int = 0


def export(options: RunOptions, request: ExportRequest) -> Iterator[Verdict]:
    """Bring each target up to date, from the history of the configuration."""
    yield from export_from(history_to_read(options), request)


def export_from(file: HistoryFile, request: ExportRequest) -> Iterator[Verdict]:
    """Bring each target up to date; the file is let go while they are written. A fault of one is none of another."""
    write = exports.load(request.format)
    if request.format == "text":
        for name in [request.table] if request.table else exports.DAILY_TEXT_FILES:
            yield from _export_text(write, file, name, request)
        return
    if request.table is None:
        raise ConfigurationError([Fault("export", f"--format={request.format} needs --table")])
    kind = exports.TABLES[request.table]
    if kind.at is None and (request.since or request.until):
        raise ConfigurationError([Fault("export", f"{request.table} has no time that --since or --until could bound")])
    bounds = (request.since, request.until)
    source = ExportSource(request.table, kind.order, kind.at, kind.base, *bounds, archived_again=kind.archived_again)
    table = exports.ExportOptions("", request.table, request.rewrite, request.until)
    yield from _export(write, file, source, table, request)


def _export_text(write: exports.Export, file: HistoryFile, name: str, request: ExportRequest) -> Iterator[Verdict]:
    """Bring one of the text files up to date."""
    item = text_files.TEXT_FILES[name]
    if missing := item.missing(file):
        lacks = f"the history has no {', '.join(missing)} yet"
        message = f"{lacks}: let the agent poll with the collectors content, users and logins"
        yield Verdict(ok=False, subject=name, message=message)
        return
    added = [
        exports.Added(one.key, one.columns, Slices(file, one.source).whole(), one.leads_to) for one in item.lookups
    ]
    since = request.since if item.at else None
    is_appended = item.order is not None
    source = ExportSource(name, item.order, item.at, item.base, since, archived_again=is_appended, query=item.query)
    text = exports.TextOptions(
        "",
        name,
        request.rewrite,
        is_appended=is_appended,
        columns=item.columns,
        dates=item.dates,
        added=added,
        form=exports.Form(**request.form),
    )
    yield from _export(write, file, source, text, request)


def _export(
    write: exports.Export, file: HistoryFile, source: ExportSource, table: exports.ExportOptions, request: ExportRequest
) -> Iterator[Verdict]:
    """Bring a table up to date in each target."""
    for target in request.targets:
        rows = Slices(file, source, request.progress)
        if source.order and rows.newest is None:
            yield Verdict(ok=None, subject=table.table, message="has no rows yet: the agent writes them when it polls")
            return
        try:
            count = write(rows, target, replace(table, history=rows.history))
        except (OutputUnwritable, HistoryReplaced) as error:
            yield Verdict(ok=False, subject=table.table, message=str(error))
            continue
        done = "appended to" if source.order else "written to"
        reach = f", which has all up to {rows.newest} UTC" if source.order and request.until is None else ""
        message = f"{count:,} rows {done} {safe_uri(target)}{reach}"
        yield Exported(ok=True, subject=table.table, message=message, rows=count)


def history_to_read(options: RunOptions) -> HistoryFile:
    """Return the history of the configuration, to be read alone. Raises HistoryUnwritable where there is none."""
    file = configured(_configuration(options))
    file.read_only = True
    return file


def _instant(newest: datetime | None, now: datetime, span: float | None, before: datetime | None) -> datetime:
    """Return the requested instant (UTC, naive); raises ConfigurationError for an implausible one."""
    if newest is None:
        raise _refused("the history holds no request whose time can be believed: there is nothing to reckon from")
    if before is None:
        if span is None:
            raise _refused("how old? set history.retention, or give --older-than or --before")
        before = plausible_now(now, newest) - timedelta(seconds=span)
    latest = min(now, newest) - YOUNGEST
    if before > latest:
        raise _refused(f"{before} UTC is too late: nothing younger than {latest:%Y-%m-%d %H:%M:%S} UTC is removed")
    return before


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError([Fault("prune", message)])


def _room(file: HistoryFile, *, rewrite: bool) -> Verdict:
    """Report the free space inside the file, and return it to the disk where that was requested."""
    size, free = (file.bytes or 0) / 1e6, free_share(file)
    if not rewrite:
        message = f"{size:.1f} MB, of which {free:.0%} are free for what comes"
        return Verdict(ok=True, subject="file", message=message)
    if free < FREE_SHARE:
        message = f"{size:.1f} MB, of which {free:.0%} are free: not worth writing anew"
        return Verdict(ok=None, subject="file", message=message)
    compact(file)
    message = f"written anew: {(file.bytes or 0) / 1e6:.1f} MB instead of {size:.1f} MB"
    return Verdict(ok=True, subject="file", message=message)


def check_owner(path: Path) -> None:
    """Raise HistoryUnwritable unless this user owns the file: a log of another user keeps the agent from writing."""
    owner = path.stat().st_uid
    if owner != os.geteuid():
        message = f"{path}: belongs to the user {owner}, and only its owner writes it: see docs/history.md"
        raise HistoryUnwritable(message)


def _configuration(options: RunOptions) -> Configuration:
    """Read what these commands need: the secrets of a source may be for the agent's eyes alone."""
    return options.load(collectors.discover(), sections=("history", "privacy"))


def configured(configuration: Configuration) -> HistoryFile:
    """Return the history that the configuration names. Raises HistoryUnwritable where there is none."""
    return opened(configuration.history.path, component_options.history_limits(configuration))


def opened(path: Path, limits: Limits) -> HistoryFile:
    """Return the history at a path of the configuration. Raises HistoryUnwritable where there is none."""
    return _opened(path, limits, "; check history.path and --config.file")


def _opened(path: Path, limits: Limits, advice: str) -> HistoryFile:
    if not path.is_file():
        message = f"{path}: {'is no file' if os.path.lexists(path) else 'no such file'}{advice}"
        raise HistoryUnwritable(message)
    patient = replace(limits, patience_seconds=PATIENCE_SECONDS)
    return HistoryFile(path, patient, repairs=False, gap_seconds=COMMANDS_GAP_SECONDS)


def archived_events() -> Sequence[Events]:
    """Return the events of every collector, also of those that are switched off."""
    return collectors.archived(collectors.discover())
