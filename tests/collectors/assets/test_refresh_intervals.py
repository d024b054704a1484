"""The interval of an asset's refreshes, from a history made for the query."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any

import duckdb
import pytest

from exporter.collector import columns_of
from exporter.collectors.assets.history_sql import REFRESH_INTERVALS
from exporter.collectors.background_jobs import Job
from tests.collectors.assets.test_metrics import assets
from tests.collectors.repositories import at

NEWEST = at(19)


def learn(jobs: list[dict[str, Any]], *rows: dict[str, Any], reported: Sequence[float] = ()) -> dict[str, float]:
    """Query a history with these jobs, and with the REST API's refreshes of luid-1 (hours ago)."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE asset_refreshes (asset_type VARCHAR, asset_id VARCHAR, refreshed_at TIMESTAMP)"
        )
        for hours in reported:
            row = ["workbook", "luid-1", NEWEST - timedelta(hours=hours)]
            connection.execute("INSERT INTO asset_refreshes VALUES (?, ?, ?)", row)
        listed = ", ".join(f'"{column.name}" {column.type.duckdb}' for column in columns_of(Job))
        connection.execute(f"CREATE TABLE background_jobs ({listed})")
        for job in jobs:
            names = ", ".join(job)
            marks = ", ".join("?" * len(job))
            connection.execute(f"INSERT INTO background_jobs ({names}) VALUES ({marks})", list(job.values()))
        connection.register("state", assets(*rows))
        return dict(connection.execute(REFRESH_INTERVALS).fetchall())


def jobs(*hours_ago: float, **values: object) -> list[dict[str, Any]]:
    """Return successful refreshes of task 7 so many hours before the newest."""
    base = {"finish_code": 0, "task_id": 7, "job_name": "Refresh Extracts"}
    return [{**base, "completed_at": NEWEST - timedelta(hours=hours), **values} for hours in hours_ago]


PLANNED = {"task_ids": "7,8"}
HOUR = 3600.0


def test_the_interval_is_the_median_of_the_gaps() -> None:
    """Gaps of 1, 2 and 10 hours have the median 2."""
    assert learn(jobs(0, 1, 3, 13), PLANNED) == {"luid-1": 2 * HOUR}


def test_one_gap_teaches_nothing() -> None:
    """Two gaps are the least."""
    assert learn(jobs(0, 1), PLANNED) == {}


@pytest.mark.parametrize("unlike", [{"finish_code": 1}, {"finish_code": 2}, {"finish_code": None}, {"task_id": 9}])
def test_only_successful_refreshes_of_its_own_count(unlike: dict[str, object]) -> None:
    """Failures, cancelled jobs and jobs of other tasks do not."""
    assert learn([*jobs(0, 2, 4), *jobs(1, **unlike)], PLANNED) == {"luid-1": 2 * HOUR}


def test_all_tasks_of_an_asset_count() -> None:
    """A workbook may have a task for full refreshes and one for increments."""
    assert learn([*jobs(0, 2), *jobs(1, task_id=8)], PLANNED) == {"luid-1": HOUR}


def test_the_oldest_versions_name_the_task_by_correlation() -> None:
    """Where task_id is NULL, correlation_id is the task."""
    assert learn(jobs(0, 2, 4, task_id=None, correlation_id=8), PLANNED) == {"luid-1": 2 * HOUR}


def test_what_is_older_than_thirty_days_does_not_count() -> None:
    """The past is another rhythm."""
    assert learn(jobs(0, 1, 2, 720, 721, 722, 723, 724), PLANNED) == {"luid-1": HOUR}
    assert learn(jobs(0, 721, 722, 723), PLANNED) == {}


def test_the_last_twenty_refreshes_count() -> None:
    """A new rhythm is learned soon: of nineteen gaps the tenth is the median, one gap more or less would move it."""
    gaps = [3.0] * 9 + [1.0] * 10 + [3.0] * 10
    hours_ago = list(accumulate(gaps, initial=0.0))
    assert learn(jobs(*hours_ago), PLANNED) == {"luid-1": HOUR}


STRANGERS = [
    {"job_name": "Subscription Notifications", "job_type": "single_subscription_notify"},
    {"job_name": "Check If Data Alert Condition Is True", "job_type": "check_if_data_alert_condition_is_true"},
    {"job_name": None, "job_type": None},
]


@pytest.mark.parametrize("kind", STRANGERS, ids=str)
@pytest.mark.parametrize("number", [{"task_id": None, "correlation_id": 7}, {"task_id": 7}], ids=str)
def test_a_job_of_another_type_is_no_refresh(kind: dict[str, object], number: dict[str, object]) -> None:
    """A workbook that is refreshed daily stays so beside hourly jobs of others whose number is that of its task."""
    others = jobs(*(hour + 0.02 for hour in range(72)), **kind, **number)
    assert learn([*jobs(0, 24, 48, 72), *others], PLANNED) == {"luid-1": 24 * HOUR}


BY_HAND = {"task_id": None, "title": "Sales", "subtitle": "Workbook", "site_id": 1}


def test_a_refresh_by_hand_is_told_by_title_type_and_site() -> None:
    """A task without a title has no other link to its content."""
    assert learn(jobs(0, 2, 4, **BY_HAND), {}) == {"luid-1": 2 * HOUR}


KINDS = (
    *(("Refresh Extracts", "refresh_extracts"), ("Increment Extracts", "increment_extracts"), ("Run Flow", "run_flow")),
    *(("Refresh Extracts via Bridge", None), (None, "refresh_extracts_via_bridge")),
    *((None, "RefreshExtractsViaBridge"), (None, "IncrementExtractsViaBridge"), (None, ":increment_extracts")),
)


@pytest.mark.parametrize(("job_name", "job_type"), KINDS)
def test_every_kind_of_refresh_counts(job_name: str | None, job_type: str | None) -> None:
    """Full, incremental, by Bridge, and the run of a flow, by name or type, in each spelling that Tableau has."""
    kind = {"job_name": job_name, "job_type": job_type}
    assert learn(jobs(0, 2, 4, **{**BY_HAND, **kind}), {}) == {"luid-1": 2 * HOUR}
    assert learn(jobs(0, 2, 4, **kind, task_id=None, correlation_id=8), PLANNED) == {"luid-1": 2 * HOUR}


@pytest.mark.parametrize(
    "unlike",
    [{"title": "Other"}, {"subtitle": "Datasource"}, {"site_id": 2}, {"job_name": "Subscription Notifications"}],
)
def test_another_title_type_site_or_kind_of_job_is_not_meant(unlike: dict[str, object]) -> None:
    """All of them must fit."""
    assert learn(jobs(0, 2, 4, **{**BY_HAND, **unlike}), {}) == {}


def test_a_name_that_two_assets_have_teaches_nothing() -> None:
    """Which of them was refreshed is unknown."""
    assert learn(jobs(0, 2, 4, **BY_HAND), {}, {"asset_id": "luid-2"}) == {}


def test_a_planned_refresh_is_counted_once() -> None:
    """Its title fits too."""
    assert learn(jobs(0, 2, 4, **{**BY_HAND, "task_id": 7}), PLANNED) == {"luid-1": 2 * HOUR}


def test_infinity_is_no_instant() -> None:
    """A job that is done at infinity neither counts nor ends the thirty days."""
    endless = jobs(0, completed_at="infinity")
    assert learn([*jobs(0, 2, 4), *endless], PLANNED) == {"luid-1": 2 * HOUR}


def test_an_empty_history_teaches_nothing() -> None:
    """A first poll has no history to query."""
    assert learn([], PLANNED) == {}


DAY = 24.0
# Refreshed on working days, at the same time; the last was on a Friday.
WORKING_DAYS = [week * 7 * DAY + day * DAY for week in range(4) for day in range(5)]


def test_a_weekend_is_a_pause_like_those_before() -> None:
    """After the refresh of a Friday the next is expected on Monday, as in the weeks before."""
    assert learn(jobs(*WORKING_DAYS), PLANNED) == {"luid-1": 3 * DAY * HOUR}


def test_within_the_week_the_next_day_is_expected() -> None:
    """After the refresh of a Thursday the next is expected on Friday."""
    assert learn(jobs(*[hours - DAY for hours in WORKING_DAYS if hours >= DAY]), PLANNED) == {"luid-1": DAY * HOUR}


def test_two_weeks_are_too_few_for_a_habit() -> None:
    """Where one week alone has the pause after a Friday, the latest pauses decide."""
    assert learn(jobs(*[hours for hours in WORKING_DAYS if hours < 2 * 7 * DAY]), PLANNED) == {"luid-1": DAY * HOUR}


def test_refreshes_reported_by_the_rest_api() -> None:
    """Without jobs of the repository, the refreshes of the REST API yield the same."""
    assert learn([], {}, reported=(0, 1, 3, 13)) == {"luid-1": 2 * HOUR}


def test_jobs_and_the_rest_api_tell_of_the_same_refreshes() -> None:
    """A refresh that both sources know is one: the repository's jobs decide where there are any."""
    assert learn(jobs(0, 2, 4), PLANNED, reported=(0.01, 1, 2.01, 4.01)) == {"luid-1": 2 * HOUR}


def test_two_notes_of_one_refresh() -> None:
    """A job and the extract it refreshed differ by seconds, which is no pause."""
    reported = [hours + seconds / 3600 for hours in (0, 2, 4, 6) for seconds in (0, 20)]
    assert learn([], {}, reported=reported)["luid-1"] == pytest.approx(2 * HOUR, abs=30)
