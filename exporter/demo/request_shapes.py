"""The shapes of requests that a Tableau Server logs, as data; the names of actions are Tableau's published facts."""

from typing import NamedTuple

CANARY_TICKET = "CANARYTICKET"
CANARY_TOKEN = "CANARYTOKEN"  # noqa: S105 - a trace to search for, no token
CANARY_FRAGMENT = "CANARYFRAGMENT"
CANARY_COOKIE = "CANARYCOOKIE"


class Shape(NamedTuple):
    """One kind of request: ``uri`` and ``sheet`` (the currentsheet) are filled in for a visit.

    {t} is ``/t/<site>`` or nothing, {hash} ``/#/site/<site>`` or ``/#``; ``milliseconds`` is the median duration.
    """

    controller: str
    action: str
    uri: str
    milliseconds: float
    sheet: str | None = "{wb}/{sheet}"
    weight: float = 1


VIZ = "/vizql{t}/w/{wb}/v/{sheet}"

# How a visit to a view begins.
OPENINGS = (
    Shape("views", "show", "{t}/views/{wb}/{sheet}?:iid=1", 60, weight=30),
    Shape("views", "show", "{t}/views/{wb}/{sheet}?:embed=y&:showVizHome=no&:tabs=no", 55, weight=20),
    Shape("views", "show", "{t}/views/{wb}/{sheet}", 50, "", weight=12),
    Shape("views", "show", "{hash}/views/{wb}/{sheet}?:iid=2", 45, None, weight=8),
    Shape("views", "show", "/trusted/{ticket}{t}/views/{wb}/{sheet}?:embed=yes&:comments=no", 70, weight=6),
    Shape("views", "show", "{t}/views/{wb}/{sheet}?token={token}&Region=Ü%20%26%20Co", 60, weight=5),
    Shape("views", "show", "{t}/views/{wb}/{sheet}?:refresh=yes#{fragment}", 400, weight=2),
    Shape("views", "show", "{t}/views/{wb}/{sheet}/jo@example.com/Myview1", 65, weight=3),
    Shape("views", "show", "{t}/views/{wb}/{sheet}.pdf", 2500, weight=2),
    Shape("views", "show", "{t}/views/{wb}/{sheet}.csv?:refresh=y", 1800, weight=2),
    Shape("views", "show", "{t}/views/{wb}/{sheet}.png?:size=1000,800", 1500, weight=1),
    Shape("views", "show", "{t}/views/{wb}/{sheet}?format=csv&access_token={token}", 1700, weight=1),
    Shape("workgroup", "show", "{t}/workbooks/{wb}.twb?format=twb", 300, "", weight=1),
    Shape("vizql", "show", "/authoring{t}/{wb}/{sheet}#1|a'\"<b>", 350, "{wb}/null", weight=2),
)

# What follows in most visits, in this order.
LOADING = (
    Shape("vizql", "bootstrapSession", VIZ + "/bootstrapSession/sessions/{session}", 1200),
    Shape("vizql", "performPostLoadOperations", VIZ + "/performPostLoadOperations/sessions/{session}", 150),
)

# Requests that follow a view's rendering.
INTERACTIONS = (
    Shape("vizql", "sessions", VIZ + "/sessions/{session}/commands/tabdoc/select", 180, weight=40),
    Shape("vizql", "sessions", VIZ + "/sessions/{session}/commands/tabdoc/categorical-filter-by-index", 300, weight=15),
    Shape("vizql", "tilecache", VIZ + "/tilecache/sessions/{session}/0/0/1.png", 15, weight=10),
    Shape("vizql", "get_customized_views", VIZ + "/get_customized_views", 25, weight=6),
    Shape("vizql", "save_customized_view", VIZ + "/save_customized_view", 90, "{wb}/{sheet}/jo@example.com/Myview1"),
    Shape("vizql", "viewData", VIZ + "/viewData/sessions/{session}/views/x?csv=true", 700, weight=3),
    Shape("vizql", "vud", VIZ + "/vud/sessions/{session}/views/x", 600, "{wb}/{sheet}/null", weight=2),
    Shape("vizql", "exportcrosstab", VIZ + "/exportcrosstab/sessions/{session}/views/x?charset=utf16", 1500, weight=2),
    Shape("vizql", "sheetimage", VIZ + "/sheetimage?:lpr={token}", 400, weight=2),
    Shape(
        "vizql",
        "sessions",
        "/vizql{t}/w/ds:{source}/v/null/sessions/{session}/commands/tabdoc/get-schema",
        250,
        "ds:{source}",
    ),
)

# Requests that belong to no view.
PORTAL = (
    Shape("vizportal", "getViews", "/vizportal/api/web/v1/getViews", 40, None, 20),
    Shape("vizportal", "getSessionInfo", "/vizportal/api/web/v1/getSessionInfo", 12, None, 20),
    Shape("vizportal", "search", "{hash}/search?query=100%25 {{x}}|y", 80, "", 5),
    Shape("workgroup", "publish", "/manual/upload?uploadSessionId={session}", 4000, None, 1),
    Shape("workgroup", "login", "{hash}/signin?externalRedirect=%2F&ticket={token}", 120, None, 8),
    Shape("views", "thumbnail", "{t}/thumb/views/{wb}/{sheet}", 10, "", 6),
    Shape("workgroup", "index", "/?line\nbreak=1&\t'\\", 10, "", 1),
)

STATUSES = {
    "show": ((200, 80), (302, 8), (304, 5), (404, 3), (403, 2), (500, 1), (None, 1)),
    "bootstrapSession": ((200, 93), (403, 1), (404, 1), (500, 3), (504, 1), (None, 1)),
    "login": ((302, 80), (200, 10), (401, 10)),
    "thumbnail": ((200, 50), (304, 49), (404, 1)),
    "": ((200, 965), (204, 10), (410, 10), (500, 5), (503, 5), (None, 5)),
}

REFERERS = (
    None,
    "",
    "https://tableau.example.com/",
    "https://portal.example.com/reports?user=jo&token={token}#{fragment}",
    "https://tableau.example.com/trusted/{ticket}/views/Pipeline/Overview",
    'https://intranet.example.com/a|b?q="quoted"&session_token={token}',
)

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "TableauMobile/25.3 (iPhone; iOS 18.1)",
    "Tableau Desktop 2025.3 | de_DE",
    "curl/8.5.0",
    "<script>alert('agent')</script> \"quoted\" \\ 🚀",
    "x" * 2000,
    "",
    None,
)
AGENT_WEIGHTS = (500, 200, 100, 60, 60, 20, 3, 1, 5, 5)
