"""TLS for the server: certificates that may be renewed on disk at any time, and client certificates.

Every handshake uses the context of that moment, so a renewed certificate needs neither reload nor restart. One that
cannot be used is logged, and the one before it stays in use.
"""

import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import structlog

from exporter.metrics import Block, single
from exporter.self_metrics import WEB_CERTIFICATE_EXPIRY

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTHENTICATION = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_REASONS = {"KEY_VALUES_MISMATCH": "the key does not belong to the certificate"}


@dataclass(frozen=True)
class Served:
    """What a handshake uses, and when its certificate expires (Unix seconds); None where that is unknown."""

    context: ssl.SSLContext
    expires_at: float | None


@dataclass(frozen=True)
class TlsFiles:
    """What a context is made of."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    client_authentication: ssl.VerifyMode = ssl.CERT_NONE
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def load(self) -> Served:
        """Build a context from the files; raise OSError (ssl.SSLError is one) or ValueError where they do not fit."""
        for path in self._paths():
            with path.open("rb"):
                pass  # OpenSSL's own error would not name the file
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.minimum_version
        context.maximum_version = self.maximum_version
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.certificate, self.key, password=_refuse_encrypted)
        served = Served(context, expires_at(context, self.certificate))
        if self.client_authority is not None:
            context.load_verify_locations(self.client_authority)
        context.verify_mode = self.client_authentication
        return served

    def stamps(self) -> tuple[tuple[int, int, int, int], ...]:
        """Return what changes when a file is replaced, rewritten, or may be read by others."""
        stats = [path.stat() for path in self._paths()]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size) for stat in stats)

    def _paths(self) -> list[Path]:
        return [path for path in (self.certificate, self.key, self.client_authority) if path is not None]


class Tls:
    """What is served now: loaded anew when a file changed, kept while the new files cannot be used.

    Both the web server and the renderer check, so a renewal is noticed also where nobody connects.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = files.stamps()
        self._served = files.load()
        self._fault: str | None = None
        self._lock = threading.Lock()
        self._log = structlog.get_logger()

    @property
    def requires_certificate(self) -> bool:
        """Whether a client without a valid certificate is refused."""
        return self._files.client_authentication == ssl.CERT_REQUIRED

    def served(self) -> Served:
        """Return what the next handshake is to use."""
        with self._lock:
            try:
                self._renew()
                fault = None
            except (OSError, ValueError) as error:
                fault = explain(error)
            self._report(fault)
            return self._served

    def _renew(self) -> None:
        stamps = self._files.stamps()
        if stamps != self._stamps:
            # What cannot be used keeps the old stamps, and is tried again.
            self._served = self._files.load()
            self._stamps = stamps

    def _report(self, fault: str | None) -> None:
        """Log a fault once while it lasts, and its end."""
        if fault == self._fault:
            return
        self._fault = fault
        if fault:
            message = "the certificate of the web server cannot be renewed; the one before it stays in use"
            self._log.warning(message, certificate=str(self._files.certificate), error=fault)
        else:
            message = "the certificate of the web server can be renewed again"
            self._log.info(message, certificate=str(self._files.certificate))


def explain(error: OSError | ValueError) -> str:
    """Return why files cannot be used, as a line."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _REASONS.get(reason, reason or "not PEM, or not complete")
    if isinstance(error, OSError):
        return f"cannot read {error.filename}: {error.strerror}" if error.filename else str(error)
    return str(error)


class TlsHolder(Protocol):
    """Any holder of the current certificates."""

    @property
    def tls(self) -> Tls | None:
        """The certificates, or None where there is no TLS."""


class CertificateExpiry:
    """The expiry of the certificate in use, for /metrics; absent without TLS."""

    def __init__(self, holder: TlsHolder) -> None:
        self._holder = holder

    def at(self, now: float) -> Sequence[Block]:
        """Return the metric."""
        del now
        tls = self._holder.tls
        instant = tls.served().expires_at if tls else None
        return () if instant is None else (single(WEB_CERTIFICATE_EXPIRY, instant),)


class LiveContext(ssl.SSLContext):
    """A context that hands every connection to the context of now."""

    _holder: TlsHolder

    @classmethod
    def of(cls, holder: TlsHolder) -> "LiveContext":
        """Wrap the current context."""
        live = cls(ssl.PROTOCOL_TLS_SERVER)
        live._holder = holder
        return live

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl.SSLContext
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection, as asyncio does for each."""
        tls = self._holder.tls
        if tls is None:
            raise ssl.SSLError("TLS is not configured any more")
        return tls.served().context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _refuse_encrypted() -> NoReturn:
    message = "the key is encrypted; give one without a passphrase"
    raise ValueError(message)


# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name: an expired certificate has a date, too.
_NO_CHECK_TIME = 0x20_0000
# A handshake of TLS 1.2 goes twice to and fro, one of TLS 1.3 once.
_ROUND_TRIPS = 2


def expires_at(context: ssl.SSLContext, certificate: Path) -> float | None:
    """Return the notAfter (Unix seconds) of the first certificate that a context serves, which is the server's own.

    Python decodes a certificate only where a client has verified it, so a client is connected in memory that trusts
    the file of this certificate. None where even such a client refuses it: it is not for servers, for instance. The
    context must not verify clients yet.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client = _trusting(certificate).wrap_bio(outgoing, incoming)
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        for side in (client, server) * _ROUND_TRIPS + (client,):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        found = (client.getpeercert() or {})["notAfter"]
        return float(ssl.cert_time_to_seconds(str(found)))
    except (OSError, ValueError, KeyError):
        return None


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Return a context for a client that trusts the certificates of a file, of any issuer and any age."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    return context
