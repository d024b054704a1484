"""A Prometheus exporter and alerting agent for Tableau."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tableau-exporter")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"
