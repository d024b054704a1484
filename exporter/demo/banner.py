"""The banner that the demo prints: addresses and commands to try."""

import sys
from collections.abc import Mapping
from pathlib import Path

from exporter.demo.fast_rules import INTERVAL_SECONDS

HEAD = """
tableau-exporter demo: a simulated {kind} with {users} users, polled by the real agent

  status page   http://127.0.0.1:{port}/
  metrics       http://127.0.0.1:{port}/metrics
  Tableau       {tableau}
  history       {history}
{pages}
Try:
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_asset_hours_since_refresh' | sort -k2 -n -t'}}' | tail
  curl -s http://127.0.0.1:{port}/metrics | grep -o 'freshness_source="[a-z_]*"' | sort | uniq -c
  {python} -m exporter audit --config.file {audit}
"""
SERVER = """\
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_active_users'
  {python} -c "import duckdb; print(duckdb.connect('{history}', read_only=True).sql('FROM usage LIMIT 5'))"

Requests arrive and extracts are refreshed meanwhile. Ctrl-C ends the demo and removes its files.
"""
ALERTS = """
Alerts come from the rules in alerts/ and are routed as in its example for Alertmanager. To keep waits short, in the
copies in {folder}
a minute of a wait is a second (for, keep_firing_for, group_wait, group_interval), rules are evaluated every
{interval} seconds, and a webhook of the demo stands in for every receiver. Nothing else is changed. Assets that are
stale now are notified within a minute, here below; then the refresh of one is fixed, and its alert is resolved.
"""
CLOUD = """\
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_active_users'
  curl -s http://127.0.0.1:{port}/metrics | grep '^tableau_licensed_seats'
  {python} -c "import duckdb; print(duckdb.connect('{history}', read_only=True).sql('FROM usage LIMIT 5'))"

There is no repository: assets come from the REST and Metadata APIs, requests from the Activity Log of Tableau Cloud
Manager, a minute or two after they happened, licences and tokens from Admin Insights. Extracts are refreshed meanwhile.
Ctrl-C ends the demo and removes its files.
"""


def banner(
    *,
    cloud: bool,
    people: int,
    port: int,
    tableau: str,
    history: Path,
    audit: Path,
    alerts: Mapping[str, str] | None = None,
) -> str:
    """Return the banner; ``alerts`` are the pages of Prometheus and Alertmanager, if they run."""
    text = f"{HEAD}{CLOUD if cloud else SERVER}{ALERTS if alerts else ''}"
    return text.format(
        kind="Tableau Cloud" if cloud else "Tableau Server",
        users=people,
        port=port,
        tableau=tableau,
        history=history,
        audit=audit,
        python=sys.executable,
        pages="".join(f"  {name:<12}  {url}\n" for name, url in (alerts or {}).items()),
        folder=history.parent,
        interval=INTERVAL_SECONDS,
    )
