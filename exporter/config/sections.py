"""The sections of the configuration and their defaults: what docs/tableau-exporter.example.yml shows in full.

Spans are seconds, sizes are bytes. A relative path is relative to the working directory.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from exporter.config import value_types
from exporter.config.addresses import Endpoint
from exporter.hosts import canonical_host

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SYSTEM_CERTIFICATES = "system"


class Section(BaseModel):
    """Named keys, all known; unchangeable once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _root_certificate(path: Path, info: ValidationInfo) -> Path:
    if str(path) != SYSTEM_CERTIFICATES:
        return value_types.readable(path)
    if info.data.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("is system, which needs sslmode verify-full")
    return path


class Repository(Section):
    """Tableau's PostgreSQL."""

    hosts: value_types.Hosts
    database: value_types.Text = "workgroup"
    user: value_types.Text = "readonly"
    password: value_types.SecretText | None = None
    password_file: value_types.SecretFile | None = None
    sslmode: SslMode = "verify-full"
    sslrootcert: Annotated[Path, AfterValidator(_root_certificate)] | None = None
    sslcert: value_types.ReadableFile | None = None
    sslkey: value_types.ReadableFile | None = None
    connect_timeout: value_types.Timeout = 5.0
    poll_interval: value_types.Interval = 60.0
    exact_interval: value_types.Interval = 300.0
    statement_timeout: value_types.Timeout = 30.0

    _no_twin = field_validator("password_file")(value_types.no_twin)

    @field_validator("sslkey")
    @classmethod
    def _pair(cls, sslkey: Path, info: ValidationInfo) -> Path:
        if info.data.get("sslcert", sslkey) is None:
            raise ValueError("has no certificate: give sslcert too")
        return sslkey

    def read_password(self) -> str | None:
        """Return the password as it is now, None where none is configured."""
        return value_types.read_secret(self.password, self.password_file, "repository.password_file")


class ConnectedApp(Section):
    """A connected app of Tableau: the agent signs a short-lived token for a user with its secret."""

    client_id: value_types.Text
    secret_id: value_types.Text
    secret_value: value_types.SecretText | None = None
    secret_value_file: value_types.SecretFile | None = Field(default=None, validate_default=True)
    user: value_types.Text

    _no_twin = field_validator("secret_value_file")(value_types.no_twin)
    _one_twin = field_validator("secret_value_file")(value_types.one_twin)

    def read_secret_value(self) -> str | None:
        """Return the secret as it is now."""
        return value_types.read_secret(
            self.secret_value, self.secret_value_file, "rest.connected_app.secret_value_file"
        )


class Rest(Section):
    """Tableau's REST API, by a token or a connected app. Empty ``sites`` are every site that may be seen."""

    url: value_types.Url
    sites: Annotated[value_types.Texts, AfterValidator(value_types.each_once)] = ()
    connected_app: ConnectedApp | None = None
    token_name: value_types.Text | None = Field(default=None, validate_default=True)
    token_value: value_types.SecretText | None = None
    token_value_file: value_types.SecretFile | None = Field(default=None, validate_default=True)
    ca_file: value_types.ReadableFile | None = None
    timeout: value_types.Timeout = 60.0
    poll_interval: value_types.Interval = 300.0
    job_lookups_per_day: int = Field(default=5000, ge=0)
    admin_insights: bool = False
    system_info: bool = False

    _no_twin = field_validator("token_value_file")(value_types.no_twin)

    @field_validator("token_name", "token_value", "token_value_file")
    @classmethod
    def _one_proof(cls, proof: object, info: ValidationInfo) -> object:
        if proof is not None and info.data.get("connected_app") is not None:
            raise ValueError("stands beside connected_app: give one of the two")
        return proof

    @field_validator("token_name")
    @classmethod
    def _named(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None and info.data.get("connected_app", "") is None:
            raise ValueError("is missing: give token_name and token_value, or connected_app")
        return name

    @field_validator("token_value_file")
    @classmethod
    def _one_twin(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        return value_types.one_twin(file, info) if info.data.get("connected_app", "") is None else file

    def read_token_value(self) -> str | None:
        """Return the token as it is now, None where a connected app is used."""
        return value_types.read_secret(self.token_value, self.token_value_file, "rest.token_value_file")


class ActivityLog(Section):
    """The Activity Log of Tableau Cloud, by a token of Tableau Cloud Manager.

    Empty ``sites`` are those of ``rest.sites``, or else every site; empty ``event_types`` are all.
    """

    url: value_types.Url
    token_value: value_types.SecretText | None = None
    token_value_file: value_types.SecretFile | None = Field(default=None, validate_default=True)
    sites: Annotated[value_types.Texts, AfterValidator(value_types.each_once)] = ()
    ca_file: value_types.ReadableFile | None = None
    timeout: value_types.Timeout = 60.0
    poll_interval: Annotated[value_types.Duration, value_types.between("1s", "7d")] = 900.0
    overlap: Annotated[value_types.Duration, value_types.between("1h", "30d")] = 172_800.0
    event_types: Annotated[tuple[value_types.EventType, ...], value_types.from_list(",")] = ()
    duration_unit: Literal["ms", "s"] | None = None

    _no_twin = field_validator("token_value_file")(value_types.no_twin)
    _one_twin = field_validator("token_value_file")(value_types.one_twin)
    _each_once = field_validator("event_types")(value_types.each_once)

    def read_token_value(self) -> str | None:
        """Return the token as it is now."""
        return value_types.read_secret(self.token_value, self.token_value_file, "activity_log.token_value_file")


class History(Section):
    """The DuckDB file. Without ``retention`` it keeps everything."""

    path: value_types.HistoryPath = Path("history.duckdb")
    retention: Annotated[value_types.Duration, value_types.between("1d")] | None = None
    memory_limit: Annotated[value_types.Size, value_types.at_least("32MB")] = 256_000_000
    threads: int = Field(default=1, ge=1, le=256)


class Privacy(Section):
    """How names of users are stored. ``query_strings`` names the parameters whose values are kept."""

    users: Literal["name", "pseudonym", "none"] = "name"
    addresses: Literal["full", "truncated", "none"] = "full"
    query_strings: value_types.Texts = (":embed",)
    key_file: Path | None = None


class Limits(Section):
    """What bounds the exposition."""

    series_per_family: int = Field(default=200_000, ge=1)
    series: int = Field(default=2_000_000, ge=1)


class BasicAuth(Section):
    """A user and a password for HTTP."""

    username: value_types.Text
    password: value_types.SecretText | None = None
    password_file: value_types.SecretFile | None = Field(default=None, validate_default=True)

    _no_twin = field_validator("password_file")(value_types.no_twin)
    _one_twin = field_validator("password_file")(value_types.one_twin)

    def read_password(self) -> str | None:
        """Return the password as it is now."""
        return value_types.read_secret(self.password, self.password_file, "alertmanager.basic_auth.password_file")


class Tls(Section):
    """Certificates of a client: whom it trusts and who it is."""

    ca_file: value_types.ReadableFile | None = None
    cert_file: value_types.ReadableFile | None = None
    key_file: value_types.ReadableFile | None = None

    @field_validator("key_file")
    @classmethod
    def _pair(cls, key_file: Path, info: ValidationInfo) -> Path:
        if info.data.get("cert_file", key_file) is None:
            raise ValueError("has no certificate: give cert_file too")
        return key_file


class Alertmanager(Section):
    """Where direct notifications go: every one to every URL."""

    urls: Annotated[value_types.Urls, AfterValidator(value_types.each_once)]
    basic_auth: BasicAuth | None = None
    bearer_token: value_types.SecretText | None = None
    bearer_token_file: value_types.SecretFile | None = None
    tls: Tls = Tls()
    timeout: value_types.Timeout = 10.0
    runbook_url: value_types.Url | None = None
    dashboard_url: value_types.Url | None = None
    labels: value_types.Labels = Field(default_factory=dict)
    owner_email_label: bool = False

    _no_twin = field_validator("bearer_token_file")(value_types.no_twin)

    @field_validator("bearer_token", "bearer_token_file")
    @classmethod
    def _one_proof(cls, proof: object, info: ValidationInfo) -> object:
        if proof is not None and info.data.get("basic_auth") is not None:
            raise ValueError("stands beside basic_auth: give one of the two")
        return proof

    def read_bearer_token(self) -> str | None:
        """Return the token as it is now, None where none is configured."""
        return value_types.read_secret(self.bearer_token, self.bearer_token_file, "alertmanager.bearer_token_file")


class Web(Section):
    """Where the agent listens. ``config_file`` is in the format of Prometheus' exporter-toolkit."""

    listen_address: value_types.ListenAddress = Endpoint("127.0.0.1", 10071)
    config_file: value_types.ReadableFile | None = None
    allowed_hosts: Annotated[value_types.HostNames, AfterValidator(value_types.each_once)] = ()
    telemetry_path: Annotated[value_types.UrlPath, AfterValidator(value_types.no_page)] = "/metrics"
    external_url: value_types.Url | None = None
    route_prefix: value_types.UrlPath = Field(default="", validate_default=True)
    systemd_socket: bool = False

    @field_validator("route_prefix", mode="before")
    @classmethod
    def _of_external_url(cls, prefix: object, info: ValidationInfo) -> object:
        return prefix or urlsplit(info.data.get("external_url") or "").path

    @property
    def listen_addresses(self) -> tuple[Endpoint, ...]:
        """Every address that is listened on."""
        return (self.listen_address,) if isinstance(self.listen_address, Endpoint) else self.listen_address

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name that a request may have."""
        external = urlsplit(self.external_url or "").hostname
        return (*self.allowed_hosts, canonical_host(external)) if external else self.allowed_hosts


class Log(Section):
    """How much is logged to stderr, and in which form."""

    level: Annotated[Literal["debug", "info", "warning", "error"], value_types.from_synonyms({"warn": "warning"})] = (
        "info"
    )
    format: Literal["logfmt", "json"] = "logfmt"
