"""The data of pages is built once for each new state, of the present state."""

from collections.abc import Sequence

import pyarrow as pa

from exporter.collectors import discover
from exporter.collectors.assets.rows import Asset
from exporter.collectors.content.workbooks import View, Workbook
from exporter.collectors.data_alerts import DataAlertRecipient
from exporter.collectors.events import EventType
from exporter.collectors.licences.credentials import CREDENTIALS, Credential
from exporter.collectors.licences.owners import ORPHANS, OwnedContent
from exporter.collectors.licences.users import INACTIVE_USERS, LicensedUser
from exporter.collectors.subscriptions import Subscription
from exporter.collectors.unused.metrics import UNUSED
from exporter.collectors.unused.rows import OpenedContent
from exporter.exposition.state_store import AnyBlock
from exporter.metrics import single
from exporter.pagedata.builder import ASSETS, EVENTS, VIEWS, WORKBOOKS, PageDataBuilder, enabled_pages
from exporter.pagedata.query_results import HistoryAnswer, PageAnswers
from exporter.pagedata.undelivered import UNDELIVERED
from exporter.self_metrics import EXACT_INTERVAL
from exporter.status import FiringAlert
from tests.web.fake_endpoint import NOW
from tests.web.page_fixtures import EVERYTHING, estate_and_blocks, refreshes, some_pages


def test_states_are_where_they_are_looked_for() -> None:
    """The answers that pages are made of are those of assets, events, licences, unused content, workbooks and views."""
    found = discover()
    states = [state for collector in found.values() for state in collector.states if state.history.page]
    assert {(state.history.page, state.row) for state in states} == {
        (ASSETS, Asset),
        (EVENTS, EventType),
        (WORKBOOKS, Workbook),
        (VIEWS, View),
        (UNDELIVERED, Subscription),
        (UNDELIVERED, DataAlertRecipient),
        (UNUSED, OpenedContent),
        (INACTIVE_USERS, LicensedUser),
        (CREDENTIALS, Credential),
        (ORPHANS, OwnedContent),
    }
    assert all(state.history.page_sql for state in states)
    assert enabled_pages(found) == EVERYTHING


def test_made_once() -> None:
    """As long as the state is unchanged, the same columns are served."""
    answers = PageAnswers()
    both: list[tuple[pa.Table, Sequence[AnyBlock]] | None] = [estate_and_blocks()]
    builder = PageDataBuilder(answers, lambda: None, lambda _now: both[0])
    first, second = builder.build(NOW, EVERYTHING, []), builder.build(NOW + 10, EVERYTHING, [])
    assert first.assets is not None
    assert second.assets is first.assets
    answers.set("assets", ASSETS, "repository", HistoryAnswer(refreshes(estate_and_blocks()[0]), NOW))
    assert builder.build(NOW, EVERYTHING, []).refreshes_of("w-1")[1] == NOW
    both[0] = estate_and_blocks()
    assert builder.build(NOW + 20, EVERYTHING, []).assets is not first.assets
    both[0] = None
    assert builder.build(NOW + 30, EVERYTHING, []).assets is None


def test_what_is_switched_off_is_not_shown() -> None:
    """Nothing of a collector is left when it is switched off."""
    pages = some_pages(watched=frozenset())
    assert (pages.assets, pages.content, pages.usage) == (None, None, None)
    assert pages.licences == {}


def test_refreshes_are_of_the_source_that_knows_most() -> None:
    """Of two sources' answers about one asset the longer one counts, the oldest refresh first."""
    answers = PageAnswers()
    rows = refreshes(estate_and_blocks()[0])
    answers.set("assets", ASSETS, "repository", HistoryAnswer(rows.slice(0, 2), NOW))
    answers.set("assets", ASSETS, "rest", HistoryAnswer(rows, NOW + 1))
    found, asked_at = (
        PageDataBuilder(answers, lambda: None, lambda _now: None).build(NOW, EVERYTHING, []).refreshes_of("w-0")
    )
    assert (len(found), asked_at) == (8, NOW + 1)
    assert [refresh.ended_at for refresh in found] == sorted(refresh.ended_at for refresh in found)


def test_alerts_of_an_asset() -> None:
    """An alert about an asset is found by it; one about nothing in particular is not."""
    about = FiringAlert("TableauAssetStale", "warning", (("asset_id", "w-1"), ("asset_type", "workbook")), NOW)
    pages = some_pages(firing=[about, FiringAlert("TableauSourceDown", "critical", (("source", "rest"),), NOW)])
    assert pages.firing_of == {("workbook", "w-1"): [about]}
    assert pages.firing is not None
    assert len(pages.firing) == 2


def test_the_exact_interval_is_the_one_that_is_shown() -> None:
    """The pages have the exact interval of the metrics, and none where the metrics have none."""
    answers = PageAnswers()
    builder = PageDataBuilder(answers, lambda: None, lambda _now: None)
    assert builder.build(NOW, EVERYTHING, [single(EXACT_INTERVAL, 1200.0)]).exact_interval == 1200.0
    assert builder.build(NOW, EVERYTHING, []).exact_interval is None
