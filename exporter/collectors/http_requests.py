"""Requests: rows of ``http_requests``, which Tableau removes at its next cleanup."""

from dataclasses import dataclass, replace
from datetime import datetime

from exporter.collector import (
    DURATION_BUCKETS,
    Collector,
    Count,
    Distribution,
    Events,
    FirstValues,
    InsightsHooks,
    relation,
)
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
    "Completed requests since the history was created, by HTTP status class; from the repository at every poll; of"
    " Tableau Cloud VizQL requests only, whose status is unknown, from the Activity Log, without it loads of views from"
    " Admin Insights every day.",
    ("site", "controller", "action", "status_class"),
    "repository: http_requests; activity log; Admin Insights: TS Events",
)

DURATION = Family(
    "tableau_http_request_duration_seconds",
    "histogram",
    "Duration of completed requests, from created_at to completed_at; from the repository at every poll; of Tableau"
    " Cloud VizQL requests only, from the Activity Log where activity_log.duration_unit is set.",
    ("site", "action"),
    "repository: http_requests; activity log",
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


@dataclass(frozen=True)
class CloudRequest:
    """A VizQL request to Tableau Cloud, its columns called as those of http_requests where the meaning is the same.

    Nothing has the HTTP status of a request; the unit of ``duration`` is not documented.
    """

    id: int
    created_at: datetime
    controller: str
    action: str | None
    http_referer: str | None
    http_user_agent: str | None
    http_request_uri: str | None
    user_ip: str | None
    session_id: str | None
    vizql_session: str | None
    user_id: int | None
    site_id: int
    currentsheet: str | None
    asset_type: str | None
    workbook: str | None
    view: str | None
    request_id: str | None
    method: str | None
    duration: int | None
    user_luid: str | None
    view_luid: str | None
    view_title: str | None
    workbook_luid: str | None
    workbook_title: str | None
    workbook_revision: str | None


CLOUD = "cloud_requests"
# Tableau's names of endpoints are in no list: they are a label as long as they are few.
ENDPOINTS = FirstValues("action", 200)
ENDPOINT = ENDPOINTS.label(CLOUD)

CLOUD_SQL = """
    SELECT
        id AS id,
        event_time AS created_at,
        'vizql' AS controller,
        fields.endpointName AS action,
        http_referer AS http_referer,
        fields.userAgent AS http_user_agent,
        http_request_uri AS http_request_uri,
        user_ip AS user_ip,
        fields.sessionId AS session_id,
        fields.vizqlSessionId AS vizql_session,
        user_id AS user_id,
        site_id AS site_id,
        currentsheet AS currentsheet,
        asset_type AS asset_type,
        workbook AS workbook,
        view AS view,
        fields.requestId AS request_id,
        fields.method AS method,
        fields.duration AS duration,
        actor_user_luid AS user_luid,
        fields.viewLuid AS view_luid,
        fields.viewName AS view_title,
        fields.workbookLuid AS workbook_luid,
        fields.workbookName AS workbook_title,
        fields.workbookRevision AS workbook_revision
    FROM (
        SELECT
            *,
            json_transform(details, '{
                "endpointName": "VARCHAR",
                "userAgent": "VARCHAR",
                "sessionId": "VARCHAR",
                "vizqlSessionId": "VARCHAR",
                "requestId": "VARCHAR",
                "method": "VARCHAR",
                "duration": "BIGINT",
                "viewLuid": "VARCHAR",
                "viewName": "VARCHAR",
                "workbookLuid": "VARCHAR",
                "workbookName": "VARCHAR",
                "workbookRevision": "VARCHAR"
            }') AS fields
        FROM activity
        WHERE event_type = 'vizql_http_request'
    )
"""

COUNTED = Count(REQUESTS, {"site": "site", "controller": "controller", "action": ENDPOINT, "status_class": "'unknown'"})
CLOUD_REQUESTS = Events(
    table=CLOUD,
    reads=(),
    row=CloudRequest,
    folds=(
        COUNTED,
        Distribution(DURATION, {"site": "site", "action": ENDPOINT}, "duration", "duration >= 0", needs_unit=True),
    ),
    first_values=ENDPOINTS,
    sql=CLOUD_SQL,
    counts_usage=True,
)

# An access to a view is what bootstrapSession is: one for each time that somebody opens it.
INSIGHTS_SQL = """
    SELECT
        id AS id,
        event_date AS created_at,
        'vizql' AS controller,
        'bootstrapSession' AS action,
        NULL AS http_referer,
        NULL AS http_user_agent,
        NULL AS http_request_uri,
        NULL AS user_ip,
        NULL AS session_id,
        NULL AS vizql_session,
        user_id AS user_id,
        site_id AS site_id,
        replace(item_repository_url, '/sheets/', '/') AS currentsheet,
        'view' AS asset_type,
        nullif(split_part(item_repository_url, '/sheets/', 1), '') AS workbook,
        nullif(split_part(item_repository_url, '/sheets/', 2), '') AS view,
        NULL AS request_id,
        NULL AS method,
        NULL AS duration,
        NULL AS user_luid,
        item_luid AS view_luid,
        item_name AS view_title,
        NULL AS workbook_luid,
        workbook_name AS workbook_title,
        NULL AS workbook_revision
    FROM insights
    WHERE event_name = 'Access View'
"""

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
    activity=(CLOUD_REQUESTS,),
    # Nothing there has a duration.
    insights=InsightsHooks(events=(replace(CLOUD_REQUESTS, folds=(COUNTED,), sql=INSIGHTS_SQL),)),
)
