"""TLS for the server: certificates that may be renewed on disk at any time, and client certificates.

Every handshake takes the context of that moment, so a renewed certificate needs neither reload nor restart.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTHENTICATION = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True)
class TlsFiles:
    """What a context is made of."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    client_authentication: ssl.VerifyMode = ssl.CERT_NONE
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    def context(self) -> ssl.SSLContext:
        """Build a context from the files; raise OSError (ssl.SSLError is one) or ValueError where they do not fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.minimum_version
        context.maximum_version = self.maximum_version
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.certificate, self.key, password=_refuse_encrypted)
        if self.client_authority is not None:
            context.load_verify_locations(self.client_authority)
        context.verify_mode = self.client_authentication
        return context

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is replaced or rewritten."""
        paths = [path for path in (self.certificate, self.key, self.client_authority) if path is not None]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in (path.stat() for path in paths))


class Tls:
    """The context of now: built anew when a file changed, kept while the new files are not whole yet."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = files.stamps()
        self._context = files.context()

    @property
    def requires_certificate(self) -> bool:
        """Whether a client without a valid certificate is refused."""
        return self._files.client_authentication == ssl.CERT_REQUIRED

    def context(self) -> ssl.SSLContext:
        """Return the context that the next handshake is to use."""
        try:
            stamps = self._files.stamps()
            if stamps != self._stamps:
                self._context = self._files.context()
                self._stamps = stamps
        except (OSError, ValueError):
            pass  # a renewal in progress: the pair on disk does not fit yet, the one in memory still does
        return self._context


class TlsHolder(Protocol):
    """Whoever knows the certificates of now."""

    @property
    def tls(self) -> Tls | None:
        """The certificates, or None where there is no TLS."""


class LiveContext(ssl.SSLContext):
    """A context that hands every connection to the context of now."""

    _holder: TlsHolder

    @classmethod
    def of(cls, holder: TlsHolder) -> "LiveContext":
        """Wrap whoever knows the certificates of now."""
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
        return tls.context().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _refuse_encrypted() -> NoReturn:
    message = "the key is encrypted; give one without a passphrase"
    raise ValueError(message)
