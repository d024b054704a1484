"""A history with every kind of row that the recipes of docs/history.md meet, and the same rows as Python has them.

Ages keep a day's distance from the bounds of the recipes (28, 30 and 90 days), and nothing is of today: midnight, or a
slow machine, changes no answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa

from exporter.collectors import discover
from exporter.history.file import HistoryFile
from exporter.history.history import History
from exporter.history.redaction import Privacy

Row = Mapping[str, Any]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SITES: Mapping[int | None, str] = {1: "default", 2: "emea"}
LONG_AGO = range(100, 140)
RECENT, OLDER = range(2, 27), range(32, 87)
ACTIONS = (
    "bootstrapSession",
    "bootstrapSession",
    "show",
    "exportcrosstab",
    "viewData",
    "vud",
    "sheetimage",
    "tilecache",
)
PATHS = (
    "/views/{book}/{sheet}.csv",
    "/t/emea/views/{book}/{sheet}.PDF?:embed=y",
    "/views/{book}/{sheet}?format=png",
    "/workbooks/{book}.twb?format=twb",
    "/views/{book}/{sheet}?:embed=/a.csv",
    "/vizql/w/{book}/v/{sheet}/tilecache/sessions/1/0/0/1.png",
)
PROJECTS = {1: (1, "Finance/EMEA"), 2: (1, "Sales"), 3: (2, "Finance/EMEA")}
USERS = {
    11: (1, 1, "ann", "Ann"),
    12: (1, 2, "bob", "Bob"),
    13: (1, 3, "cy", "Cy"),
    14: (1, 4, "idle", "Idle"),
    15: (1, 5, "gone", "Gone"),
    16: (1, 6, "bob", "Bob of another domain"),
    17: (1, 7, "new", "New"),
    21: (2, 1, "ann", "Ann"),
    22: (2, None, "dee", "Dee"),
}
"""Site, person, login name and displayed name: Ann is on both sites, of Dee no person is known."""
WORKBOOKS = {
    1: (1, "Sales", "Sales", 11, 1),
    2: (1, "Costs", "Costs", 12, 2),
    3: (1, "Plans", "Plans", 12, 2),
    4: (1, "Bin", "Bin", 11, 1),
    5: (1, "Removed", "Removed", 11, 1),
    6: (1, "Plans", "Plans_17", 11, 1),
    7: (2, "Sales", "Sales", 21, 3),
    8: (2, "Quiet", "Quiet", 22, 3),
    9: (2, "Costs", "Costs", 22, 3),
}
"""Site, name, repository_url, owner and project; Plans is in two projects, Sales on two sites."""
IN_BIN, REMOVED, YOUNG, LEAVER = 4, 5, 9, 15
SHEETS = ("Map", "Table")
SOURCES = {1: (1, "Orders", 1), 2: (1, "Ledger", 2), 3: (2, "Orders", 3), 4: (1, "Left", 1)}
USES = ((1, 1, "Orders"), (2, 1, "Orders"), (3, 2, "Ledger"), (7, 3, "Orders"), (8, 3, "Orders"), (1, 4, "Left"))
"""Which workbook uses which source, by the source's name on its site; the second and the last are removed."""
FOREVER = 2001
"""A request whose time is infinity: Python has none."""


@dataclass
class Recorded:
    """A history and the rows in it."""

    path: Path
    now: datetime
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def views(self) -> dict[tuple[Any, str], Row]:
        """Return the views by site and address."""
        return {(row["site_id"], row["view_url"]): row for row in self.rows["views"]}

    def books(self) -> dict[tuple[Any, Any], Row]:
        """Return the workbooks by site and address."""
        return {(row["site_id"], row["repository_url"]): row for row in self.rows["workbooks"] if row["is_latest"]}


def record(path: Path) -> Recorded:
    """Make the history."""
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    History(HistoryFile(path), discover(), Privacy()).prepare(now.replace(tzinfo=UTC))
    recorded, chance = Recorded(path, now), Random(11)
    recorded.rows = {
        **_names(now),
        "http_requests": [*_requests(now, chance), *_odd_requests(now)],
        "background_jobs": _jobs(now, chance),
        "logins": [
            {"user_id": user, "login_at": now - age * DAY} for user, age in ((11, 50), (11, 3), (12, 9), (14, 77))
        ],
        "events": _events(now),
        "freshness_audit": _audits(now),
        "poll_log": _polls(now),
        "removals": [
            {"source": "workbooks", "id": REMOVED, "day": (now - 9 * DAY).date()},
            {"source": "users", "id": LEAVER, "day": (now - 9 * DAY).date()},
            {"source": "data_connections", "id": 2, "day": (now - 9 * DAY).date()},
            {"source": "data_connections", "id": len(USES), "day": (now - 9 * DAY).date()},
        ],
    }
    with duckdb.connect(str(path)) as connection:
        for table, rows in recorded.rows.items():
            _store(connection, table, rows)
        connection.execute("UPDATE http_requests SET created_at = 'infinity' WHERE id = ?", [FOREVER])
    return recorded


def _events(now: datetime) -> list[dict[str, Any]]:
    """Return events of the audit log, one every nine hours: of an actor that is not named each fourth."""
    kinds = (
        ("Download Workbook", "Access", "workbook"),
        ("Export View Data", "Access", "view"),
        ("Delete Data Source", "Delete", "datasource"),
        ("Access View", "Access", "view"),
        ("Delete Workbook", "Delete", "workbook"),
    )
    found: list[dict[str, Any]] = []
    for number in range(1, 160):
        event, action, content = kinds[number % len(kinds)]
        row: dict[str, Any] = {
            "id": number,
            "created_at": now - number * timedelta(hours=9),
            "event": event,
            "action_type": action,
            "site_id": 1 + number % 2,
            "actor_user_id": 11,
            "actor": None if number % 4 == 0 else "grace",
            content: f"Content {number % 7}",
        }
        found.append(row)
    return found


def _store(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    known = [name for name, *_ in connection.execute(f"DESCRIBE {table}").fetchall()]
    names = [name for name in known if any(name in row for row in rows)]
    filled = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
    connection.register("filled", filled)
    connection.execute(f"INSERT INTO {table} BY NAME FROM filled")
    connection.unregister("filled")


def _names(now: datetime) -> dict[str, list[dict[str, Any]]]:
    day = {"day": (now - 200 * DAY).date()}
    books: list[dict[str, Any]] = [
        {
            **day,
            "id": id_,
            "site_id": site,
            "name": name,
            "repository_url": url,
            "owner_id": owner,
            "project_id": project,
        }
        | {"is_deleted": id_ == IN_BIN, "is_latest": True, "luid": f"book-{id_}", "size": 1000 * id_}
        | {"created_at": now - (20 if id_ == YOUNG else 400) * DAY}
        for id_, (site, name, url, owner, project) in WORKBOOKS.items()
    ]
    former = {**books[1], "day": (now - 300 * DAY).date(), "name": "Expenses", "project_id": 1, "is_latest": False}
    return {
        "sites": [
            {**day, "id": id_, "name": label.upper(), "url_namespace": _namespace(label)}
            for id_, label in SITES.items()
        ],
        "projects": [{**day, "id": id_, "site_id": site, "path": path} for id_, (site, path) in PROJECTS.items()],
        "users": [
            {**day, "id": id_, "site_id": site, "system_user_id": person, "name": name, "friendly_name": published}
            for id_, (site, person, name, published) in USERS.items()
        ],
        "workbooks": [*books, former],
        "views": [
            {**day, "id": 10 * book["id"] + number, "site_id": book["site_id"], "workbook_id": book["id"]}
            | {"name": f"The {sheet}", "view_url": f"{book['repository_url']}/{sheet}", "is_deleted": False}
            for book in books
            for number, sheet in enumerate(SHEETS)
        ],
        "datasources": [
            {**day, "id": id_, "site_id": site, "name": name, "repository_url": name, "project_id": project}
            | {"luid": f"luid-{id_}", "published": True, "size": 100 * id_, "created_at": now - 300 * DAY}
            for id_, (site, name, project) in SOURCES.items()
        ],
        "data_connections": [
            {**day, "id": number, "site_id": WORKBOOKS[book][0], "owner_type": "Workbook", "owner_id": book}
            | {"dbclass": "sqlproxy", "dbname": source}
            for number, (book, _, source) in enumerate(USES, 1)
        ],
    }


def _namespace(label: str) -> str:
    return "" if label == "default" else label


def _requests(now: datetime, chance: Random) -> list[dict[str, Any]]:
    """Return requests of the busy workbooks: Quiet is never opened, Plans only long ago."""
    rows = []
    for number in range(1500):
        book = chance.choice([1, 1, 1, 2, 7])
        site, _, url, *_ = WORKBOOKS[book]
        sheet = "Map" if book == 2 else chance.choice(SHEETS)
        age = chance.choice([*RECENT, *RECENT, *RECENT, *OLDER, *LONG_AGO])
        action = chance.choice(ACTIONS)
        users = [None, *(user for user in (11, 12, 13, 15, 16, 21, 22) if USERS[user][0] == site)]
        path = chance.choice(PATHS).format(book=url, sheet=sheet)
        rows.append(
            _request(
                number,
                now - age * DAY - chance.randrange(1200) * MINUTE,
                site_id=site,
                user_id=chance.choice(users),
                action=action,
                http_request_uri=path if action == "show" else f"/vizql/w/{url}/v/{sheet}/{action}",
                workbook=url,
                view=sheet,
                status=chance.choice([200, 200, 200, 302, 404, 500, 503, None]),
                seconds=chance.choice([0.25, 0.5, 1.0, 4.0, 9.5, None]) if book != 7 else 0.5,
            )
        )
    return rows


def _odd_requests(now: datetime) -> list[dict[str, Any]]:
    plans = {"site_id": 1, "workbook": "Plans", "view": "Map", "action": "bootstrapSession", "status": 200}
    return [
        _request(2000, now - 95 * DAY, user_id=12, seconds=1.0, **plans),
        _request(FOREVER, now, user_id=12, seconds=None, **plans) | {"created_at": None},
        _request(2002, now - 5 * DAY, action="login", status=302, seconds=0.5),
        _request(2003, now - 5 * DAY, site_id=1, workbook="Unknown", view="Map", action="bootstrapSession", status=200),
    ]


def _request(id_: int, at: datetime, seconds: float | None = 1.0, **values: Any) -> dict[str, Any]:
    done = None if seconds is None else at + timedelta(seconds=seconds)
    return {"id": id_, "created_at": at, "completed_at": done, **values}


def _jobs(now: datetime, chance: Random) -> list[dict[str, Any]]:
    """Return jobs of assets by title; Expenses is what Costs was called, Plans may be either, Nothing is none."""
    titles = [
        (1, "Workbook", "Sales"),
        (2, "Workbook", "Sales"),
        (1, "Workbook", "Costs"),
        (1, "Workbook", "Expenses"),
        (1, "Workbook", "Plans"),
        (1, "Workbook", "Nothing"),
        (1, "Datasource", "Ledger"),
        (1, "Datasource", "Sales"),
        (1, None, "Reap Auto Saves"),
    ]
    jobs = []
    for number in range(400):
        site, kind, title = chance.choice(titles)
        begun = now - chance.choice([*RECENT, *OLDER]) * DAY - chance.randrange(1200) * MINUTE
        waited = timedelta(seconds=chance.choice([1, 5, 60, 600]))
        jobs.append(
            {"id": number, "site_id": site, "job_name": "Refresh Extracts", "subtitle": kind, "title": title}
            | {"created_at": begun - waited, "started_at": begun, "completed_at": begun + (1 + number) * MINUTE / 60}
            | {"finish_code": chance.choice([0, 0, 1, 2]), "notes": f"note {number}"}
        )
    return [*jobs, {"id": 999, "job_name": "waiting", "created_at": now - 3 * DAY, "started_at": None}]


def _audits(now: datetime) -> list[dict[str, Any]]:
    """Return audits of three sources: one breached its SLA, one recovered, one breached it long ago."""
    found = (
        (1, "default", "Orders", 20, "Healthy"),
        (1, "default", "Orders", 14, "Critical"),
        (2, "default", "Ledger", 30, "Critical"),
        (2, "default", "Ledger", 8, "Live"),
        (3, "emea", "Orders", 40, "Warning"),
        (3, "emea", "Orders", 5, "Critical"),
    )
    return [
        {"asset_type": "datasource", "asset_id": f"luid-{id_}", "asset_name": name, "site": site, "status": status}
        | {"audit_timestamp": now - hours * HOUR, "hours_since_refresh": None if status == "Live" else 100.25 - hours}
        for id_, site, name, hours, status in found
    ]


def _polls(now: datetime) -> list[dict[str, Any]]:
    modes = ("import", "fast", "fast", "exact", "full", "day")
    return [
        {"started_at": now - (number + 1) * HOUR, "source": "http_requests", "mode": modes[number % len(modes)]}
        | {"seconds": number % 7 / 8, "rows_new": number}
        for number in range(60)
    ]
