"""The configuration: docs/tableau-exporter.example.yml has every key, docs/decisions/0002-configuration.md the reasons.

It stops at app: modules below receive plain values.
"""

from exporter.config.addresses import Endpoint
from exporter.config.configuration import Configuration
from exporter.config.freshness import SlaRule
from exporter.config.loading import DEFAULT_FILE, RunOptions, default_file, load

__all__ = ["DEFAULT_FILE", "Configuration", "Endpoint", "RunOptions", "SlaRule", "default_file", "load"]
