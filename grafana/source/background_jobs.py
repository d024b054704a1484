"""Background jobs: what waits, what runs, how long that takes, and what fails."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import NONE_IS_WELL, Label, Line, Value, course, figure, table

NO_REPOSITORY = "No repository"
FAILING = ((None, "text"), (0.05, "orange"), (0.25, "red"))
# An hour of waiting is what a schedule's grace allows; a quarter is what TableauJobQueueSlow begins at.
WAITS = ((None, "text"), (300, "orange"), (900, "red"))
KNOWN = 'count(tableau_collector_success{@here,collector="background_jobs"} == 1)'


def within(quantile: float, family: str, by: str = "", window: str = "$__rate_interval", how: str = "rate") -> str:
    """Return the question within which time so many jobs were begun, or done; no answer where there was none."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) ({how}({family}_bucket{{@site}}[{window}]))) >= 0"


QUEUE, RUN = "tableau_background_job_queue_seconds", "tableau_background_job_run_seconds"
QUANTILES = ((0.5, "half"), (0.9, "9 of 10"), (0.99, "99 of 100"))


def by_label(label: str) -> tuple[Value, ...]:
    """Return the columns that say of each job type, or each site, how its jobs fare."""
    finished = "tableau_background_jobs_finished_total"
    return (
        Value(f"sum by ({label}) (increase({finished}{{@site}}[$__range]))", "Finished", "short", decimals=0),
        Value(
            f"""
                sum by ({label}) (increase({finished}{{@site,outcome="failure"}}[$__range]))
                / (sum by ({label}) (increase({finished}{{@site}}[$__range])) > 0)
            """,
            "Fail",
            "percentunit",
            FAILING,
            decimals=1,
        ),
        Value(f"sum by ({label}) (tableau_background_jobs_waiting{{@site}})", "Waiting", "none"),
        Value(f"sum by ({label}) (tableau_background_jobs_running{{@site}})", "Running", "none"),
        Value(within(0.9, QUEUE, label, "$__range", "increase"), "Wait, 9 of 10", "s", WAITS),
        Value(within(0.9, RUN, label, "$__range", "increase"), "Run, 9 of 10", "s"),
    )


NOW = Row(
    "Now",
    (
        figure(
            "Waiting",
            "Jobs that no backgrounder has begun.",
            "none",
            f"sum(tableau_background_jobs_waiting{{@site}}) or 0 * {KNOWN}",
            no_value=NO_REPOSITORY,
        ),
        figure(
            "Running",
            "Jobs under way. None, while some wait: the backgrounders stand still.",
            "none",
            f"sum(tableau_background_jobs_running{{@site}}) or 0 * {KNOWN}",
            no_value=NO_REPOSITORY,
        ),
        figure(
            "Finished",
            "Jobs that ended within the time that is shown, however they ended.",
            "short",
            "sum(increase(tableau_background_jobs_finished_total{@site}[$__range]))",
            no_value=NO_REPOSITORY,
            graph=False,
            decimals=0,
        ),
        figure(
            "Fail",
            "The share of jobs that failed, of those that ended within the time that is shown.",
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
        figure(
            "Wait, 9 of 10",
            "Nine of ten of the jobs that ended within the time that is shown had been begun within this time.",
            "s",
            within(0.9, QUEUE, window="$__range", how="increase"),
            thresholds=((None, "green"), (300, "orange"), (900, "red")),
            no_value="No jobs",
            graph=False,
        ),
        figure(
            "Refreshes suspended",
            "Assets whose refresh Tableau has suspended after too many failures. Somebody must resume them.",
            "none",
            "sum(tableau_asset_refresh_suspended{@site} == bool 1)",
            thresholds=NONE_IS_WELL,
            no_value="Not known",
            graph=False,
        ),
    ),
)

COURSE = Row(
    "Since when",
    (
        course(
            "Queue",
            "Jobs that wait for a backgrounder, and jobs under way, as seen at every poll.",
            "none",
            (
                Line("sum(tableau_background_jobs_waiting{@site})", "waiting", "orange"),
                Line("sum(tableau_background_jobs_running{@site})", "running", "green"),
            ),
            no_value="Nothing waits or runs, or no repository is polled",
        ),
        course(
            "Finished, by outcome",
            "Jobs that ended, per second, by how they ended.",
            "ops",
            tuple(
                Line(
                    f'sum(rate(tableau_background_jobs_finished_total{{@site,outcome="{outcome}"}}[$__rate_interval]))',
                    outcome,
                    color,
                )
                for outcome, color in (("success", "green"), ("failure", "red"), ("cancelled", "text"))
            ),
            no_value=NO_REPOSITORY,
        ),
        course(
            "How long jobs wait",
            "How long jobs had waited for a backgrounder, of those that ended.",
            "s",
            tuple(Line(within(quantile, QUEUE), name) for quantile, name in QUANTILES),
            no_value="No jobs",
        ),
        course(
            "How long jobs run",
            "How long jobs ran, of those that ended.",
            "s",
            tuple(Line(within(quantile, RUN), name) for quantile, name in QUANTILES),
            no_value="No jobs",
        ),
    ),
)

WHICH = Row(
    "Which jobs, and where",
    (
        table(
            "Job types",
            "How the jobs of each type fared within the time that is shown, and what waits and runs of them now.",
            (Label("job_type", "Job type"), *by_label("job_type")),
            worst_first="Finished",
            no_value=NO_REPOSITORY,
            width=12,
        ),
        table(
            "Sites",
            "How the jobs of each site fared within the time that is shown, and what waits and runs of them now.",
            (Label("site", "Site"), *by_label("site")),
            worst_first="Finished",
            no_value=NO_REPOSITORY,
            width=12,
        ),
    ),
)

FAILURES = Row(
    "What fails",
    (
        table(
            "Jobs that failed",
            "The 25 kinds of jobs that failed most often within the time that is shown.",
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
            worst_first="Failed",
            no_value="Nothing failed, or no repository is polled",
            width=8,
        ),
        table(
            "Refreshes that fail or are suspended",
            """
                The 50 assets whose refresh failed most often in a row. Tableau suspends it after 5. An asset's name
                leads to the asset.
            """,
            (
                Label("site", "Site", 120),
                Label("project", "Project", 200),
                Label("asset_type", "Kind", 100),
                Label(
                    "asset_name",
                    "Asset",
                    link="/d/tableau-freshness?${__url_time_range}&${__all_variables}&var-asset_id=${__data.fields.asset_id}",
                ),
                Value(
                    "topk(50, tableau_asset_refresh_consecutive_failures{@site} > 0)",
                    "Failed in a row",
                    "none",
                    NONE_IS_WELL,
                    width=130,
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
            worst_first="Failed in a row",
            no_value="No refresh fails",
            width=16,
        ),
    ),
)

DASHBOARD = Dashboard(
    "background-jobs",
    "Background jobs",
    "What waits for a backgrounder, what runs, how long that takes, what fails, and what is suspended.",
    (NOW, COURSE, WHICH, FAILURES),
    since="now-24h",
)
