"""Views: loads and load times of each view; off by default, for it is a series for each view."""

from exporter.collector import DURATION_BUCKETS, Collector, Count, Distribution
from exporter.collectors.http_requests import MEASURED, SECONDS
from exporter.metrics import Family

# All are counted, the busiest are exposed: a histogram is a dozen series.
BUSIEST = 500
LABELS = ("site", "workbook", "view")

REQUESTS = Family(
    "tableau_view_requests_total",
    "counter",
    "Loads of the view (bootstrapSession requests of any status); from the repository or the Activity Log at every"
    " poll, without either from Admin Insights every day.",
    LABELS,
    "repository: http_requests; activity log; Admin Insights: TS Events",
)

DURATION = Family(
    "tableau_view_load_duration_seconds",
    "histogram",
    "Load time of the view (bootstrapSession requests), from created_at to completed_at; from the repository at every"
    " poll; of Tableau Cloud from the Activity Log where activity_log.duration_unit is set.",
    LABELS,
    "repository: http_requests; activity log",
    DURATION_BUCKETS,
)

BY = {"site": "site", "workbook": "workbook", "view": '"view"'}
# One bootstrapSession a rendering: `show` comes before it, and interactions follow it.
RENDERS = "action = 'bootstrapSession' AND \"view\" IS NOT NULL"

COLLECTOR = Collector(
    "views",
    "Loads and load time of each view; off by default because every view has its own series.",
    folds=(
        Count(REQUESTS, BY, RENDERS, BUSIEST),
        Distribution(DURATION, BY, SECONDS, f"{RENDERS} AND {MEASURED}", BUSIEST),
    ),
    activity_folds=(
        Count(REQUESTS, BY, RENDERS, BUSIEST),
        Distribution(DURATION, BY, "duration", f"{RENDERS} AND duration >= 0", BUSIEST, needs_unit=True),
    ),
    enabled=False,
)
