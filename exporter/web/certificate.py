"""When the certificate of a TLS server expires, as a client of that server would find it."""

import ssl
from contextlib import suppress
from pathlib import Path

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
