"""The check of Admin Insights: one line for each site, which names what is missing and what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.check import Finding, check
from exporter.collectors.admin_insights import EVENTS, TOKENS
from exporter.config import RunOptions
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau import server as simulated
from exporter.demo.tableau.activity_story import ActivityStory
from exporter.demo.tableau.admin_insights import AdminInsights
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TableauServer
from exporter.rest import insights
from exporter.rest.client import RestClient
from exporter.rest.credentials import RestOptions, Token

NOW = datetime(2025, 11, 19, 12)  # noqa: DTZ001 - the company's times have no zone
(NAME, VALUE), *_ = simulated.TOKENS.items()


@pytest.fixture(scope="module")
def cloud() -> Iterator[TableauServer]:
    """A small Tableau Cloud with Admin Insights on each site."""
    company = Company.build(1, NOW, SMALL)
    clock = NOW.replace(tzinfo=UTC).timestamp
    sources = AdminInsights(company, ActivityStory(company, requests_per_day=30), lambda: NOW)
    estate = Estate.of(company).plain()
    with TableauServer(estate, cloud=True, insights=sources, clock=clock, session_seconds=1e9) as running:
        yield running


@pytest.fixture
def server(cloud: TableauServer) -> Iterator[TableauServer]:
    """It, without failures."""
    yield cloud
    cloud.failure_modes.reset()


def probed(server: TableauServer, *sites: str) -> list[tuple[bool | None, str]]:
    """Return the lines of the check."""
    options = RestOptions(server.url, sites, lambda: Token(NAME, VALUE), timeout=10.0)
    rest = RestClient(options, clock=NOW.replace(tzinfo=UTC).timestamp, sleep=lambda _: None)
    list(rest.probe())
    lines = list(rest.probe_insights())
    rest.close()
    return lines


def test_all_is_well(server: TableauServer) -> None:
    """A line for each site with the time of its refresh, and few queries of the hundred an hour."""
    server.seen.clear()
    assert sorted(probed(server, "default", "marketing")) == [
        (True, f"site {site}: Admin Insights answers, TS Events was refreshed at 2025-11-19 05:00 UTC")
        for site in ("default", "marketing")
    ]
    assert sum(seen.kind.startswith("vds") for seen in server.seen) == 10


@pytest.mark.parametrize(
    ("switch", "value", "ok", "line"),
    [
        ("insights_absent", True, False, "no data sources of Admin Insights: an administrator opens it once"),
        ("vds", "missing", False, "this Tableau has no VizQL Data Service"),
        ("vds", "disabled", False, "VizQL Data Service is off: an administrator switches it on for the site"),
        ("vds", "no_access", False, "give the token's user API Access on the data source"),
        ("vds_queries_an_hour", 0, False, "the rest follows after an hour"),
        ("vds_empty", {EVENTS.name}, None, "is filled within a day after an administrator has opened it"),
    ],
)
def test_what_is_missing(server: TableauServer, switch: str, value: Any, ok: bool | None, line: str) -> None:  # noqa: ANN401 - of any switch
    """Each fault is one line with the site and its fix."""
    setattr(server.failure_modes, switch, value)
    ((found, text),) = probed(server, "marketing")
    assert found is ok
    assert text.startswith("site marketing: ")
    assert line in text


def test_fields_that_are_missing(server: TableauServer) -> None:
    """Fields that are not there are a note, with those without which a data source cannot be read."""
    server.failure_modes.vds_without = {"Item Name", "PAT Name"}
    first, (ok, note) = probed(server, "marketing")
    assert (first[0], ok) == (True, None)
    assert note == (
        "site marketing: Admin Insights works without fields of TS Events (Item Name); without fields of Tokens"
        " (PAT Name, so nothing of it can be read)"
    )


def test_a_data_source_that_is_missing(server: TableauServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data source that the token's user may not see is a note."""
    found = insights.datasources_of
    monkeypatch.setattr(
        "exporter.rest.insights_probe.datasources_of",
        lambda content: {name: luid for name, luid in found(content).items() if name != TOKENS.name},
    )
    _, (ok, note) = probed(server, "marketing")
    assert ok is None
    assert note.endswith("works without Tokens (no such data source: check what the token's user may see)")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_command(server: TableauServer, tmp_path: Path, enabled: bool) -> None:
    """The command tries it where it is enabled."""
    server.failure_modes.vds = "disabled"
    findings = list(check(RunOptions(config_file=written(server, tmp_path, enabled=enabled))))
    assert any("VizQL Data Service is off" in found.message for found in faults(findings)) is enabled


def faults(findings: list[Finding]) -> list[Finding]:
    """Return what is wrong."""
    return [found for found in findings if found.ok is False]


def written(server: TableauServer, folder: Path, *, enabled: bool) -> Path:
    """Write a configuration."""
    path = folder / "tableau-exporter.yml"
    path.write_text(
        f"rest: {{url: '{server.url}', token_name: '{NAME}', token_value: '{VALUE}', sites: [marketing],"
        f" admin_insights: {str(enabled).lower()}}}\nhistory: {{path: '{folder / 'history.duckdb'}'}}\n"
    )
    return path
