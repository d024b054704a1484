"""Backfill: the values that the live families would have had at past instants, from the rows in the history."""

from exporter.history.backfill.parts import Part, Slice
from exporter.history.backfill.past import Past, Samples
from exporter.history.backfill.reading import Extent, extent, read
from exporter.history.backfill.steps import Steps

__all__ = ["Extent", "Part", "Past", "Samples", "Slice", "Steps", "extent", "read"]
