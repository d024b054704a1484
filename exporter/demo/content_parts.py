"""What belongs to a workbook, data source or flow: its place, views, connections and extracts."""

from exporter.demo.draft import Draft, slug
from exporter.demo.names import DATABASES, ODD, SHEETS
from exporter.demo.rows import Row
from exporter.demo.users import CANARY_KEYCHAIN


def place(draft: Draft, row: Row, content_type: str) -> None:
    """Put content into a project."""
    if row["project_id"] is None:
        return
    project_id = row["project_id"]
    # Where both exist, projects_contents is right: some content was moved and its own column has the previous project.
    if draft.random.random() < 0.1:
        project_id = draft.random.choice(draft.of_site("projects", row["site_id"]))["id"]
    draft.add(
        "projects_contents",
        {"project_id": project_id, "site_id": row["site_id"], "content_id": row["id"], "content_type": content_type},
    )


def connect(draft: Draft, owner_type: str, owner: Row, *, has_extract: bool, source: Row | None = None) -> None:
    """Connect content to a database, or to the published data source ``source``."""
    dbclass = "sqlproxy" if source else draft.random.choice(DATABASES)
    draft.add(
        "data_connections",
        {
            "server": "localhost" if source else f"{dbclass}.example.com",
            "dbclass": dbclass,
            "port": 8060 if source else 5432,
            "username": "" if source else "etl_reader",
            "password": source is None,
            "name": f"{dbclass}.{owner['id']}",
            "dbname": source["repository_url"] if source else "warehouse",
            "owner_type": owner_type,
            "owner_id": owner["id"],
            "created_at": owner["created_at"],
            "updated_at": owner["updated_at"],
            "caption": source["name"] if source else "Warehouse",
            "site_id": owner["site_id"],
            "keychain": f"{CANARY_KEYCHAIN}-connection",
            "luid": draft.luid(),
            "has_extract": has_extract,
        },
    )


def extract(draft: Draft, workbook_id: object, datasource_id: object, owner: Row) -> None:
    """Give content an extract."""
    draft.add(
        "extracts",
        {
            "workbook_id": workbook_id,
            "descriptor": draft.luid(),
            "created_at": owner["created_at"],
            "updated_at": owner["updated_at"],
            "datasource_id": datasource_id,
            "site_id": owner["site_id"],
            "size": owner["size"],
        },
    )


def views(draft: Draft, workbook: Row) -> None:
    """Give a workbook its sheets; the first one is called the same everywhere."""
    used: set[str] = set()
    names = ["Overview", *draft.random.sample(SHEETS[1:], draft.random.randint(1, 6))]
    if draft.random.random() < 0.1:
        names.append(draft.random.choice(ODD))
    for index, name in enumerate(names):
        draft.add(
            "views",
            {
                "name": name,
                "repository_url": f"{workbook['repository_url']}/sheets/{slug(name, used)}",
                "created_at": workbook["created_at"],
                "updated_at": workbook["updated_at"],
                "workbook_id": workbook["id"],
                "index": index,
                "owner_id": workbook["owner_id"],
                "title": name,
                "caption": None,
                "sheettype": "dashboard" if index == 0 else "view",
                "site_id": workbook["site_id"],
                "luid": draft.luid(),
                "is_deleted": workbook["is_deleted"],
            },
        )
