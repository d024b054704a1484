"""Constructor arguments of the components, from Configuration: nothing below knows that there is a configuration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from exporter.alerting.evaluator import NotificationOptions
from exporter.collector import Collector
from exporter.collectors import in_unit
from exporter.config import Configuration, sections
from exporter.errors import ConfigurationError, Fault, HistoryError
from exporter.history.file import Limits
from exporter.history.pseudonyms import Pseudonyms, load_key
from exporter.history.redaction import Privacy
from exporter.rest import credentials as rest
from exporter.web.web_config import Access, load_access

if TYPE_CHECKING:
    from exporter.activity_log.client import ActivityLogOptions
    from exporter.alerting.alertmanager import AlertmanagerOptions, Authorization
    from exporter.repository.client import RepositoryOptions

# A statement or a request lasts one timeout at most. Waiting for the history file and for silent hosts lasts up to
# half a minute, however short the timeouts are.
STUCK_TIMEOUTS = 3
STUCK_LEAST_SECONDS = 60.0
UNIT_SECONDS = {"ms": 0.001, "s": 1.0}
# What DuckDB may use to merge small row groups: more of them would only be kept in memory.
MERGE_BYTES = 128_000_000


def enabled(configuration: Configuration, known: Mapping[str, Collector]) -> Mapping[str, Collector]:
    """Return the collectors that are enabled, and that a source of this configuration can feed."""
    activity = configuration.activity_log
    unit = UNIT_SECONDS.get(activity.duration_unit or "") if activity else None
    return {
        name: in_unit(collector, unit)
        for name, collector in known.items()
        if configuration.collectors.get(name, collector.enabled)
        and (
            (configuration.repository is not None and collector.from_repository)
            or (configuration.rest is not None and collector.from_rest)
            or (configuration.system_info and collector.from_system_info)
            or (configuration.admin_insights and collector.from_admin_insights)
            or (configuration.activity_log is not None and collector.from_activity_log)
        )
    }


def repository_options(settings: sections.Repository) -> "RepositoryOptions":
    """Return how to reach the repository; the password is read anew at every connection."""
    from exporter.repository.client import Address, RepositoryOptions

    files = {name: getattr(settings, name) for name in ("sslrootcert", "sslcert", "sslkey")}
    return RepositoryOptions(
        tuple(Address(host.host, host.port) for host in settings.hosts),
        settings.database,
        settings.user,
        settings.read_password,
        (("sslmode", settings.sslmode), *((name, str(path)) for name, path in files.items() if path is not None)),
        settings.connect_timeout,
        settings.statement_timeout,
    )


def rest_options(settings: sections.Rest) -> rest.RestOptions:
    """Return how to reach the REST API; the credentials are read anew at every sign-in."""

    def credentials() -> rest.Token | rest.ConnectedApp:
        app = settings.connected_app
        if app is not None:
            return rest.ConnectedApp(app.client_id, app.secret_id, app.read_secret_value() or "", app.user)
        return rest.Token(settings.token_name or "", settings.read_token_value() or "")

    return rest.RestOptions(settings.url, settings.sites, credentials, settings.ca_file, settings.timeout)


def activity_log_options(configuration: Configuration, settings: sections.ActivityLog) -> "ActivityLogOptions":
    """Return how to reach Tableau Cloud Manager; the token is read anew at every sign-in."""
    from exporter.activity_log.client import ActivityLogOptions

    rest = configuration.rest
    return ActivityLogOptions(
        settings.url,
        lambda: settings.read_token_value() or "",
        settings.sites or (rest.sites if rest else ()),
        settings.event_types,
        settings.ca_file,
        settings.timeout,
        configuration.history.path.parent,
    )


def alertmanager_options(settings: sections.Alertmanager) -> "list[AlertmanagerOptions]":
    """Return how to reach each Alertmanager; the credentials are read anew at every request."""
    from exporter.alerting.alertmanager import AlertmanagerOptions

    def authorization() -> "Authorization":
        basic = settings.basic_auth
        return (basic.username, basic.read_password() or "") if basic else settings.read_bearer_token()

    tls = settings.tls
    return [
        AlertmanagerOptions(
            url, authorization, tls.ca_file, tls.cert_file, tls.key_file, settings.timeout, settings.labels
        )
        for url in settings.urls
    ]


def notification_options(settings: sections.Alertmanager, configuration: Configuration) -> NotificationOptions:
    """Return the options of notifications; error texts of Tableau may name users: sent only where that is allowed."""
    return NotificationOptions(
        settings.runbook_url,
        settings.owner_email_label,
        include_errors=configuration.privacy.users == "name",
        dashboard_url=settings.dashboard_url,
        tableau_url=configuration.tableau_url,
        timezone=configuration.freshness.timezone,
    )


def privacy(configuration: Configuration) -> Privacy:
    """Return the privacy options for names of users and addresses."""
    settings = configuration.privacy
    return Privacy(settings.users, settings.addresses, tuple(settings.query_strings))


def pseudonyms(configuration: Configuration) -> Pseudonyms | None:
    """Return the maker of pseudonyms, with the same key after a reload. Raises ConfigurationError."""
    if configuration.privacy.users == "name":
        return None
    try:
        return Pseudonyms(load_key(configuration.pseudonym_key_file))
    except HistoryError as error:
        raise ConfigurationError([Fault("privacy.users", str(error))]) from None


def history_limits(configuration: Configuration) -> Limits:
    """Return the limits of DuckDB's memory and threads."""
    settings = configuration.history
    sizes = (settings.memory_limit, min(settings.memory_limit, MERGE_BYTES))
    memory, merge_memory = (f"{size // 1_000_000}MB" for size in sizes)
    return Limits(memory, settings.threads, merge_memory=merge_memory)


def stuck_after(configuration: Configuration) -> Mapping[str, float]:
    """Return after how many seconds without progress a poll of each source is stuck."""
    repository, rest, activity_log = configuration.repository, configuration.rest, configuration.activity_log
    timeouts = {
        "repository": repository and repository.statement_timeout,
        "rest": rest and rest.timeout,
        "activity_log": activity_log and activity_log.timeout,
    }
    return {
        source: max(STUCK_TIMEOUTS * seconds, STUCK_LEAST_SECONDS) for source, seconds in timeouts.items() if seconds
    }


def access(configuration: Configuration) -> Access:
    """Return the access rules of the web server. Raises ConfigurationError."""
    path = configuration.web.config_file
    try:
        found = load_access(path) if path else Access()
    except ConfigurationError as error:
        texts = [str(fault).removeprefix("web.config_file: ") for fault in error.faults]
        texts = [text if str(path) in text else f"{path}: {text}" for text in texts]
        raise ConfigurationError([Fault("web.config_file", text) for text in texts]) from None
    found.allowed_hosts = frozenset(configuration.web.hosts)
    return found
