"""One poll of the repository, from session to board; and the loop that repeats it."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from exporter.agent_families import HISTORY_ROWS, INCIDENTS, POSSIBLY_LOST, REPOSITORY_OLDEST
from exporter.collector import Collector, Context, Events, Fold, Relation, State, columns_of
from exporter.errors import HistoryBusy, HistoryError, SourceError, SourceUnreachable
from exporter.exposition.archived import active_blocks, archived_blocks
from exporter.exposition.board import STALE_AFTER_INTERVALS, Board, Shown
from exporter.history.archive import Lookups
from exporter.history.history import History, Writer, site_label
from exporter.metrics import single
from exporter.poller.personal import people_of, without_names
from exporter.poller.runs import Runs
from exporter.poller.tables import Archiving, Pending, append, columns_to_fit, finish, read_table
from exporter.poller.viewing import LOOK_BACK, read_view
from exporter.repository.session import Session
from exporter.repository.source import Repository
from exporter.status import ArchiveStatus, CollectorStatus, PollStatus, SourceStatus

log = structlog.get_logger()

MAX_BACK_OFF_SECONDS = 300.0
MAX_BACK_OFF_INTERVALS = 4


@dataclass(frozen=True)
class Schedule:
    """How often to poll, and how often to read exactly (seconds)."""

    poll_interval: float = 60.0
    exact_interval: float = 300.0


@dataclass
class Taken:
    """What a poll took from the source and has not yet stored or shown."""

    states: dict[tuple[str, int], pa.Table] = field(default_factory=dict)
    tables: list[Pending] = field(default_factory=list)
    sightings: list[tuple[Events, pa.Table]] = field(default_factory=list)
    learned: dict[tuple[str, int], pa.Table] = field(default_factory=dict)
    server_version: str = ""
    address: str = ""


@dataclass(frozen=True)
class Knowledge:
    """What ids stand for, as the last poll learned it: kept between polls, for what is gone from the source."""

    sites: Mapping[int, str]
    present_sites: tuple[str, ...]
    people: pa.Table


class Poller:
    """Polls the repository: the only writer of the history, and of its part of the board."""

    def __init__(  # noqa: PLR0913 - the parts it ties together
        self,
        repository: Repository,
        history: History,
        collectors: Mapping[str, Collector],
        board: Board,
        schedule: Schedule,
        promises: Callable[[Mapping[str, Any]], tuple[float | None, float | None]],
        *,
        clock: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._repository = repository
        self._history = history
        self._collectors = collectors
        self._board = board
        self._schedule = schedule
        self._promises = promises
        self._clock = clock
        self._on_change = on_change
        self._knowledge: Knowledge | None = None
        self._read_at: dict[tuple[str, int], float] = {}
        self._kept: dict[tuple[str, int], pa.Table] = {}
        self._learned: dict[tuple[str, int], pa.Table] = {}
        self._exact_at: float | None = None
        self._logins_since: datetime | None = None
        self._noticed: dict[str, int] = {}
        self._said: dict[str, str | None] = {}
        self._lacks: dict[str, tuple[str, ...]] = {}
        self._repository_oldest: float | None = None

    def lock(self) -> None:
        """Make this agent the history's only writer. Raises HistoryLocked, HistoryUnwritable."""
        self._history.lock()

    def run(self, stop: threading.Event, randomness: random.Random) -> None:
        """Poll until told to stop; failures make the pauses longer, with jitter."""
        failures = 0
        while not stop.is_set():
            try:
                failures = 0 if self.poll() else failures + 1
            except Exception as defect:  # a defect of ours must not end the polling in silence
                failures += 1
                log.exception("a poll failed for a reason that is a defect of this program")
                self._board.pin_poll(PollStatus(self._clock(), 0.0, "none", 0, 0, f"internal error: {type(defect).__name__}"))
                self._fail_all(f"internal error: {type(defect).__name__}")
            stop.wait(pause(self._schedule.poll_interval, failures, randomness))

    def poll(self, *, exact: bool = False) -> bool:
        """Poll once; return whether the source answered and everything was stored."""
        now = self._clock()
        exact = exact or self._exact_at is None or now - self._exact_at >= self._schedule.exact_interval
        runs, taken = Runs(), Taken()
        error: str | None = None
        try:
            self._history.prepare(_instant(now))
            self._remember()
        except HistoryError as failure:
            error = str(failure)
        try:
            with self._repository.session() as session:
                taken.address, taken.server_version = session.address, session.server_version
                self._look(session)
                self._read_states(session, runs, taken, now, exact=exact)
                self._learn_names(taken)
                self._read_events(session, runs, taken, exact=exact)
            self._answered(taken, now)
        except SourceError as failure:
            error = str(failure)
            self._unanswered(failure, now)
            self._fail_unread(runs, error)
        error = self._store(runs, taken, now, exact=exact) or error
        self._show(runs, taken, now, error)
        if exact and error is None:
            self._exact_at = now
        return error is None

    def show_history(self) -> None:
        """Show what the file holds, before the first poll."""
        totals = self._history.totals
        blocks = list(archived_blocks(totals, self._collectors, self._history.file.bytes))
        if self._repository_oldest is not None:
            blocks.append(single(REPOSITORY_OLDEST, self._repository_oldest))
        self._board.pin_archive(blocks, self._archive_status())

    def _remember(self) -> None:
        """Begin with the sites and users of the past."""
        if self._knowledge is None:
            people = people_of(self._history.known_users, self._history.pseudonyms)
            self._knowledge = Knowledge(dict(self._history.known_sites), (), people)

    def _look(self, session: Session) -> None:
        relations = {name: relations_of(collector) for name, collector in self._collectors.items()}
        catalog = session.look({relation.name for some in relations.values() for relation in some})
        self._lacks = {name: tuple(sorted(set(catalog.missing(some)))) for name, some in relations.items()}

    def _read_states(self, session: Session, runs: Runs, taken: Taken, now: float, *, exact: bool) -> None:
        for name, collector in self._collectors.items():
            for index, state in enumerate(collector.states):
                if state.every == "exact" and not exact and (name, index) in self._read_at:
                    continue
                try:
                    with runs.timed(name) as run:
                        rows = session.read(state.row, state.reads, state.sql)
                        run.rows += rows.num_rows
                        taken.states[name, index] = without_names(
                            rows, columns_of(state.row), self._history.privacy, self._history.pseudonyms
                        )
                except SourceUnreachable:
                    raise
                except SourceError:
                    continue  # recorded by the run; the other states may still be had
                self._read_at[name, index] = now

    def _learn_names(self, taken: Taken) -> None:
        """Take up the sites and users just read, beside those of the past."""
        known = self._knowledge or Knowledge({}, (), people_of(self._history.known_users, None))
        sites, users = self._rows_kept_in("sites", taken), self._rows_kept_in("users", taken)
        if sites is not None:
            names = zip(sites.column("id").to_pylist(), sites.column("url_namespace").to_pylist(), strict=True)
            present = {site: site_label(namespace) for site, namespace in names}
            known = replace(known, sites={**known.sites, **present}, present_sites=tuple(sorted(set(present.values()))))
        if users is not None:
            gone = known.people.join(users.select(["id"]), keys="user_id", right_keys="id", join_type="left anti")
            people = people_of(users, self._history.pseudonyms)
            known = replace(known, people=pa.concat_tables([people, gone.select(people.column_names)]))
        self._knowledge = known

    def _rows_kept_in(self, table: str, taken: Taken) -> pa.Table | None:
        for (name, index), rows in taken.states.items():
            if self._collectors[name].states[index].kept_in == table:
                return rows
        return None

    def _read_events(self, session: Session, runs: Runs, taken: Taken, *, exact: bool) -> None:
        for name, collector in self._collectors.items():
            if collector.events is None:
                continue
            try:
                with runs.timed(name) as run:
                    run.rows += self._read_one(session, collector.events, taken, exact=exact)
            except SourceUnreachable:
                raise
            except SourceError:
                continue  # recorded by the run
            except HistoryError as failure:
                runs.fail(name, str(failure))

    def _read_one(self, session: Session, events: Events, taken: Taken, *, exact: bool) -> int:
        if events.sql and events.row:
            rows = session.read(events.row, events.reads, events.sql)
            rows = without_names(rows, columns_of(events.row), self._history.privacy, self._history.pseudonyms)
            taken.sightings.append((events, rows))
            return rows.num_rows
        if events.table not in session.catalog.relations:
            return self._read_view(session, events, taken, exact=exact)
        pending = read_table(session, events, self._archiving(), exact_due=exact)
        taken.tables.append(pending)
        if pending.events.keeps_open and pending.reading and pending.reading.oldest_at:
            self._repository_oldest = pending.reading.oldest_at.replace(tzinfo=UTC).timestamp()
        return pending.read + (pending.rows.num_rows if pending.rows is not None else 0)

    def _read_view(self, session: Session, events: Events, taken: Taken, *, exact: bool) -> int:
        """Read through the underscore view, where the table itself may not be read."""
        if events.row is not None:
            columns = ", ".join(column.name for column in columns_of(events.row))
            sql = f"SELECT {columns} FROM {events.table} WHERE completed_at IS NOT NULL"
            rows = session.read(events.row, events.reads, sql)
            taken.sightings.append((events, rows))
            return rows.num_rows
        view = session.catalog.stand_in(events.table)
        since = None if exact else _instant(self._clock()).replace(tzinfo=None) - LOOK_BACK
        pending = Pending(events, "full" if exact else "fast", _instant(self._clock()), None, node=session.address)
        for fields, rows in read_view(session, view, since):
            pending.fields = fields
            with self._history.writing(_instant(self._clock()), columns_to_fit([pending])) as writer:
                pending.count(append(writer, events, rows, self._archiving()))
        pending.gone = self._history.open_keys.slice(0, 0)
        taken.tables.append(pending)
        return pending.read

    def _archiving(self) -> Archiving:
        known = self._knowledge or Knowledge({}, (), people_of(self._history.known_users, None))
        folds: dict[str, Sequence[Fold]] = {
            collector.events.table: collector.events.folds for collector in self._collectors.values() if collector.events
        }
        further = [fold for collector in self._collectors.values() for fold in collector.folds]
        if "http_requests" in folds:
            folds["http_requests"] = (*folds["http_requests"], *further)
        return Archiving(
            self._history,
            Lookups(known.sites, known.people),
            folds,
            count_people="active_users" in self._collectors,
            clock=lambda: _instant(self._clock()),
        )

    def _store(self, runs: Runs, taken: Taken, now: float, *, exact: bool) -> str | None:
        """Write what waits in one transaction; return what was in the way."""
        try:
            with self._history.writing(_instant(now), columns_to_fit(taken.tables)) as writer:
                self._write(writer, runs, taken, now, exact=exact)
        except HistoryError as failure:
            kind = "file_busy" if isinstance(failure, HistoryBusy) else "file_unwritable"
            self._noticed[kind] = self._noticed.get(kind, 0) + 1
            for name in self._waiting(taken):
                runs.fail(name, str(failure))
            log.warning("the history was not written; the requests wait in the repository", error=str(failure))
            return str(failure)
        self._noticed = {}
        self._kept |= {key: rows for key, rows in taken.states.items() if self._state(key).kept_in}
        self._learned |= taken.learned
        if any(events.table == "logins" for events, _ in taken.sightings):
            self._logins_since = _instant(now)
        return None

    def _write(self, writer: Writer, runs: Runs, taken: Taken, now: float, *, exact: bool) -> None:
        archiving = self._archiving()
        for events, rows in taken.sightings:
            with runs.timed(events.table):
                append(writer, events, self._recent(events, rows), archiving)
        for pending in taken.tables:
            with runs.timed(pending.events.table):
                finish(writer, pending, archiving, self._clock() - now)
        for key, rows in taken.states.items():
            state = self._state(key)
            if state.kept_in and not rows.equals(self._kept.get(key)):
                writer.keep(state.row, state.kept_in, rows)
            if state.learns and (exact or key not in self._learned):
                taken.learned[key] = writer.learn(state.learns, rows)
        for kind, count in self._noticed.items():
            writer.incident(kind, "polls whose rows could not be written at once", count)

    def _recent(self, events: Events, rows: pa.Table) -> pa.Table:
        """Leave out what was seen at the last poll already: the known ones are then sought in the newest rows alone."""
        if not events.sql or self._logins_since is None:
            return rows
        since = self._logins_since.replace(tzinfo=None) - LOOK_BACK
        return rows.filter(pc.greater_equal(rows.column(events.key[1]), pa.scalar(since, pa.timestamp("us"))))

    def _waiting(self, taken: Taken) -> list[str]:
        """Name the collectors whose events were read and not stored."""
        tables = {pending.events.table for pending in taken.tables} | {events.table for events, _ in taken.sightings}
        return [name for name, collector in self._collectors.items() if collector.events and collector.events.table in tables]

    def _state(self, key: tuple[str, int]) -> State:
        return self._collectors[key[0]].states[key[1]]

    def _answered(self, taken: Taken, now: float) -> None:
        before = self._board.source("repository")
        if not before.up:
            log.info("the repository answers", address=taken.address, version=taken.server_version)
        self._board.pin_source(
            SourceStatus("repository", up=True, address=taken.address, server_version=taken.server_version, tried_at=now, answered_at=now)
        )

    def _unanswered(self, failure: SourceError, now: float) -> None:
        before = self._board.source("repository")
        if before.up or before.tried_at is None or before.error != str(failure):
            log.error("the repository does not answer", error=str(failure))
        self._board.pin_source(replace(before, up=False, tried_at=now, error=str(failure)))

    def _fail_unread(self, runs: Runs, error: str) -> None:
        """No collector succeeds while the source is away."""
        for name, collector in self._collectors.items():
            if collector.events or collector.states:
                runs.fail(name, error)

    def _fail_all(self, error: str) -> None:
        runs = Runs()
        self._fail_unread(runs, error)
        for status in runs.statuses(self._clock()):
            self._board.pin_collector(status)
        self._board.pin_source(replace(self._board.source("repository"), tried_at=self._clock()))
        self._on_change()

    def _show(self, runs: Runs, taken: Taken, now: float, error: str | None) -> None:
        """Pin what this poll learned."""
        for key, rows in taken.states.items():
            self._show_state(key, rows, now, runs)
        self._show_active(runs, taken, now)
        for status in runs.statuses(now):
            lacks = self._lacks.get(status.name, ())
            self._board.pin_collector(replace(status, note="lacks " + ", ".join(lacks) if lacks else None), lacks)
            self._say(status)
        for pending in taken.tables:
            if pending.events.keeps_open:
                self._board.pin_poll(PollStatus(now, self._clock() - now, pending.mode, pending.read, pending.new, error))
        if not taken.tables and error:
            self._board.pin_poll(PollStatus(now, self._clock() - now, "none", 0, 0, error))
        self.show_history()
        self._on_change()

    def _show_state(self, key: tuple[str, int], rows: pa.Table, now: float, runs: Runs) -> None:
        state = self._state(key)
        known = self._knowledge or Knowledge({}, (), rows)
        context = Context(known.sites, self._promises, self._learned.get(key))
        with runs.timed(key[0]):
            blocks = tuple(state.expose(rows, context))
        interval = self._schedule.exact_interval if state.every == "exact" else self._schedule.poll_interval
        # An exact reading comes with the first poll after its interval has passed.
        lifetime = STALE_AFTER_INTERVALS * max(interval, self._schedule.poll_interval)
        self._board.pin_state(f"{key[0]}/{key[1]}", Shown(blocks, now, lifetime))

    def _show_active(self, runs: Runs, taken: Taken, now: float) -> None:
        """Show the people of the trailing windows, as of the requests archived by this poll."""
        if "active_users" not in self._collectors:
            return
        requests = runs.by_name.get("http_requests")
        if requests is None or requests.error or self._knowledge is None:
            runs.fail("active_users", (requests and requests.error) or "requests are not archived: switch http_requests on")
            return
        with runs.timed("active_users") as run:
            sites = self._knowledge.present_sites
            blocks = tuple(active_blocks(self._history.totals, sites))
            run.rows = len(self._history.totals.seen.people)
        self._board.pin_state("active_users", Shown(blocks, now, STALE_AFTER_INTERVALS * self._schedule.poll_interval))

    def _archive_status(self) -> ArchiveStatus:
        totals, file = self._history.totals, self._history.file
        position = self._history.positions.get("http_requests")
        return ArchiveStatus(
            str(file.path),
            file.bytes,
            int(totals.counter(HISTORY_ROWS.name, "http_requests")),
            totals.open_requests,
            totals.marks.get("oldest"),
            totals.marks.get("newest"),
            position.horizon if position else None,
            int(totals.counter(POSSIBLY_LOST.name)),
            tuple((labels[0], int(count)) for labels, count in totals.counters.get(INCIDENTS.name, ())),
        )

    def _say(self, status: CollectorStatus) -> None:
        """Log a collector's failure when it begins or changes, and its end."""
        before = self._said.get(status.name)
        if status.error and status.error != before:
            log.warning("a collector failed", collector=status.name, error=status.error)
        elif before and not status.error:
            log.info("a collector works again", collector=status.name)
        self._said[status.name] = status.error


def relations_of(collector: Collector) -> tuple[Relation, ...]:
    """Return every relation that a collector reads."""
    events = collector.events.reads if collector.events else ()
    return (*events, *(relation for state in collector.states for relation in state.reads))


def pause(interval: float, failures: int, randomness: random.Random) -> float:
    """Return the seconds until the next poll: longer after failures, never more than four intervals or five minutes."""
    if not failures:
        return interval
    longest = max(interval, min(interval * MAX_BACK_OFF_INTERVALS, MAX_BACK_OFF_SECONDS))
    return randomness.uniform(0.5, 1.0) * min(interval * 2 ** min(failures, 10), longest)


def _instant(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
