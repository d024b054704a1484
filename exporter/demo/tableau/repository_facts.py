"""Facts of the APIs from rows of the repository: the same LUIDs, names, places, owners and instants."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from exporter.demo.jobs import SUSPENDED, TABLES
from exporter.demo.rows import Row
from exporter.demo.tableau import tasks_jobs
from exporter.demo.tableau.facts import Content, Facts, Person, Project, Site, Source, Subscription, View

Tables = Mapping[str, Iterable[Row]]

# The columns that are read here and in ``work``; those that a version of the repository lacks count as empty.
COLUMNS = {
    "sites": ("id", "luid", "name", "url_namespace"),
    "users": ("id", "luid", "site_id", "system_user_id", "site_role_id", "login_at"),
    "system_users": ("id", "name", "friendly_name", "email", "domain_id"),
    "domains": ("id", "name"),
    "site_roles": ("id", "name"),
    "projects": ("id", "luid", "name", "description", "parent_project_id", "owner_id", "site_id", *tasks_jobs.DATES),
    "projects_contents": ("content_type", "content_id", "project_id"),
    "workbooks": (*tasks_jobs.CONTENT, *tasks_jobs.EXTRACTS, "is_deleted", "is_private"),
    "views": ("id", "luid", "name", "repository_url", "workbook_id", "site_id", "created_at"),
    "datasources": (*tasks_jobs.CONTENT, *tasks_jobs.EXTRACTS, "state", "connectable", "db_class"),
    "flows": (*tasks_jobs.CONTENT, "is_deleted", "state", "file_type"),
    "subscriptions": ("id", "luid", "subject", "user_id", "site_id", "target_id"),
    "data_connections": ("id", "owner_type", "owner_id", "dbclass", "dbname", "caption", "site_id"),
    "tags": ("id", "name"),
    "taggings": ("tag_id", "taggable_type", "taggable_id"),
    **tasks_jobs.COLUMNS,
}


# The simulated repository has no total counts of views: each letter of a view's URL stands for so many requests.
REQUESTS_OF_A_LETTER = 7


def to_facts(tables: Tables) -> Facts:
    """Return all facts, site by site."""
    index = _Index(tables)
    jobs = tasks_jobs.Work(tables, index.assets)
    return tuple(_site(row, index, jobs) for row in tables["sites"])


def _site(row: Row, index: "_Index", jobs: tasks_jobs.Work) -> Site:
    site = row["id"]
    done = jobs.jobs(site)
    return Site(
        luid=str(row["luid"]),
        name=str(row["name"]),
        url=str(row["url_namespace"] or ""),
        users=[index.person(user) for user in index.of("users", site)],
        projects=[index.project(project) for project in index.of("projects", site)],
        workbooks=[index.content("workbook", found) for found in index.of("workbooks", site)],
        datasources=[index.content("datasource", found) for found in index.of("datasources", site)],
        flows=[index.content("flow", found) for found in index.of("flows", site)],
        tasks=jobs.tasks(site),
        jobs=done,
        flow_runs=tasks_jobs.flow_runs(done),
        schedules=jobs.schedules(),
        views=index.views(site),
        subscriptions=index.subscriptions(site),
    )


class _Index:
    """The rows by their keys."""

    def __init__(self, tables: Tables) -> None:
        self._accounts = {row["id"]: row for row in tables["system_users"]}
        self._domains = {row["id"]: str(row["name"]) for row in tables["domains"]}
        self._roles = {row["id"]: str(row["name"]) for row in tables["site_roles"]}
        self._users = {row["id"]: row for row in tables["users"]}
        self._projects = {row["id"]: row for row in tables["projects"]}
        self._places = {
            (row["content_type"], row["content_id"]): row["project_id"] for row in _of(tables, "projects_contents")
        }
        self._tags: dict[tuple[object, object], list[str]] = defaultdict(list)
        names = {row["id"]: str(row["name"]) for row in tables["tags"]}
        for row in tables["taggings"]:
            self._tags[str(row["taggable_type"]).lower(), row["taggable_id"]].append(names[row["tag_id"]])
        self._connections: dict[object, list[Row]] = defaultdict(list)
        self._pages: dict[object, int] = {}
        for row in sorted(tables["data_connections"], key=_number):
            if row["owner_type"] == "Workbook":
                self._connections[row["owner_id"]].append(row)
            else:
                self._pages.setdefault(row["owner_id"], _number(row))
        self._sites: dict[tuple[str, object], list[Row]] = defaultdict(list)
        self._urls: dict[tuple[object, object], str] = {}
        self.assets: tasks_jobs.Assets = {}
        self._suspended = {
            row["obj_id"] for row in tables["tasks"] if row["obj_type"] == "Subscription" and row["state"] == SUSPENDED
        }
        for table in ("users", "projects", "workbooks", "datasources", "flows", "views", "subscriptions"):
            for row in _of(tables, table):
                if is_listed(table, row):
                    self._add(table, row)

    def _add(self, table: str, row: Row) -> None:
        self._sites[table, row["site_id"]].append(row)
        if table in TABLES.values():
            self.assets[table, row["id"]] = (str(row["luid"]), str(row["name"]), row["site_id"])
        if table == "datasources":
            self._urls[row["site_id"], row["repository_url"]] = str(row["luid"])

    def of(self, table: str, site: object) -> list[Row]:
        """Return what one site has of a table."""
        return self._sites[table, site]

    def person(self, row: Row) -> Person:
        account = self._accounts[row["system_user_id"]]
        return Person(
            luid=str(row["luid"]),
            name=str(account["name"]),
            full_name=str(account["friendly_name"] or ""),
            email=str(account["email"] or ""),
            role=self._roles[row["site_role_id"]],
            domain=self._domains[account["domain_id"]],
            login_at=_instant(row["login_at"]),
        )

    def project(self, row: Row) -> Project:
        parent = self._projects.get(row["parent_project_id"])
        return Project(
            luid=str(row["luid"]),
            name=str(row["name"]),
            description=str(row["description"] or ""),
            parent=str(parent["luid"]) if parent else None,
            owner=self._owner(row),
            created_at=moment(row["created_at"]),
            updated_at=moment(row["updated_at"]),
        )

    def views(self, site: object) -> list[View]:
        """Return the views of the workbooks that are listed."""
        return [self._view(row) for row in self.of("views", site) if ("workbooks", row["workbook_id"]) in self.assets]

    def subscriptions(self, site: object) -> list[Subscription]:
        """Return the subscriptions to views."""
        views = {row["id"]: str(row["luid"]) for row in self.of("views", site)}
        return [
            Subscription(
                luid=str(row["luid"]),
                subject=str(row["subject"]),
                content_type="View",
                content=views[row["target_id"]],
                user=str(self._users[row["user_id"]]["luid"]),
                suspended=row["id"] in self._suspended,
            )
            for row in self.of("subscriptions", site)
            if row["target_id"] in views
        ]

    def _view(self, row: Row) -> View:
        return View(
            luid=str(row["luid"]),
            name=str(row["name"]),
            url=str(row["repository_url"]),
            workbook=self.assets["workbooks", row["workbook_id"]][0],
            created_at=moment(row["created_at"]),
            total=REQUESTS_OF_A_LETTER * len(str(row["repository_url"])),
        )

    def content(self, kind: str, row: Row) -> Content:
        place = None if row.get("is_private") else self._places.get((kind, row["id"]), row["project_id"])
        project = self._projects.get(place)
        return Content(
            kind=kind,
            luid=str(row["luid"]),
            name=str(row["name"]),
            url=str(row.get("repository_url") or ""),
            project=str(project["luid"]) if project else None,
            project_name=str(project["name"]) if project else None,
            owner=self._owner(row),
            tags=tuple(self._tags.get((kind, row["id"]), ())),
            created_at=moment(row["created_at"]),
            updated_at=moment(row["updated_at"]),
            published_at=moment(row.get("last_published_at") or row["created_at"]),
            has_extracts=kind != "flow" and bool(row["data_engine_extracts"]),
            size=int(str(row.get("size") or 0)) // 2**20,
            sources=tuple(self._sources(kind, row)),
            type=str(row.get("db_class") or row.get("file_type") or ""),
            personal=bool(row.get("is_private")),
            url_id=self._pages.get(row["id"]) if kind == "datasource" else _number(row),
        )

    def _sources(self, kind: str, row: Row) -> Iterable[Source]:
        if kind == "datasource":
            yield _extract(row, bool(row["data_engine_extracts"]), str(row["name"]), None)
        elif kind == "workbook":
            for connection in self._connections[row["id"]]:
                published = None
                if connection["dbclass"] == "sqlproxy":
                    published = self._urls.get((row["site_id"], connection["dbname"]))
                has_extract = bool(row["data_engine_extracts"]) and connection["dbclass"] != "sqlproxy"
                yield _extract(row, has_extract, str(connection["caption"]), published)

    def _owner(self, row: Row) -> str:
        return str(self._users[row["owner_id"]]["luid"])


def _number(row: Row) -> int:
    return int(str(row["id"]))


def is_listed(table: str, row: Row) -> bool:
    """Return whether the lists of the REST API have this row: neither deleted nor archived ones."""
    if table == "datasources" and row.get("connectable") is False:
        return False
    return not row.get("is_deleted") and not (table in {"datasources", "flows"} and row.get("state") == "archived")


def moment(value: object) -> datetime:
    """Return an instant that every row of its kind has."""
    assert isinstance(value, datetime)  # noqa: S101 - the simulated repository dates them all
    return value


def _extract(row: Row, has_extract: bool, name: str, published: str | None) -> Source:  # noqa: FBT001 - a column
    if not has_extract:
        return Source(has_extracts=False, name=name, published=published)
    return Source(
        has_extracts=True,
        refreshed_at=_instant(row["extracts_refreshed_at"]),
        incremented_at=_instant(row["extracts_incremented_at"]),
        made_at=moment(row.get("last_published_at") or row["created_at"]),
        name=name,
    )


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _of(tables: Tables, table: str) -> Iterable[Row]:
    return tables.get(table, ())
