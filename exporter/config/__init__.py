"""The configuration: docs/tableau-exporter.example.yml shows every key, docs/decisions/0002-configuration.md says why.

It stops at app: what stands below receives plain values.
"""

from exporter.config.addresses import Endpoint
from exporter.config.configuration import Configuration
from exporter.config.freshness import Promise
from exporter.config.loading import DEFAULT_FILE, RunOptions, load

__all__ = ["DEFAULT_FILE", "Configuration", "Endpoint", "Promise", "RunOptions", "load"]
