"""Lists and maps as JSON, for formats that have texts and numbers alone."""

import json

import pyarrow as pa


def json_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists or maps as texts."""
    maps = "strict" if pa.types.is_map(column.type) else None
    listed = column.to_pylist(maps_as_pydicts=maps)
    texts = [None if value is None else json.dumps(value, default=str) for value in listed]
    return pa.chunked_array([pa.array(texts, pa.string())])
