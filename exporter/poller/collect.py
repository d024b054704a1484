"""Taking rows from the source during one session: states, tables of events, and who the ids in them are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pyarrow as pa

from exporter.collector import Collector, Events, Fold, Relation, columns_of
from exporter.errors import HistoryError, SourceError, SourceIncomplete, SourceRefused, SourceUnreachable
from exporter.history.counting import Lookups
from exporter.history.history import History
from exporter.history.names import site_label
from exporter.history.privacy import people_of, without_names
from exporter.poller.archiver import Archiving, Pending, append, columns_to_fit, read_table
from exporter.poller.merged_state import StateKey
from exporter.poller.runs import Runs
from exporter.poller.view_reader import LOOK_BACK, read_view
from exporter.repository.session import Session

SOURCE = "repository"


@dataclass
class Taken:
    """What a poll took from the source and has not yet stored or shown."""

    runs: Runs = field(default_factory=lambda: Runs(SOURCE))
    states: dict[StateKey, pa.Table] = field(default_factory=dict)
    tables: list[Pending] = field(default_factory=list)
    sightings: list[tuple[Events, pa.Table]] = field(default_factory=list)
    lacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    address: str = ""
    server_version: str = ""
    oldest_at: datetime | None = None
    asked_at: datetime | None = None
    """The source's clock."""
    unwritten: HistoryError | None = None
    """What kept rows that arrived in ranges from being written."""
    table_bytes: int | None = None
    """The size of the source's table of requests."""

    def exact_seconds(self) -> float:
        """Return how long the exact readings took that this poll made."""
        return sum(pending.seconds for pending in self.tables if pending.read_exactly)

    def waiting(self) -> set[str]:
        """Name the tables whose rows are not stored yet."""
        return {pending.events.table for pending in self.tables} | {events.table for events, _ in self.sightings}


@dataclass(frozen=True)
class Knowledge:
    """What ids stand for, kept between polls: a request may name a site or a person that is gone."""

    sites: Mapping[int, str]
    present_sites: tuple[str, ...]
    people: pa.Table


class Taker:
    """Takes what each collector asks for; a collector that fails leaves the others theirs."""

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
        self._known: Knowledge | None = None
        self._source_at: datetime | None = None
        self._read_before: set[StateKey] = set()

    @property
    def known(self) -> Knowledge:
        """What ids stand for, to begin with as the history knows it."""
        if self._known is None:
            people = people_of(self._history.known_users, self._history.pseudonyms)
            self._known = Knowledge(dict(self._history.known_sites), (), people)
        return self._known

    def look(self, session: Session, taken: Taken) -> None:
        """Find out what this repository has."""
        taken.address, taken.server_version = session.address, session.server_version
        relations = {name: relations_of(collector) for name, collector in self._collectors.items()}
        catalog = session.look(self._relations())
        self._source_at = session.asked_at
        taken.asked_at = session.asked_at and session.asked_at.replace(tzinfo=UTC)
        taken.lacks = {name: tuple(sorted(set(catalog.missing(some)))) for name, some in relations.items()}

    def archiving(self) -> Archiving:
        """Return what archiving needs beside the rows."""
        folds: dict[str, Sequence[Fold]] = {events.table: events.folds for events in self._history.events()}
        if "http_requests" in folds:
            further = (fold for collector in self._collectors.values() for fold in collector.folds)
            folds["http_requests"] = (*folds["http_requests"], *further)
        return Archiving(
            self._history,
            Lookups(self.known.sites, self.known.people, source_at=self._source_at),
            folds,
            count_people="active_users" in self._collectors,
            clock=self._clock,
            stopping=self._stopping,
        )

    def take_states(self, session: Session, taken: Taken, *, exact: bool) -> None:
        """Take the states that are due, and the names in them. Raises SourceUnreachable when the source goes away."""
        for name, collector in self._collectors.items():
            for index, state in enumerate(collector.states):
                if state.every == "exact" and not exact and (name, index) in self._read_before:
                    continue
                try:
                    with taken.runs.timed(name) as run:
                        rows = session.read(state.row, state.reads, state.sql)
                        run.rows += rows.num_rows
                        taken.states[name, index] = self._unnamed(rows, state.row)
                except SourceUnreachable:
                    raise
                except SourceError as error:
                    self._check_rights(session, error)
                    continue  # recorded by the run; the other states may still be had
                self._read_before.add((name, index))
        self._learn_names(taken)

    def _unnamed(self, rows: pa.Table, row: type) -> pa.Table:
        return without_names(rows, columns_of(row), self._history.privacy, self._history.pseudonyms)

    def _learn_names(self, taken: Taken) -> None:
        """Take up the sites and users just read, beside those of the past."""
        sites, users = self._kept_in("sites", taken), self._kept_in("users", taken)
        if sites is not None:
            names = zip(sites.column("id").to_pylist(), sites.column("url_namespace").to_pylist(), strict=True)
            present = {site: site_label(namespace) for site, namespace in names}
            self._known = replace(
                self.known, sites={**self.known.sites, **present}, present_sites=tuple(sorted(set(present.values())))
            )
        if users is not None:
            gone = self.known.people.join(users.select(["id"]), keys="user_id", right_keys="id", join_type="left anti")
            people = people_of(users, self._history.pseudonyms)
            self._known = replace(self.known, people=pa.concat_tables([people, gone.select(people.column_names)]))

    def _kept_in(self, table: str, taken: Taken) -> pa.Table | None:
        for (name, index), rows in taken.states.items():
            if self._collectors[name].states[index].kept_in == table:
                return rows
        return None

    def take_events(self, session: Session, taken: Taken, *, exact: bool) -> None:
        """Take the events that are new; many of them are archived on the way. Raises SourceUnreachable."""
        for name, collector in self._collectors.items():
            if collector.events is None:
                continue
            try:
                with taken.runs.timed(name) as run:
                    run.rows += self._take_one(session, collector.events, taken, exact=exact)
            except SourceUnreachable:
                raise
            except HistoryError as error:
                taken.unwritten = taken.unwritten or error
            except SourceError as error:
                self._check_rights(session, error)  # what failed is recorded by the run

    def _check_rights(self, session: Session, error: SourceError) -> None:
        """Look again where a right was lost since: raises SourceRefused where nothing may be read any more."""
        if isinstance(error, SourceRefused):
            session.look(self._relations())

    def _relations(self) -> set[str]:
        return {relation.name for collector in self._collectors.values() for relation in relations_of(collector)}

    def _take_one(self, session: Session, events: Events, taken: Taken, *, exact: bool) -> int:
        if events.sql and events.row:
            taken.sightings.append(
                (events, self._unnamed(session.read(events.row, events.reads, events.sql), events.row))
            )
            return int(taken.sightings[-1][1].num_rows)
        if events.table not in session.catalog.relations:
            return self._take_from_view(session, events, taken, exact=exact)
        if events.keeps_open and "viewed" in self._history.totals.marks and events.table not in self._history.positions:
            # The view knew no ids: the same rows would be archived a second time under their own.
            message = (
                f"{events.table}: archived through {session.catalog.view_of(events.table)} so far;"
                " go on with a user who may read only that, or begin a new file at history.path"
            )
            raise SourceIncomplete(message)
        pending = read_table(session, events, self.archiving(), exact_due=exact)
        taken.tables.append(pending)
        if events.keeps_open and pending.reading:
            taken.oldest_at = pending.reading.oldest_at
            taken.table_bytes = pending.reading.table_bytes
        return pending.read + (pending.rows.num_rows if pending.rows is not None else 0)

    def _take_from_view(self, session: Session, events: Events, taken: Taken, *, exact: bool) -> int:
        """Take rows through the underscore view, where the table itself may not be read."""
        view = session.catalog.stand_in(events.table)
        if events.table in self._history.positions:
            # The view knows no ids: the same rows would be archived a second time under others.
            message = f"{events.table}: archived from the table so far, which may not be read any more"
            raise SourceIncomplete(message)
        if events.row is not None:
            columns = ", ".join(column.name for column in columns_of(events.row))
            sql = f"SELECT {columns} FROM {events.table} WHERE completed_at IS NOT NULL"
            taken.sightings.append((events, session.read(events.row, events.reads, sql)))
            return int(taken.sightings[-1][1].num_rows)
        now = self._clock().astimezone(UTC).replace(tzinfo=None)
        since = None if exact else self.archiving().lookups.believed(now) - LOOK_BACK
        pending = Pending(events, "full" if exact else "fast", self._clock(), None, node=session.address)
        for fields, rows in read_view(session, view, since):
            pending.fields = fields
            with self._history.writing(self._clock(), columns_to_fit([pending])) as writer:
                pending.count(append(writer, events, [self._history.clean(events, rows)], self.archiving()))
                writer.log_part(pending.line((self._clock() - pending.started_at).total_seconds()))
        pending.gone = self._history.open_keys.slice(0, 0)
        pending.seconds = (self._clock() - pending.started_at).total_seconds()
        taken.tables.append(pending)
        return pending.read


def relations_of(collector: Collector) -> tuple[Relation, ...]:
    """Return every relation that a collector reads."""
    events = collector.events.reads if collector.events else ()
    return (*events, *(relation for state in collector.states for relation in state.reads))
