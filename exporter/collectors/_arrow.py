"""Columns of Arrow tables as the plain values of samples."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

MICROSECONDS = 1_000_000
# PostgreSQL's infinities are at the ends of the range.
INFINITE = np.iinfo(np.int64).max

Instants = npt.NDArray[np.float64]


def number_of(luid: str) -> int:
    """Return the number that stands for a LUID where Tableau gives none: a hash, the same in every source."""
    return int.from_bytes(hashlib.blake2b(luid.encode(), digest_size=8).digest(), "big") >> 1


def texts(rows: "pa.Table", name: str) -> list[str]:
    """Return a column of texts, equal ones as one object; NULL is empty, as it is to Prometheus."""
    encoded = rows.column(name).combine_chunks().dictionary_encode("encode")
    known = [value or "" for value in encoded.dictionary.to_pylist()]
    return [known[place] for place in encoded.indices.to_pylist()]


def values(rows: "pa.Table", name: str) -> list[int | float | None]:
    """Return a column of numbers or truths as numbers; NULL is None."""
    return [None if value is None else value + 0 for value in rows.column(name).to_pylist()]


def instants(rows: "pa.Table", name: str) -> Instants:
    """Return a column of instants as Unix seconds; NULL and infinity are NaN."""
    column = rows.column(name)
    micros = column.cast("int64").fill_null(INFINITE).to_numpy()
    return np.where(np.abs(micros) == INFINITE, np.nan, micros / MICROSECONDS)


def known(numbers: Instants) -> Sequence[float | None]:
    """Return numbers as a list; NaN is None."""
    found: list[float | None] = numbers.tolist()
    for position in np.flatnonzero(np.isnan(numbers)).tolist():
        found[position] = None
    return found
