"""Users, TLS and headers: the web configuration file that all Prometheus exporters share.

The format is exporter-toolkit's. What of it cannot be kept here is a fault, never a key without effect.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from exporter.errors import ConfigurationError, Fault
from exporter.web.passwords import Passwords, is_hash
from exporter.web.tls import CLIENT_AUTHENTICATION, VERSIONS, Tls, TlsFiles, explain
from exporter.yaml_loader import parse, read_text

_KEY = "web.config_file"
_WORDING = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "string_type": "must be a text",
    "none_required": "is not supported by this exporter: leave it out",
}


class Access:
    """What is in force now: headers, users, TLS, allowed hosts. The server runs with one and lets it adopt another."""

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        passwords: Passwords | None = None,
        tls: Tls | None = None,
        allowed_hosts: Collection[str] = (),
    ) -> None:
        self.headers: Mapping[str, str] = headers or {}
        self.passwords = passwords
        self.tls = tls
        self.allowed_hosts = allowed_hosts

    @property
    def authenticates(self) -> bool:
        """Whether every request needs a user or a certificate."""
        return self.passwords is not None or (self.tls is not None and self.tls.requires_certificate)

    def adopt(self, other: "Access") -> None:
        """Replace this access by a newly loaded one, or raise ConfigurationError where that needs a restart."""
        faults = list(self._refusals(other))
        if faults:
            raise ConfigurationError(faults)
        self.headers, self.tls, self.allowed_hosts = other.headers, other.tls, other.allowed_hosts
        if self.passwords is not None and other.passwords is not None:
            self.passwords.adopt(other.passwords)
        else:
            self.passwords = other.passwords

    def _refusals(self, other: "Access") -> Iterator[Fault]:
        # A file that is read in the middle of a rewrite lacks its end: no reload may open what was closed.
        if self.passwords is not None and other.passwords is None:
            yield Fault("basic_auth_users", "a reload cannot remove all users; restart")
        if (self.tls is None) != (other.tls is None):
            yield Fault("tls_server_config", "a reload cannot turn TLS on or off; restart")
        elif self.tls and other.tls and self.tls.requires_certificate and not other.tls.requires_certificate:
            refusal = "a reload cannot stop requiring client certificates; restart"
            yield Fault("tls_server_config.client_auth_type", refusal)


def load_access(path: Path) -> Access:
    """Read a web configuration file; raise ConfigurationError with everything that is wrong with it."""
    content, faults = _read(path)
    try:
        document = _Document.model_validate(content, context=path.parent)
    except ValidationError as error:
        raise ConfigurationError([*faults, *map(_fault, error.errors())]) from None
    if faults:
        raise ConfigurationError(faults)
    return document.access()


def _read(path: Path) -> tuple[object, list[Fault]]:
    """Return the content of a YAML file and the faults that leave it readable."""
    try:
        content, faults = parse(read_text(path), f"{_KEY}: {path}", keep_null=True)
    except OSError as error:
        raise ConfigurationError([Fault(_KEY, f"cannot read {path}: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Fault(_KEY, f"{path} is no YAML: cannot be read as UTF-8 text")]) from None
    if content is None:
        raise ConfigurationError([Fault(_KEY, f"{path} is empty; write {{}} where it is to set nothing")])
    return content, faults


def _fault(detail: Mapping[str, Any]) -> Fault:
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    message = _WORDING.get(detail["type"], detail["msg"])
    return Fault(path, message.removeprefix("Value error, "))


def _boolean(text: object) -> bool:
    for value, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off"))):
        if any(text in (word, word.capitalize(), word.upper()) for word in words):
            return value
    raise ValueError("must be true or false")


def _hash(text: str) -> str:
    if not is_hash(text):
        raise ValueError("is no bcrypt hash; make one with: htpasswd -nBC 10 USER")
    return text


def _user(name: str) -> str:
    if ":" in name or not name:
        raise ValueError("a user name must not be empty nor contain a colon")
    return name


def _line(text: str) -> str:
    if not all(" " <= character <= "~" for character in text):
        raise ValueError("must be printable ASCII on one line")
    return text


def _client_authentication(name: str) -> str:
    name = name or "NoClientCert"
    if name not in CLIENT_AUTHENTICATION:
        known = ", ".join(CLIENT_AUTHENTICATION)
        raise ValueError(f"must be one of {known}: a client certificate is verified or not requested")
    return name


def _readable(name: str, info: ValidationInfo) -> str:
    """Resolve a path against the folder of the configuration file and try to read there."""
    path = Path(str(info.context), name)
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    return str(path)


_File = Annotated[str, AfterValidator(_readable)]
_Line = Annotated[str, AfterValidator(_line)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, content: object) -> object:
        """Leave out known keys without a value, as exporter-toolkit does."""
        if not isinstance(content, dict):
            return content
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in content.items() if value is not None or key not in known}


class _TlsSection(_Section):
    cert_file: _File
    key_file: _File
    client_auth_type: Annotated[str, AfterValidator(_client_authentication)] = "NoClientCert"
    client_ca_file: Annotated[_File | None, BeforeValidator(lambda name: name or None)] = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cert: None = None
    key: None = None
    client_ca: None = None
    client_allowed_sans: None = None
    cipher_suites: None = None
    prefer_server_cipher_suites: None = None
    curve_preferences: None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "_TlsSection":
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            raise ValueError("client_ca_file and a client_auth_type that verifies belong together; give both or none")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        try:
            self.files().load()
        except (OSError, ValueError) as error:
            raise ValueError(f"the certificate, key and authority files cannot be used: {explain(error)}") from None
        return self

    def files(self) -> TlsFiles:
        return TlsFiles(
            certificate=Path(self.cert_file),
            key=Path(self.key_file),
            client_authority=Path(self.client_ca_file) if self.client_ca_file else None,
            client_authentication=CLIENT_AUTHENTICATION[self.client_auth_type],
            minimum_version=VERSIONS[self.min_version],
            maximum_version=VERSIONS[self.max_version],
        )


class _Headers(_Section):
    content_security_policy: _Line = Field("", alias="Content-Security-Policy")
    strict_transport_security: _Line = Field("", alias="Strict-Transport-Security")
    x_content_type_options: Literal["", "nosniff"] = Field("", alias="X-Content-Type-Options")
    x_frame_options: Literal["", "deny", "sameorigin"] = Field("", alias="X-Frame-Options")
    x_xss_protection: _Line = Field("", alias="X-XSS-Protection")


class _HttpSection(_Section):
    http2: Annotated[bool, BeforeValidator(_boolean)] = (
        True  # the default of exporter-toolkit: a client that offers HTTP/2 is answered in HTTP/1.1
    )
    headers: _Headers = _Headers()


class _Document(_Section):
    tls_server_config: _TlsSection | None = None
    http_server_config: _HttpSection | None = None
    basic_auth_users: dict[Annotated[str, AfterValidator(_user)], Annotated[str, AfterValidator(_hash)]] | None = None
    rate_limit: None = None

    def access(self) -> Access:
        headers = (self.http_server_config or _HttpSection()).headers.model_dump(by_alias=True)
        return Access(
            headers={name: value for name, value in headers.items() if value},
            passwords=Passwords(self.basic_auth_users) if self.basic_auth_users else None,
            tls=Tls(self.tls_server_config.files()) if self.tls_server_config else None,
        )
