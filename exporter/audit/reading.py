"""What an audit finds: the assets of every source, read once, judged, the worst first."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from exporter import collectors, parts
from exporter.collector import State, columns_of
from exporter.collectors.assets.inventory import assets_of
from exporter.collectors.assets.judging import CRITICAL, HEALTHY, LIVE, SCHEMA, UNKNOWN, WARNING, judge
from exporter.collectors.assets.merging import merge
from exporter.collectors.assets.rows import Asset
from exporter.config import Configuration
from exporter.errors import SourceError
from exporter.freshness import promises
from exporter.history.people import Pseudonyms
from exporter.inventory import REFRESHES
from exporter.poller.personal import without_names
from exporter.repository.source import Repository
from exporter.rest.source import Rest, SiteResult

WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, HEALTHY, LIVE)

Progress = Callable[[str], None]


Sites = Callable[[Configuration], Iterator[SiteResult]]


@dataclass
class Audit:
    """Judged rows, the worst first; a line for each source or site that is missing, and for each reservation."""

    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_critical(self) -> bool:
        """Whether a critical promise is broken."""
        return CRITICAL in pc.unique(self.rows.column("status")).to_pylist()


def rest_sites(configuration: Configuration) -> Iterator[SiteResult]:
    """Read every site over REST, one after another. Raises SourceError when nothing can be had at all."""
    settings = configuration.rest
    if settings is None:
        return
    with contextlib.closing(Rest(parts.rest_login(settings))) as rest:
        yield from rest.poll(REFRESHES.empty_table(), settings.job_lookups_per_day)


def read(configuration: Configuration, now: float, progress: Progress, sites: Sites = rest_sites) -> Audit:
    """Read every configured source once and judge its assets; one that fails, or a site, leaves the others theirs."""
    audit, tables = Audit(), []
    if configuration.repository is not None:
        progress("reading the repository")
        try:
            tables.append(_of_repository(configuration))
        except SourceError as error:
            audit.failures.append(str(error))
    if configuration.rest is not None:
        progress("reading over REST")
        tables += _of_sites(sites(configuration), audit, progress)
    rows = without_names(merge(tables), columns_of(Asset), parts.privacy(configuration), _pseudonyms(configuration))
    if not rows.num_rows and not audit.failures:
        audit.failures.append("no assets were found: check the rights of the agent's user or token")
    progress(f"judging {rows.num_rows:,} assets")
    audit.rows = worst_first(judge(rows, promises(configuration.freshness.promises()), now))
    return audit


def worst_first(judged: pa.Table) -> pa.Table:
    """Return judged rows by how bad they are, the oldest data first."""
    place = pc.index_in(judged.column("status"), value_set=pa.array(WORST_FIRST))
    order = [("place", "ascending"), ("hours_since_refresh", "descending")]
    order += [(name, "ascending") for name in ("site", "project_name", "asset_type", "asset_name", "asset_id")]
    return judged.append_column("place", place).sort_by(order).select(judged.column_names)


def _of_repository(configuration: Configuration) -> pa.Table:
    state = _state()
    with Repository(parts.login(configuration)).session() as session:
        session.look([relation.name for relation in state.reads])
        return session.read(state.row, state.reads, state.sql)


def _state() -> State:
    (state,) = collectors.discover()["assets"].states
    return state


def _of_sites(results: Iterator[SiteResult], audit: Audit, progress: Progress) -> Iterator[pa.Table]:
    try:
        for result in results:
            if result.inventory is not None:
                assets = assets_of(result.inventory)
                progress(f"site {result.site}: {assets.num_rows:,} assets")
                audit.notes += [f"site {result.site}: {note}" for note in result.inventory.notes]
                yield assets
            if result.error is not None:
                audit.failures.append(f"site {result.site}: {result.error}")
    except SourceError as error:
        audit.failures.append(str(error))


def _pseudonyms(configuration: Configuration) -> Pseudonyms | None:
    """Return what the rules of content owners are matched with; a key that nobody has made yet is not made here."""
    return parts.pseudonyms(configuration) if configuration.pseudonym_key_file.exists() else None
