"""The demo, scraped by a real Prometheus that evaluates the shipped rules and remembers a week ago.

An agent polls a simulated repository, a simulated REST API and, for the panels of Tableau Cloud, a simulated Activity
Log. What happens only now and then in a Tableau that is well (errors, exports, failed jobs) is made to happen.
"""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from exporter.demo import fast_rules
from exporter.demo.draft import SMALL, Scale
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation, utc_now
from exporter.demo.tableau.admin_insights import AdminInsights
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.repository.connection import connect
from tests.alerts.shipped_rules import RULES
from tests.support.agent_process import Agent
from tests.support.components import require
from tests.support.prometheus import prometheus_data, run_alertmanager, run_prometheus
from tests.support.tenant import activity_files, activity_log_settings

# Has which refreshes are suspended.
VERSION = "2021.2"
NAME, VALUE = next(iter(TOKENS.items()))
WEEK_SECONDS = 7 * 86_400
# What Prometheus would have of a week ago: around this moment, for as long as a test may take.
BEFORE_SECONDS, AFTER_SECONDS, STEP_SECONDS = 60, 900, 3
A_SECOND = 4.0
"""How many requests a second there were a week ago: about as many as there are now."""
COMPARED = ("tableau_http_requests_total", "tableau_active_users")
# Every second or so: a request that fails, and one of each kind that takes something out of Tableau.
HAPPENS = """
    INSERT INTO http_requests
        (controller, action, http_request_uri, created_at, completed_at, status, site_id, user_id, currentsheet)
    SELECT 'vizql', action, '/vizql/w/x/v/y', now() AT TIME ZONE 'UTC' - interval '2 seconds',
        now() AT TIME ZONE 'UTC', status, 1, 1, 'x/y'
    FROM (VALUES
        ('bootstrapSession', 200), ('bootstrapSession', 500), ('sessions', 404), ('exportcrosstab', 200),
        ('sheetimage', 200), ('viewData', 200), ('vud', 200)
    ) AS happens (action, status)
"""
JOBS = """
    INSERT INTO background_jobs
        (job_type, job_name, progress, created_at, started_at, completed_at, finish_code, site_id, updated_at)
    SELECT 'refresh_extracts', 'Refresh Extracts', progress, now() AT TIME ZONE 'UTC' - interval '9 seconds',
        started_at, completed_at, finish_code, 1, now() AT TIME ZONE 'UTC'
    FROM (VALUES
        (100, now() AT TIME ZONE 'UTC' - interval '8 seconds', now() AT TIME ZONE 'UTC', 1),
        (100, now() AT TIME ZONE 'UTC' - interval '8 seconds', now() AT TIME ZONE 'UTC', 0),
        (0, now() AT TIME ZONE 'UTC' - interval '1 seconds', NULL, 0)
    ) AS happens (progress, started_at, completed_at, finish_code)
"""


# Eight weeks in which somebody opened each workbook at the same time of every day; and one large extract.
OPENED = """
    INSERT INTO http_requests
        (controller, action, http_request_uri, created_at, completed_at, status, site_id, user_id, currentsheet)
    SELECT 'vizql', 'bootstrapSession', '/vizql/w/' || workbooks.repository_url || '/v/Overview', opened.at, opened.at,
        200, workbooks.site_id, (SELECT min(id) FROM users WHERE users.site_id = workbooks.site_id),
        workbooks.repository_url || '/Overview'
    FROM workbooks
    CROSS JOIN generate_series(
        now() AT TIME ZONE 'UTC' - interval '57 days' + interval '3 hours',
        now() AT TIME ZONE 'UTC' - interval '1 day',
        interval '1 day'
    ) AS opened (at)
"""
_LARGE = """(
    SELECT min(workbooks.id)
    FROM workbooks
    JOIN extracts ON extracts.workbook_id = workbooks.id
    JOIN tasks ON tasks.obj_id = workbooks.id AND tasks.obj_type = 'Workbook' AND tasks.active AND tasks.state = 0
    JOIN schedules ON schedules.id = tasks.schedule_id AND schedules.active
    WHERE NOT workbooks.is_deleted AND tasks.consecutive_failure_count IS NOT NULL
)"""
LARGE = f"UPDATE extracts SET size = 50000000 WHERE workbook_id = {_LARGE}"
# Refreshes are told apart by a minute.
REFRESHED = f"""
    UPDATE workbooks
    SET data_engine_extracts = true,
        extracts_refreshed_at = coalesce(extracts_refreshed_at, now() AT TIME ZONE 'UTC' - interval '1 day')
            + interval '61 seconds'
    WHERE id = {_LARGE}
"""


class NeverHappened(AssertionError):
    """Something was waited for long enough."""


@dataclass(frozen=True)
class ScrapedDemo:
    """An agent on a living Tableau, and the Prometheus that scrapes it."""

    agent: Agent
    simulation: Simulation
    prometheus: str
    interval_seconds: int
    values: dict[str, str] = field(default_factory=dict)
    """The values of the dashboards' variables."""
    answers: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """The first answer to each question that was not empty."""

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """Query Prometheus' API; a refusal raises an error, with its reason."""
        question = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.prometheus}/api/v1/{path}", question) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from None

    def answer(self, question: str) -> list[Mapping[str, Any]]:
        """Return Prometheus' present answer to a query."""
        found: list[Mapping[str, Any]] = self.ask("query", query=question)["result"]
        return found

    def happen(self) -> None:
        """Have something happen in Tableau that is rare where all is well."""
        with connect(self.simulation.admin()) as connection:
            connection.execute(HAPPENS)
            connection.execute(JOBS)
            connection.execute(REFRESHED.encode())

    def until(self, condition: Callable[[], object], what: Callable[[], str], patience_seconds: float) -> None:
        """Wait for a condition while things happen."""
        deadline = time.monotonic() + patience_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NeverHappened(what())
            self.happen()
            time.sleep(self.interval_seconds)


@contextmanager
def scraped_demo(
    postgres: Postgres, folder: Path, scale: Scale = SMALL, days: float = 2, a_day: float = 600, interval: int = 1
) -> Iterator[ScrapedDemo]:
    """Run everything; Prometheus scrapes every ``interval`` seconds."""
    with ExitStack() as stack:
        simulation = stack.enter_context(
            Simulation(
                postgres=postgres, database="boards", version=VERSION, scale=scale, days=days, requests_per_day=a_day
            )
        )
        files = activity_files(simulation)
        insights = AdminInsights(simulation.company, files.story, utc_now)
        server = stack.enter_context(TableauServer(Estate.of(simulation.company), insights=insights))
        manager = stack.enter_context(CloudManager(files))
        simulation.live(seed=1)
        server.cluster.set_status("Down", port=8251)
        # A table that may not be read any more.
        with connect(simulation.admin()) as connection:
            connection.execute(b"REVOKE SELECT ON domains FROM readonly")
            connection.execute(OPENED)
            connection.execute(LARGE.encode())
        (folder / "alertmanager").mkdir()
        alertmanager = stack.enter_context(run_alertmanager(folder / "alertmanager"))
        exports = f"[{{format: csv, table: logins, output: {folder / 'exported'}, every: 10s}}]"
        settings = _settings(server.url, f"http://{alertmanager}", manager)
        agent = Agent(folder, simulation.parameters(), EXPORTS=exports, **settings)
        # Whose alerts fire after seconds, as those of the demo.
        agent.module = "tests.support.fast_alerts"
        authority = agent.certify()
        stack.enter_context(agent)
        agent.polled()
        agent.until(lambda: agent.value("tableau_rest_token_accepted") == 1, "the REST API is polled")
        target = agent.url.removeprefix("https://")
        _remember(agent, target, folder)
        prometheus = stack.enter_context(_prometheus(folder, target, authority, interval))
        yield ScrapedDemo(agent, simulation, prometheus, interval)


def _settings(rest: str, alertmanager: str, manager: CloudManager) -> dict[str, str]:
    return {
        **activity_log_settings(manager),
        # Rows older than three polls are not published: on a busy machine one second would be little.
        "REPOSITORY__POLL_INTERVAL": "4s",
        "REPOSITORY__EXACT_INTERVAL": "4s",
        "REST__URL": rest,
        "REST__TOKEN_NAME": NAME,
        "REST__TOKEN_VALUE": VALUE,
        "REST__POLL_INTERVAL": "10s",
        "REST__ADMIN_INSIGHTS": "true",
        "REST__SYSTEM_INFO": "true",
        "COLLECTORS__VIEWS": "true",
        "COLLECTORS__VIEW_TOTALS": "true",
        "ALERTMANAGER__URLS": alertmanager,
        "HISTORY__RETENTION": "60d",
    }


def _remember(agent: Agent, target: str, folder: Path) -> None:
    """Write the samples of a week ago, as far as dashboards compare with them."""
    now = time.time()
    last_week = [now - WEEK_SECONDS + offset for offset in range(-BEFORE_SECONDS, AFTER_SECONDS, STEP_SECONDS)]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def rendered() -> bool:
        # One scrape that has it all: between two polls that are late, active users are not published.
        samples.clear()
        samples.update(agent.metrics())
        return {name for name, _ in samples} >= set(COMPARED)

    agent.until(rendered, "requests and people are shown")
    total = {family: sum(value for (name, _), value in samples.items() if name == family) for family in COMPARED}
    lines = []
    for family in COMPARED:
        lines.append(f"# TYPE {family} unknown")
        for (name, labels), value in samples.items():
            if name == family:
                text = ",".join(f'{key}="{label}"' for key, label in [*sorted(labels), ("instance", target)])
                share = value / total[family] if family.endswith("_total") else 0
                lines += [
                    f'{name}{{{text},job="tableau"}} {value + share * A_SECOND * STEP_SECONDS * number} {at:.3f}'
                    for number, at in enumerate(last_week)
                ]
    path = folder / "last_week.txt"
    path.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    command = [
        str(require("promtool")),
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        str(path),
        str(prometheus_data(folder)),
    ]
    subprocess.run(command, check=True, capture_output=True)


def _prometheus(folder: Path, target: str, authority: Path, interval: int) -> AbstractContextManager[str]:
    # An hour of waiting is a minute in a demo, and still long for a test.
    (folder / "rules.yml").write_text(fast_rules.rules(RULES.read_text()).replace("for: 60s", "for: 1s"))
    text = fast_rules.prometheus(target, None, folder / "rules.yml")
    configuration = yaml.safe_load(text.replace(f"{fast_rules.INTERVAL_SECONDS}s", f"{interval}s"))
    configuration["scrape_configs"][0] |= {"scheme": "https", "tls_config": {"ca_file": str(authority)}}
    return run_prometheus(folder, yaml.safe_dump(configuration), "--query.lookback-delta=1m")
