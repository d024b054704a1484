"""The whole configuration, and the warnings about what is valid and yet risky."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo

from exporter import proxies
from exporter.config import keys
from exporter.config.addresses import crosses_network_in_clear
from exporter.config.exports import Exports
from exporter.config.freshness import Freshness
from exporter.config.sections import (
    ActivityLog,
    Alertmanager,
    History,
    Limits,
    Log,
    Privacy,
    Repository,
    Rest,
    Section,
    Web,
)

SOURCES = ("repository", "rest", "activity_log", "admin_insights")

_UNPROTECTED = {
    "disable": "sends everything, the password too, in the clear",
    "allow": "accepts a connection in the clear",
    "prefer": "accepts a connection in the clear",
    "require": "does not check who answers",
    "verify-ca": "does not check that the certificate is the host's",
}


@dataclass(frozen=True)
class ValidationContext:
    """The facts that validation needs beside the document itself."""

    collector_names: Collection[str]
    exposed: bool = False  # the file holds a secret and others may read it


def _known_collector(name: str, info: ValidationInfo) -> str:
    known = cast("ValidationContext", info.context).collector_names
    if name not in known:
        hint = keys.suggestion(name, sorted(known)) or f": the known are {', '.join(sorted(known))}"
        raise ValueError(f"unknown collector{hint}")
    return name


class Configuration(Section):
    """Every section; ``repository``, ``rest`` and ``activity_log`` are None where they were left out."""

    repository: Repository | None = None
    rest: Rest | None = None
    activity_log: ActivityLog | None = None
    history: History = History()
    privacy: Privacy = Privacy()
    freshness: Freshness = Freshness()
    collectors: dict[Annotated[str, AfterValidator(_known_collector)], bool] = Field(default_factory=dict)
    limits: Limits = Limits()
    exports: Exports = ()
    alertmanager: Alertmanager | None = None
    web: Web = Web()
    log: Log = Log()

    _warnings: tuple[str, ...] = PrivateAttr(())

    def model_post_init(self, context: ValidationContext, /) -> None:
        """Collect the warnings about the configuration."""
        self._warnings = tuple(_warnings(self, exposed=context.exposed))

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each value that is valid and yet risky."""
        return self._warnings

    @property
    def pseudonym_key_file(self) -> Path:
        """The file of the key that pseudonyms are made with; unless configured it stands beside the history."""
        return self.privacy.key_file or self.history.path.with_suffix(".key")

    @property
    def admin_insights(self) -> bool:
        """Whether Admin Insights is a source."""
        return self.rest is not None and self.rest.admin_insights

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that are configured."""
        return tuple(name for name in SOURCES if getattr(self, name))

    @property
    def tableau_url(self) -> str | None:
        """The URL of Tableau, for links to its pages; None where it is not configured."""
        return self.rest.url if self.rest else None

    @property
    def system_info(self) -> bool:
        """Whether systeminfo.xml is read."""
        return self.rest is not None and self.rest.system_info

    def secrets(self) -> tuple[str, ...]:
        """Return the current value of every secret, so that the log can redact it."""
        alertmanager = self.alertmanager
        texts = (
            self.repository and self.repository.read_password(),
            self.rest and self.rest.read_token_value(),
            self.rest and self.rest.connected_app and self.rest.connected_app.read_secret_value(),
            self.activity_log and self.activity_log.read_token_value(),
            alertmanager and alertmanager.read_bearer_token(),
            alertmanager and alertmanager.basic_auth and alertmanager.basic_auth.read_password(),
            *(export.publish and export.publish.read_token_value() for export in self.exports),
            *proxies.passwords(),
        )
        return tuple(text for text in texts if text)


def _warnings(configuration: Configuration, *, exposed: bool) -> Iterator[str]:
    if exposed:
        yield "the configuration file holds a secret and others may read it: chmod 600 it, or use the *_file key"
    if configuration.repository:
        yield from _of_repository(configuration.repository)
    if configuration.rest:
        yield from _of_rest(configuration.rest)
    if configuration.activity_log and crosses_network_in_clear(configuration.activity_log.url):
        yield "activity_log.url: plain http sends the token in the clear; use https"
    if configuration.alertmanager:
        yield from _of_alertmanager(configuration.alertmanager)
    yield from _of_freshness(configuration.freshness)


def _of_repository(repository: Repository) -> Iterator[str]:
    if repository.sslmode in _UNPROTECTED and not all(host.is_socket for host in repository.hosts):
        reason = _UNPROTECTED[repository.sslmode]
        yield f"repository.sslmode: {repository.sslmode} {reason}; verify-full does it all"


def _of_rest(rest: Rest) -> Iterator[str]:
    if crosses_network_in_clear(rest.url):
        yield "rest.url: plain http sends the token in the clear; use https"


def _of_alertmanager(alertmanager: Alertmanager) -> Iterator[str]:
    proves = alertmanager.basic_auth or alertmanager.bearer_token or alertmanager.bearer_token_file
    if proves and any(map(crosses_network_in_clear, alertmanager.urls)):
        yield "alertmanager.urls: plain http sends the password or token in the clear; use https"


def _of_freshness(freshness: Freshness) -> Iterator[str]:
    for index, rule in enumerate(freshness.sla_rules()):
        if rule.warning is not None and rule.critical is not None and rule.warning > rule.critical:
            yield (
                f"freshness.rules.{index}: has one tier of the default, "
                "and its warning comes after its critical; set both"
            )
