"""Result of an audit: the assets of every source, read once, with their SLA status, most overdue first."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from exporter import collectors, component_options
from exporter.collector import State, columns_of
from exporter.collectors.assets.from_rest import assets_of
from exporter.collectors.assets.merging import merge
from exporter.collectors.assets.rows import Asset
from exporter.collectors.assets.status import CRITICAL, HEALTHY, LIVE, SCHEMA, UNKNOWN, WARNING, judge
from exporter.config import Configuration, sections
from exporter.errors import HistoryError, SourceError
from exporter.freshness import sla_lookup
from exporter.history import refreshes
from exporter.history.file import HistoryFile
from exporter.history.privacy import apply_privacy
from exporter.history.pseudonyms import Pseudonyms
from exporter.inventory import REFRESHES, remembered_of

if TYPE_CHECKING:
    from exporter.rest.client import SiteResult

WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, HEALTHY, LIVE)

Progress = Callable[[str], None]


Sites = Callable[[Configuration, pa.Table], Iterator["SiteResult"]]
"""Reads every site, given the refresh jobs that are known (rows of Refresh)."""


@dataclass(frozen=True)
class HistoryAnswers:
    """What the history knows: rows of Refresh, and by site rows of AssetFreshness, None where it is unreadable."""

    jobs: pa.Table = field(default_factory=REFRESHES.empty_table)
    freshness: Mapping[str, pa.Table] | None = field(default_factory=dict)


@dataclass
class Audit:
    """Rows with their SLA status, most overdue first; a line for each source or site that is missing, and each note."""

    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sites: set[str] = field(default_factory=set)
    """The sites that the REST API listed, or that could not be read."""
    gaps: list[str] = field(default_factory=list)
    """Why freshness is not known whole: a source of it was throttled, or answered in part."""

    @property
    def is_critical(self) -> bool:
        """Whether an asset is past its critical SLA."""
        return CRITICAL in pc.unique(self.rows.column("status")).to_pylist()


def rest_sites(configuration: Configuration, jobs: pa.Table) -> Iterator["SiteResult"]:
    """Read every site over REST, one after another. Raises SourceError when nothing can be had at all."""
    settings = configuration.rest
    if settings is None:
        return
    from exporter.rest.client import RestClient

    with contextlib.closing(RestClient(component_options.rest_options(settings))) as rest:
        yield from rest.poll(jobs, settings.job_lookups_per_day)


def run_audit(
    configuration: Configuration,
    now: float,
    progress: Progress,
    sites: Sites = rest_sites,
    *,
    chosen: Collection[str] = (),
) -> Audit:
    """Read every source once and compute the SLA status of its assets; a failing source or site costs no other.

    ``chosen`` are the labels of the sites that are audited; none are all.
    """
    audit, tables = Audit(), []
    configuration = _of_chosen(configuration, chosen)
    if configuration.repository is not None:
        progress("reading the repository")
        try:
            tables.append(_of_repository(configuration.repository))
        except SourceError as error:
            audit.failures.append(str(error))
    if configuration.rest is not None:
        past = _past(configuration, audit)
        progress("reading over REST")
        tables += _of_sites(sites(configuration, past.jobs), past, audit, progress)
    rows = apply_privacy(
        merge(tables), columns_of(Asset), component_options.privacy(configuration), _pseudonyms(configuration)
    )
    if chosen:
        rows = _chosen(rows, chosen, audit)
    if not rows.num_rows and not audit.failures:
        audit.failures.append("no assets were found: check the rights of the agent's user or token")
    progress(f"judging {rows.num_rows:,} assets")
    audit.rows = worst_first(judge(rows, sla_lookup(configuration.freshness.sla_rules()), now))
    return audit


def worst_first(judged: pa.Table) -> pa.Table:
    """Return the rows by severity, the oldest data first."""
    place = pc.index_in(judged.column("status"), value_set=pa.array(WORST_FIRST))
    order = [("place", "ascending"), ("hours_since_refresh", "descending")]
    order += [(name, "ascending") for name in ("site", "project_name", "asset_type", "asset_name", "asset_id")]
    return judged.append_column("place", place).sort_by(order).select(judged.column_names)


def _of_chosen(configuration: Configuration, chosen: Collection[str]) -> Configuration:
    """Return a configuration that reads no other sites over REST."""
    rest = configuration.rest
    if rest is None or not chosen:
        return configuration
    wanted = {site.casefold() for site in chosen}
    sites = tuple(site for site in rest.sites if site.casefold() in wanted) if rest.sites else tuple(chosen)
    return configuration.model_copy(update={"rest": rest.model_copy(update={"sites": sites}) if sites else None})


def _chosen(rows: pa.Table, chosen: Collection[str], audit: Audit) -> pa.Table:
    """Return the assets of some sites; a site that no source knows is a failure."""
    wanted = {site.casefold() for site in chosen}
    there = {site for site in pc.unique(rows.column("site")).to_pylist() if site is not None}
    known = {site.casefold() for site in there | audit.sites}
    if not audit.failures:
        others = f"; there are {', '.join(sorted(there))}" if there else ""
        audit.failures += [
            f"--site {site}: no such site, or none with assets{others}"
            for site in dict.fromkeys(chosen)
            if site.casefold() not in known
        ]
    found = pa.array([site for site in there if site.casefold() in wanted], pa.string())
    return rows.filter(pc.is_in(rows.column("site"), value_set=found))


def _of_repository(settings: sections.Repository) -> pa.Table:
    from exporter.repository.client import RepositoryClient

    state = _state()
    with RepositoryClient(component_options.repository_options(settings)).session() as session:
        session.load_catalog([relation.name for relation in state.reads])
        return session.read(state.row, state.reads, state.sql)


def _state() -> State:
    return next(state for each in collectors.discover().values() for state in each.states if state.audit)


def _past(configuration: Configuration, audit: Audit) -> HistoryAnswers:
    """Return what the history knows, where there is one; without it, older refreshes are not known."""
    path = configuration.history.path
    file = HistoryFile(path, component_options.history_limits(configuration), read_only=True, repairs=False)
    try:
        if not path.is_file():
            return HistoryAnswers()
        with file.open() as connection:
            return HistoryAnswers(refreshes.looked_up(connection).cast(REFRESHES), refreshes.freshness(connection))
    except (HistoryError, OSError) as error:
        # What it remembers is unknown, so no change of anything may stand in for it.
        audit.notes.append(f"the history is not used: {error}")
        audit.gaps.append(f"the history: {error}")
        return HistoryAnswers(freshness=None)


def _of_sites(
    results: Iterator["SiteResult"], past: HistoryAnswers, audit: Audit, progress: Progress
) -> Iterator[pa.Table]:
    try:
        for result in results:
            audit.sites.add(result.site)
            if result.inventory is not None:
                inventory, known = result.inventory, past.freshness
                remembered = None if known is None else remembered_of(known, result.site, inventory.content)
                assets = assets_of(replace(inventory, remembered=remembered))
                progress(f"site {result.site}: {assets.num_rows:,} assets")
                audit.notes += [f"site {result.site}: {note}" for note in result.inventory.notes]
                audit.gaps += [f"site {result.site}: {gap}" for gap in result.inventory.gaps]
                yield assets
            if result.error is not None:
                audit.failures.append(f"site {result.site}: {result.error}")
    except SourceError as error:
        audit.failures.append(str(error))


def _pseudonyms(configuration: Configuration) -> Pseudonyms | None:
    """Return what the rules of content owners are matched with; a key that nobody has made yet is not made here."""
    return component_options.pseudonyms(configuration) if configuration.pseudonym_key_file.exists() else None
