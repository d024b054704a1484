"""What the configuration says, as the parts it is said to: below this, nothing knows that there is a configuration."""

from collections.abc import Mapping
from pathlib import Path

from exporter.collector import Collector
from exporter.config import Configuration
from exporter.errors import ConfigurationError, Fault, HistoryError
from exporter.history.file import Limits
from exporter.history.people import Pseudonyms, load_key
from exporter.history.redaction import Privacy
from exporter.repository.source import Address, Login
from exporter.web.access import Access, load_access


def enabled(configuration: Configuration, known: Mapping[str, Collector]) -> Mapping[str, Collector]:
    """Return the collectors that are switched on."""
    return {
        name: collector for name, collector in known.items() if configuration.collectors.get(name, collector.enabled)
    }


def login(configuration: Configuration) -> Login:
    """Return how to reach the repository."""
    settings = configuration.repository
    if settings is None:
        return Login((), "", "", lambda: None)
    tls: dict[str, str] = {"sslmode": settings.sslmode}
    for name in ("sslrootcert", "sslcert", "sslkey"):
        value: Path | None = getattr(settings, name)
        if value is not None:
            tls[name] = str(value)
    return Login(
        tuple(Address(host.host, host.port) for host in settings.hosts),
        settings.database,
        settings.user,
        settings.read_password,
        tuple(tls.items()),
        settings.connect_timeout,
        settings.statement_timeout,
    )


def privacy(configuration: Configuration) -> Privacy:
    """Return what may be stored of people and addresses."""
    settings = configuration.privacy
    return Privacy(settings.users, settings.addresses, tuple(settings.query_strings))


def pseudonyms(configuration: Configuration) -> Pseudonyms | None:
    """Return what makes pseudonyms, with the same key after a reload. Raises ConfigurationError."""
    if configuration.privacy.users == "name":
        return None
    try:
        return Pseudonyms(load_key(configuration.pseudonym_key_file))
    except HistoryError as error:
        raise ConfigurationError([Fault("privacy.users", str(error))]) from None


def limits(configuration: Configuration) -> Limits:
    """Return what DuckDB may take of its host."""
    settings = configuration.history
    return Limits(f"{settings.memory_limit // 1_000_000}MB", settings.threads)


def access(configuration: Configuration) -> Access | None:
    """Return who may see the pages; None where everybody may. Raises ConfigurationError."""
    path = configuration.web.config_file
    return load_access(path) if path else None
