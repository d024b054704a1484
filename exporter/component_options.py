"""Constructor arguments of the components, from Configuration: nothing below knows that there is a configuration."""

from collections.abc import Mapping
from pathlib import Path

from exporter.activity_log.client import ActivityLogOptions
from exporter.alerting import alertmanager
from exporter.alerting.evaluator import NotificationOptions
from exporter.collector import Collector
from exporter.config import Configuration
from exporter.config.exports import Publish
from exporter.config.sections import ActivityLog, Rest
from exporter.errors import ConfigurationError, Fault, HistoryError
from exporter.exposition.renderer import SeriesLimits
from exporter.history.file import Limits
from exporter.history.pseudonyms import Pseudonyms, load_key
from exporter.history.redaction import Privacy
from exporter.repository.client import Address, RepositoryOptions
from exporter.rest import credentials as rest
from exporter.web.web_config import Access, load_access

# A statement or a request lasts one timeout at most. Waiting for the history file and for silent hosts lasts up to
# half a minute, however short the timeouts are.
STUCK_TIMEOUTS = 3
STUCK_LEAST_SECONDS = 60.0
PUBLISHING_SECONDS = 600.0


def enabled(configuration: Configuration, known: Mapping[str, Collector]) -> Mapping[str, Collector]:
    """Return the collectors that are enabled, and that a source of this configuration can feed."""
    return {
        name: collector
        for name, collector in known.items()
        if configuration.collectors.get(name, collector.enabled)
        and (
            configuration.repository is not None
            or (configuration.rest is not None and collector.from_rest)
            or (configuration.admin_insights and collector.insights is not None)
            or (configuration.activity_log is not None and collector.from_activity_log)
        )
    }


def login(configuration: Configuration) -> RepositoryOptions:
    """Return how to reach the repository."""
    settings = configuration.repository
    if settings is None:
        return RepositoryOptions((), "", "", lambda: None)
    tls: dict[str, str] = {"sslmode": settings.sslmode}
    for name in ("sslrootcert", "sslcert", "sslkey"):
        value: Path | None = getattr(settings, name)
        if value is not None:
            tls[name] = str(value)
    return RepositoryOptions(
        tuple(Address(host.host, host.port) for host in settings.hosts),
        settings.database,
        settings.user,
        settings.read_password,
        tuple(tls.items()),
        settings.connect_timeout,
        settings.statement_timeout,
    )


def rest_login(settings: Rest) -> rest.RestOptions:
    """Return how to reach the REST API; the credentials are read anew at every sign-in."""

    def credentials() -> rest.Token | rest.ConnectedApp:
        app = settings.connected_app
        if app is not None:
            return rest.ConnectedApp(app.client_id, app.secret_id, app.read_secret_value() or "", app.user)
        return rest.Token(settings.token_name or "", settings.read_token_value() or "")

    return rest.RestOptions(settings.url, settings.sites, credentials, settings.ca_file, settings.timeout)


def activity_log(configuration: Configuration, settings: ActivityLog) -> ActivityLogOptions:
    """Return how to reach Tableau Cloud Manager; the token is read anew at every sign-in."""
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


def publishing_options(url: str, ca_file: Path | None, timeout: float, publish: Publish) -> rest.RestOptions:
    """Return how to reach the site that is published to, by a token for this alone: each serves one session."""

    def credentials() -> rest.Token:
        return rest.Token(publish.token_name, publish.read_token_value() or "")

    # An upload takes longer than the requests of a poll.
    seconds = max(timeout, PUBLISHING_SECONDS)
    setting = "exports[].publish.token_name"
    return rest.RestOptions(url, (publish.site,), credentials, ca_file, seconds, setting)


def notification_options(configuration: Configuration) -> NotificationOptions:
    """Return what notifications contain; Tableau's error texts may name people: sent only where that is allowed."""
    settings = configuration.alertmanager
    if settings is None:
        return NotificationOptions()
    names = configuration.privacy.users == "name"
    return NotificationOptions(
        settings.runbook_url, settings.owner_email_label, include_errors=names, dashboard_url=settings.dashboard_url
    )


def alertmanagers(configuration: Configuration) -> list[alertmanager.AlertmanagerOptions]:
    """Return how to reach each Alertmanager; the credentials are read anew at every request."""
    settings = configuration.alertmanager
    if settings is None:
        return []

    def authorization() -> alertmanager.Authorization:
        basic = settings.basic_auth
        return (basic.username, basic.read_password() or "") if basic else settings.read_bearer_token()

    tls = settings.tls
    return [
        alertmanager.AlertmanagerOptions(
            url, authorization, tls.ca_file, tls.cert_file, tls.key_file, settings.timeout, settings.labels
        )
        for url in settings.urls
    ]


def privacy(configuration: Configuration) -> Privacy:
    """Return the rules for what is stored of people and addresses."""
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


def limits(configuration: Configuration) -> Limits:
    """Return the limits of DuckDB's memory and threads."""
    settings = configuration.history
    return Limits(f"{settings.memory_limit // 1_000_000}MB", settings.threads)


def stuck_after(configuration: Configuration) -> Mapping[str, float]:
    """Return after how many seconds without progress a poll of each source is stuck."""
    repository, rest, activity = configuration.repository, configuration.rest, configuration.activity_log
    timeouts = {
        "repository": repository.statement_timeout if repository else None,
        "rest": rest.timeout if rest else None,
        "activity_log": activity.timeout if activity else None,
    }
    return {
        source: max(STUCK_TIMEOUTS * seconds, STUCK_LEAST_SECONDS)
        for source, seconds in timeouts.items()
        if seconds is not None
    }


def series_limits(configuration: Configuration) -> SeriesLimits:
    """Return the limits on exposed series."""
    return SeriesLimits(configuration.limits.series_per_family, configuration.limits.series)


def access(configuration: Configuration) -> Access:
    """Return the access rules of the web server. Raises ConfigurationError."""
    path = configuration.web.config_file
    try:
        found = load_access(path) if path else Access()
    except ConfigurationError as error:
        texts = [str(fault) for fault in error.faults]
        texts = [text if str(path) in text else f"{path}: {text}" for text in texts]
        raise ConfigurationError([Fault("web.config_file", text) for text in texts]) from None
    found.allowed_hosts = frozenset(configuration.web.allowed_hosts)
    return found


def rest_sites(configuration: Configuration) -> tuple[str, tuple[str, ...]] | None:
    """Return the server and the sites that are read over REST."""
    rest = configuration.rest
    return (rest.url, rest.sites) if rest else None


def refuse_restart(old: Configuration, new: Configuration) -> None:
    """Refuse changes of what is opened once. Raises ConfigurationError."""
    pairs = {
        "history.path": (old.history.path, new.history.path),
        "web.listen_address": (old.web.listen_address, new.web.listen_address),
        "web.config_file": (old.web.config_file is None, new.web.config_file is None),
        "repository": (old.repository is None, new.repository is None),
        "rest": (old.rest is None, new.rest is None),
        "activity_log": (old.activity_log is None, new.activity_log is None),
        "rest.admin_insights": (old.admin_insights, new.admin_insights),
    }
    refusal = "cannot change while the agent runs; restart it"
    faults = [Fault(path, refusal) for path, (before, after) in pairs.items() if before != after]
    if faults:
        raise ConfigurationError(faults)
