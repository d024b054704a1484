"""Freshness: what was promised against what is, worst first, by project and owner, down to one asset."""

from grafana.source.dashboard import Dashboard, Row, chosen, typed
from grafana.source.panels import KEPT, NONE_IS_WELL, Label, Line, Value, course, figure, table

NO_PROMISES = "No promises"
# Each costs a look at every asset and its promise.
POINTS = 60
NEVER_READ = "None was read yet"
CHOOSE = "Choose an asset: follow the name of one above"
ONE = '{@site,asset_id="$asset_id"}'
PROMISED = 'tableau_asset_sla_hours{@site,asset_id="$asset_id",severity="%s"}'
TO_ASSET = f"/d/tableau-freshness?{KEPT}&var-asset_id=${{__data.fields.asset_id}}"

HOURS = "tableau_asset_hours_since_refresh{@asset}"
# The critical promise is the one that counts; who gave none has a warning, perhaps.
PROMISE = """(
    tableau_asset_sla_hours{@asset,severity="critical"}
    or ignoring (severity) tableau_asset_sla_hours{@asset,severity="warning"}
)"""
OWNER = 'on (@id) group_left (content_owner) tableau_asset_info{@asset,content_owner=~"$content_owner"}'
# How old the data is for each hour that it may be old.
TIMES = f"({HOURS} / ignoring (severity) {PROMISE}) * {OWNER}"
WORST = f"topk(50, {TIMES})"
# Of several agents the one that read it last.
SILENT = "time() - max by (site, source) (tableau_freshness_source_last_success_timestamp_seconds{@site})"
LATE = "time() - tableau_asset_refresh_due_timestamp_seconds{@asset}"


def past(severity: str) -> str:
    """Return the question which assets are past a promise: 1 for each that is, 0 for each that is not."""
    return f'({HOURS} > bool ignoring (severity) tableau_asset_sla_hours{{@asset,severity="{severity}"}}) @owned'


def of_worst(question: str) -> str:
    """Return a question asked of the worst assets alone."""
    return f"({question}) and on (@id) {WORST}"


def by(labels: str) -> tuple[Value, ...]:
    """Return the columns that say of each project, or each owner, how its promises are kept; the 30 worst."""
    times = f"max by ({labels}) ({TIMES})"
    worst = f"topk(30, {times})"
    past = f'{HOURS} > bool ignoring (severity) tableau_asset_sla_hours{{@asset,severity="critical"}}'
    return (
        Value(
            f"sum by ({labels}) (({past}) * {OWNER}) and on ({labels}) {worst}", "Past", "none", NONE_IS_WELL, width=70
        ),
        Value(f"count by ({labels}) ({TIMES}) and on ({labels}) {worst}", "Of", "none", width=70),
        Value(worst, "Worst", "percentunit", ((None, "green"), (0.5, "orange"), (1, "red")), decimals=0, width=90),
    )


NOW = Row(
    "Are promises kept?",
    (
        figure(
            "Promises kept",
            "The share of assets that are not older than their critical promise, of those that have one.",
            "percentunit",
            f"""
                1 - sum({past("critical")}) / count(tableau_asset_sla_hours{{@asset,severity="critical"}} @owned)
            """,
            thresholds=((None, "red"), (0.9, "orange"), (0.99, "green")),
            no_value=NO_PROMISES,
            graph=False,
            decimals=1,
        ),
        figure(
            "Past the critical promise",
            "Assets whose data is older than the critical promise of the agent's configuration.",
            "none",
            f"sum({past('critical')})",
            thresholds=NONE_IS_WELL,
            no_value=NO_PROMISES,
            graph=False,
        ),
        figure(
            "Past the warning promise",
            "Assets whose data is older than the warning promise, those past the critical one among them.",
            "none",
            f"sum({past('warning')})",
            thresholds=((None, "green"), (1, "orange")),
            no_value=NO_PROMISES,
            graph=False,
        ),
        figure(
            "Late by their schedule",
            """
                Assets whose schedule announced a refresh that has not ended in time, the grace of the configuration
                included.
            """,
            "none",
            f"sum(({LATE} > bool 0) @owned)",
            thresholds=((None, "green"), (1, "orange")),
            no_value="No schedules",
            graph=False,
        ),
        figure(
            "Refreshes that fail",
            "Assets whose last refresh failed, however often in a row.",
            "none",
            "sum((tableau_asset_refresh_consecutive_failures{@asset} > bool 0) @owned)",
            thresholds=((None, "green"), (1, "orange")),
            no_value="Not known",
            graph=False,
        ),
        figure(
            "Refreshes suspended",
            "Assets whose refresh Tableau has suspended after too many failures. Somebody must resume them.",
            "none",
            "sum((tableau_asset_refresh_suspended{@asset} == bool 1) @owned)",
            thresholds=NONE_IS_WELL,
            no_value="Not known",
            graph=False,
        ),
    ),
)

ASSETS = Row(
    "Which assets",
    (
        table(
            "Worst first",
            """
                The 50 assets that are oldest for what was promised of them: 200% is twice as old as promised. Where
                there is no critical promise the warning counts. Live connections and assets without a promise are
                not among them. An asset's name leads to the asset.
            """,
            (
                Label("asset_name", "Asset", 200, TO_ASSET),
                Label("asset_type", "Kind", 100),
                Label("project", "Project", 180),
                Label("site", "Site", 100),
                Label("content_owner", "Owner", 120),
                Value(of_worst(HOURS), "Age", "h", decimals=1, width=90),
                Value(of_worst(PROMISE), "Promised", "h", width=90),
                Value(
                    WORST,
                    "Of promise",
                    "percentunit",
                    ((None, "green"), (0.5, "orange"), (1, "red")),
                    decimals=0,
                    width=100,
                ),
                Value(of_worst("tableau_asset_refresh_interval_seconds{@asset}"), "Usual pause", "s", width=110),
                Value(
                    of_worst("1000 * tableau_asset_next_refresh_timestamp_seconds{@asset}"),
                    "Next run",
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
                Label("asset_id", "Asset id", 300),
            ),
            worst_first="Of promise",
            no_value=NO_PROMISES,
            height=12,
        ),
    ),
)

WHOSE = Row(
    "Whose, and since when",
    (
        table(
            "Projects",
            """
                The 30 projects with the worst asset: how many of its assets are past their critical promise, and
                how old the worst is.
            """,
            (Label("project", "Project"), Label("site", "Site", 110), *by("site, project")),
            worst_first="Worst",
            no_value=NO_PROMISES,
            width=8,
        ),
        table(
            "Owners",
            """
                The 30 owners with the worst asset: how many of theirs are past their critical promise, and how old
                the worst is. One row without a name where privacy.users hides it.
            """,
            (Label("content_owner", "Owner"), *by("content_owner")),
            worst_first="Worst",
            no_value=NO_PROMISES,
            width=8,
        ),
        course(
            "Past their promise",
            "How many assets are older than was promised; those past the critical promise are past the warning too.",
            "none",
            (Line(f"sum({past('critical')})", "critical", "red"), Line(f"sum({past('warning')})", "warning", "orange")),
            no_value=NO_PROMISES,
            width=8,
            points=POINTS,
        ),
    ),
)

SOURCES = Row(
    "Sources of freshness",
    (
        table(
            "Sources by site",
            """
                How long ago each source of freshness was last read completely: metadata is the Metadata API, job
                refresh jobs, flow_run flow runs, task extract and flow tasks. While one is silent assets may be
                fresher than shown. A source that was never read is not there.
            """,
            (
                Label("site", "Site"),
                Label("source", "Source", 120),
                Value(
                    SILENT,
                    "Silent for",
                    "s",
                    ((None, "green"), (3600, "orange"), (10800, "red")),
                    decimals=0,
                    width=120,
                ),
            ),
            worst_first="Silent for",
            no_value=NEVER_READ,
            width=12,
        ),
        course(
            "How long each has been silent",
            "How long ago each source of freshness was last read completely; of several sites the worst.",
            "s",
            (Line(f"max by (source) ({SILENT})", "{{source}}"),),
            no_value=NEVER_READ,
        ),
    ),
)

ASSET = Row(
    "One asset: $asset_id",
    (
        figure(
            "Last refresh",
            "When the stalest data of the asset was refreshed.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_last_refresh_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        figure(
            "Next run",
            "When the asset's earliest active schedule runs next.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_next_refresh_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        figure(
            "Due until",
            "Until when the refresh that the schedule announced must have ended, with the grace of the configuration.",
            "dateTimeFromNow",
            f"max(1000 * tableau_asset_refresh_due_timestamp_seconds{ONE})",
            no_value="-",
            graph=False,
            width=6,
        ),
        figure(
            "Failed in a row",
            "How often in a row its refresh has failed. Tableau suspends it after 5.",
            "none",
            f"max(tableau_asset_refresh_consecutive_failures{ONE})",
            thresholds=((None, "green"), (1, "orange"), (5, "red")),
            no_value="-",
            graph=False,
            width=6,
        ),
        course(
            "Age against promise",
            "How old the data of the asset was, and how old it may become. Each fall is a refresh.",
            "h",
            (
                Line(f"tableau_asset_hours_since_refresh{ONE}", "{{asset_name}}", "blue"),
                Line(
                    PROMISED % "critical",
                    "critical",
                    "red",
                    dashed=True,
                ),
                Line(
                    PROMISED % "warning",
                    "warning",
                    "orange",
                    dashed=True,
                ),
            ),
            no_value=CHOOSE,
        ),
        table(
            "What is known of it",
            """
                Whose it is, how it is connected, and what its freshness is taken from: created means that it was never
                refreshed, job that its last successful job counts.
            """,
            (
                Label("asset_name", "Asset"),
                Label("asset_type", "Kind", 100),
                Label("project", "Project"),
                Label("site", "Site", 110),
                Label("content_owner", "Owner"),
                Label("connection", "Connection", 100),
                Label("freshness_source", "Told by", 100),
                Value(f"tableau_asset_info{ONE}", "Known", "none", words={1: ("yes", "text")}, width=70),
            ),
            worst_first="Known",
            no_value=CHOOSE,
            width=12,
        ),
    ),
)

DASHBOARD = Dashboard(
    "freshness",
    "Freshness",
    "How old data is against what was promised of it: worst first, by project and owner, down to one asset.",
    (NOW, ASSETS, WHOSE, SOURCES, ASSET),
    (
        chosen("project", "Project", "label_values(tableau_asset_info{@site}, project)"),
        chosen("content_owner", "Owner", "label_values(tableau_asset_info{@asset}, content_owner)"),
        typed("asset_id", "Asset id", "The asset at the foot of the page; following an asset's name fills it in."),
    ),
    since="now-24h",
)
