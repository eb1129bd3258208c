"""The certificate for names that have none, and the secret of session tickets; made for all workers.

Both are the same for a while, so that equal input gives equal tables.

Source: spec v2 section 7.
"""

from __future__ import annotations

import datetime
import functools
import secrets
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from master.compiler.certificates import check_pair
from shared.table.secret import Secret
from shared.table.streams import CertificateEntry

COMMON_NAME = "TRAEFIK DEFAULT CERT"
VALID_FOR = datetime.timedelta(days=365)
SECRET_BYTES = 32
CERTIFICATE_LIFE_S = 30 * 86_400.0
TICKET_SECRET_LIFE_S = 86_400.0
"""Go's servers, too, have a new ticket key every day."""


def default_certificate() -> CertificateEntry:
    """The self-signed certificate of this master, the same for a month; making one takes 20 ms."""
    return _certificate_of(int(time.monotonic() / CERTIFICATE_LIFE_S))


def ticket_secret() -> Secret:
    """What the keys of session tickets are derived from: new at each start of the master and every day."""
    return _secret_of(int(time.monotonic() / TICKET_SECRET_LIFE_S))


@functools.lru_cache(1)
def _certificate_of(period: int) -> CertificateEntry:
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    host = f"{secrets.token_hex(16)}.{secrets.token_hex(16)}.traefik.default"
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks of clients may be behind
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return check_pair(certificate.public_bytes(Encoding.PEM), pem)


@functools.lru_cache(1)
def _secret_of(period: int) -> Secret:
    return Secret(secrets.token_bytes(SECRET_BYTES))
