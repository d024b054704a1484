"""Owners of assets, users of published data sources, refresh tasks, and pages: data of assets that is not in labels.

Rows stay until the next poll; what is computed from them is cached with them.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from exporter.collectors.assets.rows import ARROW_SCHEMA, downstream
from exporter.texts import one_line

MAX_LISTED = 20
MAX_DIGITS = 18
"""Digits of a number that fits the history's BIGINT."""
OF_ASSET = ("site", "asset_type", "asset_id")

AssetKey = tuple[str, str, str]
"""Site, type and LUID."""


class Owner(NamedTuple):
    """An owner, under the privacy options."""

    login: str
    name: str
    email: str

    def __str__(self) -> str:
        known = self.name or self.login
        return f"{known} <{self.email}>" if self.email and known != self.email else known or self.email


NO_OWNER = Owner("", "", "")


class _Column:
    """A column of texts, dictionary encoded; unknown ones are empty."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        coded = column.combine_chunks().dictionary_encode()
        self.texts = [*coded.dictionary.to_pylist(), ""]
        self.places = coded.indices.fill_null(len(self.texts) - 1).to_numpy(zero_copy_only=False)

    def __getitem__(self, row: int) -> str:
        text: str = self.texts[self.places[row]]
        return text

    @cached_property
    def lines(self) -> Sequence[str]:
        """The texts, each as one line."""
        return [one_line(text) for text in self.texts]


class Owners:
    """Owners, users, tasks and pages by the rows of all assets."""

    def __init__(self, rows: pa.Table | None = None) -> None:
        self.rows = ARROW_SCHEMA.empty_table() if rows is None else rows
        self._used: dict[str, tuple[str, str]] = {}
        self._lines: dict[int, str] = {}

    def owner(self, key: AssetKey) -> Owner:
        """Return the owner of an asset."""
        row = self._places.get(key)
        return NO_OWNER if row is None else Owner(*(column[row] for column in self._people))

    def users(self, key: AssetKey) -> tuple[str, str]:
        """Return the workbooks that use a published data source, and their owners: the first of each by name."""
        if key[1] != "datasource":
            return "", ""
        if (found := self._used.get(key[2])) is None:
            found = self._used[key[2]] = self._listed_users(self._downstream.get(key[2], ()))
        return found

    def tasks(self, key: AssetKey) -> list[int]:
        """Return the numbers of the tasks that refresh an asset."""
        row = self._places.get(key)
        texts = "" if row is None else self.rows.column("task_ids")[row].as_py() or ""
        numbers = (text.strip() for text in texts.split(","))
        return [int(text) for text in numbers if text.isdecimal() and len(text) <= MAX_DIGITS]

    def url_id(self, key: AssetKey) -> int | None:
        """Return the number in the address of an asset's page in Tableau."""
        row = self._places.get(key)
        found: int | None = None if row is None else self.rows.column("url_id")[row].as_py()
        return found

    def time_zone(self, key: AssetKey) -> str | None:
        """Return the name of the time zone of an asset's site; None where it is unknown."""
        row = self._places.get(key)
        found: str | None = None if row is None else self.rows.column("time_zone")[row].as_py()
        return found

    @cached_property
    def _places(self) -> Mapping[AssetKey, int]:
        columns = (self.rows.column(name).to_pylist() for name in OF_ASSET)
        return {
            (site or "", kind, luid or ""): row for row, (site, kind, luid) in enumerate(zip(*columns, strict=True))
        }

    @cached_property
    def _people(self) -> Sequence[_Column]:
        return [_Column(self.rows.column(name)) for name in ("content_owner", "owner_name", "owner_email")]

    @cached_property
    def _names(self) -> _Column:
        return _Column(self.rows.column("asset_name"))

    @cached_property
    def _downstream(self) -> Mapping[str, Sequence[int]]:
        return downstream(self.rows)

    def _listed_users(self, rows: Sequence[int]) -> tuple[str, str]:
        if not rows:
            return "", ""
        at = np.asarray(rows, dtype=np.int64)
        names = (self._names.lines[place] for place in set(self._names.places[at].tolist()))
        return _listed(names), _listed(map(self._line, set(self._owner_numbers[at].tolist())))

    @cached_property
    def _owner_numbers(self) -> npt.NDArray[np.int64]:
        """Return a number for each row: the same for the same owner."""
        numbers = np.zeros(self.rows.num_rows, dtype=np.int64)
        for column in self._people:
            numbers = np.unique(numbers * len(column.texts) + column.places, return_inverse=True)[1]
        return numbers

    @cached_property
    def _rows_of(self) -> npt.NDArray[np.int64]:
        """Return a row of each such owner."""
        return np.unique(self._owner_numbers, return_index=True)[1]

    def _line(self, number: int) -> str:
        if (line := self._lines.get(number)) is None:
            row = self._rows_of[number]
            line = self._lines[number] = one_line(Owner(*(column[row] for column in self._people)))
        return line


def _listed(texts: Iterable[str]) -> str:
    """Return lines as a list, each once, the first of them by name."""
    found = {text for text in texts if text}
    more = f", and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return ", ".join(heapq.nsmallest(MAX_LISTED, found)) + more
