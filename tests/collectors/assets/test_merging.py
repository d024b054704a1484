"""Of two sources of an asset the better one decides its freshness, asset by asset."""

import itertools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from exporter.collectors.assets.merging import merge
from exporter.collectors.assets.rows import ARROW_SCHEMA, REFRESHES

EARLY, LATE = datetime(2025, 11, 19, 3), datetime(2025, 11, 19, 9)  # noqa: DTZ001 - rows have no zone


def assets(*rows: Mapping[str, Any]) -> pa.Table:
    """Return assets as a source gives them."""
    base = {"site": "default", "asset_type": "workbook", "asset_id": "w1"}
    return pa.Table.from_pylist(
        [{**dict.fromkeys(ARROW_SCHEMA.names), **base, **row} for row in rows], schema=ARROW_SCHEMA
    )


def merged(*tables: pa.Table) -> Mapping[str, Any]:
    """Return the only asset of several tables."""
    (row,) = merge(tables).to_pylist()
    return dict(row)


WORSE = [(refresh, "created") for refresh in sorted(REFRESHES)] + [("created", "updated_at")]


@pytest.mark.parametrize(("better", "worse"), WORSE)
@pytest.mark.parametrize("turned", [False, True])
def test_the_better_source_wins(better: str, worse: str, turned: bool) -> None:
    """A refresh before a creation before a change of anything, whichever comes first and whichever is newer."""
    first = assets({"freshness_source": better, "last_refresh_at": EARLY, "connection": "extract"})
    second = assets({"freshness_source": worse, "last_refresh_at": LATE, "connection": "mixed"})
    row = merged(second, first) if turned else merged(first, second)
    assert (row["freshness_source"], row["last_refresh_at"], row["connection"]) == (better, EARLY, "extract")


@pytest.mark.parametrize("asset_type", ["workbook", "datasource", "flow"])
@pytest.mark.parametrize(("early", "late"), list(itertools.permutations(sorted(REFRESHES), 2)))
def test_every_refresh_is_equally_good(early: str, late: str, asset_type: str) -> None:
    """Of two reported refreshes of one extract the later counts, by whichever source."""
    first = assets({"asset_type": asset_type, "freshness_source": early, "last_refresh_at": EARLY})
    second = assets({"asset_type": asset_type, "freshness_source": late, "last_refresh_at": LATE})
    for tables in ((first, second), (second, first)):
        row = merged(*tables)
        assert (row["freshness_source"], row["last_refresh_at"]) == (late, LATE)


def test_of_each_extract_the_latest() -> None:
    """A workbook is as fresh as the stalest of its extracts, each at the latest that any source reports."""
    own = {"own_source": "repository", "own_refresh_at": EARLY, "uses": "d1"}
    repository = assets(
        {"freshness_source": "repository", "last_refresh_at": EARLY, **own},
        {"asset_type": "datasource", "asset_id": "d1", "freshness_source": "repository", "last_refresh_at": LATE},
    )
    api = {"freshness_source": "metadata", "last_refresh_at": LATE, "own_source": "metadata", "own_refresh_at": LATE}
    found = {row["asset_id"]: row for row in merge([repository, assets(api)]).to_pylist()}
    assert (found["w1"]["last_refresh_at"], found["w1"]["freshness_source"]) == (LATE, "metadata")


def test_a_source_that_sees_less_makes_nothing_fresher() -> None:
    """Content hidden from a token leaves the workbook as stale as in the repository."""
    repository = assets(
        {"freshness_source": "repository", "last_refresh_at": EARLY, "uses": "d1"},
        {"asset_type": "datasource", "asset_id": "d1", "freshness_source": "repository", "last_refresh_at": EARLY},
    )
    api = {"freshness_source": "metadata", "last_refresh_at": LATE, "own_source": "metadata", "own_refresh_at": LATE}
    found = {row["asset_id"]: row for row in merge([repository, assets(api)]).to_pylist()}
    assert (found["w1"]["last_refresh_at"], found["w1"]["freshness_source"]) == (EARLY, "repository")


def test_live_by_the_repository() -> None:
    """The repository's word that an asset is live stands beside a refresh that an API remembers, not the other way."""
    live, refreshed = {"connection": "live"}, {"freshness_source": "metadata", "last_refresh_at": LATE}
    assert merged(assets(live), assets(refreshed))["connection"] == "live"
    assert merged(assets(refreshed), assets(live))["last_refresh_at"] == LATE
    made = {"connection": "extract", "freshness_source": "created", "last_refresh_at": EARLY}
    assert merged(assets(made), assets(live))["connection"] == "extract"


def test_live_is_known() -> None:
    """A known live asset stays live beside a source that only has its last change."""
    row = merged(assets({"freshness_source": "updated_at", "last_refresh_at": LATE}), assets({"connection": "live"}))
    assert (row["connection"], row["last_refresh_at"], row["freshness_source"]) == ("live", None, None)


def test_freshness_is_not_mixed() -> None:
    """The connection comes from the source of the freshness, even where that one has none."""
    first = assets({"freshness_source": "job", "last_refresh_at": EARLY})
    second = assets({"freshness_source": "updated_at", "last_refresh_at": LATE, "connection": "extract"})
    assert merged(first, second)["connection"] is None


def test_everything_else_from_whoever_says_it() -> None:
    """The first source that has another field is used."""
    row = merged(assets({"owner_id": "o1", "site_id": 3}), assets({"owner_id": "o2", "content_owner": "jo"}))
    assert (row["owner_id"], row["content_owner"], row["site_id"]) == ("o1", "jo", 3)


def test_what_is_known_of_the_owner_is_not_mixed() -> None:
    """A name and an address belong to the login name beside them, against another source of the owner."""
    first = {"content_owner": "jo", "owner_name": "Jo"}
    second = {"content_owner": "ann", "owner_name": "Ann", "owner_email": "ann@example.com"}
    row = merged(assets(first), assets(second))
    assert (row["content_owner"], row["owner_name"], row["owner_email"]) == ("jo", "Jo", None)
    row = merged(assets({"owner_id": "u1"}), assets(second))
    assert (row["content_owner"], row["owner_name"], row["owner_email"]) == ("ann", "Ann", "ann@example.com")


def test_uses_from_whoever_says_it() -> None:
    """The sources that a workbook uses are those of the first that names any."""
    assert merged(assets({}), assets({"uses": "d1"}))["uses"] == "d1"
    assert merged(assets({"uses": "d2"}), assets({"uses": "d1"}))["uses"] == "d2"
    assert merged(assets({}), assets({}))["uses"] is None


def test_tasks_are_not_mixed() -> None:
    """A suspended task has no next run, whatever run another source has of it."""
    first = {"suspended": True, "consecutive_failures": 5, "tasks_known": True}
    second = {"consecutive_failures": 0, "next_refresh_at": LATE, "tasks_known": True}
    row = merged(assets(first), assets(second))
    assert (row["suspended"], row["consecutive_failures"], row["next_refresh_at"]) == (True, 5, None)


@pytest.mark.parametrize("turned", [False, True])
def test_who_knows_a_task_before_who_knows_of_none(turned: bool) -> None:
    """A source without tasks, or whose tasks failed, leaves the field to one that has a task."""
    silent = assets({"tasks_known": False})
    none = assets({"tasks_known": True})
    knows = assets({"next_refresh_at": LATE, "tasks_known": True})
    tables = (silent, none, knows)
    assert merged(*(reversed(tables) if turned else tables))["next_refresh_at"] == LATE
    assert merged(*((none, silent) if turned else (silent, none)))["tasks_known"] is True


@pytest.mark.parametrize("turned", [False, True])
def test_of_equal_sources_the_newer_refresh(turned: bool) -> None:
    """Of two sources with the same job the one with the later state is used."""
    older = assets({"freshness_source": "job", "last_refresh_at": EARLY})
    newer = assets({"freshness_source": "job", "last_refresh_at": LATE})
    assert merged(*((older, newer) if turned else (newer, older)))["last_refresh_at"] == LATE


def test_silence() -> None:
    """A source without an asset's freshness removes nothing."""
    known = assets({"freshness_source": "updated_at", "last_refresh_at": LATE})
    assert merged(assets({}), known)["last_refresh_at"] == LATE


def test_assets_of_one_source_only() -> None:
    """An asset of one source alone is there; the same LUID of another type is another asset."""
    tables = [assets({}, {"asset_id": "w2"}), assets({"asset_type": "flow"}, {"asset_id": "w3"})]
    found = merge(tables).select(["asset_type", "asset_id"]).to_pylist()
    assert sorted(tuple(row.values()) for row in found) == [
        ("flow", "w1"),
        ("workbook", "w1"),
        ("workbook", "w2"),
        ("workbook", "w3"),
    ]


def test_assets_without_a_luid() -> None:
    """Two assets without a LUID are two assets."""
    assert merge([assets({"asset_id": None}, {"asset_id": None}), assets({})]).num_rows == 3


def test_nothing() -> None:
    """No source, no asset."""
    assert merge([]).num_rows == 0
    assert merge([assets(), assets()]).num_rows == 0


@pytest.mark.parametrize(("repository", "api", "expected"), [(7, 8, 8), (7, None, 7), (None, 8, 8), (None, None, None)])
def test_the_number_of_a_page(repository: int | None, api: int | None, expected: int | None) -> None:
    """The REST API reports it itself; it is the repository's where that is all there is."""
    assert merged(assets({"url_id": repository}), assets({"url_id": api}))["url_id"] == expected
