"""What Prometheus answers to the questions of each dashboard on the demo, as it is drawn: over time, or now."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.demo.draft import Scale
from exporter.demo.postgres import Postgres
from tests.grafana.dashboards import ALL, BOARDS, EVERY, substituted
from tests.grafana.scraped_demo import ScrapedDemo, scraped_demo
from tests.support.components import require

INTERVAL_SECONDS = 5
LINE_POINTS = 200
# The stalest asset that has an SLA, a schedule and an owner.
ONE = """
    topk(1, tableau_asset_hours_since_refresh and on (asset_id) tableau_asset_sla_hours
        and on (asset_id) tableau_asset_refresh_due_timestamp_seconds
        and on (asset_id) tableau_asset_info{connection!="",content_owner!=""})
"""


def collected(folder: Path, seconds: float) -> dict[str, Any]:
    """Watch the demo for so long; return each dashboard with its answers by number of panel, and the times drawn."""
    with (
        Postgres(bin_dir=require("postgres18")) as server,
        scraped_demo(server, folder, Scale(), days=3, a_day=7000, interval=INTERVAL_SECONDS) as watch,
    ):
        since = time.time()
        # The last of it is without what the tests make happen: a Tableau that is not all well, as the demo has it.
        time.sleep(seconds)
        until = time.time()
        watch.values.update(ALL, __rate_interval="60s", __range=f"{int(until - since)}s")
        watch.values["asset_id"] = watch.answer(ONE)[0]["metric"]["asset_id"]
        return {
            "answers": {
                panel_query.name: _answer(watch, panel_query.question, panel_query.target, since, until)
                for panel_query in EVERY
            },
            "boards": BOARDS,
            "since": since * 1000,
            "until": until * 1000,
            "values": watch.values,
        }


def _answer(watch: ScrapedDemo, question: str, target: Mapping[str, Any], since: float, until: float) -> list[Any]:
    text = substituted(question, watch.values)
    if target["instant"]:
        return list(watch.answer(text))
    step = max((until - since) / LINE_POINTS, 1)
    found = watch.ask("query_range", query=text, start=f"{since:.3f}", end=f"{until:.3f}", step=f"{step:.3f}")
    return list(found["result"])
