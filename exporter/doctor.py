"""What keeps the agent from working: everything that can be found out by looking once, each with what to do."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter import app, collectors
from exporter.config import Configuration, RunOptions
from exporter.errors import ConfigurationError, ExporterError, SourceError, SourceIncomplete
from exporter.history.file import FREE_BYTES_NEEDED
from exporter.poller.poller import relations_of
from exporter.repository.source import Repository


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
    if configuration.repository is not None:
        yield from _repository(configuration)
    yield from _history(configuration.history.path)


def _repository(configuration: Configuration) -> Iterator[Finding]:
    enabled = app.enabled(configuration, collectors.discover())
    relations = {name: relations_of(collector) for name, collector in enabled.items()}
    try:
        with Repository(app.login(configuration)).session() as session:
            yield Finding(ok=True, subject=f"repository {session.address}", message=f"PostgreSQL {session.server_version} answers")
            catalog = session.look({relation.name for some in relations.values() for relation in some})
            for name, collector in enabled.items():
                missing = catalog.missing(relations[name])
                broken = None
                for state in collector.states:
                    try:
                        session.read(state.row, state.reads, f"SELECT * FROM ({state.sql}) AS whole LIMIT 1")
                    except SourceIncomplete as error:
                        broken = str(error)
                    except SourceError as error:
                        broken = str(error)
                if collector.events and collector.events.table not in catalog.relations and not collector.events.sql:
                    try:
                        missing.append(f"{collector.events.table} (reads {catalog.stand_in(collector.events.table)} instead)")
                    except SourceIncomplete as error:
                        broken = str(error)
                if broken:
                    yield Finding(ok=False, subject=f"collector {name}", message=broken)
                elif missing:
                    yield Finding(ok=None, subject=f"collector {name}", message="works without " + ", ".join(sorted(set(missing))))
                else:
                    yield Finding(ok=True, subject=f"collector {name}", message="has every column it can use")
    except ExporterError as error:
        yield Finding(ok=False, subject="repository", message=str(error))


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
