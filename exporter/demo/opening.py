"""Tableau's own statistics of openings, and workbooks that are refreshed though nobody opens them any more."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from exporter.demo.draft import AssetDraft, Draft

DEVICES = ("desktop", "tablet", "phone")
# So many days ago somebody last opened each of these workbooks; the first is about to be suspended.
UNOPENED_DAYS = (27, 45, 120, 500)
WORKBOOK, DATASOURCE, FLOW = 1, 2, 3
"""content_usage.content_type."""
UNUSED_SOURCES = 5
RECENT_DAYS = 20
"""Content with an older use was created long before it."""
"""Of so many data sources one has not been used for long."""


def unopened(assets: Sequence[AssetDraft]) -> Mapping[object, int]:
    """Return how many days ago the workbooks were last opened that nobody opens any more, by id."""
    refreshed = [asset.row["id"] for asset in assets if asset.table == "workbooks" and asset.kind == "healthy"]
    return dict(zip(reversed(refreshed), UNOPENED_DAYS, strict=False))


def views_stats(draft: Draft, site_id: object) -> None:
    """Fill views_stats of a site; its users and content must exist."""
    days = unopened(draft.assets)
    users = draft.of_site("users", site_id)[2:]
    for view in draft.of_site("views", site_id):
        for user in draft.random.sample(users, min(3, len(users))):
            seen = {"user_id": user["id"], "view_id": view["id"], "site_id": site_id, "time": draft.ago(0, 90)}
            if view["workbook_id"] in days:
                seen["time"] = draft.now - timedelta(days=days[view["workbook_id"]])
            count = int(draft.random.paretovariate(1))
            draft.add("views_stats", {**seen, "nviews": count, "device_type": draft.random.choice(DEVICES)})


def content_usage(draft: Draft) -> None:
    """Record the last use to the day, of each data source and flow, and of the workbooks that are not opened."""
    days = unopened(draft.assets)
    uses = [(WORKBOOK, row, days[row["id"]]) for row in draft.tables["workbooks"] if row["id"] in days]
    sources = [row for row in draft.tables["datasources"] if row["connectable"]]
    uses += [
        (DATASOURCE, row, 200 if number % UNUSED_SOURCES == 0 else number % 20) for number, row in enumerate(sources)
    ]
    uses += [(FLOW, row, number % 20) for number, row in enumerate(draft.tables["flows"])]
    today = draft.now.replace(hour=0, minute=0, second=0, microsecond=0)
    for content_type, row, age in uses:
        if age > RECENT_DAYS:
            row["created_at"] = draft.now - timedelta(days=age + 100)
        draft.add(
            "content_usage",
            {
                "content_type": content_type,
                "content_id": row["id"],
                "last_recorded_at": today - timedelta(days=age),
                "site_id": row["site_id"],
            },
        )
