"""The invariant of counters: what was folded from rows is what stands in their tables, or was pruned."""

from collections.abc import Iterator, Sequence

from exporter.collector import Count, Distribution, Events
from exporter.history.aggregation import UNCOUNTED
from exporter.history.consistency import Found, Query
from exporter.history.tables import NOT_COUNTED, REQUESTS
from exporter.self_metrics import HISTORY_PRUNED, HISTORY_ROWS

_SIGN = "CASE source WHEN $2 THEN 1 WHEN $3 THEN -1 ELSE 0 END"


def counters(events: Events, every: Sequence[Events], query: Query) -> Found:
    """Compare what was folded from a table's rows with the rows that stand there and those that were pruned.

    A family may be folded from several tables: ``every`` has all that are there. Rows that were imported and not
    counted are left out: they have a ledger of their own.
    """
    faults = []
    for family, column in ((HISTORY_ROWS.name, '"rows"'), (HISTORY_PRUNED.name, "pruned")):
        ((counted, archived),) = query(
            f"""
            SELECT
                (SELECT coalesce(sum(value), 0) FROM counters WHERE family = $1 AND labels = [$2]),
                (SELECT coalesce(sum({column} * {_SIGN}), 0)::BIGINT FROM archived_days)
            """,
            family,
            *_ledgers(events),
        )
        if counted != archived:
            faults.append(f"{family} counts {counted:,.0f}, the days {archived:,}")
    for name in _families(events, every):
        counted, held, pruned, exactly = _folded(name, every, query)
        if not (held + pruned if exactly else held) <= counted <= held + pruned:
            faults.append(f"{name} counts {counted:,.0f}, {held:,} rows stand there and {pruned:,} are pruned")
    return Found(faults, f"{len(events.folds) + 2} families count these rows")


def _families(events: Events, every: Sequence[Events]) -> Iterator[str]:
    """Yield the families that are folded from a table's rows and from those of no table before it."""
    before = every[: next(place for place, other in enumerate(every) if other.table == events.table)]
    checked = {fold.family.name for other in before for fold in other.folds}
    for fold in events.folds:
        if isinstance(fold, Count | Distribution) and fold.family.name not in checked:
            yield fold.family.name


def _ledgers(events: Events) -> tuple[str, str | None]:
    """Return the ledger of a table, and that of its rows that are in no counter."""
    return events.table, UNCOUNTED if events.table == REQUESTS else None


def _folded(family: str, every: Sequence[Events], query: Query) -> tuple[float, int, int, bool]:
    """Return what a family counts, the rows that it counts and those pruned; and whether it counts all of them.

    Rows of which only their arrival showed whether they are counted are as good as pruned.
    """
    folds = [
        (events, fold)
        for events in every
        for fold in events.folds
        if isinstance(fold, Count | Distribution) and fold.family.name == family
    ]
    number, table = ("observations", "histograms") if isinstance(folds[0][1], Distribution) else ("value", "counters")
    held, pruned, parameters = [], [], list[str | None]()
    for events, fold in folds:
        rows = f"NOT {NOT_COUNTED}" if events.table == REQUESTS else "true"
        if _is_verifiable(fold):
            held.append(f"(SELECT count(*) FROM {events.table} AS rows WHERE ({fold.where}) AND {rows})")
        else:
            pruned.append(f"(SELECT count(*) FROM {events.table})")
        first, second = len(parameters) + 2, len(parameters) + 3
        sign = _SIGN.replace("$2", f"${first}").replace("$3", f"${second}")
        pruned.append(f"(SELECT coalesce(sum(pruned * {sign}), 0)::BIGINT FROM archived_days)")
        parameters += _ledgers(events)
    ((counted, rows_held, rows_pruned),) = query(
        f"""
        SELECT
            (SELECT coalesce(sum({number}), 0) FROM {table} WHERE family = $1),
            {" + ".join(held) or "0"},
            {" + ".join(pruned)}
        """,
        family,
        *parameters,
    )
    return counted, rows_held, rows_pruned, all(fold.where == "true" and _is_verifiable(fold) for _, fold in folds)


def _is_verifiable(fold: Count | Distribution) -> bool:
    return isinstance(fold, Count) or (fold.verifiable and not fold.needs_unit)
