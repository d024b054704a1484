"""The expiry of the served certificate, for every kind of certificate."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from trustme import KeyType

from exporter.web.tls import expires_at

EXPIRIES = {"expired": datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), "after 2050": datetime(2060, 1, 1, tzinfo=UTC)}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def served(certificate: trustme.LeafCert, path: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the context of a server with a certificate and its chain, which it writes to a path."""
    path.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS12", "TLS13"])
@pytest.mark.parametrize("kind", [KeyType.RSA, KeyType.ECDSA], ids=["RSA", "ECDSA"])
@pytest.mark.parametrize("expiry", EXPIRIES.values(), ids=EXPIRIES)
@pytest.mark.parametrize("intermediate", [False, True], ids=["root", "intermediate"])
def test_the_expiry_is_that_of_the_first_certificate(
    tmp_path: Path, version: ssl.TLSVersion, kind: KeyType, expiry: datetime, intermediate: bool
) -> None:
    """The date is that of the server's own certificate, not of its authorities, also where it has passed."""
    authority = trustme.CA().create_child_ca() if intermediate else trustme.CA()
    certificate = authority.issue_cert(
        "localhost", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=expiry, key_type=kind
    )
    context = served(certificate, tmp_path / "server.crt", version)
    assert expires_at(context, tmp_path / "server.crt") == expiry.timestamp()


def test_an_expiry_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """Where the file is not that of the certificate that is served, there is no date."""
    authority = trustme.CA()
    context = served(authority.issue_cert("localhost"), tmp_path / "server.crt", VERSIONS[1])
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
    (tmp_path / "garbage.crt").write_text("nothing\n", encoding="utf-8")
    for name in ("other.crt", "garbage.crt", "missing.crt"):
        assert expires_at(context, tmp_path / name) is None
