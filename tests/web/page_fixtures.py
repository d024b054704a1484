"""PageData for tests: a small estate in which every text can be chosen, made by the agent's own parts."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Context
from exporter.collectors.active_users import active
from exporter.collectors.assets.metrics import expose
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.collectors.assets.usage import USAGE
from exporter.collectors.licences.credentials import CREDENTIALS
from exporter.collectors.licences.owners import ORPHANS
from exporter.collectors.licences.users import INACTIVE_USERS
from exporter.collectors.unused.metrics import UNUSED
from exporter.exposition.state_store import AnyBlock
from exporter.metrics import Block
from exporter.pagedata.builder import ASSETS, EVENTS, REQUESTS, VIEWS, WORKBOOKS, PageData, PageDataBuilder
from exporter.pagedata.query_results import ASSET_SIZES, ASSET_USAGE, HistoryAnswer, PageAnswers, usage_of
from exporter.pagedata.undelivered import UNDELIVERED
from exporter.status import FiringAlert
from tests.web.fake_endpoint import NOW

AT = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
OF_LICENCES = frozenset({INACTIVE_USERS, CREDENTIALS, ORPHANS})
EVERYTHING = OF_LICENCES | {ASSETS, EVENTS, REQUESTS, UNDELIVERED, UNUSED, VIEWS, WORKBOOKS}
HOURS = 8 * 24


def an_asset(**changes: Any) -> dict[str, Any]:
    """Return an asset as a row: a workbook that was refreshed three hours ago."""
    row = dict.fromkeys(ARROW_SCHEMA.names) | {
        "site": "default",
        "asset_type": "workbook",
        "asset_id": "w-1",
        "asset_name": "Sales",
        "project": "Finance",
        "connection": "extract",
        "freshness_source": "repository",
        "last_refresh_at": AT - timedelta(hours=3),
        "next_refresh_at": AT + timedelta(hours=1),
        "consecutive_failures": 0,
        "suspended": False,
        "content_owner": "ada",
    }
    return row | changes


def an_estate() -> list[dict[str, Any]]:
    """Return assets of every status and type, of two sites, in nested projects."""
    hours = [3.0, 13.0, 25.0, 60.0, 1.0, 11.9, 0.2]
    names = ["Sales", "Costs", "Payroll", "Traffic", "Orders", "Überblick", "Flights"]
    places = [
        "Finance",
        "Finance/EMEA",
        "Finance/EMEA/Month End",
        "Web",
        "Financial Planning",
        "Personal Space",
        "Web/Logs",
    ]
    workbooks = [
        an_asset(
            asset_id=f"w-{number}",
            asset_name=name,
            project=project,
            last_refresh_at=AT - timedelta(hours=age),
            content_owner=["ada", "grace"][number % 2],
            site=["default", "marketing"][number % 2],
            consecutive_failures=number if age > 24 else 0,
            uses="d-1" if number < 3 else None,
        )
        for number, (name, project, age) in enumerate(zip(names, places, hours, strict=True))
    ]
    return [
        *workbooks,
        an_asset(
            asset_id="w-live", asset_name="Live view", connection="live", last_refresh_at=None, freshness_source=None
        ),
        an_asset(asset_id="w-new", asset_name="Unheard", last_refresh_at=None, freshness_source=None),
        an_asset(asset_type="datasource", asset_id="d-1", asset_name="Ledger", project="Finance"),
        an_asset(asset_type="flow", asset_id="f-1", asset_name="Nightly", project="Web", freshness_source="job"),
    ]


def slas(_asset: Mapping[str, Any]) -> tuple[float, float]:
    """Return an SLA of 12 and 24 hours for every asset."""
    return 12.0, 24.0


def estate_and_blocks(
    estate: Sequence[Mapping[str, Any]] | None = None, used: Mapping[str, int] = MappingProxyType({})
) -> tuple[pa.Table, Sequence[AnyBlock]]:
    """Return an estate as the assembly of assets gives it."""
    rows = pa.Table.from_pylist(list(an_estate() if estate is None else estate), schema=ARROW_SCHEMA)
    return rows, expose(rows, Context({}, slas, now=NOW, usage=usage(used), usual=usual(used)))


def usage(used: Mapping[str, int]) -> pa.Table:
    """Return what is learned of workbooks with so many users, which are opened in an hour."""
    return pa.table(
        [
            ["workbook"] * len(used),
            list(used),
            list(used.values()),
            [2 * users for users in used.values()],
            [[NOW + 3600.0]] * len(used),
        ],
        schema=USAGE,
    )


def usual(used: Mapping[str, int]) -> pa.Table:
    """Return sizes of workbooks after two refreshes, of which 100 MB were expected."""
    return pa.table(
        [
            [each for each in used for _ in range(2)],
            ["workbook"] * 2 * len(used),
            [AT - timedelta(days=1), AT] * len(used),
            [100_000_000, 40_000_000] * len(used),
            [100_000_000] * 2 * len(used),
        ],
        ["asset_id", "asset_type", "refreshed_at", "bytes", "usual_bytes"],
    )


def some_pages(
    estate: Sequence[Mapping[str, Any]] | None = None,
    *,
    watched: frozenset[str] = EVERYTHING,
    firing: Sequence[FiringAlert] | None = (),
    text: Callable[[str], str] = str,
    reported: bool = True,
    used: Mapping[str, int] = MappingProxyType({}),
) -> PageData:
    """Return pages of an estate, with refreshes, use and alerts; ``text`` may change every name."""
    rows, blocks = estate_and_blocks(estate, used)
    answers = PageAnswers()
    if used:
        courses = usual(used)
        at = courses.column("refreshed_at").cast("timestamp[us]").cast("int64").cast("float64")
        courses = courses.set_column(2, "refreshed_at", pc.divide(at, 1e6))
        answers.set("assets", ASSET_USAGE, "repository", HistoryAnswer(usage(used), NOW))
        answers.set("assets", ASSET_SIZES, "repository", HistoryAnswer(courses, NOW))
    if reported:
        answers.set("assets", ASSETS, "repository", HistoryAnswer(refreshes(rows), NOW))
        answers.set(
            "content", WORKBOOKS, "repository", HistoryAnswer(workbooks(rows), NOW, {1: text("default"), 2: text("hr")})
        )
        answers.set(
            "content", VIEWS, "repository", HistoryAnswer(workbooks(rows), NOW, {1: text("default"), 2: text("hr")})
        )
        failed = HistoryAnswer(undelivered(text), NOW, {1: text("default")})
        answers.set("subscriptions", UNDELIVERED, "repository", failed)
        for page, found in licences(text).items():
            answers.set("licences", page, "repository", HistoryAnswer(found, NOW, {1: text("default")}))
        answers.set(
            "unused", UNUSED, "repository", HistoryAnswer(unopened(rows), NOW, {1: text("default"), 2: text("hr")})
        )
        answers.set_usage(
            usage_of(requests(), users_by_hour(), {1: text("default"), 2: text("hr")}, NOW, NOW - 95 * 86_400)
        )
    rendered: list[AnyBlock] = [*blocks, *seen(text)]
    return PageDataBuilder(
        answers, lambda: firing if firing is None else tuple(firing), lambda _now: (rows, blocks) if reported else None
    ).build(NOW, watched, rendered)


def refreshes(rows: pa.Table) -> pa.Table:
    """Return the history's refreshes: of each asset eight, one of them failed, one cancelled."""
    ids = [asset_id for asset_id in rows.column("asset_id").to_pylist() if asset_id]
    found = [
        {"asset_id": asset_id, "ended_at": NOW - hours * 3600, "seconds": seconds, "outcome": outcome}
        for asset_id in ids
        for hours, seconds, outcome in zip(
            range(24, 0, -3), [60.0, 61.5, 59.0, 300.0, None, 60.0, 1.0, 62.0], [0, 0, 1, 0, 0, 2, -1, 0], strict=True
        )
    ]
    return pa.Table.from_pylist(
        found,
        schema=pa.schema(
            {"asset_id": pa.string(), "ended_at": pa.float64(), "seconds": pa.float64(), "outcome": pa.int8()}
        ),
    )


def workbooks(rows: pa.Table) -> pa.Table:
    """Return the history's use of workbooks: the first are used most; of a few the last are not used at all."""
    used = 80 if rows.num_rows < 50 else 10_000
    pairs = zip(*(rows.column(name).to_pylist() for name in ("asset_type", "asset_id", "asset_name")), strict=True)
    found = [
        {
            "site_id": 1 + number % 2,
            "asset_id": asset_id,
            "name": name,
            "workbook": name,
            "created_at": AT - timedelta(days=200),
            "loads_7d": max(0, used - 40 - 10 * number),
            "loads_30d": max(0, used - 10 * number),
            "loads_90d": max(0, used + 10 - 10 * number),
            "last_day": (AT - timedelta(days=number * 12)).date() if number < 9 else None,
            "users_30d": 12 - number if number < 9 else None,
        }
        for number, (_, asset_id, name) in enumerate(pair for pair in pairs if pair[0] == "workbook")
    ]
    schema = {
        "site_id": pa.int64(),
        "asset_id": pa.string(),
        "name": pa.string(),
        "workbook": pa.string(),
        "created_at": pa.timestamp("us"),
        "users_30d": pa.int64(),
    }
    schema |= {f"loads_{days}d": pa.int64() for days in (7, 30, 90)} | {"last_day": pa.date32()}
    return pa.Table.from_pylist(found, schema=pa.schema(schema))


def unopened(rows: pa.Table) -> pa.Table:
    """Return the history's answer about the last openings: of each asset ten days earlier, of the last none."""
    names = ("asset_type", "asset_id", "asset_name", "project", "content_owner")
    assets = list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
    found = [
        {
            "site_id": 1 + number % 2,
            **dict(zip(names, asset, strict=True)),
            "created_at": AT - timedelta(days=700),
            "opened_at": None if number == len(assets) - 1 else AT - timedelta(days=10 * number + 1),
            "known_since": AT - timedelta(days=400),
            "bytes": None if number == 3 else 1_000_000 * number,
            "refresh_seconds_per_week": 600.0 * number,
            "suspend_after_days": 30 if asset[0] == "workbook" and number < 5 else None,
        }
        for number, asset in enumerate(assets)
    ]
    instants = dict.fromkeys(("created_at", "opened_at", "known_since"), pa.timestamp("us"))
    schema = {"site_id": pa.int64(), **dict.fromkeys(names, pa.string()), **instants, "bytes": pa.int64()}
    schema |= {"refresh_seconds_per_week": pa.float64(), "suspend_after_days": pa.int64()}
    return pa.Table.from_pylist(found, schema=pa.schema(schema))


def _hours() -> list[datetime]:
    return [AT.replace(minute=0) - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]


def requests() -> pa.Table:
    """Return the requests of two sites over eight days: few at night."""
    found = [
        {"hour": hour, "site_id": site, "requests": (hour.hour % 12 + 1) * 37 * site}
        for hour, site in itertools.product(_hours(), (1, 2))
    ]
    return pa.Table.from_pylist(
        found, schema=pa.schema({"hour": pa.timestamp("us"), "site_id": pa.int64(), "requests": pa.int64()})
    )


def users_by_hour() -> pa.Table:
    """Return the active users of the same hours, half of whom are on both sites."""
    found = [
        {
            "hour": hour,
            "site_id": site,
            "whole": site is None,
            "people": (hour.hour % 12 + 1) * (3 if site is None else 2),
        }
        for hour, site in itertools.product(_hours(), (1, 2, None))
    ]
    schema = {"hour": pa.timestamp("us"), "site_id": pa.int64(), "whole": pa.bool_(), "people": pa.int64()}
    return pa.Table.from_pylist(found, schema=pa.schema(schema))


def seen(text: Callable[[str], str]) -> Sequence[Block]:
    """Return the blocks of active users: three, seen a minute, an hour and two days ago."""
    return active(
        np.array([text("default")] * 3, dtype=object),
        np.array([1, 2, 3]),
        np.array([NOW - 60, NOW - 3000, NOW - 2 * 86_400]),
        [text("default")],
    )


def licences(text: Callable[[str], str] = str) -> Mapping[str, pa.Table]:
    """Return the lists of licences: a user who was away and one who never came, a token, a key, a workbook."""
    row: dict[str, Any] = dict.fromkeys(
        ("project", "kind", "name", "reason", "happens_at", "used_at", "user", "user_name")
    )
    row |= {"site_id": 1}
    priya = {"user": text("priya"), "user_name": text("Priya Shah")}
    viewer = {**row, "kind": text("Viewer"), "happens_at": NOW - 100 * 86_400, **priya}
    soon = {"happens_at": NOW + 86_400, "used_at": NOW - 3600}
    token = {**row, "kind": "refresh_token", "name": text("nightly script"), **soon, **priya}
    book = {**row, "kind": "workbook", "name": text("Sales"), "project": text("Finance"), "reason": "unlicensed"}
    found = {
        INACTIVE_USERS: [viewer, {**viewer, "happens_at": None, "user": text("jo"), "user_name": None}],
        CREDENTIALS: [token, {**token, "kind": "product_key", "site_id": None, "user": None, "user_name": None}],
        ORPHANS: [{**book, **priya}, {**book, "reason": "removed", "project": None}],
    }
    return {page: pa.Table.from_pylist(rows) for page, rows in found.items()}


def undelivered(text: Callable[[str], str] = str) -> pa.Table:
    """Return a subscription that fails, and one that was suspended, whose user is not known."""
    row = {
        "kind": "subscription",
        "site_id": 1,
        "project": text("Finance"),
        "name": text("Daily sales"),
        "content_name": text("Sales"),
        "state": "failing",
        "consecutive_failures": 3,
        "last_sent_at": NOW - 3 * 86_400,
        "recipient": text("priya"),
        "recipient_name": text("Priya Shah"),
        "recipient_email": text("priya@example.com"),
    }
    unknown = dict.fromkeys(
        ("recipient", "recipient_name", "recipient_email", "project", "content_name", "last_sent_at")
    )
    return pa.Table.from_pylist([row, {**row, "name": text("Weekly"), "state": "suspended", **unknown}])
