"""Who may ask, and over what: the web configuration file that all Prometheus exporters share.

The format is exporter-toolkit's. What of it cannot be kept here is a fault, never a key without effect.
"""

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from exporter.errors import ConfigurationError, Fault
from exporter.web.passwords import Passwords, is_hash
from exporter.web.tls import CLIENT_AUTHENTICATION, VERSIONS, Tls, TlsFiles

_WORDING = {"extra_forbidden": "unknown key", "missing": "is missing", "model_type": "must be a mapping"}


class Access:
    """What is in force now: headers, users and TLS; the server runs with one of these and lets it adopt another."""

    def __init__(
        self, headers: Mapping[str, str] | None = None, passwords: Passwords | None = None, tls: Tls | None = None
    ) -> None:
        self.headers: Mapping[str, str] = headers or {}
        self.passwords = passwords
        self.tls = tls

    def adopt(self, other: "Access") -> None:
        """Take over what a newly loaded access says, or raise ConfigurationError where that takes a restart."""
        if (self.tls is None) != (other.tls is None):
            raise ConfigurationError([Fault("tls_server_config", "a reload cannot turn TLS on or off; restart")])
        self.headers, self.passwords, self.tls = other.headers, other.passwords, other.tls


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


def _read(path: Path) -> tuple[Any, list[Fault]]:
    """Return the content of a YAML file and a fault for each key that stands twice."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError([Fault("", f"cannot read {path}: {error.strerror}")]) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(_place(error).split())
        raise ConfigurationError([Fault("", f"{path} is no YAML: {reason}")]) from None
    return {} if content is None else content, list(_repeated(node))


def _place(error: Exception) -> str:
    """Say where YAML went wrong without quoting the line, which may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        problem = error.problem or "cannot be read"
        problem = "a tab: indent with blanks" if r"'\t'" in problem else problem
        return f"line {error.problem_mark.line + 1}: {problem}"
    return "cannot be read as UTF-8 text"


def _repeated(node: yaml.Node | None, path: str = "") -> Iterator[Fault]:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        here = f"{path}.{key.value}" if path else str(key.value)
        if here in seen:
            yield Fault(here, "stands twice")
        seen.add(here)
        yield from _repeated(value, here)


def _fault(detail: Mapping[str, Any]) -> Fault:
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    message = _WORDING.get(detail["type"], detail["msg"])
    return Fault(path, message.removeprefix("Value error, "))


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
    if name not in CLIENT_AUTHENTICATION:
        known = ", ".join(CLIENT_AUTHENTICATION)
        raise ValueError(f"must be one of {known}: a client certificate is verified or not asked for")
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


class _TlsSection(_Section):
    cert_file: _File
    key_file: _File
    client_auth_type: Annotated[str, AfterValidator(_client_authentication)] = "NoClientCert"
    client_ca_file: _File | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"

    @model_validator(mode="after")
    def _fits_together(self) -> "_TlsSection":
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            raise ValueError("client_ca_file and a client_auth_type that verifies belong together; give both or none")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        try:
            self.files().context()
        except (OSError, ValueError) as error:
            reason = (error.reason if isinstance(error, ssl.SSLError) else None) or error
            raise ValueError(f"the certificate, key and authority files cannot be used: {reason}") from None
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
    http2: bool = True  # the default of exporter-toolkit: a client that offers HTTP/2 is answered in HTTP/1.1
    headers: _Headers = _Headers()


class _Document(_Section):
    tls_server_config: _TlsSection | None = None
    http_server_config: _HttpSection | None = None
    basic_auth_users: dict[Annotated[str, AfterValidator(_user)], Annotated[str, AfterValidator(_hash)]] | None = None

    def access(self) -> Access:
        headers = (self.http_server_config or _HttpSection()).headers.model_dump(by_alias=True)
        return Access(
            headers={name: value for name, value in headers.items() if value},
            passwords=Passwords(self.basic_auth_users) if self.basic_auth_users else None,
            tls=Tls(self.tls_server_config.files()) if self.tls_server_config else None,
        )
