"""Audits of the repository, over REST, and of both."""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter import collectors
from exporter.audit.reading import Audit, run_audit, worst_first
from exporter.collectors.assets import COLLECTOR
from exporter.config import Configuration, load
from exporter.demo.simulation import Simulation
from exporter.errors import SourceUnreachable
from tests.audit.conftest import AT, REST, SetUp, answering, site_result
from tests.collectors.assets.test_from_rest import content, described, inventory
from tests.collectors.repositories import read as read_state
from tests.history.test_freshness_audit import judged

NOW = AT.replace(tzinfo=UTC).timestamp()
Configured = Callable[..., Configuration]


@pytest.fixture
def configured(environment: SetUp) -> Configured:
    """Load a configuration from the environment alone."""
    import os

    def configure(simulation: Simulation | None, **settings: str) -> Configuration:
        environment(simulation, **settings)
        return load(None, os.environ, collectors.discover(), explicit=False)

    return configure


def found(audit: Audit) -> dict[str, Mapping[str, Any]]:
    """Return the judged rows by their LUID."""
    return {row["asset_id"]: row for row in audit.rows.to_pylist()}


def silent(_: str) -> None:
    """Report no progress."""


def test_the_repository_is_read_whole(company: Simulation, configured: Configured) -> None:
    """Each asset of the repository has one row, as the agent has it."""
    now = company.now.replace(tzinfo=UTC).timestamp()
    audit = run_audit(configured(company), now, silent)
    (state,) = COLLECTOR.states
    assets = {row["asset_id"]: row for row in read_state(company.parameters(), state).to_pylist()}
    rows = found(audit)
    assert (audit.failures, audit.notes) == ([], [])
    assert rows.keys() == assets.keys()
    assert audit.rows.num_rows == len(rows)
    for luid, row in rows.items():
        at = assets[luid]["last_refresh_at"]
        assert row["last_refresh_utc"] == at
        assert row["site"] == assets[luid]["site"]
        if at is not None:
            assert row["hours_since_refresh"] == pytest.approx(max(0.0, (company.now - at) / timedelta(hours=1)))
    assert {"Critical", "Healthy", "Live"} <= {row["status"] for row in rows.values()}


def test_what_lies_about_its_change_is_judged_by_its_extract(configured: Configured) -> None:
    """100 of 100 assets that were changed a minute ago are as old as their extracts are."""
    luids = [f"w{number}" for number in range(100)]
    contents = content(*({"asset_id": luid, "updated_at": AT - timedelta(minutes=1)} for luid in luids))
    extracts = described(*({"asset_id": luid, "refreshed_at": AT - timedelta(hours=30)} for luid in luids))
    site = site_result("marketing", inventory(contents, described=extracts))
    audit = run_audit(configured(None, **REST), NOW, silent, answering(site))
    assert {luid: row["status"] for luid, row in found(audit).items()} == dict.fromkeys(luids, "Critical")
    assert {row["hours_since_refresh"] for row in audit.rows.to_pylist()} == {30.0}
    assert audit.is_critical


def test_a_site_that_failed_leaves_the_others_theirs(configured: Configured) -> None:
    """One line names the missing site and the reason; facts that a site lacks are a note."""
    audit = run_audit(
        configured(None, **REST),
        NOW,
        silent,
        answering(
            site_result("default", inventory(notes=("the Metadata API is off",))),
            site_result("marketing", None, "403: the user is no site administrator"),
            site_result("finance", inventory(content({"asset_id": "w2"}))),
        ),
    )
    assert found(audit).keys() == {"w1", "w2"}
    assert audit.failures == ["site marketing: 403: the user is no site administrator"]
    assert audit.notes == ["site default: the Metadata API is off"]


def test_no_sign_in_is_a_failure(configured: Configured) -> None:
    """A failure of the whole REST API is one line; rows from before it stay."""
    error = SourceUnreachable("rest https://tableau: no answer")
    audit = run_audit(configured(None, **REST), NOW, silent, answering(site_result("default", inventory()), then=error))
    assert found(audit).keys() == {"w1"}
    assert audit.failures == ["rest https://tableau: no answer"]


def test_a_repository_that_is_down_leaves_what_rest_says(configured: Configured) -> None:
    """The sources do not depend on each other."""
    settings = REST | {"REPOSITORY__HOSTS": "127.0.0.1:1"}
    audit = run_audit(configured(None, **settings), NOW, silent, answering(site_result("default", inventory())))
    assert found(audit).keys() == {"w1"}
    (failure,) = audit.failures
    assert failure.startswith("repository 127.0.0.1:1: ")


def test_both_sources_know_the_same_asset_once(company: Simulation, configured: Configured) -> None:
    """An asset of both the repository and the REST API has one row."""
    now = company.now.replace(tzinfo=UTC).timestamp()
    alone = found(run_audit(configured(company), now, silent))
    workbooks = [luid for luid, row in alone.items() if row["asset_type"] == "workbook"]
    contents = content(*({"asset_id": luid} for luid in [*workbooks, "only over REST"]))
    audit = run_audit(configured(company, **REST), now, silent, answering(site_result("default", inventory(contents))))
    assert audit.rows.num_rows == len(alone) + 1
    both = found(audit)
    for luid in workbooks:
        assert both[luid]["last_refresh_utc"] == alone[luid]["last_refresh_utc"]


def test_nothing_found_is_no_good_news(configured: Configured) -> None:
    """An audit that saw no asset at all has failed: a token may have lost its rights."""
    audit = run_audit(
        configured(None, **REST), NOW, silent, answering(site_result("default", inventory(content()[:0])))
    )
    assert audit.failures == ["no assets were found: check the rights of the agent's user or token"]


@pytest.mark.parametrize(("users", "status"), [("name", "Healthy"), ("none", "Critical")])
def test_rules_see_people_as_the_privacy_options_show_them(
    company: Simulation, configured: Configured, users: str, status: str
) -> None:
    """A rule of an owner's name matches no asset where names are not stored."""
    rules = "[{match: {content_owner: '*?'}, warning: never, critical: never}]"
    settings = {"PRIVACY__USERS": users, "FRESHNESS__RULES": rules}
    audit = run_audit(configured(company, **settings), company.now.replace(tzinfo=UTC).timestamp() + 1e7, silent)
    assert {row["status"] for row in audit.rows.to_pylist()} - {"Live", "Unknown"} == {status}


def test_no_key_of_pseudonyms_is_made(company: Simulation, configured: Configured, tmp_path: Path) -> None:
    """An audit leaves nothing behind: without the agent's key, owners are not recognised."""
    audit = run_audit(configured(company, PRIVACY__USERS="pseudonym"), NOW, silent)
    assert audit.rows.num_rows
    assert list(tmp_path.iterdir()) == []


def test_the_worst_comes_first() -> None:
    """By status, then the oldest data; unknown comes before healthy."""
    rows: list[dict[str, Any]] = [
        {"asset_id": "1", "status": "Live", "hours_since_refresh": None},
        {"asset_id": "2", "status": "Healthy", "hours_since_refresh": 1.0},
        {"asset_id": "3", "status": "Unknown", "hours_since_refresh": None},
        {"asset_id": "4", "status": "Critical", "hours_since_refresh": 30.0},
        {"asset_id": "5", "status": "Warning", "hours_since_refresh": 99.0},
        {"asset_id": "6", "status": "Critical", "hours_since_refresh": 40.0},
        {"asset_id": "7", "status": "Healthy", "hours_since_refresh": 2.0},
    ]
    assert "".join(worst_first(judged(*rows)).column("asset_id").to_pylist()) == "6453721"
