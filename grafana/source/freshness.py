"""Freshness: data age against SLA, most overdue assets first, by project and owner, down to one asset."""

from grafana.source.dashboard import Dashboard, Row, chosen, typed
from grafana.source.panels import KEEP_CONTEXT, RED_ABOVE_0, Label, Line, Value, stat, table, timeseries

NO_SLA = "No SLA"
# Each point evaluates every asset and its SLA.
POINTS = 60
NEVER_READ = "No source read yet"
CHOOSE = "Select an asset: click its name above"
ONE = '{@site,asset_id="$asset_id"}'
ASSET_SLA = 'tableau_asset_sla_hours{@site,asset_id="$asset_id",severity="%s"}'
TO_ASSET = f"/d/tableau-freshness?{KEEP_CONTEXT}&var-asset_id=${{__data.fields.asset_id}}"

HOURS = "tableau_asset_hours_since_refresh{@asset}"
# The critical SLA, or the warning where there is no critical one.
SLA = """(
    tableau_asset_sla_hours{@asset,severity="critical"}
    or ignoring (severity) tableau_asset_sla_hours{@asset,severity="warning"}
)"""
OWNER = 'on (@id) group_left (content_owner) tableau_asset_info{@asset,content_owner=~"$content_owner"}'
# Data age as a fraction of the SLA.
RATIO = f"({HOURS} / ignoring (severity) {SLA}) * {OWNER}"
WORST = f"topk(50, {RATIO})"
# Of several agents, the one that read it last.
SOURCE_AGE = "time() - max by (site, source) (tableau_freshness_source_last_success_timestamp_seconds{@site})"
LATE = "time() - tableau_asset_refresh_due_timestamp_seconds{@asset}"


def past(severity: str) -> str:
    """Return the query for assets past an SLA: 1 for each that is, 0 for each that is not."""
    return f'({HOURS} > bool ignoring (severity) tableau_asset_sla_hours{{@asset,severity="{severity}"}}) @owned'


def of_worst(query: str) -> str:
    """Return a query limited to the most overdue assets."""
    return f"({query}) and on (@id) {WORST}"


def by(labels: str) -> tuple[Value, ...]:
    """Return the columns of SLA compliance by project or owner; the 30 with the most overdue assets."""
    times = f"max by ({labels}) ({RATIO})"
    worst = f"topk(30, {times})"
    past = f'{HOURS} > bool ignoring (severity) tableau_asset_sla_hours{{@asset,severity="critical"}}'
    return (
        Value(
            f"sum by ({labels}) (({past}) * {OWNER}) and on ({labels}) {worst}",
            "Past SLA",
            "none",
            RED_ABOVE_0,
            width=90,
        ),
        Value(f"count by ({labels}) ({RATIO}) and on ({labels}) {worst}", "Assets", "none", width=80),
        Value(
            worst, "Max % of SLA", "percentunit", ((None, "green"), (0.5, "orange"), (1, "red")), decimals=0, width=110
        ),
    )


NOW = Row(
    "SLA compliance",
    (
        stat(
            "SLA compliance",
            "Fraction of the assets with a critical SLA whose data is not older than it.",
            "percentunit",
            f"""
                1 - sum({past("critical")}) / count(tableau_asset_sla_hours{{@asset,severity="critical"}} @owned)
            """,
            thresholds=((None, "red"), (0.9, "orange"), (0.99, "green")),
            no_value=NO_SLA,
            graph=False,
            decimals=1,
        ),
        stat(
            "Past critical SLA",
            "Assets whose data is older than their critical SLA.",
            "none",
            f"sum({past('critical')})",
            thresholds=RED_ABOVE_0,
            no_value=NO_SLA,
            graph=False,
        ),
        stat(
            "Past warning SLA",
            "Assets whose data is older than their warning SLA, including those past the critical SLA.",
            "none",
            f"sum({past('warning')})",
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_SLA,
            graph=False,
        ),
        stat(
            "Late refreshes",
            """
                Assets whose scheduled refresh has not finished on time, including the grace period of the
                configuration.
            """,
            "none",
            f"sum(({LATE} > bool 0) @owned)",
            thresholds=((None, "green"), (1, "orange")),
            no_value="No schedules",
            graph=False,
        ),
        stat(
            "Failing refreshes",
            "Assets whose last refresh failed.",
            "none",
            "sum((tableau_asset_refresh_consecutive_failures{@asset} > bool 0) @owned)",
            thresholds=((None, "green"), (1, "orange")),
            no_value="Unknown",
            graph=False,
        ),
        stat(
            "Suspended refreshes",
            "Assets whose refresh Tableau suspended after too many failures. It must be resumed in Tableau.",
            "none",
            "sum((tableau_asset_refresh_suspended{@asset} == bool 1) @owned)",
            thresholds=RED_ABOVE_0,
            no_value="Unknown",
            graph=False,
        ),
    ),
)

ASSETS = Row(
    "Assets",
    (
        table(
            "Most overdue",
            """
                The 50 assets with the highest data age relative to their SLA: 200% is twice the SLA. Where there is
                no critical SLA the warning counts. Live connections and assets without an SLA are not listed. Click
                an asset's name for its details.
            """,
            (
                Label("asset_name", "Asset", 200, TO_ASSET),
                Label("asset_type", "Type", 100),
                Label("project", "Project", 180),
                Label("site", "Site", 100),
                Label("content_owner", "Owner", 120),
                Value(of_worst(HOURS), "Data age", "h", decimals=1, width=90),
                Value(of_worst(SLA), "SLA", "h", width=90),
                Value(
                    WORST,
                    "% of SLA",
                    "percentunit",
                    ((None, "green"), (0.5, "orange"), (1, "red")),
                    decimals=0,
                    width=100,
                ),
                Value(
                    of_worst("tableau_asset_refresh_interval_seconds{@asset}"),
                    "Typical refresh interval",
                    "s",
                    width=170,
                ),
                Value(
                    of_worst("1000 * tableau_asset_next_refresh_timestamp_seconds{@asset}"),
                    "Next refresh",
                    "dateTimeFromNow",
                    width=120,
                ),
                Value(
                    of_worst("tableau_asset_refresh_consecutive_failures{@asset}"),
                    "Failures",
                    "none",
                    ((None, "text"), (1, "orange")),
                    width=90,
                ),
                Value(
                    of_worst("tableau_asset_refresh_suspended{@asset}"),
                    "Suspended",
                    "none",
                    words={1: ("yes", "red"), 0: ("no", "text")},
                    width=100,
                ),
                Value(of_worst("tableau_asset_users{@asset}"), "Users this week", "none", width=120),
                Value(
                    of_worst("1000 * tableau_asset_next_use_timestamp_seconds{@asset}"),
                    "Usual next use",
                    "dateTimeFromNow",
                    width=120,
                ),
                Label("asset_id", "Asset id", 300),
            ),
            sort_by="% of SLA",
            no_value=NO_SLA,
            height=12,
        ),
    ),
)

USED = f"tableau_asset_users{{@asset}} * {OWNER}"
SIZE_RATIO = f"(tableau_asset_bytes{{@asset}} / tableau_asset_usual_bytes{{@asset}}) * {OWNER}"
SMALLEST = f"topk(30, -{SIZE_RATIO})"

IMPACT = Row(
    "Impact",
    (
        table(
            "Stale, and opened next",
            """
                The 30 assets past an SLA that most users opened this week, and when they are usually opened next. A
                data source has the users of its workbooks.
            """,
            (
                Label("asset_name", "Asset", 200, TO_ASSET),
                Label("project", "Project"),
                Label("content_owner", "Owner", 120),
                Value(f"topk(30, ({USED}) and on (@id) ({RATIO}) > 1)", "Users this week", "none", width=130),
                Value(
                    "1000 * tableau_asset_next_use_timestamp_seconds{@asset}"
                    f" and on (@id) topk(30, ({USED}) and on (@id) ({RATIO}) > 1)",
                    "Usual next use",
                    "dateTimeFromNow",
                    width=130,
                ),
                Label("asset_id", "Asset id", 300),
            ),
            sort_by="Users this week",
            no_value="No stale asset in use",
            width=12,
        ),
        table(
            "Unusual sizes",
            """
                The 30 assets with the smallest size relative to the usual one, by the course of their last refreshes:
                50% is half of it.
            """,
            (
                Label("asset_name", "Asset", 200, TO_ASSET),
                Label("project", "Project"),
                Value(
                    f"({SIZE_RATIO}) and on (@id) {SMALLEST}", "% of usual size", "percentunit", decimals=0, width=130
                ),
                Value(f"tableau_asset_bytes{{@asset}} and on (@id) {SMALLEST}", "Size", "bytes", width=110),
                Label("asset_id", "Asset id", 300),
            ),
            sort_by="% of usual size",
            no_value="No usual sizes yet",
            width=12,
        ),
    ),
)

OWNERS = Row(
    "By project and owner",
    (
        table(
            "Projects",
            """
                The 30 projects with the most overdue assets: how many are past their critical SLA, and the highest
                data age relative to its SLA.
            """,
            (Label("project", "Project"), Label("site", "Site", 110), *by("site, project")),
            sort_by="Max % of SLA",
            no_value=NO_SLA,
            width=8,
        ),
        table(
            "Owners",
            """
                The 30 owners with the most overdue assets: how many are past their critical SLA, and the highest
                data age relative to its SLA. One row without a name where privacy.users hides it.
            """,
            (Label("content_owner", "Owner"), *by("content_owner")),
            sort_by="Max % of SLA",
            no_value=NO_SLA,
            width=8,
        ),
        timeseries(
            "Assets past SLA",
            "Number of assets whose data is older than their SLA. Those past the critical SLA count as warnings too.",
            "none",
            (Line(f"sum({past('critical')})", "critical", "red"), Line(f"sum({past('warning')})", "warning", "orange")),
            no_value=NO_SLA,
            width=8,
            points=POINTS,
        ),
    ),
)

SOURCES = Row(
    "Freshness sources",
    (
        table(
            "Sources by site",
            """
                Time since each freshness source was last read completely: metadata is the Metadata API, job refresh
                jobs, flow_run flow runs, task extract and flow tasks. While a source is down, assets may be fresher
                than shown. A source that was never read is not listed.
            """,
            (
                Label("site", "Site"),
                Label("source", "Source", 120),
                Value(
                    SOURCE_AGE,
                    "Last read",
                    "s",
                    ((None, "green"), (3600, "orange"), (10800, "red")),
                    decimals=0,
                    width=120,
                ),
            ),
            sort_by="Last read",
            no_value=NEVER_READ,
            width=12,
        ),
        timeseries(
            "Time since last read",
            "Time since each freshness source was last read completely; the worst of several sites.",
            "s",
            (Line(f"max by (source) ({SOURCE_AGE})", "{{source}}"),),
            no_value=NEVER_READ,
        ),
    ),
)

ASSET = Row(
    "One asset: $asset_id",
    (
        stat(
            "Last refresh",
            "Last refresh of the asset's stalest data.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_last_refresh_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        stat(
            "Next refresh",
            "Next run of the asset's earliest active schedule.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_next_refresh_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        stat(
            "Refresh due by",
            "When the scheduled refresh must have finished, including the grace period of the configuration.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_refresh_due_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        stat(
            "Consecutive failures",
            "Consecutive failures of the asset's refresh. Tableau suspends it after 5.",
            "none",
            f"max(tableau_asset_refresh_consecutive_failures{ONE})",
            thresholds=((None, "green"), (1, "orange"), (5, "red")),
            no_value="-",
            graph=False,
            width=6,
        ),
        timeseries(
            "Data age vs SLA",
            "Data age of the asset, and its SLA. Each drop is a refresh.",
            "h",
            (
                Line(f"tableau_asset_hours_since_refresh{ONE}", "{{asset_name}}", "blue"),
                Line(
                    ASSET_SLA % "critical",
                    "critical",
                    "red",
                    dashed=True,
                ),
                Line(
                    ASSET_SLA % "warning",
                    "warning",
                    "orange",
                    dashed=True,
                ),
            ),
            no_value=CHOOSE,
        ),
        timeseries(
            "Size",
            "Size of the asset, and the usual one after its last refresh.",
            "bytes",
            (
                Line(f"tableau_asset_bytes{ONE}", "{{asset_name}}", "blue"),
                Line(f"tableau_asset_usual_bytes{ONE}", "usual", "green", dashed=True),
            ),
            no_value=CHOOSE,
        ),
        table(
            "Asset details",
            """
                Owner, connection and freshness source of the asset: created means that it was never refreshed, job
                that its last successful job counts.
            """,
            (
                Label("asset_name", "Asset"),
                Label("asset_type", "Type", 100),
                Label("project", "Project"),
                Label("site", "Site", 110),
                Label("content_owner", "Owner"),
                Label("connection", "Connection", 100),
                Label("freshness_source", "Freshness source", 130),
                Value(f"tableau_asset_info{ONE}", "Known", "none", words={1: ("yes", "text")}, width=70),
            ),
            sort_by="Known",
            no_value=CHOOSE,
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    "freshness",
    "Freshness",
    "Data age against SLA: most overdue assets first, by project and owner, down to one asset.",
    (NOW, ASSETS, IMPACT, OWNERS, SOURCES, ASSET),
    (
        chosen("project", "Project", "label_values(tableau_asset_info{@site}, project)"),
        chosen("content_owner", "Owner", "label_values(tableau_asset_info{@asset}, content_owner)"),
        typed("asset_id", "Asset id", "The asset at the bottom of the page; clicking an asset's name fills it in."),
    ),
    since="now-24h",
)
