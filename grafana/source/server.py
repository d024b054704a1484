"""Server: processes of the cluster, disks of its nodes, the backgrounders with their queue, and licences."""

from grafana.source.dashboard import Dashboard, Row
from grafana.source.panels import (
    NO_DISKS,
    NO_PROCESSES,
    NO_QUEUE,
    RED_ABOVE_0,
    Label,
    Line,
    Value,
    stat,
    table,
    timeseries,
)
from grafana.source.queries import SEATS, USERS_OF_LICENCES

SHARES = ((None, "green"), (0.85, "orange"), (0.95, "red"))
UP = "active|passive|busy|read_only|active_syncing"
USED, TOTAL = (f"max by (node, path) (tableau_server_disk_{size}_bytes{{@here}})" for size in ("used", "total"))
SHARE = f"topk(100, {USED} / {TOTAL})"
FULLEST = f"and on (node, path) {SHARE}"
# A day by the trend of six hours, as the alert has it.
TOMORROW = "max by (node, path) (predict_linear(tableau_server_disk_used_bytes{@here}[6h], 86400))"
STATE = """
    max by (node, path) (
        tableau_server_disk_state{@here,state="normal"}
        or 2 * tableau_server_disk_state{@here,state="warning"}
        or 3 * tableau_server_disk_state{@here,state="critical"}
    )
"""

NOW = Row(
    "Now",
    (
        stat(
            "Server",
            "Whether Tableau reports the server as a whole as running; the worst of several.",
            "none",
            "min(tableau_server_healthy{@here})",
            words={1: ("Running", "green"), 0: ("Not running", "red")},
            no_value=NO_PROCESSES,
            graph=False,
        ),
        stat(
            "Nodes",
            "Nodes of which Tableau lists a process.",
            "none",
            "count(count by (node) (tableau_server_process_status{@here}))",
            no_value=NO_PROCESSES,
        ),
        stat(
            "Processes down",
            "Processes that are not up. A process with an unknown status is not among them.",
            "none",
            "sum(tableau_server_process_up{@here} == bool 0)",
            thresholds=RED_ABOVE_0,
            no_value=NO_PROCESSES,
        ),
        stat(
            "Unlicensed processes",
            "Processes without a valid licence.",
            "none",
            """
                count(tableau_server_process_status{@here,status="unlicensed"})
                or 0 * count(tableau_server_process_status{@here})
            """,
            thresholds=RED_ABOVE_0,
            no_value=NO_PROCESSES,
        ),
        stat(
            "Fullest disk",
            "Used share of the disk with the least free share, at the last record of Tableau.",
            "percentunit",
            "max(tableau_server_disk_used_bytes{@here} / tableau_server_disk_total_bytes{@here})",
            thresholds=SHARES,
            no_value=NO_DISKS,
            decimals=1,
        ),
        stat(
            "Disks past Tableau's limits",
            "Disks that Tableau itself calls warning or critical.",
            "none",
            """
                count(tableau_server_disk_state{@here,state=~"warning|critical"})
                or 0 * count(tableau_server_disk_state{@here})
            """,
            thresholds=RED_ABOVE_0,
            no_value=NO_DISKS,
        ),
    ),
)

PROCESSES = Row(
    "Processes",
    (
        timeseries(
            "Processes by node",
            "Processes of each node that are up.",
            "none",
            (Line("sum by (node) (tableau_server_process_up{@here})", "{{node}}"),),
            no_value=NO_PROCESSES,
        ),
        timeseries(
            "Processes by status",
            "Processes by the status that Tableau gives them.",
            "none",
            (Line("count by (status) (tableau_server_process_status{@here})", "{{status}}"),),
            no_value=NO_PROCESSES,
        ),
        table(
            "Processes that are not up",
            "Processes with another status than the healthy ones; at most 100.",
            (
                Label("node", "Node"),
                Label("process", "Process"),
                Label("port", "Port", 80),
                Label("status", "Status"),
                Value(
                    f"""
                        topk(100, count by (node, process, port, status) (
                            tableau_server_process_status{{@here,status!~"{UP}"}}
                        ))
                    """,
                    "Processes",
                    "none",
                    width=100,
                ),
            ),
            sort_by="Processes",
            no_value=f"All up. {NO_PROCESSES}",
            width=12,
        ),
        timeseries(
            "File transfers",
            "Transfers of the file stores that are pending or failed. Extracts on a single node are not safe.",
            "none",
            (Line("sum by (node, state) (tableau_server_filestore_transfers{@here})", "{{node}} {{state}}"),),
            no_value=NO_PROCESSES,
        ),
    ),
)

DISKS = Row(
    "Disks",
    (
        timeseries(
            "Used space",
            "Used share of the 20 fullest disks, as Tableau records it.",
            "percentunit",
            (Line(f"topk(20, {USED} / {TOTAL})", "{{node}} {{path}}"),),
            no_value=NO_DISKS,
        ),
        table(
            "Disk space",
            """
                The 100 fullest disks: used space, size, Tableau's own state, and the share that would be used in 24
                hours by the trend of the last 6.
            """,
            (
                Label("node", "Node"),
                Label("path", "Path"),
                Value(SHARE, "Used share", "percentunit", SHARES, decimals=1, width=100),
                Value(f"{USED} {FULLEST}", "Used", "bytes", width=90),
                Value(f"{TOTAL} {FULLEST}", "Size", "bytes", width=90),
                Value(
                    f"{STATE} {FULLEST}",
                    "State",
                    "none",
                    words={1: ("normal", "green"), 2: ("warning", "orange"), 3: ("critical", "red")},
                    width=90,
                ),
                Value(
                    f"{TOMORROW} / {TOTAL} {FULLEST}",
                    "In 24 hours",
                    "percentunit",
                    ((None, "text"), (1, "red")),
                    decimals=0,
                    width=100,
                ),
            ),
            sort_by="Used share",
            no_value=NO_DISKS,
            width=12,
        ),
    ),
)

BACKGROUNDERS = Row(
    "Backgrounders",
    (
        timeseries(
            "Backgrounders",
            "Backgrounder processes by the status that Tableau gives them.",
            "none",
            (
                Line(
                    'count by (status) (tableau_server_process_status{@here,process="backgrounder"})',
                    "{{status}}",
                ),
            ),
            no_value=NO_PROCESSES,
        ),
        timeseries(
            "Queue",
            "Jobs waiting for a backgrounder, and running jobs, of the selected sites.",
            "none",
            (
                Line("sum(tableau_background_jobs_waiting{@site})", "waiting", "orange"),
                Line("sum(tableau_background_jobs_running{@site})", "running", "green"),
            ),
            no_value=f"No jobs waiting or running. {NO_QUEUE}",
        ),
    ),
)

LICENCES = Row(
    "Licences",
    (
        timeseries(
            "Users and seats",
            """
                Users of the selected sites by the licence that their site role needs, and the seats of the sites that
                have a limit.
            """,
            "none",
            (
                Line(f"sum by (site_role) ({USERS_OF_LICENCES})", "{{site_role}} users"),
                Line(f"sum by (site_role) ({SEATS})", "{{site_role}} seats"),
            ),
            no_value="No users",
        ),
        timeseries(
            "Inactive users",
            "Users with a licence who have not signed in for 30, 90 and 180 days; each line is part of the one above.",
            "none",
            (Line("sum by (days) (tableau_inactive_users{@site})", "{{days}} days"),),
            no_value="No users, or no repository",
        ),
    ),
)

DASHBOARD = Dashboard(
    "server",
    "Server",
    "Processes of the cluster of Tableau Server, disks of its nodes, backgrounders, and licences.",
    (NOW, PROCESSES, DISKS, BACKGROUNDERS, LICENCES),
    since="now-24h",
)
