"""The alerts that the agent raises itself: those of alerts/tableau.rules.yml that need at most an hour of samples.

A test compares the two: names, severities, durations, thresholds, summaries. In texts ``{name}`` is a label,
``{hours}``, ``{span}``, ``{count}`` and ``{bytes}`` are the value; alerts of assets also have ``{owner}``, ``{sla}``,
``{usual}`` (the expected size), ``{used}`` (a sentence about users and next use) and ``{silent}`` (sentences about
freshness sources that are down).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.alerting import conditions
from exporter.alerting.conditions import Find
from exporter.alerting.snapshot import RuleResult

MINUTE, HOUR = 60.0, 3600.0
# Alerts that inhibit alerts about assets end when Prometheus, which waits 5 minutes, and the agent agree again.
UNTIL_PROMETHEUS_AGREES = 10 * MINUTE


@dataclass(frozen=True)
class Rule:
    """One alerting rule with one severity; ``for_seconds`` and ``keep_firing_for_seconds`` as in Prometheus."""

    alert: str
    severity: str
    for_seconds: float
    find: Find
    summary: str
    description: str
    keep_firing_for_seconds: float = 0.0
    undelivered: tuple[str, str] | None = None
    """Kind and state of the deliveries that it is about, whose recipients are in its annotations."""

    @property
    def name(self) -> str:
        """Name and severity: unique."""
        return f"{self.alert} {self.severity}"

    @property
    def about_asset(self) -> bool:
        """Whether it is about one asset."""
        return self.alert.startswith("TableauAsset")

    @property
    def dashboard(self) -> tuple[str, tuple[str, ...]]:
        """The dashboard that the alert links to, and the variables that the link sets."""
        if self.about_asset:
            return "freshness", ("site", "asset_id")
        if self.alert.startswith(_OF_GOVERNANCE):
            return "governance", ("site",)
        return _DASHBOARDS.get(self.alert, ("agent", ()))


_OF_GOVERNANCE = ("TableauSubscription", "TableauDataAlert", "TableauToken", "TableauContentOwner")
_DASHBOARDS = {
    "TableauFreshnessSourceSilent": ("freshness", ("site",)),
    "TableauActivityLogLagging": ("usage", ("site",)),
    "TableauActivityLogRetentionNear": ("usage", ("site",)),
    "TableauAdminInsightsLagging": ("usage", ("site",)),
    "TableauBridgeSilent": ("background-jobs", ("site",)),
}
_REST_UNREACHABLE = (
    "Tableau's REST API is unreachable.",
    (
        "No poll of the REST API has succeeded for 10 minutes. Tableau is down or restarting, the network or a"
        " proxy blocks the connection, or Tableau rejects the token. Data that only the REST and Metadata APIs"
        " provide is outdated; on Tableau Cloud that is all data on assets."
    ),
)
_WHERE = "{asset_name} in {project} (site {site})"
_STALE = (
    "The data of the {asset_type} {asset_name} is past its SLA.",
    (
        f"{_WHERE} was last refreshed {{hours}} hours ago; its SLA is {{sla}}.{{used}}{{silent}} The refresh fails,"
        " is suspended, was never scheduled, or a data source it uses is as old. Owner: {owner}."
    ),
)


def _asset(
    alert: str, find: Find, summary: str, description: str, *, severity: str = "warning", for_minutes: float = 5
) -> Rule:
    return Rule(alert, severity, for_minutes * MINUTE, find, summary, description, keep_firing_for_seconds=5 * MINUTE)


RULES: Sequence[Rule] = (
    Rule(
        "TableauRepositoryUnreachable",
        "critical",
        5 * MINUTE,
        conditions.unreachable("repository"),
        "Tableau's repository is unreachable.",
        "No poll of the PostgreSQL repository has succeeded for 5 minutes. Tableau is stopped or failing over, or"
        " the network, the password or the certificate changed. Nothing is archived and freshness is unknown until"
        " it is reachable again.",
        keep_firing_for_seconds=UNTIL_PROMETHEUS_AGREES,
    ),
    *(
        Rule(
            "TableauRestUnreachable",
            severity,
            10 * MINUTE,
            conditions.unreachable("rest", beside=severity == "warning"),
            *_REST_UNREACHABLE,
            keep_firing_for_seconds=UNTIL_PROMETHEUS_AGREES,
        )
        for severity in ("critical", "warning")
    ),
    Rule(
        "TableauRestTokenRefused",
        "critical",
        10 * MINUTE,
        conditions.token_refused,
        "Tableau rejects the exporter's token or connected app.",
        "The last sign-in was rejected. Tokens expire after a year, or after 15 days without use, and become"
        " invalid when they are revoked or their user is removed. This does not resolve by itself: create a new"
        " token.",
    ),
    Rule(
        "TableauRestTokenShared",
        "warning",
        5 * MINUTE,
        conditions.token_shared,
        "Another program signs in with the exporter's token.",
        "{count} sessions ended within an hour, right after sign-in. A token allows one session: each sign-in ends"
        " the other's. Two agents or a script use the same token.",
    ),
    Rule(
        "TableauActivityLogUnreachable",
        "warning",
        15 * MINUTE,
        conditions.unreachable("activity_log"),
        "Tableau Cloud Manager is unreachable.",
        "No poll of the Activity Log has succeeded for 15 minutes. The network or a proxy blocks the connection, or"
        " Tableau Cloud Manager rejects the token. Usage of Tableau Cloud is not archived until it is reachable again;"
        " Tableau keeps the events for 14 days at least.",
        keep_firing_for_seconds=UNTIL_PROMETHEUS_AGREES,
    ),
    Rule(
        "TableauAdminInsightsUnreachable",
        "warning",
        3 * HOUR,
        conditions.insights_unreachable,
        "Admin Insights of Tableau Cloud cannot be read.",
        "Every read of Admin Insights has failed for 3 hours although the REST API answers. VizQL Data Service is "
        "off, or the token's user lost the project or API Access on its data sources. Usage of Tableau Cloud is "
        "not archived meanwhile; Tableau keeps the events for 90 days.",
        keep_firing_for_seconds=UNTIL_PROMETHEUS_AGREES,
    ),
    Rule(
        "TableauActivityLogLagging",
        "warning",
        15 * MINUTE,
        conditions.activity_log_lagging,
        "The Activity Log of the site {site} is late or silent.",
        "Its newest event is {span} old, although Tableau Cloud Manager answers. The log of the site cannot be read,"
        " Tableau delivers it late, or nobody uses the site. Active users and requests of the site are outdated.",
    ),
    Rule(
        "TableauActivityLogRetentionNear",
        "critical",
        15 * MINUTE,
        conditions.activity_log_retention_near,
        "Tableau will soon delete events of the site {site} that are not archived.",
        "The newest archived event is {span} old, and polls of the Activity Log fail. Tableau deletes events after 14"
        " days, or after 365 with Advanced Management.",
    ),
    Rule(
        "TableauAdminInsightsLagging",
        "warning",
        3 * HOUR,
        conditions.insights_lagging,
        "Admin Insights of the site {site} is old.",
        "Its newest archived refresh is {span} old, although the source answers; it comes once a day. Tableau did not"
        " refresh it, or the project or a data source of this site cannot be read. Usage, licences and tokens of the"
        " site are outdated.",
    ),
    Rule(
        "TableauBridgeSilent",
        "warning",
        15 * MINUTE,
        conditions.bridge_silent,
        "No client of Tableau Bridge in the pool {pool} works.",
        "The last event of any client of the pool on the site {site} is {span} older than the newest of the Activity"
        " Log. The clients are stopped or signed out, or no refresh is scheduled for them. Data behind the firewall is"
        " not refreshed.",
    ),
    Rule(
        "TableauSubscriptionFailing",
        "warning",
        15 * MINUTE,
        conditions.subscription_failing,
        "A subscription in {of_project} keeps failing.",
        "A subscription to content of {of_project} (site {site}) has failed {count} times in a row. Its user"
        " waits for a mail that does not come, and Tableau suspends the subscription after more failures.",
        undelivered=("subscription", "failing"),
    ),
    Rule(
        "TableauSubscriptionSuspended",
        "warning",
        15 * MINUTE,
        conditions.subscription_suspended,
        "Tableau suspended subscriptions in {of_project}.",
        "{count} subscriptions to content of {of_project} (site {site}) failed too often in a row. Tableau"
        " does not send them until they are resumed.",
        undelivered=("subscription", "suspended"),
    ),
    Rule(
        "TableauDataAlertSuspended",
        "warning",
        15 * MINUTE,
        conditions.data_alert_suspended,
        "Tableau suspended data alerts in {of_project}.",
        "{count} data alerts on content of {of_project} (site {site}) failed too often. Tableau does not check"
        " them until they are resumed, and their users expect a mail that never comes.",
        undelivered=("data alert", "suspended"),
    ),
    Rule(
        "TableauTokenExpiring",
        "warning",
        15 * MINUTE,
        conditions.token_expiring,
        "A credential that is in use expires soon: {kind}.",
        "The next of this kind expires in {span}. Then scripts that sign in with the token, or copies of Tableau"
        " Desktop with the product key, stop working.",
    ),
    Rule(
        "TableauContentOwnerUnlicensed",
        "info",
        HOUR,
        conditions.owner_unlicensed,
        "Content of the site {site} has an owner without a licence.",
        "The owners of {count} workbooks, data sources and flows are unlicensed or were removed. Messages to them are"
        " not read, and refreshes with their credentials fail.",
    ),
    Rule(
        "TableauCollectorFailing",
        "warning",
        15 * MINUTE,
        conditions.collector_failing,
        "The collector {collector} failed.",
        "It has failed at every poll for 15 minutes although Tableau is reachable. If one collector fails, a table"
        " or column is missing in Tableau or a privilege was revoked; if all fail, the history file cannot be"
        " written. The exporter's status page shows the error, and the site if only one cannot be read.",
    ),
    Rule(
        "TableauCollectorColumnMissing",
        "info",
        HOUR,
        conditions.column_missing,
        "The collector {collector} runs without {column}.",
        "The agent's user has lost the privilege to read {column}, or an upgrade of Tableau removed it. Metrics"
        " derived from it are missing.",
    ),
    Rule(
        "TableauPollStuck",
        "warning",
        5 * MINUTE,
        conditions.poll_stuck,
        "A poll of the source {source} does not finish.",
        "It started {span} ago, and the next poll of this source waits for it. If it makes no progress, the log has the"
        ' line "a poll is stuck": restart the exporter. The first archive of very many requests may last as long.',
    ),
    Rule(
        "TableauConfigReloadFailed",
        "warning",
        5 * MINUTE,
        conditions.reload_failed,
        "The exporter failed to reload its configuration.",
        "The new configuration has errors, so the previous one is still active. The agent will not start with this"
        " file.",
    ),
    Rule(
        "TableauExporterCertificateExpiring",
        "warning",
        HOUR,
        conditions.certificate_expiring,
        "The certificate of the exporter's web server expires soon.",
        "It expires in less than a week, or has expired. It was not renewed, or the renewed files cannot be loaded:"
        " see the log of the exporter. Prometheus cannot scrape an exporter whose certificate has expired.",
    ),
    Rule(
        "TableauNotificationsFailing",
        "warning",
        10 * MINUTE,
        conditions.notifications_failing,
        "The exporter fails to send alerts to {alertmanager}.",
        "{count} attempts to send an alert failed within 15 minutes: the Alertmanager is down, or rejects the"
        " password, the token, a certificate or a label. See the log of the exporter.",
    ),
    _asset(
        "TableauAssetStaleBeforeUse",
        conditions.stale_before_use,
        "The {asset_type} {asset_name} is past its SLA, and its users usually open it soon.",
        _STALE[1],
        severity="critical",
    ),
    _asset("TableauAssetStale", conditions.stale_critical, *_STALE, severity="critical"),
    _asset("TableauAssetStale", conditions.stale_warning, *_STALE),
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
    _asset(
        "TableauAssetRefreshFailing",
        conditions.refresh_failing,
        "The refresh of the {asset_type} {asset_name} keeps failing.",
        f"The refresh of {_WHERE} has failed {{count}} times in a row; Tableau suspends it after 5. Common causes are"
        " passwords, drivers and changed tables. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshSuspended",
        conditions.refresh_suspended,
        "Tableau suspended the refresh of the {asset_type} {asset_name}.",
        f"{_WHERE} failed too often in a row. Tableau does not retry until the task is resumed. Owner: {{owner}}.",
    ),
    _asset(
        "TableauAssetRefreshLate",
        conditions.refresh_late,
        "The {asset_type} {asset_name} was not refreshed on schedule.",
        f"The refresh of {_WHERE} should have finished {{span}} ago at the latest, including the grace"
        " period.{silent} It failed, is waiting in the queue, or is still running. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshUnusuallyLate",
        conditions.unusually_late,
        "The {asset_type} {asset_name} has not been refreshed for an unusually long time.",
        f"{_WHERE} was last refreshed {{span}} ago: more than an hour, and more than three typical refresh intervals"
        " for this time of the week.{silent} It has no known schedule in Tableau: a script, a flow or a person outside"
        " Tableau stopped refreshing it, or its task was deleted or disabled. Owner: {owner}.",
    ),
    _asset(
        "TableauAssetRefreshChangedNothing",
        conditions.changed_nothing,
        "The refreshes of the {asset_type} {asset_name} succeed but change nothing.",
        f"No scheduled refresh of {_WHERE} is missing or failed, but its data is {{span}} old, more than three typical"
        " refresh intervals.{silent} A published data source that it uses is stale, or only some of its extracts are"
        " refreshed. Owner: {owner}.",
        for_minutes=15,
    ),
    _asset(
        "TableauAssetShrank",
        conditions.shrank,
        "A refresh left the {asset_type} {asset_name} with less than half of its usual size.",
        f"{_WHERE} has {{bytes}} after its last refresh; {{usual}} were expected.{{used}} The refresh succeeded, and"
        " its query returned too few rows: a table was empty or half loaded, a filter or a permission changed. Owner:"
        " {owner}.",
        for_minutes=0,
    ),
    _asset(
        "TableauAssetGrew",
        conditions.grew,
        "A refresh left the {asset_type} {asset_name} with more than twice its usual size.",
        f"{_WHERE} has {{bytes}} after its last refresh; {{usual}} were expected. A join or an incremental refresh"
        " doubled rows, a filter was removed, or there is more data. Owner: {owner}.",
        severity="info",
        for_minutes=0,
    ),
    Rule(
        "TableauFreshnessSourceSilent",
        "warning",
        10 * MINUTE,
        conditions.freshness_source_silent,
        "The freshness source {source} of the site {site} is down.",
        "It was last read completely {span} ago (metadata: the Metadata API, job: refresh jobs, flow_run: flow"
        " runs, task: extract and flow tasks). It is throttled or disabled, or a permission was revoked. Its last"
        " results are still used: assets of the site may be fresher than shown, and their next refresh and failures"
        " may be outdated.",
        keep_firing_for_seconds=5 * MINUTE,
    ),
    Rule(
        "TableauArchiveLagging",
        "warning",
        5 * MINUTE,
        conditions.archive_lagging,
        "Requests have not been archived for {span}.",
        "The repository is reachable, and the last stored read is {span} old. The history file cannot be written"
        " (disk, permissions, a reader that holds its lock), or reads are very slow. Requests stay in the repository"
        " until Tableau deletes them.",
    ),
    Rule(
        "TableauArchivePurgeRisk",
        "critical",
        5 * MINUTE,
        conditions.purge_risk,
        "Tableau will soon delete requests that are not archived.",
        "Nothing has been archived for {span}. The repository's oldest request is close to the archive position,"
        " and requests that the next cleanup deletes are lost.",
    ),
    Rule(
        "TableauArchiveRequestsPossiblyLost",
        "warning",
        MINUTE,
        conditions.possibly_lost,
        "Requests may have been deleted from the repository before they were archived.",
        "At most {count} requests were created and deleted between two polls within the last hour. This is an upper"
        " bound; the actual number may be 0. Tableau cleaned up while the agent was down, or faster than it polls.",
    ),
    Rule(
        "TableauHistoryFileBusy",
        "warning",
        MINUTE,
        conditions.file_busy,
        "Another process keeps the history file open.",
        "{count} polls within an hour waited more than 10 seconds for the file and gave up. A notebook, a BI tool or a"
        " forgotten session holds it. Requests stay in the repository meanwhile.",
    ),
    Rule(
        "TableauHistoryIncident",
        "warning",
        MINUTE,
        conditions.file_suffered,
        "The history file had the incident {kind}.",
        "{count} times within an hour; it is being written again. file_unwritable: the disk was full or a"
        " permission missing; file_replaced: another file took its place; file_damaged and log_quarantined: check"
        " the disk.",
    ),
)
"""In no order: consequences of other alerts are excluded by their condition, or inhibited in Alertmanager."""

NOT_EVALUATED = Rule(
    "TableauAlertNotEvaluated",
    "warning",
    5 * MINUTE,
    lambda _view: RuleResult({}),
    "The exporter failed to evaluate {rule}.",
    "Its evaluation failed with an unexpected error (a bug): see the log of the exporter. Alerts that fired before"
    " keep firing, and no new ones will.",
)
"""For a rule that cannot be evaluated; Prometheus has no such alert."""
