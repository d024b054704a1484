"""The audit of freshness, now and once: no agent is needed and no history. ``tableau-exporter audit``."""
