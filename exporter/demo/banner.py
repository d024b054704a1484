"""What the demo prints: where to look, and at what."""

import sys
from collections.abc import Mapping
from pathlib import Path

from exporter.demo.fast_rules import INTERVAL_SECONDS

HEAD = """
tableau-exporter demo: a simulated {kind} of {people} people, and the real agent watching it

  status page   http://127.0.0.1:{port}/
  metrics       http://127.0.0.1:{port}/metrics
  Tableau       {tableau}
  history       {history}
{pages}
Look at:
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_asset_hours_since_refresh' | sort -k2 -n -t'}}' | tail
  curl -s http://127.0.0.1:{port}/metrics | grep -o 'freshness_source="[a-z_]*"' | sort | uniq -c
  {python} -m exporter audit --config.file {audit}
"""
SERVER = """\
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_active_users'
  {python} -c "import duckdb; print(duckdb.connect('{history}', read_only=True).sql('FROM usage LIMIT 5'))"

Requests arrive and extracts are refreshed while you look. Ctrl-C ends it and cleans up.
"""
ALERTS = """
Alerts arise from the rules in alerts/, and go the ways of its example for Alertmanager. So that nobody has to wait, in
the copies in {folder}
a minute of a wait is a second (for, keep_firing_for, group_wait, group_interval), rules are evaluated every
{interval} seconds, and a webhook of the demo stands in for every receiver. Nothing else is changed. What is stale now
is told within a minute, here below; then somebody sees to one asset, and it is told to be resolved.
"""
CLOUD = """\
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_up'

There is no repository: all of it comes from the REST and Metadata APIs. Extracts are refreshed while you look.
Ctrl-C ends it and cleans up.
"""


def guide(
    *,
    cloud: bool,
    people: int,
    port: int,
    tableau: str,
    history: Path,
    audit: Path,
    alerts: Mapping[str, str] | None = None,
) -> str:
    """Say what there is and what to look at; ``alerts`` are the pages of what alerts go through, if they do."""
    text = f"{HEAD}{CLOUD if cloud else SERVER}{ALERTS if alerts else ''}"
    return text.format(
        kind="Tableau Cloud" if cloud else "Tableau Server",
        people=people,
        port=port,
        tableau=tableau,
        history=history,
        audit=audit,
        python=sys.executable,
        pages="".join(f"  {name:<12}  {url}\n" for name, url in (alerts or {}).items()),
        folder=history.parent,
        interval=INTERVAL_SECONDS,
    )
