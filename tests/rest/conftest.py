"""A small Tableau with a few assets, and an agent's way of polling it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.inventory import Inventory, Refresh
from exporter.rest.arrow import schema
from exporter.rest.client import RestClient, SiteResult
from exporter.rest.credentials import ConnectedApp, RestOptions, Token
from exporter.rest.token_stats import TokenTracker
from tests.rest.tableau import Tableau, asset, element

NOTHING_KNOWN = schema(Refresh).empty_table()
NOW = 1_785_146_400.0  # 2026-07-27T10:00:00Z

Credentials = Token | ConnectedApp


@dataclass
class RestHarness:
    """A Tableau, and a way of polling it with an injected clock and injected sleep."""

    tableau: Tableau
    now: float = NOW
    slept: list[float] = field(default_factory=list)
    made: list[RestClient] = field(default_factory=list)
    stopping: bool = False

    def rest(
        self,
        *sites: str,
        credentials: Callable[[], Credentials] = lambda: Token("agent", "value of the token"),
        url: str | None = None,
        timeout: float = 30.0,
        ca_file: Path | None = None,
        token: TokenTracker | None = None,
    ) -> RestClient:
        """Make an agent's source."""
        login = RestOptions(url or self.tableau.url, sites, credentials, ca_file, timeout)
        rest = RestClient(
            login,
            clock=lambda: self.now,
            sleep=self.slept.append,
            stopping=lambda: self.stopping,
            token=token,
        )
        self.made.append(rest)
        return rest

    def poll(self, rest: RestClient, budget: int = 0) -> dict[str, SiteResult]:
        """Poll once."""
        return {result.site: result for result in rest.poll(NOTHING_KNOWN, budget)}

    def inventory(self, rest: RestClient | None = None, site: str = "default", budget: int = 0) -> Inventory:
        """Poll once, and return the inventory of a site that must have one."""
        result = self.poll(rest or self.rest(), budget)[site]
        assert result.error is None, result.error
        assert result.inventory is not None
        return result.inventory

    def failure(self, rest: RestClient | None = None, site: str = "default") -> str:
        """Poll once, and return the line of a site that must have failed."""
        result = self.poll(rest or self.rest())[site]
        assert result.inventory is None
        assert result.error is not None
        assert result.error == result.error.strip()
        assert "\n" not in result.error
        return result.error


def furnish(tableau: Tableau) -> None:
    """Give each site a workbook, a data source and a flow of their own, and all that belongs to them."""
    for url, place in tableau.sites.items():
        place.entries = {
            "workbooks": [asset("workbook", f"{url}w1")],
            "datasources": [asset("datasource", f"{url}d1", hasExtracts="true")],
            "flows": [asset("flow", f"{url}f1")],
            "projects": [element("project", id="p1", name="Sales")],
            "users": [element("user", id="u1", name="anna", siteRole="Creator")],
        }
        extract = {"hasExtracts": True, "extractLastRefreshTime": "2026-07-27T06:00:00Z"}
        own = {**extract, "upstreamDatasources": []}
        place.nodes = {
            "publishedDatasourcesConnection": [{"luid": f"{url}d1", **extract}],
            "workbooksConnection": [{"luid": f"{url}w1", "embeddedDatasources": [own], "upstreamDatasources": []}],
        }


@pytest.fixture
def harness() -> Iterator[RestHarness]:
    """A Tableau with the Default site alone."""
    with Tableau() as tableau:
        furnish(tableau)
        harness = RestHarness(tableau)
        yield harness
        for rest in harness.made:
            rest.close()


@pytest.fixture
def three() -> Iterator[RestHarness]:
    """A Tableau with three sites."""
    with Tableau("", "marketing", "Finance") as tableau:
        furnish(tableau)
        harness = RestHarness(tableau)
        yield harness
        for rest in harness.made:
            rest.close()
