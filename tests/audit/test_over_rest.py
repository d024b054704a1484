"""``tableau-exporter audit`` of a Tableau Cloud: every asset once, judged by its extract, on any answer of its site."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from exporter.cli import main
from exporter.demo.simulation import Simulation
from exporter.demo.tableau import large
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from tests.audit.conftest import SetUp
from tests.support.rest_poller_harness import RestPollerHarness

WORKBOOKS, DATASOURCES, FLOWS, SITES = 1250, 400, 30, 3
NAME, VALUE = next(iter(TOKENS.items()))


@pytest.fixture(scope="module")
def built_at() -> datetime:
    """Return when the estate was as it is: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@pytest.fixture(scope="module")
def server(built_at: datetime) -> Iterator[TableauServer]:
    """A simulated Tableau Cloud with three sites."""
    with TableauServer(estate(built_at, jobs=1_000)) as running:
        yield running


def estate(now: datetime, jobs: int) -> Estate:
    """Return three sites; wrong totals of users and projects would be a note for each among those that tests read."""
    made = Estate.large(WORKBOOKS, DATASOURCES, flows=FLOWS, sites=SITES, now=now, jobs=jobs)
    made.oddities = replace(made.oddities, promised=frozenset())
    return made


@pytest.fixture
def cloud(server: TableauServer, environment: SetUp) -> Iterator[TableauServer]:
    """That Cloud in the environment, without any failure before and after."""
    environment(None, **rest_of(server))
    yield server
    server.failure_modes.reset()


def rest_of(server: TableauServer, value: str = VALUE) -> dict[str, str]:
    """Return the settings that lead to a simulated server."""
    return {"REST__URL": server.url, "REST__TOKEN_NAME": NAME, "REST__TOKEN_VALUE": value}


def audit(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["audit", "--format=json", *arguments])


def rows(result: Result) -> dict[str, dict[str, Any]]:
    """Return the assets of an output, each of which is there once."""
    found = json.loads(result.stdout)
    by_luid = {row["asset_id"]: row for row in found}
    assert len(by_luid) == len(found)
    return by_luid


def test_assets_whose_change_lies_are_judged_by_their_extracts(cloud: TableauServer, built_at: datetime) -> None:
    """Each asset was changed just now; hours are those of its data to 0.1, and the status follows from them."""
    cloud.failure_modes.updated_at_lies = True
    result = audit()
    assert (result.exit_code, result.stderr) == (2, "")
    found = rows(result)
    assert len(found) == WORKBOOKS + DATASOURCES + FLOWS
    age = (datetime.now(UTC).replace(tzinfo=None) - built_at) / timedelta(hours=1)
    own = [number for number in range(WORKBOOKS) if number % 10 in large.OWN]
    right = 0
    for number in own:
        row = found[large.luid(large.WORKBOOKS, number)]
        hours = (built_at - large.refreshed_at(large.WORKBOOKS, number, built_at)) / timedelta(hours=1) + age
        assert row["hours_since_refresh"] == pytest.approx(hours, abs=0.1)
        assert row["freshness_source"] == "metadata"
        old = row["hours_since_refresh"]
        assert row["status"] == ("Critical" if old > 24 else "Warning" if old > 12 else "Healthy")
        right += 1
    assert right == 750
    assert {row["status"] for row in found.values()} >= {"Critical", "Warning", "Healthy", "Live"}
    assert all(row["hours_since_refresh"] is None for row in found.values() if row["status"] == "Live")


def test_other_sites_are_not_read(cloud: TableauServer) -> None:
    """Excluded sites get no sign-in, and their failures do not count."""
    cloud.failure_modes.sites_failing = {"site2"}
    cloud.seen.clear()
    result = audit("--site=site1")
    assert (result.exit_code, result.stderr) == (2, "")
    assert {row["site"] for row in rows(result).values()} == {"site1"}
    assert set(cloud.signed_in) == {"site1"}


def test_a_site_that_rest_does_not_know(cloud: TableauServer) -> None:
    """It is one line and exit code 1."""
    result = audit("--site=elsewhere")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "site elsewhere" in line


def test_a_site_that_fails(cloud: TableauServer) -> None:
    """Its assets are missing and one line reports it; the others' are judged; the code is 1, critical or not."""
    cloud.failure_modes.sites_failing = {"site1"}
    result = audit()
    assert result.exit_code == 1
    assert {row["site"] for row in rows(result).values()} == {"default", "site2"}
    (line,) = result.stderr.splitlines()
    assert line.startswith("site site1: ")


@pytest.mark.parametrize("failure_mode", ["html_login_page", "truncated", "short_page"])
def test_half_a_list_is_no_audit(cloud: TableauServer, failure_mode: str) -> None:
    """A site whose list is not whole has failed, whatever it answered with."""
    setattr(cloud.failure_modes, failure_mode, {"workbooks"})
    cloud.failure_modes.only_sites = {"site2"}
    result = audit()
    assert result.exit_code == 1
    assert {row["site"] for row in rows(result).values()} == {"default", "site1"}
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("answer", ["missing", "disabled"])
def test_a_metadata_api_that_is_off(cloud: TableauServer, answer: str) -> None:
    """Then the audit uses the other sources, marks it asset by asset, and in a note; it has not failed."""
    cloud.failure_modes.metadata = answer
    result = audit()
    assert result.exit_code in {0, 2}
    assert "metadata" not in {row["freshness_source"] for row in rows(result).values()}
    assert result.stderr
    assert all(line.startswith("note: site ") for line in result.stderr.splitlines())


THROTTLED = "the Metadata API gave nothing: it answers without data (RATE_EXCEEDED)"


@pytest.mark.parametrize(
    "freshness", [{"warning": "12h", "critical": "24h"}, {"warning": "9000d", "critical": "9000d"}]
)
def test_a_throttled_metadata_api(
    server: TableauServer, environment: SetUp, tmp_path: Path, freshness: dict[str, str]
) -> None:
    """Unknown is not healthy: exit code 1, or 2 where a remembered refresh is critical."""
    keys = {f"FRESHNESS__{name.upper()}": value for name, value in freshness.items()}
    environment(None, **rest_of(server), **keys, HISTORY__PATH=str(tmp_path / "history.duckdb"))
    server.failure_modes.metadata_throttle_next = SITES
    result = audit()
    server.failure_modes.reset()
    assert result.exit_code == (2 if freshness["critical"] == "24h" else 1)
    assert sum(THROTTLED in line for line in result.stderr.splitlines()) == SITES
    by_change = {row["status"] for row in rows(result).values() if row["freshness_source"] == "updated_at"}
    assert by_change
    assert "Healthy" not in by_change


def test_the_history_is_used(built_at: datetime, environment: SetUp, tmp_path: Path) -> None:
    """The history's rows count where the Metadata API is down now: not one asset is fresher."""
    history = tmp_path / "history.duckdb"
    with TableauServer(estate(built_at, jobs=0)) as server:
        environment(None, **rest_of(server), HISTORY__PATH=str(history))
        whole = rows(audit())
        assert RestPollerHarness(server, history, time.time()).poll()
        server.failure_modes.metadata_throttle_next = SITES
        throttled = rows(audit())
        history.write_bytes(b"no history")
        unread = audit()
        assert any(line.startswith("note: the history is not used: ") for line in unread.stderr.splitlines())
        environment(
            None, **rest_of(server), HISTORY__PATH=str(history), FRESHNESS__CRITICAL="9000d", FRESHNESS__WARNING="9000d"
        )
        server.failure_modes.metadata_throttle_next = SITES
        unread = audit()
        assert unread.exit_code == 1
        assert "updated_at" not in {row["freshness_source"] for row in rows(unread).values()}
    assert throttled.keys() == whole.keys()
    for luid, row in whole.items():
        now = throttled[luid]
        assert (now["connection"], now["last_refresh_utc"]) == (row["connection"], row["last_refresh_utc"])
        assert (now["status"], now["freshness_source"]) == (row["status"], row["freshness_source"])


def test_a_token_that_cannot_sign_in(server: TableauServer, environment: SetUp, tmp_path: Path) -> None:
    """It is one line without the token, nothing is put out, and the file of yesterday stays."""
    kept = tmp_path / "audit.json"
    kept.write_text("of yesterday")
    environment(None, **rest_of(server, "no such secret"))
    result = audit(f"--output={kept}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "no such secret" not in result.stderr
    assert kept.read_text() == "of yesterday"


def test_repository_and_rest_together(company: Simulation, environment: SetUp) -> None:
    """Both report the same: each asset is one row, with the freshness of the repository."""
    environment(company)
    alone = rows(audit())
    with TableauServer(Estate.of(company.company)) as server:
        environment(company, **rest_of(server))
        result = audit()
    both = rows(result)
    assert result.exit_code == 2
    assert alone.keys() <= both.keys()
    for luid, row in alone.items():
        if row["freshness_source"] == "repository":
            assert both[luid]["last_refresh_utc"] == row["last_refresh_utc"]
