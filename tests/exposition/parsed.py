"""An exposition as Prometheus reads it: parsed by prometheus_client, in either format."""

from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics

from exporter.exposition import Exposition

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
Read = dict[str, tuple[str, str, Series]]


def read_text(exposition: bytes) -> Read:
    """Parse the text format: of each family the type, the help and its series."""
    return _read(list(parser.text_string_to_metric_families(exposition.decode())))


def read_openmetrics(exposition: bytes) -> Read:
    """Parse OpenMetrics into the same."""
    return _read(list(openmetrics.text_string_to_metric_families(exposition.decode())))  # type: ignore[no-untyped-call]


def series(rendering: Exposition) -> dict[str, float]:
    """Return the value of each series of a rendering by its name and labels as written."""
    lines = [line for line in rendering.text.decode().split("\n") if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def _read(metrics: list[Metric]) -> Read:
    read: Read = {}
    for metric in metrics:
        assert metric.name not in read, f"{metric.name} stands twice"
        known: Series = {}
        for sample in metric.samples:
            # To Prometheus an empty label is an absent one.
            key = (sample.name, frozenset(pair for pair in sample.labels.items() if pair[1]))
            assert key not in known, f"{key} stands twice"
            known[key] = float(sample.value)
        read[metric.name] = (metric.type, metric.documentation, known)
    return read
