"""What Prometheus reads: blocks of samples in, the bytes of ``/metrics`` in every form out.

One bad sample, block or family never spoils a scrape: it is left out, counted and reported.
"""

from exporter.exposition.encoding import Exposition
from exporter.exposition.renderer import Renderer

__all__ = ["Exposition", "Renderer"]
