"""The results of each recipe of docs/history.md, counted by Python in the rows of a recorded history."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from statistics import median
from typing import Any

import numpy as np

from tests.support.recipe_history import (
    DAY,
    IN_BIN,
    LEAVER,
    PROJECTS,
    REMOVED,
    SITES,
    SOURCES,
    USERS,
    USES,
    WORKBOOKS,
    YOUNG,
    Recorded,
    Row,
)

Rows = list[tuple[Any, ...]]
Key = Callable[[tuple[Any, ...]], Any]
Count = Callable[[Recorded], Rows]

RENDERED = "bootstrapSession"
NEVER = datetime.min.replace(tzinfo=UTC).replace(tzinfo=None)

EXPECTED: dict[str, tuple[Count, Key]] = {}
"""The functions that count the rows of each recipe, and the key of their order."""


def counts(name: str, key: Key) -> Callable[[Count], Count]:
    """Declare that a function counts the rows of a recipe."""

    def declare(count: Count) -> Count:
        EXPECTED[name] = count, key
        return count

    return declare


def greatest(column: int) -> Key:
    """Order by a column, the greatest first."""
    return lambda row: -row[column]


def least(*columns: int) -> Key:
    """Order by the latest instant in some columns, none first."""
    return lambda row: max((row[column] for column in columns if row[column] is not None), default=NEVER)


def latest(column: int) -> Key:
    """Order by an instant, the latest first."""
    return lambda row: -row[column].timestamp()


def recent(recorded: Recorded, days: int = 30, **values: object) -> list[Row]:
    """Return the requests of the last days that have these values."""
    since = recorded.now - days * DAY
    rows = [
        row for row in recorded.rows["http_requests"] if row["created_at"] is not None and row["created_at"] > since
    ]
    return [row for row in rows if all(row.get(name) == value for name, value in values.items())]


def grouped(rows: Iterable[Row], *names: str) -> Mapping[tuple[Any, ...], list[Row]]:
    """Return rows by the values of some columns."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row.get(name) for name in names)].append(row)
    return groups


def users(rows: Sequence[Row]) -> int:
    """Return how many users made requests."""
    return len({row["user_id"] for row in rows if row.get("user_id") is not None})


def durations(rows: Iterable[Row]) -> list[float]:
    """Return the seconds of completed requests."""
    return [(row["completed_at"] - row["created_at"]).total_seconds() for row in rows if row["completed_at"]]


def rounded(value: float, digits: int = 0) -> float:
    """Round as SQL does: halves go up."""
    return float(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def sheet(recorded: Recorded, row: Row) -> tuple[str | None, ...]:
    """Return site, workbook and view of a request as they are displayed."""
    site, book, name = row.get("site_id"), row.get("workbook"), row.get("view")
    view = recorded.views().get((site, f"{book}/{name}")) if site else None
    known = recorded.books().get((site, book)) if site else None
    return SITES.get(site), known["name"] if known else book, view["name"] if view else name


@counts("requests per day", lambda row: row[0])
def _requests_per_day(recorded: Recorded) -> Rows:
    counted = Counter((row["created_at"].date(), SITES.get(row.get("site_id"))) for row in recent(recorded))
    return [(*key, count) for key, count in counted.items()]


@counts("active users per day", lambda row: row[0])
def _active_users_per_day(recorded: Recorded) -> Rows:
    found: dict[date, list[int]] = defaultdict(list)
    for row in recent(recorded, 9999):
        if (user := row.get("user_id")) is not None:
            found[row["created_at"].date()].append(USERS[user][1] or -user)
    return [(day, len(set(people)), rounded(len(people) / len(set(people)), 1)) for day, people in found.items()]


@counts("peak hours", greatest(2))
def _peak_hours(recorded: Recorded) -> Rows:
    counted = Counter((row["created_at"].isoweekday(), row["created_at"].hour) for row in recent(recorded, 28))
    best = sorted(counted, key=lambda key: (-counted[key] / 4, key))[:20]
    return [(*key, counted[key] / 4) for key in best]


@counts("busiest hours", greatest(1))
def _busiest_hours(recorded: Recorded) -> Rows:
    hours = Counter(row["created_at"].replace(minute=0, second=0) for row in recent(recorded, 9999))
    return list(hours.items())


@counts("most used views", greatest(3))
def _most_used_views(recorded: Recorded) -> Rows:
    found = grouped(recent(recorded, action=RENDERED), "site_id", "workbook", "view")
    return [
        (*sheet(recorded, rows[0]), len(rows), users(rows), max(row["created_at"] for row in rows))
        for rows in found.values()
    ]


@counts("unused views", least(5))
def _unused_views(recorded: Recorded) -> Rows:
    loads: dict[tuple[int, str], datetime] = {}
    for row in recent(recorded, 9999, action=RENDERED):
        key = (row["site_id"], f"{row['workbook']}/{row['view']}")
        loads[key] = max(row["created_at"], loads.get(key, row["created_at"]))
    found = []
    for (site, url), view in recorded.views().items():
        book = view["workbook_id"]
        last = loads.get((site, url))
        if book in {IN_BIN, REMOVED} or (last and last > recorded.now - 90 * DAY):
            continue
        _, name, _, owner, project = WORKBOOKS[book]
        found.append((SITES[site].upper(), PROJECTS[project][1], name, view["name"], USERS[owner][3], last))
    return found


@counts("unused workbooks", lambda row: row)
def _unused_workbooks(recorded: Recorded) -> Rows:
    opened = {(row.get("site_id"), row.get("workbook")) for row in recent(recorded, 90)}
    return [
        (SITES[site].upper(), name, USERS[owner][3])
        for id_, (site, name, url, owner, _) in WORKBOOKS.items()
        if id_ not in {IN_BIN, REMOVED} and (site, url) not in opened
    ]


@counts("content to delete", greatest(6))
def _to_delete(recorded: Recorded) -> Rows:
    loads: dict[int, datetime] = {}
    books = {(site, url): id_ for id_, (site, _, url, *_) in WORKBOOKS.items() if id_ not in {IN_BIN, REMOVED}}
    for row in recent(recorded, 9999, action=RENDERED):
        book = books.get((row["site_id"], row["workbook"]))
        if book:
            loads[book] = max(row["created_at"], loads.get(book, row["created_at"]))
    found: Rows = []
    for book in books.values():
        site, name, _, owner, project = WORKBOOKS[book]
        place = (SITES[site].upper(), "workbook", f"book-{book}", name, PROJECTS[project][1], USERS[owner][3])
        if book != YOUNG:
            found.append((*place, 1000 * book, loads.get(book)))
    for source, (site, name, project) in SOURCES.items():
        # The second connection was removed, and the last.
        present = [use for number, use in enumerate(USES, 1) if number not in {2, len(USES)}]
        books_on = [book for book, used, _ in present if used == source]
        last = max((loads[book] for book in books_on if book in loads), default=None)
        where = (SITES[site].upper(), "datasource", f"luid-{source}", name, PROJECTS[project][1])
        found.append((*where, None, 100 * source, last))
    return [row for row in found if row[-1] is None or row[-1] <= recorded.now - 90 * DAY]


@counts("slowest views", greatest(5))
def _slowest_views(recorded: Recorded) -> Rows:
    found = grouped(recent(recorded, action=RENDERED), "site_id", "workbook", "view")
    timed = [(sheet(recorded, rows[0]), durations(rows)) for rows in found.values()]
    return [
        (
            *names,
            len(seconds),
            rounded(float(np.percentile(seconds, 50)), 2),
            rounded(float(np.percentile(seconds, 90)), 2),
        )
        for names, seconds in timed
        if len(seconds) >= 20
    ]


@counts("waiting time by workbook", greatest(5))
def _waiting_time(recorded: Recorded) -> Rows:
    done = [row for row in recent(recorded, action=RENDERED) if row["completed_at"]]
    found = []
    for rows in grouped(done, "site_id", "workbook").values():
        seconds = durations(rows)
        times = rounded(median(seconds), 1), rounded(sum(seconds) / 3600, 2)
        found.append((*sheet(recorded, rows[0])[:2], len(rows), users(rows), *times))
    return found


@counts("users by last activity", least(4, 5))
def _users_by_last_activity(recorded: Recorded) -> Rows:
    requests = grouped(recent(recorded, 9999), "user_id")
    logins = grouped(recorded.rows["logins"], "user_id")
    found = []
    for user, (site, _, name, published) in USERS.items():
        if user == LEAVER:
            continue
        times = [row["created_at"] for row in requests.get((user,), [])]
        seen = [row["login_at"] for row in logins.get((user,), [])]
        found.append(
            (SITES[site].upper(), name, published, None, max(times, default=None), max(seen, default=None), len(times))
        )
    return found


def _content(row: Row) -> str:
    return next(str(row[kind]) for kind in ("view", "workbook", "datasource", "project") if row.get(kind))


def _actor(row: Row) -> str:
    return row["actor"] or str(row["actor_user_id"])


@counts("downloads of an asset", latest(0))
def _downloads_of_an_asset(recorded: Recorded) -> Rows:
    return [
        (row["created_at"], row["event"], _actor(row), _content(row))
        for row in recorded.rows["events"]
        if row["event"].startswith(("Download", "Export")) and row["created_at"] > recorded.now - 30 * DAY
    ]


@counts("deletions of the last week", latest(0))
def _deletions_of_the_last_week(recorded: Recorded) -> Rows:
    return [
        (row["created_at"], SITES[row["site_id"]].upper(), row["event"], _actor(row), _content(row))
        for row in recorded.rows["events"]
        if row["action_type"] == "Delete" and row["created_at"] > recorded.now - 7 * DAY
    ]


@counts("exports of data", greatest(5))
def _exports_of_data(recorded: Recorded) -> Rows:
    kinds = {
        "exportcrosstab": "crosstab",
        "viewData": "underlying data",
        "vud": "underlying data",
        "sheetimage": "image",
    }
    found: dict[tuple[Any, ...], list[datetime]] = defaultdict(list)
    for row in recent(recorded):
        status = row.get("status")
        kind = kinds.get(row["action"])
        if kind is None and row["action"] == "show":
            path, _, query = row["http_request_uri"].partition("?")
            wanted = query.partition("format=")[2]
            has_extension = "." in path and not path.startswith("/vizql/")
            kind = wanted or (path.rpartition(".")[2].lower() if has_extension else None)
        if kind and (status is None or status < 400):
            user = USERS[row["user_id"]][2] if row.get("user_id") else None
            site, book, view = sheet(recorded, row)
            found[kind, site, user, book, view].append(row["created_at"])
    return [(*key, len(times), max(times)) for key, times in found.items()]


@counts("failures by project", greatest(2))
def _failures_by_project(recorded: Recorded) -> Rows:
    projects = {
        (1, "Workbook", "Sales"): "Finance/EMEA",
        (2, "Workbook", "Sales"): "Finance/EMEA",
        (1, "Workbook", "Costs"): "Sales",
        (1, "Workbook", "Expenses"): "Sales",  # what Costs was called
        (1, "Datasource", "Ledger"): "Sales",
    }
    found: dict[tuple[str, str | None], list[Row]] = defaultdict(list)
    for job in recorded.rows["background_jobs"]:
        if job.get("finish_code") != 1 or not job["subtitle"] or job["completed_at"] < recorded.now - 30 * DAY:
            continue
        project = projects.get((job["site_id"], job["subtitle"], job["title"]))
        found[SITES[job["site_id"]].upper(), project].append(job)
    return [
        (
            *key,
            len(jobs),
            len({(job["subtitle"], job["title"]) for job in jobs}),
            max(job["completed_at"] for job in jobs),
        )
        for key, jobs in found.items()
    ]


@counts("request errors by project", greatest(4))
def _request_errors(recorded: Recorded) -> Rows:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in recent(recorded):
        book = recorded.books().get((row.get("site_id"), row.get("workbook")))
        if book and row.get("status") is not None:
            found[SITES[row["site_id"]], PROJECTS[book["project_id"]][1]].append(row["status"])
    return [
        (*key, len(statuses), errors, rounded(100 * errors / len(statuses), 2))
        for key, statuses in found.items()
        for errors in [sum(1 for status in statuses if status >= 500)]
    ]


@counts("failing jobs", greatest(3))
def _failing_jobs(recorded: Recorded) -> Rows:
    failed = [job for job in recorded.rows["background_jobs"] if job.get("finish_code") == 1]
    found = []
    for key, jobs in grouped(failed, "job_name", "title", "subtitle").items():
        times = {job["completed_at"]: job["notes"] for job in jobs}
        found.append((*key, len(jobs), min(times), max(times), times[max(times)]))
    return found


@counts("waiting time of jobs", lambda row: row[0])
def _waiting_jobs(recorded: Recorded) -> Rows:
    waited = defaultdict(list)
    for job in recorded.rows["background_jobs"]:
        if job["started_at"]:
            waited[job["created_at"].hour].append((job["started_at"] - job["created_at"]).total_seconds())
    return [(hour, len(spans), rounded(float(np.percentile(spans, 95)))) for hour, spans in waited.items()]


@counts("affected by a stale source", greatest(4))
def _affected(recorded: Recorded) -> Rows:
    loads = grouped(recent(recorded, action=RENDERED), "site_id", "workbook")
    found = []
    for site, source, book in (("default", "Orders", 1), ("emea", "Orders", 7), ("emea", "Orders", 8)):
        site_id, name, url, *_ = WORKBOOKS[book]
        rows = loads.get((site_id, url), [])
        names = sorted({USERS[row["user_id"]][2] for row in rows if row["user_id"]})
        hours = 86.3 if site == "default" else 95.3
        found.append((site, source, hours, name, users(rows), len(rows), names or None))
    return found


@counts("hours of breached SLA", greatest(4))
def _breached_hours(recorded: Recorded) -> Rows:
    return [
        ("default", "datasource", "Orders", "Critical", 14.0),
        ("default", "datasource", "Ledger", "Live", 22.0),
        ("emea", "datasource", "Orders", "Critical", 5.0),
    ]


@counts("reach of the history", lambda row: row)
def _reach(recorded: Recorded) -> Rows:
    times = [row["created_at"] for row in recent(recorded, 9999)]
    polls = [row["started_at"] for row in recorded.rows["poll_log"] if row["mode"] in {"exact", "full", "day"}]
    return [(min(times), max(times), max(polls))]


@counts("cost of polls", lambda row: row[:2])
def _cost_of_polls(recorded: Recorded) -> Rows:
    polls = [row for row in recorded.rows["poll_log"] if row["mode"] not in {"day", "import"}]
    return [
        (*key, len(rows), rounded(median(row["seconds"] for row in rows), 2), sum(row["rows_new"] for row in rows))
        for key, rows in grouped(polls, "source", "mode").items()
    ]


@counts("names of workbooks", lambda row: row[:2])
def _names_of_workbooks(recorded: Recorded) -> Rows:
    return [(row["id"], row["day"], row["name"], row["repository_url"]) for row in recorded.rows["workbooks"]]
