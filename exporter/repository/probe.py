"""The probe of `check` in the repository: what a collector reads, one row of each."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from exporter.collector import Collector, Events, Relation
from exporter.errors import SourceError, SourceUnreachable
from exporter.repository.errors import ENABLE
from exporter.repository.session import Session

ProbeResult = tuple[bool | None, str]
"""True for good, False for bad, None for a note; and a line."""


def probe(session: Session, collector: Collector, user: str) -> ProbeResult:
    """Try everything that a collector reads; what reads nothing of its own follows the collector that does.

    Raises SourceUnreachable.
    """
    if collector.from_requests:
        return True, "is made of what http_requests reads"
    relations = collector.relations
    broken, notes = [], session.catalog.missing(relations)
    for attempt in _attempts(session, collector):
        try:
            if note := attempt():
                notes.append(note)
        except SourceUnreachable:
            raise
        except SourceError as error:
            broken.append(str(error))
    closed = sorted({relation.name for relation in relations if relation.name in session.catalog.forbidden})
    tables = ", ".join(closed)
    grant = (
        f"{user} may not read all of {tables}: GRANT SELECT ON {tables} TO {user}, or set repository.user to readonly"
    )
    advice = [f"{grant} (on Tableau Server {ENABLE})"] * bool(closed)
    if broken:
        return False, "; ".join([*dict.fromkeys(broken), *advice])
    never = sorted(set(session.catalog.never_had(relations)))
    texts = ["works without " + ", ".join(sorted(set(notes)))] * bool(notes)
    texts += ["this version of Tableau never had " + ", ".join(never)] * bool(never)
    if texts:
        texts += advice
        return None, "; ".join(texts)
    return True, "has every column it can use"


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
    if events.source not in catalog.relations:
        if events.reads[0].optional:
            return events.source
        view = catalog.stand_in(events.source)
        return f"{events.table} (reads {view} instead, which has no ids: a history begun from the table cannot go on)"
    for relation in events.reads:
        catalog.resolve(relation)
    return None
