"""This process: its standard ``process_*`` families, from prometheus_client, and the release of unused memory."""

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import pyarrow as pa
from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric

from exporter.metrics import Block, Family, Labels


class Process:
    """The operating system's metrics of this process; none without ``/proc``."""

    def __init__(self, proc: str = "/proc") -> None:
        self._collector = ProcessCollector(proc=proc, registry=None)

    def __call__(self) -> Iterator[Block]:
        """Yield a block of one sample for each family."""
        # A limit that is no number, or that is not there, makes prometheus_client raise.
        with suppress(ValueError, UnboundLocalError):
            for metric in self._collector.collect():
                yield Block(_family(metric), Labels((), ()), [sample.value for sample in metric.samples])


def _family(metric: Metric) -> Family:
    kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
    # prometheus_client names a counter as OpenMetrics does, without its suffix.
    name = f"{metric.name}_total" if kind == "counter" else metric.name
    return Family(name, kind, metric.documentation, source="the operating system")


def release_memory() -> None:
    """Have the C library, where it can, and Arrow return unused memory to the operating system."""
    # Long-lived allocations often lie above freed ones: by itself the C library would return nothing.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()
