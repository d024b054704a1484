"""Background jobs: waiting and running jobs, queue and run times, failures."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import NO_QUEUE, NO_REQUESTS, RED_ABOVE_0, Label, Line, Value, stat, table, timeseries

NO_BRIDGE = "No Activity Log of Tableau Cloud, or no Tableau Bridge"
FAILING = ((None, "text"), (0.05, "orange"), (0.25, "red"))
# A schedule's grace period is an hour; TableauJobQueueSlow begins at a quarter of it.
WAITS = ((None, "text"), (300, "orange"), (900, "red"))
KNOWN = "count(@jobs_known)"


def within(quantile: float, family: str, by: str = "", window: str = "$__rate_interval", how: str = "rate") -> str:
    """Return the query for a quantile of queue or run time; no result where there were no jobs."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) ({how}({family}_bucket{{@site}}[{window}]))) >= 0"


QUEUE, RUN = "tableau_background_job_queue_seconds", "tableau_background_job_run_seconds"
QUANTILES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))


def by_label(label: str) -> tuple[Value, ...]:
    """Return the columns of job statistics by job type or site."""
    finished = "tableau_background_jobs_finished_total"
    return (
        Value(f"sum by ({label}) (increase({finished}{{@site}}[$__range]))", "Finished", "short", decimals=0),
        Value(
            f"""
                sum by ({label}) (increase({finished}{{@site,outcome="failure"}}[$__range]))
                / (sum by ({label}) (increase({finished}{{@site}}[$__range])) > 0)
            """,
            "Job failure rate",
            "percentunit",
            FAILING,
            decimals=1,
        ),
        Value(f"sum by ({label}) (tableau_background_jobs_waiting{{@site}})", "Waiting", "none"),
        Value(f"sum by ({label}) (tableau_background_jobs_running{{@site}})", "Running", "none"),
        Value(within(0.9, QUEUE, label, "$__range", "increase"), "Queue time p90", "s", WAITS),
        Value(within(0.9, RUN, label, "$__range", "increase"), "Run time p90", "s"),
    )


SUSPENDED_REFRESHES = stat(
    "Suspended refreshes",
    "Assets whose refresh Tableau suspended after too many failures. It must be resumed in Tableau.",
    "none",
    "sum(tableau_asset_refresh_suspended{@site} == bool 1)",
    thresholds=RED_ABOVE_0,
    no_value="Unknown",
    graph=False,
)

NOW = Row(
    "Now",
    (
        stat(
            "Waiting",
            "Jobs waiting for a backgrounder.",
            "none",
            f"sum(tableau_background_jobs_waiting{{@site}}) or 0 * {KNOWN}",
            no_value=NO_QUEUE,
        ),
        stat(
            "Running",
            "Running jobs. None while jobs wait means that the backgrounders are not working.",
            "none",
            f"sum(tableau_background_jobs_running{{@site}}) or 0 * {KNOWN}",
            no_value=NO_QUEUE,
        ),
        stat(
            "Finished",
            "Jobs finished within the dashboard's time range, with any outcome.",
            "short",
            "sum(increase(tableau_background_jobs_finished_total{@site}[$__range]))",
            no_value=NO_REQUESTS,
            graph=False,
            decimals=0,
        ),
        stat(
            "Job failure rate",
            "Fraction of the jobs finished within the dashboard's time range that failed.",
            "percentunit",
            """
                (
                    sum(increase(tableau_background_jobs_finished_total{@site,outcome="failure"}[$__range]))
                    or 0 * sum(increase(tableau_background_jobs_finished_total{@site}[$__range]))
                )
                / (sum(increase(tableau_background_jobs_finished_total{@site}[$__range])) > 0)
            """,
            thresholds=((None, "green"), (0.05, "orange"), (0.25, "red")),
            no_value="No jobs",
            graph=False,
            decimals=1,
        ),
        stat(
            "Queue time p90",
            "90th percentile of queue time of the jobs finished within the dashboard's time range.",
            "s",
            within(0.9, QUEUE, window="$__range", how="increase"),
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value="No jobs",
            graph=False,
        ),
        SUSPENDED_REFRESHES,
    ),
)

TRENDS = Row(
    "Trends",
    (
        timeseries(
            "Queue",
            "Jobs waiting for a backgrounder, and running jobs, at every poll.",
            "none",
            (
                Line("sum(tableau_background_jobs_waiting{@site})", "waiting", "orange"),
                Line("sum(tableau_background_jobs_running{@site})", "running", "green"),
            ),
            no_value=f"No jobs waiting or running. {NO_QUEUE}",
        ),
        timeseries(
            "Finished by outcome",
            "Finished jobs per second, by outcome.",
            "ops",
            tuple(
                Line(
                    f'sum(rate(tableau_background_jobs_finished_total{{@site,outcome="{outcome}"}}[$__rate_interval]))',
                    outcome,
                    color,
                )
                for outcome, color in (("success", "green"), ("failure", "red"), ("cancelled", "text"))
            ),
            no_value=NO_REQUESTS,
        ),
        timeseries(
            "Queue time",
            "Median, 90th and 99th percentile of the time that finished jobs waited for a backgrounder.",
            "s",
            tuple(Line(within(quantile, QUEUE), name) for quantile, name in QUANTILES),
            no_value="No jobs",
        ),
        timeseries(
            "Run time",
            "Median, 90th and 99th percentile of the run time of finished jobs.",
            "s",
            tuple(Line(within(quantile, RUN), name) for quantile, name in QUANTILES),
            no_value="No jobs",
        ),
    ),
)

BREAKDOWN = Row(
    "By job type and site",
    (
        table(
            "Job types",
            "Finished jobs of each type within the dashboard's time range, and those waiting or running now.",
            (Label("job_type", "Job type"), *by_label("job_type")),
            sort_by="Finished",
            no_value=NO_REQUESTS,
            width=12,
        ),
        table(
            "Sites",
            "Finished jobs of each site within the dashboard's time range, and those waiting or running now.",
            (Label("site", "Site"), *by_label("site")),
            sort_by="Finished",
            no_value=NO_REQUESTS,
            width=12,
        ),
    ),
)

FAILURES = Row(
    "Failures",
    (
        table(
            "Failed jobs",
            "The 25 job types with the most failures within the dashboard's time range, by site.",
            (
                Label("site", "Site", 130),
                Label("job_type", "Job type"),
                Value(
                    """
                        topk(25, sum by (site, job_type) (
                            increase(tableau_background_jobs_finished_total{@site,outcome="failure"}[$__range])
                        ) > 0)
                    """,
                    "Failed",
                    "short",
                    decimals=0,
                    width=90,
                ),
            ),
            sort_by="Failed",
            no_value=f"No failures. {NO_REQUESTS}",
            width=8,
        ),
        table(
            "Failing and suspended refreshes",
            """
                The 50 assets with the most consecutive refresh failures. Tableau suspends a refresh after 5. Click an
                asset's name for its details.
            """,
            (
                Label("site", "Site", 120),
                Label("project", "Project", 200),
                Label("asset_type", "Type", 100),
                Label(
                    "asset_name",
                    "Asset",
                    link="/d/tableau-freshness?${__url_time_range}&${__all_variables}&var-asset_id=${__data.fields.asset_id}",
                ),
                Value(
                    "topk(50, tableau_asset_refresh_consecutive_failures{@site} > 0)",
                    "Consecutive failures",
                    "none",
                    RED_ABOVE_0,
                    width=160,
                ),
                Value(
                    """
                        tableau_asset_refresh_suspended{@site}
                        and on (@id) topk(50, tableau_asset_refresh_consecutive_failures{@site} > 0)
                    """,
                    "Suspended",
                    "none",
                    words={1: ("yes", "red"), 0: ("no", "text")},
                    width=100,
                ),
                Label("asset_id", "Asset id", 300),
            ),
            sort_by="Consecutive failures",
            no_value="No failing refreshes",
            width=16,
        ),
    ),
)

BRIDGE = Row(
    "Tableau Bridge",
    (
        timeseries(
            "Bridge jobs by outcome",
            "Finished jobs of Tableau Bridge per second, by outcome.",
            "ops",
            (
                Line(
                    "sum by (outcome) (rate(tableau_bridge_jobs_finished_total{@site}[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            no_value=NO_BRIDGE,
        ),
        table(
            "Bridge clients",
            "The last event of each client of Tableau Bridge within 31 days, by pool; at most 100.",
            (
                Label("site", "Site", 120),
                Label("pool", "Pool"),
                Label("client", "Client"),
                Value(
                    "topk(100, 1000 * tableau_bridge_client_last_seen_timestamp_seconds{@site})",
                    "Last event",
                    "dateTimeFromNow",
                    width=140,
                ),
            ),
            sort_by="Last event",
            no_value=NO_BRIDGE,
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    "background-jobs",
    "Background jobs",
    "Waiting and running jobs, queue and run times, failures, suspended refreshes, and Tableau Bridge.",
    (NOW, TRENDS, BREAKDOWN, FAILURES, BRIDGE),
    since="now-24h",
)
