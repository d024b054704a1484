"""Requests: rows of ``http_requests``, which Tableau removes at its next cleanup."""

from exporter.collector import DURATION_BUCKETS, Collector, Count, Distribution, Events, relation
from exporter.metrics import Family

# Every column known so far but user_cookie, which is never read; those that a version adds are archived too.
READS = (
    relation(
        "http_requests",
        "id bigint, created_at timestamp, completed_at timestamp",
        "controller text, action text, http_referer text, http_user_agent text, http_request_uri text, remote_ip text,"
        " session_id text, port bigint, user_id bigint, worker text, status bigint, user_ip text, vizql_session text,"
        " site_id bigint, currentsheet text",
        newer={"2021.2": "flags_used bigint"},
    ),
)

REQUESTS = Family(
    "tableau_http_requests_total",
    "counter",
    "Completed requests since the history was created, by HTTP status class; from the repository at every poll.",
    ("site", "controller", "action", "status_class"),
    "repository: http_requests",
)

DURATION = Family(
    "tableau_http_request_duration_seconds",
    "histogram",
    "Duration of completed requests, from created_at to completed_at; from the repository at every poll.",
    ("site", "action"),
    "repository: http_requests",
    DURATION_BUCKETS,
)

STATUS_CLASS = """CASE
    WHEN status BETWEEN 200 AND 299 THEN '2xx'
    WHEN status BETWEEN 300 AND 399 THEN '3xx'
    WHEN status BETWEEN 400 AND 499 THEN '4xx'
    WHEN status BETWEEN 500 AND 599 THEN '5xx'
    ELSE 'unknown' END"""

SECONDS = "epoch(completed_at - created_at)"
MEASURED = "isfinite(created_at) AND isfinite(completed_at) AND completed_at >= created_at"

COLLECTOR = Collector(
    "http_requests",
    "Requests to the server, each archived and counted once.",
    events=Events(
        table="http_requests",
        reads=READS,
        row=None,
        folds=(
            Count(
                REQUESTS,
                {"site": "site", "controller": "controller", "action": "action", "status_class": STATUS_CLASS},
            ),
            Distribution(DURATION, {"site": "site", "action": "action"}, SECONDS, MEASURED),
        ),
        keeps_open=True,
    ),
)
