"""The pages of a whole agent, compared with its metrics, its file and its repository."""

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from exporter.demo.simulation import Simulation
from exporter.tabular import cell
from tests.end_to_end.conftest import ask
from tests.end_to_end.scrapes import by_labels
from tests.support.agent_process import Agent


@pytest.fixture(scope="module")
def agent(repository: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent that has polled a small company twice."""
    with Agent(tmp_path_factory.mktemp("pages"), repository.parameters()) as agent:
        agent.polled(2)
        agent.until(lambda: rows(agent, "/usage.csv?of=content"), "the pages were not made")
        yield agent


def rows(agent: Agent, path: str) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    answer = httpx.get(agent.url + path)
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_assets_are_those_of_the_metrics(agent: Agent) -> None:
    """The table has every scraped asset, with its owner, its SLA and the instant of its refresh."""
    listed = {row["asset_id"]: row for row in rows(agent, "/assets.csv")}
    samples = agent.metrics()
    labels = ("asset_id", "site", "project", "asset_type", "asset_name", "content_owner", "connection")
    info = {found[0]: tuple(map(cell, found[1:])) for found in by_labels(samples, "tableau_asset_info", *labels)}
    assert {key: tuple(row[name] for name in labels[1:]) for key, row in listed.items()} == info
    published = by_labels(samples, "tableau_asset_sla_hours", "asset_id", "severity")
    promised = {key: float(row["critical_hours"]) for key, row in listed.items() if row["critical_hours"]}
    assert promised == {key: value for (key, severity), value in published.items() if severity == "critical"}
    hours = {key for (key,) in by_labels(samples, "tableau_asset_hours_since_refresh", "asset_id")}
    assert {key for key, row in listed.items() if row["hours_since_refresh"]} == hours
    assert len(listed) > 10


def test_hours_are_those_of_the_repository(agent: Agent, repository: Simulation) -> None:
    """Each hour has the requests and the active users of the repository."""
    found = {
        row["hour_utc"]: (int(row["requests"]), int(row["active_people"])) for row in rows(agent, "/usage.csv?days=8")
    }
    reported = ask(
        repository,
        """
        SELECT
            to_char(date_trunc('hour', r.created_at), 'YYYY-MM-DD"T"HH24:00:00"Z"'),
            count(*) FILTER (WHERE completed_at IS NOT NULL),
            count(DISTINCT users.system_user_id)
        FROM http_requests AS r LEFT JOIN users ON users.id = r.user_id
        GROUP BY 1
        """,
    )
    expected = {hour: (requests, people) for hour, requests, people in reported if hour in found}
    assert {hour: counts for hour, counts in found.items() if any(counts)} == {
        hour: counts for hour, counts in expected.items() if any(counts)
    }
    assert len(expected) > 50


def test_most_opened_are_those_of_the_repository(agent: Agent, repository: Simulation) -> None:
    """A workbook's loads over 30 days are its renderings in the repository."""
    (most, *_), newest = rows(agent, "/usage.csv?of=content"), "(SELECT max(created_at)::date FROM http_requests)"
    reported = ask(
        repository,
        f"""
        SELECT count(*) FROM http_requests AS r JOIN sites ON sites.id = r.site_id
        WHERE action = 'bootstrapSession' AND split_part(currentsheet, '/', 1) = %s AND completed_at IS NOT NULL
            AND coalesce(nullif(sites.url_namespace, ''), 'default') = %s AND r.created_at::date > {newest} - 30
        """,
        most["workbook"],
        most["site"],
    )
    assert reported == [(int(most["loads_30d"]),)]
    assert int(most["loads_30d"]) > 0


def test_detail_has_the_refreshes_of_the_archive(agent: Agent) -> None:
    """The page of a refreshed asset has its refreshes."""
    ids = [row["asset_id"] for row in rows(agent, "/assets.csv?type=workbook&status=Healthy")]
    pages = [httpx.get(f"{agent.url}/assets/workbook/{asset_id}").text for asset_id in ids]
    assert any('<rect class="bar success"' in page for page in pages)


def test_every_page_answers(agent: Agent) -> None:
    """Every page exists with its content type."""
    for path in ("/", "/assets", "/events", "/undelivered", "/usage", "/usage?list=views", "/usage?list=unused90"):
        answer = httpx.get(agent.url + path)
        assert answer.status_code == 200
        assert "</html>" in answer.text


def test_undelivered_are_those_of_the_repository(agent: Agent, repository: Simulation) -> None:
    """The page has each subscription that fails or is suspended, with its failures, and no name of a user."""
    reported = ask(
        repository,
        """
        SELECT subject, consecutive_failure_count FROM subscriptions AS s JOIN tasks ON tasks.obj_id = s.id
        WHERE obj_type = 'Subscription' AND (consecutive_failure_count > 0 OR tasks.state = 1)
        """,
    )
    page = httpx.get(f"{agent.url}/undelivered").text
    of_subscription = (
        r'rowheader">([^<]+)</th>\n<td role="cell" data-label="Kind">subscription<(?:.*\n)*?.*"figure">(\d+)<'
    )
    found = re.findall(of_subscription, page)
    assert sorted((html.unescape(name), int(failures)) for name, failures in found) == sorted(reported)
    assert len(reported) == 2
    assert "Recipient" not in page
