"""Reads the repository in one session: states, tables of events, and the sites and users behind their ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from exporter.collector import Collector, Events, Fold, State, StateKey, columns_of
from exporter.collectors import counts_people
from exporter.errors import HistoryError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.history.aggregation import Lookups
from exporter.history.dimensions import site_label
from exporter.history.history import History
from exporter.history.privacy import apply_privacy, person_ids
from exporter.poller.archiver import ArchiveContext, TableWrite, append_batches, columns_to_fit, read_table
from exporter.poller.runs import Runs
from exporter.poller.view_reader import LOOK_BACK, read_view
from exporter.repository.session import Session

SOURCE = "repository"
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class PollResult:
    """What a poll has read, and not yet stored or published."""

    runs: Runs = field(default_factory=lambda: Runs(SOURCE))
    states: dict[StateKey, pa.Table] = field(default_factory=dict)
    tables: list[TableWrite] = field(default_factory=list)
    full_reads: list[tuple[Events, pa.Table]] = field(default_factory=list)
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    address: str = ""
    server_version: str = ""
    oldest_at: datetime | None = None
    source_at: datetime | None = None
    """The source's clock."""
    unwritten: HistoryError | None = None
    """Why batches could not be written."""
    table_bytes: int | None = None
    """The size of the source's table of requests."""

    def exact_seconds(self) -> float:
        """Return how long the exact reads of this poll took."""
        return sum(write.seconds for write in self.tables if write.read_exactly)

    def waiting(self) -> set[str]:
        """Return the tables whose rows are not stored yet."""
        return {write.events.table for write in self.tables} | {events.table for events, _ in self.full_reads}


@dataclass(frozen=True)
class IdMaps:
    """Sites and users by their ids, kept between polls: a request may have the id of a deleted one."""

    sites: Mapping[int, str]
    present_sites: tuple[str, ...]
    people: pa.Table


class RepositoryReader:
    """Reads the rows of each collector; a collector that fails does not affect the others."""

    def __init__(
        self,
        history: History,
        collectors: Mapping[str, Collector],
        clock: Callable[[], datetime],
        stopping: Callable[[], bool],
    ) -> None:
        self._history = history
        self._collectors = collectors
        self._clock = clock
        self._stopping = stopping
        self._ids: IdMaps | None = None
        self._source_at: datetime | None = None
        self._read_at: dict[StateKey, datetime] = {}

    @property
    def ids(self) -> IdMaps:
        """Sites and users by their ids; before the first read those of the history."""
        if self._ids is None:
            people = person_ids(self._history.known_users, self._history.pseudonyms)
            self._ids = IdMaps(dict(self._history.known_sites), (), people)
        return self._ids

    def open_catalog(self, session: Session, result: PollResult) -> None:
        """Read which tables and columns this repository has."""
        result.address, result.server_version = session.address, session.server_version
        relations = {name: collector.relations for name, collector in self._collectors.items()}
        catalog = session.load_catalog(self._relations())
        self._source_at = session.asked_at
        result.source_at = session.asked_at and session.asked_at.replace(tzinfo=UTC)
        result.missing = {name: tuple(sorted(set(catalog.missing(some)))) for name, some in relations.items()}

    def archive_context(self) -> ArchiveContext:
        """Return what archiving needs beside the rows."""
        folds: dict[str, Sequence[Fold]] = {events.table: events.folds for events in self._history.events()}
        for events in self._history.events():
            if events.keeps_open:
                more = (fold for collector in self._collectors.values() for fold in collector.folds)
                folds[events.table] = (*folds[events.table], *more)
        return ArchiveContext(
            self._history,
            Lookups(self.ids.sites, self.ids.people, source_at=self._source_at),
            folds,
            count_people=counts_people(self._collectors),
            clock=self._clock,
            stopping=self._stopping,
        )

    def read_states(self, session: Session, result: PollResult, *, exact: bool) -> None:
        """Read the states that are due, and the names in them. Raises SourceUnreachable when the source goes away."""
        for name, collector in self._collectors.items():
            for index, state in enumerate(collector.states):
                if not self._is_due((name, index), state, exact=exact):
                    continue
                try:
                    with result.runs.timed(name) as run:
                        rows = session.read(state.row, state.reads, state.sql)
                        run.rows += rows.num_rows
                        result.states[name, index] = self._private(rows, state.row)
                except SourceUnreachable:
                    raise
                except SourceError as error:
                    self._check_rights(session, error)
                    continue  # recorded by the run; the other states may still be read
                self._read_at[name, index] = self._clock()
        self._update_ids(result)

    def read_again(self, keys: Iterable[StateKey] | None = None) -> None:
        """Read some states, or all, with the next exact poll, however seldom: they could not be read, or not stored."""
        self._read_at |= dict.fromkeys(self._read_at if keys is None else keys, NEVER)

    def _is_due(self, key: StateKey, state: State, *, exact: bool) -> bool:
        read_at = self._read_at.get(key)
        if state.every == "poll" or read_at is None:
            return True
        return exact and not timedelta(0) <= self._clock() - read_at < timedelta(seconds=state.seconds)

    def _private(self, rows: pa.Table, row: type) -> pa.Table:
        return apply_privacy(rows, columns_of(row), self._history.privacy, self._history.pseudonyms)

    def _update_ids(self, result: PollResult) -> None:
        """Add the sites and users just read to those of the past."""
        sites, users = self._rows_of("sites", result), self._rows_of("users", result)
        if sites is not None:
            names = zip(sites.column("id").to_pylist(), sites.column("url_namespace").to_pylist(), strict=True)
            present = {site: site_label(namespace) for site, namespace in names}
            self._ids = replace(
                self.ids, sites={**self.ids.sites, **present}, present_sites=tuple(sorted(set(present.values())))
            )
        if users is not None:
            gone = self.ids.people.join(users.select(["id"]), keys="user_id", right_keys="id", join_type="left anti")
            people = person_ids(users, self._history.pseudonyms)
            self._ids = replace(self.ids, people=pa.concat_tables([people, gone.select(people.column_names)]))

    def _rows_of(self, table: str, result: PollResult) -> pa.Table | None:
        for (name, index), rows in result.states.items():
            if self._collectors[name].states[index].history.table == table:
                return rows
        return None

    def read_events(self, session: Session, result: PollResult, *, exact: bool) -> None:
        """Read the events that are new; many of them are archived meanwhile. Raises SourceUnreachable."""
        for name, collector in self._collectors.items():
            if collector.events is None:
                continue
            try:
                with result.runs.timed(name) as run:
                    run.rows += self._read_one(session, collector.events, result, exact=exact)
            except SourceUnreachable:
                raise
            except HistoryError as error:
                result.unwritten = result.unwritten or error
            except SourceError as error:
                self._check_rights(session, error)  # what failed is recorded by the run

    def _check_rights(self, session: Session, error: SourceError) -> None:
        """Read the catalog again after a lost right: raises SourceRefused where nothing may be read any more."""
        if isinstance(error, SourceRefused):
            session.load_catalog(self._relations())

    def _relations(self) -> set[str]:
        return {relation.name for collector in self._collectors.values() for relation in collector.relations}

    def _read_one(self, session: Session, events: Events, result: PollResult, *, exact: bool) -> int:
        if events.sql and events.row:
            rows = session.read(events.row, events.reads, events.sql)
            result.full_reads.append((events, self._history.clean(events, rows)))
            return int(result.full_reads[-1][1].num_rows)
        if events.source not in session.catalog.relations:
            if events.reads[0].optional:
                return 0
            return self._read_view(session, events, result, exact=exact)
        if events.keeps_open and "viewed" in self._history.totals.marks and events.table not in self._history.positions:
            # The view has no ids: the same rows would be archived a second time under their own.
            message = (
                f"{events.table}: archived through {session.catalog.view_of(events.table)} so far;"
                " go on with a user who may read only that, or begin a new file at history.path"
            )
            raise SourceIncomplete(message)
        write = read_table(session, events, self.archive_context(), exact_due=exact)
        result.tables.append(write)
        if events.keeps_open and write.table_read:
            result.oldest_at = write.table_read.oldest_at
            result.table_bytes = write.table_read.table_bytes
        return write.read + (write.rows.num_rows if write.rows is not None else 0)

    def _read_view(self, session: Session, events: Events, result: PollResult, *, exact: bool) -> int:
        """Read rows through the underscore view, where the table itself may not be read."""
        view = session.catalog.stand_in(events.source)
        if events.table in self._history.positions:
            # The view has no ids: the same rows would be archived a second time under others.
            message = f"{events.table}: archived from the table so far, which may not be read any more"
            raise SourceIncomplete(message)
        if events.row is not None:
            columns = ", ".join(column.name for column in columns_of(events.row))
            sql = f"SELECT {columns} FROM {events.table} WHERE completed_at IS NOT NULL"
            result.full_reads.append((events, self._history.clean(events, session.read(events.row, events.reads, sql))))
            return int(result.full_reads[-1][1].num_rows)
        now = self._clock().astimezone(UTC).replace(tzinfo=None)
        since = None if exact else self.archive_context().lookups.earlier_clock(now) - LOOK_BACK
        write = TableWrite(events, "full" if exact else "fast", self._clock(), None, node=session.address)
        for fields, rows in read_view(session, view, since):
            write.fields = fields
            with self._history.transaction(self._clock(), columns_to_fit([write])) as transaction:
                write.count(
                    append_batches(transaction, events, [self._history.clean(events, rows)], self.archive_context())
                )
                transaction.log_part(write.line((self._clock() - write.started_at).total_seconds()))
        write.gone = self._history.open_keys.slice(0, 0)
        write.seconds = (self._clock() - write.started_at).total_seconds()
        result.tables.append(write)
        return write.read
