"""Collectors are found by being there."""

from collections import Counter
from pathlib import Path

import pytest

from exporter import collectors, self_metrics
from exporter.collector import Collector, columns_of
from exporter.collectors import discover, families
from exporter.metrics import Family

COLLECTORS = discover()


def test_every_module_is_a_collector_of_its_name() -> None:
    """Module name = collector name."""
    assert set(COLLECTORS) == {
        "active_users",
        "activity_log",
        "admin_insights",
        "assets",
        "background_jobs",
        "content",
        "data_alerts",
        "disks",
        "events",
        "http_requests",
        "licences",
        "logins",
        "processes",
        "subscriptions",
        "unused",
        "users",
        "view_totals",
        "views",
    }
    assert all(collector.name == name for name, collector in COLLECTORS.items())


@pytest.mark.parametrize(
    "text",
    ["", "COLLECTOR = 'stray'", "from exporter.collector import Collector\nCOLLECTOR = Collector('other', 'Another.')"],
)
def test_a_module_without_its_collector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A stray file raises an error at once."""
    (tmp_path / "stray.py").write_text(text)
    monkeypatch.setattr(collectors, "__path__", [*collectors.__path__, str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "exporter.collectors.stray", raising=False)
    with pytest.raises(ValueError, match="stray: a module of collectors holds a COLLECTOR of its own name"):
        discover()


def test_each_family_is_listed_once() -> None:
    """Several states may feed one family; no two families share a name."""
    names = Counter(family.name for family in families())
    assert names.most_common(1)[0][1] == 1
    assert {"tableau_content", "tableau_asset_hours_since_refresh", "tableau_up"} <= names.keys()
    assert len(families()) > len(self_metrics.FAMILIES) + 20


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_a_family_says_where_it_comes_from(family: Family) -> None:
    """HELP is one sentence with a stop at its end, and the source is named."""
    assert family.help.endswith(".")
    assert ". " not in family.help
    assert "\n" not in family.help
    assert family.source
    assert (family.type == "histogram") == bool(family.buckets)


@pytest.mark.parametrize("collector", COLLECTORS.values(), ids=lambda collector: collector.name)
def test_samples_come_from_declared_rows(collector: Collector) -> None:
    """Every row is a dataclass of known types, and rows stored by day have an id."""
    rows = [state.row for state in collector.states]
    if collector.events and collector.events.row:
        rows.append(collector.events.row)
        assert set(collector.events.key) <= {column.name for column in columns_of(collector.events.row)}
    assert all(columns_of(row) for row in rows)
    for state in collector.states:
        if state.history.table:
            assert "id" in {column.name for column in columns_of(state.row)}
