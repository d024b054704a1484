"""Write grafana/dashboards/: ``python -m grafana.source``, or ``make dashboards``."""

import json
from collections.abc import Iterator
from pathlib import Path

from grafana.source import agent, background_jobs, freshness, governance, overview, server, usage
from grafana.source.dashboard import Dashboard

FOLDER = Path(__file__).parents[1] / "dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (
    overview.DASHBOARD,
    usage.DASHBOARD,
    freshness.DASHBOARD,
    background_jobs.DASHBOARD,
    server.DASHBOARD,
    governance.DASHBOARD,
    agent.DASHBOARD,
)


def written() -> Iterator[tuple[Path, str]]:
    """Yield each file and its content; keys are sorted to keep diffs small."""
    for dashboard in DASHBOARDS:
        text = json.dumps(dashboard.json(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        yield FOLDER / f"{dashboard.name}.json", text


if __name__ == "__main__":
    for path, text in written():
        path.write_text(text, encoding="utf-8")
