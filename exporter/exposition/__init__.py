"""The exposition: blocks of samples in, the bytes of ``/metrics`` in every format out.

One bad sample, block or family never fails a scrape: it is left out, counted and logged.
"""

from exporter.exposition.encoding import Exposition
from exporter.exposition.renderer import Renderer

__all__ = ["Exposition", "Renderer"]
