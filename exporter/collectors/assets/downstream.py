"""Which workbooks stand downstream of a published data source: they are no fresher than it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.inventory import TAG_SEPARATOR


def downstream(rows: pa.Table) -> Mapping[str, Sequence[int]]:
    """Return for each data source, by its LUID, the positions of the rows that use it, in order."""
    uses = pc.split_pattern(rows.column("uses").combine_chunks(), TAG_SEPARATOR)
    sources = pc.list_flatten(uses).dictionary_encode()
    places = pc.list_parent_indices(uses).to_numpy()
    numbers = sources.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    found = places[order].tolist()
    ends = np.cumsum(np.bincount(numbers, minlength=len(sources.dictionary))).tolist()
    luids = sources.dictionary.to_pylist()
    return {luid: found[start:end] for luid, start, end in zip(luids, [0, *ends[:-1]], ends, strict=False)}
