"""The standard ``process_*`` families of this process, from prometheus_client and without its global registry."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

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
