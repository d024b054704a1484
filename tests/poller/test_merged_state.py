"""The state of several sources is merged: each row as its source last reported it, as long as that holds."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from exporter.collectors import discover
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.metrics import Block
from exporter.poller.merged_state import MergedState, SourceRows, merged_states

(STATE,) = discover()["assets"].states
LIFETIME = 100.0


def part(at: float, *ids: str, **values: object) -> SourceRows:
    """Return workbooks as reported by a source at an instant."""
    base = {"site": "default", "asset_type": "workbook", **values}
    rows = [{**dict.fromkeys(ARROW_SCHEMA.names), **base, "asset_id": each, "asset_name": each} for each in ids]
    return SourceRows(pa.Table.from_pylist(rows, schema=ARROW_SCHEMA), at, LIFETIME)


@pytest.fixture
def merged() -> MergedState:
    """Return the merged state of assets, with an SLA of 12 and 24 hours."""
    return MergedState(STATE, lambda _: (12.0, 24.0), 3600.0)


def published(merged: MergedState, now: float, family: str = "tableau_asset_info") -> list[Mapping[str, str]]:
    """Return the labels of the samples of a family at an instant."""
    found = [each.labels for each in merged.at(now) if each.family.name == family]
    return [dict(zip(labels.names, row, strict=True)) for labels in found for row in labels.rows()]


def ids(merged: MergedState, now: float) -> set[str]:
    """Return the assets that are published."""
    return {labels["asset_id"] for labels in published(merged, now)}


def test_nothing_yet(merged: MergedState) -> None:
    """Before any source has reported, no asset is published, and there is none to audit."""
    assert (list(merged.at(0)), merged.rows(0)) == ([], None)


def test_both_sources(merged: MergedState) -> None:
    """An asset of one source alone is published, one of both once."""
    merged.put("repository", {"": part(0, "a", "b")}, 0)
    merged.put("rest", {"default": part(0, "b", "c")}, 0)
    assert sorted(labels["asset_id"] for labels in published(merged, 1)) == ["a", "b", "c"]


def test_the_repository_counts_where_both_say_the_same(merged: MergedState) -> None:
    """Of two owners the repository's is published, whichever source was polled last."""
    merged.put("rest", {"default": part(0, "a", content_owner="rest")}, 0)
    merged.put("repository", {"": part(0, "a", content_owner="repository")}, 0)
    assert [labels["content_owner"] for labels in published(merged, 1)] == ["repository"]


def test_a_source_that_is_silent_too_long(merged: MergedState) -> None:
    """A source's rows are published as long as they hold; the other's go on."""
    merged.put("repository", {"": part(0, "a")}, 0)
    merged.put("rest", {"default": part(50, "b")}, 50)
    assert ids(merged, 100) == {"a", "b"}
    assert ids(merged, 101) == {"b"}
    assert ids(merged, 151) == set()
    assert merged.rows(151) is None


def test_a_site_that_fails(merged: MergedState) -> None:
    """A site that is not reported retains its earlier rows, until they are too old."""
    merged.put("rest", {"one": part(0, "a"), "two": part(0, "b")}, 0)
    merged.put("rest", {"one": part(80, "c")}, 80)
    assert ids(merged, 90) == {"b", "c"}
    merged.put("rest", {"one": part(101, "c")}, 101)
    assert ids(merged, 101) == {"c"}


def test_an_asset_that_is_gone(merged: MergedState) -> None:
    """The last word of a source replaces the one before."""
    merged.put("repository", {"": part(0, "a", "b")}, 0)
    merged.put("repository", {"": part(1, "b")}, 1)
    assert ids(merged, 2) == {"b"}


def test_what_did_not_change_is_not_made_again(merged: MergedState) -> None:
    """Renderings between two polls get the same blocks."""
    merged.put("repository", {"": part(0, "a")}, 0)
    assert merged.at(1) is merged.at(2)


def test_sites_by_number(merged: MergedState) -> None:
    """An asset that does not name its site has the label of its site's number."""
    merged.put("repository", {"": part(0, "a", site=None, site_id=7)}, 0, {7: "marketing"})
    assert [labels["site"] for labels in published(merged, 1)] == ["marketing"]


def test_what_was_learned_is_shown_at_once(merged: MergedState) -> None:
    """An interval from the history is published as soon as it is known, before the repository's."""
    merged.put("repository", {"": part(0, "a")}, 0)
    for source, seconds in (("rest", 60.0), ("repository", 3600.0)):
        merged.learn(source, pa.table({"asset_id": ["a"], "interval_seconds": [seconds]}), 1)
    (block,) = [each for each in merged.at(1) if each.family.name == "tableau_asset_refresh_interval_seconds"]
    assert isinstance(block, Block)
    assert block.at(1) == [3600.0]


def test_other_promises(merged: MergedState) -> None:
    """After a reload the next report is judged by the new SLAs."""
    merged.put("repository", {"": part(0, "a")}, 0)
    merged.set_sla(lambda _: (None, None), 3600.0)
    merged.put("repository", {"": part(1, "a")}, 1)
    promised: dict[str, Any] = {each.family.name: each for each in merged.at(1)}
    assert promised["tableau_asset_sla_hours"].at(1) == [None]


def test_states_that_several_sources_tell_of() -> None:
    """States with rows made of an inventory are merged; disabled collectors have none."""
    found = discover()
    assert set(merged_states(found, lambda _: (None, None))) == {("assets", 0)}
    assert not merged_states({"users": found["users"]}, lambda _: (None, None))
