"""Backfill: the values that the live families would have had at past instants, from the rows in the history."""

from exporter.history.backfill.family_groups import FamilyGroup, HistorySlice
from exporter.history.backfill.reader import HistorySpan, extent, read_samples
from exporter.history.backfill.samples import SampleBatch, SampleReader
from exporter.history.backfill.steps import Steps

__all__ = [
    "FamilyGroup",
    "HistorySlice",
    "HistorySpan",
    "SampleBatch",
    "SampleReader",
    "Steps",
    "extent",
    "read_samples",
]
