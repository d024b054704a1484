"""Content of each site, kept by day, so that a name can be found after its asset was deleted."""

from exporter.collector import Collector, RestHooks, State, StateHistory
from exporter.collectors._projects import PROJECTS, PROJECTS_CONTENTS
from exporter.collectors.content.datasources import (
    DATA_CONNECTIONS,
    DATA_CONNECTIONS_SQL,
    DATASOURCES,
    DATASOURCES_SQL,
    EXTRACT_OWNERS,
    EXTRACTS,
    EXTRACTS_SQL,
    FLOWS,
    FLOWS_SQL,
    DataConnection,
    Datasource,
    Extract,
    Flow,
)
from exporter.collectors.content.metrics import BYTES, CONTENT, counting, expose_inventory
from exporter.collectors.content.sites_projects import PROJECTS_SQL, SITES, SITES_SQL, Project, Site
from exporter.collectors.content.views_sql import (
    CLOUD_VIEWS,
    CLOUD_WORKBOOKS,
    RECALLED_SECONDS,
    VIEWS_RECALL,
    WORKBOOKS_RECALL,
)
from exporter.collectors.content.workbooks import VIEWS, VIEWS_SQL, WORKBOOKS, WORKBOOKS_SQL, View, Workbook

COUNTED = (CONTENT,)
MEASURED = (CONTENT, BYTES)
PLACED = (PROJECTS_CONTENTS,)

COLLECTOR = Collector(
    "content",
    "Sites, projects, workbooks, views, data sources, extracts, connections and flows.",
    states=(
        State(Site, (SITES,), SITES_SQL, history=StateHistory("sites")),
        State(Project, (PROJECTS,), PROJECTS_SQL, COUNTED, counting("project"), "exact", StateHistory("projects")),
        State(
            Workbook,
            (WORKBOOKS, *PLACED),
            WORKBOOKS_SQL,
            MEASURED,
            counting("workbook"),
            "exact",
            StateHistory("workbooks", None, "workbooks", WORKBOOKS_RECALL, CLOUD_WORKBOOKS, RECALLED_SECONDS),
        ),
        State(
            View,
            (VIEWS,),
            VIEWS_SQL,
            COUNTED,
            counting("view"),
            "exact",
            StateHistory("views", None, "views", VIEWS_RECALL, CLOUD_VIEWS, RECALLED_SECONDS),
        ),
        State(
            Datasource,
            (DATASOURCES, *PLACED),
            DATASOURCES_SQL,
            MEASURED,
            counting("datasource"),
            "exact",
            StateHistory("datasources"),
        ),
        State(Extract, (EXTRACTS, *EXTRACT_OWNERS), EXTRACTS_SQL, every="exact", history=StateHistory("extracts")),
        State(
            DataConnection,
            (DATA_CONNECTIONS,),
            DATA_CONNECTIONS_SQL,
            every="exact",
            history=StateHistory("data_connections"),
        ),
        State(Flow, (FLOWS,), FLOWS_SQL, MEASURED, counting("flow"), "exact"),
    ),
    rest=RestHooks(expose_inventory, wants=frozenset({"view count"})),
)
