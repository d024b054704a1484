"""A table as a folder of files: one file, or one for each day, of every slice; or one file that is replaced.

How far it came stands in ``_tableau_exporter/<table>.json``. Before a slice is written its end is noted there, and a
slice that broke off is written again from the same beginning to the same end, so every file has the name that it had:
each is overwritten, and no row is in two.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa

from exporter.errors import OutputUnwritable
from exporter.exports import ONE_OFF, ExportOptions, Rows
from exporter.exports.stores import Lock, Store

STATES = "_tableau_exporter"
"""A folder that Spark and DuckDB ignore: its name begins with an underscore."""
DELTA_LOG = "_delta_log"

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive, as in the history
_REWRITE = "name another --output, or --rewrite begins it anew"

Encode = Callable[[pa.Table], bytes | memoryview]
Split = Callable[[pa.Table], Mapping[str, pa.Table]]


@dataclass(frozen=True)
class DatasetState:
    """What a target holds of a history: all rows up to ``position``; ``writing`` is the end of a slice under way."""

    history: str
    position: str | None = None
    writing: str | None = None
    clearing: bool = False
    """Whether files of what was there before may be left."""
    first: bool = True
    """Whether no export has come to its end yet."""
    until: str | None = None
    """Where nothing is to be appended: what bounded the export."""


@dataclass(frozen=True)
class DatasetFormat:
    """How the files of a format are named and made; ``split`` assigns rows to folders."""

    suffix: str
    encode: Encode
    split: Split


def export(rows: Rows, store: Store, options: ExportOptions, form: DatasetFormat) -> int:
    """Bring a target up to date; return how many rows were written. Raises OutputUnwritable."""
    with store.locked(f"{STATES}/{options.table}.lock") as lock:
        dataset = _Dataset(store, options, form, lock)
        if options.kind.order is None:
            return dataset.replace(rows.whole())
        return dataset.append(rows)


class _Dataset:
    """One table in a store, locked."""

    def __init__(self, store: Store, options: ExportOptions, form: DatasetFormat, lock: Lock) -> None:
        self._store, self._options, self._form, self._lock = store, options, form, lock
        self._name = f"{STATES}/{options.table}.json"
        self._ours = re.compile(rf"(?:.*/)?{re.escape(options.table)}-[0-9]+{re.escape(form.suffix)}")

    def replace(self, rows: pa.Table) -> int:
        """Put one file in the place of the last."""
        self._begin(DatasetState(self._options.history))
        self._store.write(f"{self._options.table}{self._form.suffix}", self._form.encode(rows))
        return len(rows)

    def append(self, rows: Rows) -> int:
        """Write what is new, slice by slice."""
        until = self._options.until
        state = self._begin(DatasetState(self._options.history, until=until.isoformat() if until else None))
        written = 0
        if state.writing:
            end = datetime.fromisoformat(state.writing)
            for slice_ in rows.slices(_instant(state.position), end, first=state.first):
                written += self._write(state, slice_.rows)
            state = replace(state, position=state.writing, writing=None)
        for slice_ in rows.slices(_instant(state.position), first=state.first):
            end_ = slice_.end.isoformat()
            self._keep(replace(state, writing=end_))
            written += self._write(state, slice_.rows)
            state = replace(state, position=end_)
            del slice_  # before the next is read: there is room for one
        self._keep(replace(state, first=False))
        return written

    def _begin(self, new: DatasetState) -> DatasetState:
        """Return the state that is there, or begin a target: what is left of an older one is removed first."""
        state = self._known()
        if state is None and any(self._store.names(DELTA_LOG)):
            raise OutputUnwritable(f"{self._store.shown}: is a Delta table; name another --output")
        if state is None and not self._options.rewrite:
            self._check_is_new()
            self._keep(new)
            return new
        if state is not None and not self._options.rewrite and not state.clearing:
            self._check_is_ours(state)
            return state
        self._keep(replace(new, clearing=True))
        for name in list(self._store.names()):
            if self._ours.fullmatch(name):
                self._store.remove(name)
        self._keep(new)
        return new

    def _check_is_new(self) -> None:
        for name in self._store.names():
            if name.startswith(f"{STATES}/") and name.endswith(".json"):
                table = name.removeprefix(f"{STATES}/").removesuffix(".json")
                raise self._refused(f"holds the table {table}: each has a folder of its own")
            if self._ours.fullmatch(name):
                raise self._refused(f"holds {name}, but its {self._name} is gone")

    def _check_is_ours(self, state: DatasetState) -> None:
        if state.history != self._options.history:
            raise self._refused("has the rows of another history")
        if state.until is not None or (self._options.until is not None and self._options.kind.order):
            raise self._refused(ONE_OFF)

    def _write(self, state: DatasetState, rows: pa.Table) -> int:
        begin = (_instant(state.position) or _EPOCH) - _EPOCH
        name = f"{self._options.table}-{begin // timedelta(microseconds=1)}{self._form.suffix}"
        for folder, part in self._form.split(rows).items():
            self._store.write(f"{folder}{name}", self._form.encode(part))
        return len(rows)

    def _known(self) -> DatasetState | None:
        content = self._store.read(self._name)
        if content is None:
            return None
        try:
            state = DatasetState(**json.loads(content))
            _instant(state.position)
            _instant(state.writing)
        except (ValueError, TypeError):
            if self._options.rewrite:
                return None
            raise self._refused(f"its {self._name} cannot be read") from None
        return state

    def _keep(self, state: DatasetState) -> None:
        self._lock.renew()
        self._store.write(self._name, json.dumps(asdict(state)).encode())

    def _refused(self, reason: str) -> OutputUnwritable:
        return OutputUnwritable(f"{self._store.shown}: {reason}; {_REWRITE}")


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
