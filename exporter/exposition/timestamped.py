"""Samples with timestamps as OpenMetrics writes them; names, labels and buckets are written as those without."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.exposition.text_format import bucket_texts, value_texts
from exporter.history.backfill import Samples
from exporter.metrics import Family, Labels

END = b"# EOF\n"
_LINES_AT_ONCE = 50_000


def lines(family: Family, samples: Samples, more: Labels, step_seconds: int) -> Iterator[bytes]:
    """Yield the lines of samples, in their order; ``more`` is one row of labels that each of them has too."""
    width = samples.values.shape[1]
    begins = _begins(family, samples.labels, more)
    rows = max(1, _LINES_AT_ONCE // width)
    for start in range(0, len(samples.places), rows):
        some = slice(start, start + rows)
        places = (samples.places[some, None] * width + np.arange(width)).ravel()
        values, _ = value_texts(pa.array(samples.values[some].ravel()), counts=False)
        stamps = pa.array(np.repeat(samples.steps[some] * step_seconds, width)).cast(pa.string())
        yield _joined(pc.binary_join_element_wise(begins.take(pa.array(places)), values, stamps, " "))


def _begins(family: Family, labels: Sequence[Sequence[str]], more: Labels) -> pa.StringArray:
    """Return each line as it begins: all of a row of labels in a row."""
    names = (*family.labels, *more.names)
    columns = [*labels, *([column[0]] * len(labels[0]) for column in more.columns)]
    texts = Labels(names, columns).text.to_pylist()
    if family.type != "histogram":
        return pa.array([f"{family.name}{{{text}}}" for text in texts], pa.string())
    return pa.array([begin for text in texts for begin in _of_histogram(family, text)], pa.string())


def _of_histogram(family: Family, text: str) -> Iterator[str]:
    for bucket in bucket_texts(family):
        yield f"{family.name}_bucket{{{','.join(filter(None, (text, bucket)))}}}"
    yield f"{family.name}_count{{{text}}}"
    yield f"{family.name}_sum{{{text}}}"


def _joined(texts: pa.StringArray) -> bytes:
    """Return texts one behind the other, a line each: they lie so in memory."""
    ended = pc.binary_join_element_wise(texts, "", "\n")
    joined: bytes = ended.buffers()[2].slice(0, pc.sum(pc.binary_length(ended)).as_py()).to_pybytes()
    return joined
