"""The alerts that the agent raises itself: those of alerts/tableau.rules.yml that need no past but the last hour.

A test compares the two: names, severities, waiting times, thresholds, summaries. In texts ``{name}`` is a label, and
``{hours}``, ``{span}``, ``{count}`` are the value; ``{owner}``, ``{promises}`` and ``{silent}`` (sentences about the
freshness sources that are silent) are known of assets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.alerting import conditions
from exporter.alerting.conditions import Find
from exporter.alerting.view import Found

MINUTE, HOUR = 60.0, 3600.0
# What inhibits alerts about assets ends when Prometheus, which waits 5 minutes, and the agent see the same again.
UNTIL_SEEN = 10 * MINUTE


@dataclass(frozen=True)
class Rule:
    """One alert with one severity.

    Its condition must hold for ``wait_seconds`` before it fires, and is away for ``keep_seconds`` before it ends.
    """

    alert: str
    severity: str
    wait_seconds: float
    find: Find
    summary: str
    description: str
    keep_seconds: float = 0.0

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.alert} {self.severity}"

    @property
    def about_asset(self) -> bool:
        """Whether it speaks of one asset."""
        return self.alert.startswith("TableauAsset")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The labels that are chosen on the dashboard Freshness; none where the alert leads to the dashboard Agent."""
        if self.about_asset:
            return ("site", "asset_id")
        return ("site",) if self.alert.startswith("TableauFreshness") else ()


_REST_UNREACHABLE = (
    "Tableau's REST API does not answer the exporter.",
    (
        "No poll of the REST API has succeeded for 10 minutes. Tableau is down or restarts, the network or a proxy is"
        " in the way, or it refuses the token. What only the API tells (Tableau Cloud, the Metadata API) is unknown."
    ),
)
_WHERE = "{asset_name} in {project} (site {site})"
_STALE = (
    "The data of the {asset_type} {asset_name} is older than was promised.",
    (
        f"{_WHERE} was last refreshed {{hours}} hours ago; promised are {{promises}}.{{silent}} The refresh fails, is"
        " suspended, was never scheduled, or a data source it uses is as old. Owner: {owner}."
    ),
)


def _asset(alert: str, find: Find, summary: str, description: str, wait_minutes: float = 5) -> Rule:
    return Rule(alert, "warning", wait_minutes * MINUTE, find, summary, description, keep_seconds=5 * MINUTE)


RULES: Sequence[Rule] = (
    Rule(
        "TableauRepositoryUnreachable",
        "critical",
        5 * MINUTE,
        conditions.unreachable("repository"),
        "Tableau's repository does not answer the exporter.",
        "No poll of the PostgreSQL repository has succeeded for 5 minutes. Tableau is stopped or fails over, or the"
        " network, the password or the certificate changed. Nothing is archived and freshness is unknown until it"
        " answers.",
        keep_seconds=UNTIL_SEEN,
    ),
    Rule(
        "TableauRestUnreachable",
        "critical",
        10 * MINUTE,
        conditions.unreachable("rest", beside=False),
        *_REST_UNREACHABLE,
        keep_seconds=UNTIL_SEEN,
    ),
    Rule(
        "TableauRestUnreachable",
        "warning",
        10 * MINUTE,
        conditions.unreachable("rest", beside=True),
        *_REST_UNREACHABLE,
        keep_seconds=UNTIL_SEEN,
    ),
    Rule(
        "TableauRestTokenRefused",
        "critical",
        10 * MINUTE,
        conditions.token_refused,
        "Tableau refuses the exporter's token or connected app.",
        "The last sign-in was refused. Tokens expire after a year, or after 15 days without use, and end when they are"
        " revoked or their user is removed. It does not mend itself: somebody must make a new one.",
    ),
    Rule(
        "TableauRestTokenShared",
        "warning",
        5 * MINUTE,
        conditions.token_shared,
        "Another program signs in with the exporter's token.",
        "{count} sessions were lost within an hour, right after they were begun. A token carries one session: each"
        " sign-in ends the other's. Two agents or a script use the same token.",
    ),
    Rule(
        "TableauCollectorFailing",
        "warning",
        15 * MINUTE,
        conditions.collector_failing,
        "The collector {collector} gives nothing that can be trusted.",
        "It has failed at every poll for 15 minutes although Tableau answers. Where one fails, Tableau lacks a table or"
        " column, or a right was revoked; where all fail, the history file cannot be written. The status page of the"
        " exporter has the reason, and names the site where a single one is not read.",
    ),
    Rule(
        "TableauCollectorColumnMissing",
        "info",
        HOUR,
        conditions.column_missing,
        "The collector {collector} works without {column}.",
        "The agent's user may no longer read {column}, or it has gone with an upgrade of Tableau. What is made of it is"
        " absent.",
    ),
    Rule(
        "TableauPollStuck",
        "warning",
        5 * MINUTE,
        conditions.poll_stuck,
        "A poll of the source {source} does not end.",
        "It began {span} ago, and no other poll of this source begins before it ends. Where it makes no progress, the"
        ' log has the line "a poll is stuck": restart the exporter. A first archive of very many requests may take as'
        " long.",
    ),
    Rule(
        "TableauConfigReloadFailed",
        "warning",
        5 * MINUTE,
        conditions.reload_failed,
        "The exporter refused its new configuration.",
        "The last reload found faults, so the configuration before it is still in force. At its next start the agent"
        " will not come up with this file.",
    ),
    Rule(
        "TableauExporterCertificateExpiring",
        "warning",
        HOUR,
        conditions.certificate_expiring,
        "The certificate of the exporter's web server is about to expire.",
        "Less than a week is left, or it has expired. It was not renewed, or the renewed files cannot be used: the log"
        " of the exporter has the reason. Once it has expired Prometheus cannot scrape the exporter.",
    ),
    Rule(
        "TableauNotificationsFailing",
        "warning",
        10 * MINUTE,
        conditions.notifications_failing,
        "The exporter's own alerts do not reach {alertmanager}.",
        "{count} times within a quarter of an hour it did not take an alert: it is down, refuses the password or"
        " the token, or takes a certificate or a label for wrong. The log of the exporter has the reason.",
    ),
    Rule(
        "TableauExportFailing",
        "warning",
        15 * MINUTE,
        conditions.export_failing,
        "The export of {table} to {destination} fails.",
        "{count} attempts to write {format} failed within an hour, and none succeeded: the destination does not answer"
        " or cannot be written, its credentials have expired, or the history cannot be read. The agent tries again;"
        " nothing is lost. Its status page has the reason.",
    ),
    Rule("TableauAssetStale", "critical", 5 * MINUTE, conditions.stale_critical, *_STALE, keep_seconds=5 * MINUTE),
    Rule("TableauAssetStale", "warning", 5 * MINUTE, conditions.stale_warning, *_STALE, keep_seconds=5 * MINUTE),
    _asset(
        "TableauAssetRefreshFailing",
        conditions.refresh_failing,
        "The refresh of the {asset_type} {asset_name} fails again and again.",
        f"The refresh of {_WHERE} has failed {{count}} times in a row; Tableau suspends it after 5. Passwords, drivers"
        " and changed tables are the usual reasons. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshSuspended",
        conditions.refresh_suspended,
        "Tableau has suspended the refresh of the {asset_type} {asset_name}.",
        f"{_WHERE} failed too often in a row. Tableau will not try again before somebody resumes the task."
        " Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshLate",
        conditions.refresh_late,
        "The {asset_type} {asset_name} was not refreshed when its schedule said.",
        f"The refresh of {_WHERE} should have ended at the latest {{span}} ago, the grace included.{{silent}} It fails,"
        " it waits in the queue, or it still runs. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshUnusuallyLate",
        conditions.unusually_late,
        "The {asset_type} {asset_name} has not been refreshed for unusually long.",
        f"{_WHERE} was last refreshed {{span}} ago; at this time of the week three usual pauses, or an hour, are less."
        "{silent} It has no schedule in Tableau that is known: a script, a flow or a person outside Tableau has"
        " stopped, or its task was deleted or disabled. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshChangedNothing",
        conditions.changed_nothing,
        "The refreshes of the {asset_type} {asset_name} succeed and change nothing.",
        f"No scheduled refresh of {_WHERE} is missing or failed, and yet its data is {{span}} old, more than three"
        " usual pauses.{silent} A published data source that it uses is stale, or only some of its extracts are"
        " refreshed. Owner: {owner}.",
        wait_minutes=15,
    ),
    Rule(
        "TableauFreshnessSourceSilent",
        "warning",
        10 * MINUTE,
        conditions.freshness_source_silent,
        "The freshness source {source} of the site {site} is silent.",
        "It was last read completely {span} ago (metadata: the Metadata API, job: refresh jobs, flow_run: flow runs,"
        " task: extract and flow tasks). It is throttled, switched off, or a right was revoked. What it reported before"
        " still counts: assets of the site may be fresher than shown, and their next run and failures may be outdated.",
        keep_seconds=5 * MINUTE,
    ),
    Rule(
        "TableauArchiveLagging",
        "warning",
        5 * MINUTE,
        conditions.archive_lagging,
        "Requests have not been archived for {span}.",
        "The repository answers, and the last reading that was stored is {span} old. The history file cannot be written"
        " (disk, rights, a reader that holds it), or reading takes very long. Requests wait in the repository until"
        " Tableau removes them.",
    ),
    Rule(
        "TableauArchivePurgeRisk",
        "critical",
        5 * MINUTE,
        conditions.purge_risk,
        "Tableau will soon remove requests that are not archived.",
        "Nothing has been archived for {span}. Its oldest request comes close to where the archive stands, and what the"
        " next cleanup removes is lost.",
    ),
    Rule(
        "TableauArchiveRequestsPossiblyLost",
        "warning",
        MINUTE,
        conditions.possibly_lost,
        "Requests may have been removed from the repository before they were archived.",
        "At most {count} requests came and were removed between two polls within the last hour. It is an upper bound,"
        " the truth may be 0. Tableau cleaned up while the agent was away, or faster than it polls.",
    ),
    Rule(
        "TableauHistoryFileBusy",
        "warning",
        MINUTE,
        conditions.file_busy,
        "Somebody keeps the history file open.",
        "{count} polls within an hour waited more than 10 seconds for the file and gave up. A notebook, a BI tool or a"
        " forgotten session holds it. Requests wait in the repository meanwhile.",
    ),
    Rule(
        "TableauHistoryIncident",
        "warning",
        MINUTE,
        conditions.file_suffered,
        "The history file suffered {kind}.",
        "{count} times within an hour, and it is written again. file_unwritable: the disk was full or a right missing;"
        " file_replaced: another file was put there; file_damaged and log_quarantined: look at the disk.",
    ),
)
"""In no order: what follows from something else is excluded by its condition, or inhibited in Alertmanager."""

NOT_EVALUATED = Rule(
    "TableauAlertNotEvaluated",
    "warning",
    5 * MINUTE,
    lambda _view: Found({}),
    "The exporter cannot tell whether {rule} is the case.",
    "Looking for it fails, for a reason that is a defect of the exporter: its log has it. What fired before fires on,"
    " and nothing new will.",
)
"""Raised for a rule that fails; Prometheus has no such alert."""
