"""What keeps the agent from working: everything that can be found out by looking once, each with what to do."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exporter import collectors, parts
from exporter.collector import Collector, Events, Relation
from exporter.config import Configuration, RunOptions
from exporter.errors import ConfigurationError, ExporterError, SourceError, SourceUnreachable
from exporter.history.file import FREE_BYTES_NEEDED
from exporter.poller.taking import relations_of
from exporter.repository.session import Session
from exporter.repository.source import Repository
from exporter.web.access import load_access


@dataclass(frozen=True)
class Finding:
    """One finding; ``ok`` is None for a note."""

    ok: bool | None
    subject: str
    message: str


def check(options: RunOptions) -> Iterator[Finding]:
    """Look at the configuration, the repository and the history file; nothing is changed."""
    try:
        configuration = options.load(collectors.discover())
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding(ok=False, subject="configuration", message=str(fault))
        return
    yield Finding(ok=True, subject="configuration", message="valid")
    for warning in configuration.warnings:
        yield Finding(ok=None, subject="configuration", message=warning)
    if configuration.web.config_file is not None:
        yield from _web(configuration.web.config_file)
    if configuration.repository is not None:
        yield from _repository(configuration)
    yield from _history(configuration.history.path)


def _web(path: Path) -> Iterator[Finding]:
    try:
        load_access(path)
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding(ok=False, subject="web.config_file", message=str(fault))
    else:
        yield Finding(ok=True, subject="web.config_file", message="valid")


def _repository(configuration: Configuration) -> Iterator[Finding]:
    enabled = parts.enabled(configuration, collectors.discover())
    relations = {relation.name for collector in enabled.values() for relation in relations_of(collector)}
    try:
        with Repository(parts.login(configuration)).session() as session:
            answer = f"PostgreSQL {session.server_version} answers"
            yield Finding(ok=True, subject=f"repository {session.address}", message=answer)
            session.look(relations)
            for name, collector in enabled.items():
                yield _collector(session, name, collector)
    except ExporterError as error:
        yield Finding(ok=False, subject="repository", message=str(error))


def _collector(session: Session, name: str, collector: Collector) -> Finding:
    """Try everything that a collector reads."""
    broken, notes = [], session.catalog.missing(relations_of(collector))
    for attempt in _attempts(session, collector):
        try:
            if note := attempt():
                notes.append(note)
        except SourceUnreachable:
            raise
        except SourceError as error:
            broken.append(str(error))
    if broken:
        return Finding(ok=False, subject=f"collector {name}", message="; ".join(broken))
    if notes:
        return Finding(ok=None, subject=f"collector {name}", message="works without " + ", ".join(sorted(set(notes))))
    return Finding(ok=True, subject=f"collector {name}", message="has every column it can use")


def _attempts(session: Session, collector: Collector) -> Iterator[Callable[[], str | None]]:
    for state in collector.states:
        yield partial(_read_one, session, state.row, state.reads, state.sql)
    events = collector.events
    if events is not None and events.sql and events.row:
        yield partial(_read_one, session, events.row, events.reads, events.sql)
    elif events is not None:
        yield partial(_find, session, events)


def _read_one(session: Session, row: type, reads: Sequence[Relation], sql: str) -> None:
    session.read(row, reads, f"SELECT * FROM ({sql}) AS whole LIMIT 1")


def _find(session: Session, events: Events) -> str | None:
    """Find the table of events, or the view that stands in for it; return a note of what is read instead."""
    catalog = session.catalog
    if events.table not in catalog.relations:
        return f"{events.table} (reads {catalog.stand_in(events.table)} instead)"
    for relation in events.reads:
        catalog.resolve(relation)
    return None


def _history(path: Path) -> Iterator[Finding]:
    folder = path.parent
    if not folder.is_dir():
        yield Finding(ok=False, subject="history", message=f"{folder}: no such folder; make it, or set history.path")
        return
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        yield Finding(ok=False, subject="history", message=f"{path}: not writable for this user; change its owner")
        return
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_NEEDED:
        yield Finding(ok=False, subject="history", message=f"{folder}: only {free // 1_000_000} MB free")
        return
    size = f"{path.stat().st_size / 1e6:.1f} MB" if path.exists() else "will be made"
    yield Finding(ok=True, subject="history", message=f"{path}: {size}, {free / 1e9:.1f} GB free")
