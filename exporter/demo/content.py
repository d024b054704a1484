"""Projects, workbooks, views, data sources, flows and what they are connected to.

Each asset has a *kind* of data:

    healthy       an extract, refreshed as scheduled          never        published with an extract, never refreshed
    incremental   refreshed by increments only                live         no extract at all
    failing       scheduled, but fails since days             published    (workbook) lives on published sources
    suspended     failed too often, Tableau gave up           mixed        (workbook) an extract and published sources
    disabled      its task was switched off                   deleted      in the recycle bin
    unscheduled   an extract without any task                 archived     (data source, flow) put away
                                                              private      (workbook) in a Personal Space
"""

import itertools
from collections.abc import Iterator

from exporter.demo import content_parts
from exporter.demo.draft import AssetDraft, Draft, slug
from exporter.demo.names import EVERYWHERE, ODD, PROJECTS, SHAPES, SOURCES, SUBJECTS, Tree
from exporter.demo.rows import Row

CANARY_EMBEDDED = "CANARY-embedded"

WITHOUT_EXTRACT = {"live", "published"}
ON_PUBLISHED = {"published", "mixed"}
SPECIAL = ("never", "incremental", "failing", "suspended", "disabled", "unscheduled", "live", "deleted")
KINDS = {
    "workbooks": (*SPECIAL, "private", "published", "mixed"),
    "datasources": (*(kind for kind in SPECIAL if kind != "deleted"), "archived"),
    "flows": ("failing", "deleted", "archived", "never"),
}
# The kinds of the rest: mostly healthy.
USUAL = {
    "workbooks": {"healthy": 40, "published": 35, "live": 10, "incremental": 5, "mixed": 5, "failing": 3, "never": 2},
    "datasources": {"healthy": 70, "incremental": 12, "live": 10, "failing": 4, "suspended": 2, "unscheduled": 2},
    "flows": {"healthy": 1},
}


def content(draft: Draft) -> None:
    """Fill the tables of content; freshness, schedules and tasks are for ``refreshing.py``."""
    for site in draft.tables["sites"]:
        _project(draft, site, "Default", None, special=1)
        _projects(draft, site, PROJECTS, None)
    for site, name, kind in _plan(draft, "datasources", draft.scale.datasources, SOURCES):
        _datasource(draft, site, name, kind)
    for position, (site, name, kind) in enumerate(_plan(draft, "workbooks", draft.scale.workbooks, SUBJECTS)):
        _workbook(draft, site, name, kind, position)
    for site, name, kind in _plan(draft, "flows", draft.scale.flows, SUBJECTS):
        _flow(draft, site, name, kind)


def _plan(draft: Draft, table: str, count: int, words: tuple[str, ...]) -> list[tuple[Row, str, str]]:
    """Deal names and kinds to the sites: every special kind once, then the usual ones."""
    sites = draft.tables["sites"]
    kinds = itertools.chain(KINDS[table], _usual(draft, table))
    common = EVERYWHERE if table == "workbooks" else words[:2]
    plan = [(site, name, "healthy") for name in common for site in sites]
    if table != "flows":
        plan += [(sites[number % len(sites)], name, next(kinds)) for number, name in enumerate(ODD)]
    while len(plan) < max(count, len(common) * len(sites) + len(KINDS[table])):
        name = f"{draft.random.choice(words)} {draft.random.choice(SHAPES)}"
        plan.append((draft.random.choices(sites, (40, 25, 20, 15))[0], name, next(kinds)))
    return plan


def _usual(draft: Draft, table: str) -> Iterator[str]:
    while True:
        yield draft.random.choices(list(USUAL[table]), list(USUAL[table].values()))[0]


def _projects(draft: Draft, site: Row, tree: Tree, parent: Row | None) -> None:
    for name, below in tree.items():
        # The first site has the whole tree, the others a part of it each: some 25 projects in all.
        if site["id"] == 1 or parent is not None or draft.random.random() < 0.15:
            _projects(draft, site, below, _project(draft, site, name, parent))


def _project(draft: Draft, site: Row, name: str, parent: Row | None, special: int | None = None) -> Row:
    return draft.add(
        "projects",
        {
            "name": name,
            "owner_id": _owner(draft, site)["id"],
            "created_at": draft.ago(400, 1400),
            "updated_at": draft.ago(0, 400),
            "state": "active",
            "description": f"All about {name}",
            "site_id": site["id"],
            "special": special,
            "luid": draft.luid(),
            "parent_project_id": parent["id"] if parent else None,
        },
    )


def _common(draft: Draft, site: Row, name: str, kind: str) -> Row:
    """Invent the columns that workbooks, data sources and flows share."""
    published_at = draft.ago(1, 20) if kind == "never" else draft.ago(35, 700)
    return {
        "name": name,
        "luid": draft.luid(),
        "owner_id": _owner(draft, site)["id"],
        "project_id": draft.random.choice(draft.of_site("projects", site["id"]))["id"],
        "site_id": site["id"],
        "created_at": published_at,
        "updated_at": draft.ago(0, 0.2),
        "last_published_at": published_at,
        "size": int(draft.random.lognormvariate(14, 2)),
        "embedded": CANARY_EMBEDDED,
        "lock_version": 1,
        "content_version": 1,
    }


def _extract_columns(kind: str) -> Row:
    has_extract = kind not in WITHOUT_EXTRACT
    return {
        "data_engine_extracts": has_extract,
        "refreshable_extracts": has_extract,
        "incrementable_extracts": kind == "incremental",
        "extracts_refreshed_at": None,
        "extracts_incremented_at": None,
    }


def _workbook(draft: Draft, site: Row, name: str, kind: str, position: int) -> None:
    values = _common(draft, site, name, kind) | _extract_columns(kind)
    values |= {
        "repository_url": slug(name, _urls(draft, "workbooks", site)),
        "first_published_at": values["created_at"],
        "view_count": 0,
        "default_view_index": 0,
        "revision": "1.0",
        "display_tabs": True,
        "is_deleted": kind == "deleted",
        "is_private": kind == "private",
    }
    if kind == "private":
        values["project_id"] = None
    workbook = draft.add("workbooks", values)
    draft.assets.append(AssetDraft(kind, "workbooks", workbook))
    content_parts.place(draft, workbook, "workbook")
    content_parts.views(draft, workbook)
    if kind != "published":
        content_parts.connect(draft, "Workbook", workbook, has_extract=kind != "live")
    if kind in ON_PUBLISHED:
        usable = [asset.row for asset in draft.assets if asset.table == "datasources" and asset.kind != "archived"]
        sources = [source for source in usable if source["site_id"] == site["id"]]
        for source in draft.random.sample(sources, min(len(sources), 1 + position % 3)):
            content_parts.connect(draft, "Workbook", workbook, has_extract=False, source=source)
    if values["data_engine_extracts"]:
        content_parts.extract(draft, workbook["id"], None, workbook)
        if position % 7 == 0:
            _datasource_row(draft, site, f"{name} (embedded)", "unscheduled", workbook)


def _datasource(draft: Draft, site: Row, name: str, kind: str) -> None:
    source = _datasource_row(draft, site, name, kind, workbook=None)
    draft.assets.append(AssetDraft(kind, "datasources", source))
    content_parts.place(draft, source, "datasource")
    content_parts.connect(draft, "Datasource", source, has_extract=kind != "live")
    if source["data_engine_extracts"]:
        content_parts.extract(draft, None, source["id"], source)


def _datasource_row(draft: Draft, site: Row, name: str, kind: str, workbook: Row | None) -> Row:
    """Add a published data source, or one that is embedded in a workbook and is no asset."""
    values = _common(draft, site, name, kind) | _extract_columns(kind)
    values |= {
        "repository_url": slug(name, _urls(draft, "datasources", site)),
        "first_published_at": values["created_at"],
        "state": "archived" if kind == "archived" else "active",
        "db_class": "dataengine" if values["data_engine_extracts"] else "sqlserver",
        "db_name": "warehouse",
        "table_name": "orders",
        "description": f"Everything about {name}",
        "document_version": "18.1",
        "revision": "1.0",
        "is_hierarchical": False,
        "connectable": workbook is None,
        "parent_workbook_id": workbook["id"] if workbook else None,
        "is_certified": draft.random.random() < 0.2,
    }
    return draft.add("datasources", values)


def _flow(draft: Draft, site: Row, name: str, kind: str) -> None:
    values = _common(draft, site, f"{name} flow", kind)
    values |= {
        "data_engine_extracts": True,
        "file_type": "tflx",
        "is_deleted": kind == "deleted",
        "state": "archived" if kind == "archived" else "active",
    }
    flow = draft.add("flows", values)
    draft.assets.append(AssetDraft(kind, "flows", flow))
    content_parts.place(draft, flow, "flow")


def _owner(draft: Draft, site: Row) -> Row:
    # The first two seats of a site belong to the system and to the guest account.
    return draft.random.choice(draft.of_site("users", site["id"])[2:])


def _urls(draft: Draft, table: str, site: Row) -> set[str]:
    rows = draft.tables.get(table, [])
    return {str(row["repository_url"]) for row in rows if row["site_id"] == site["id"]}
