"""Certificates made in the test's process, and clients that speak TLS to the proxy."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.clients import ClientConnection
from tests.support.wire import WireReader

TIMEOUT_S = 30.0
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pem:
    """A certificate and its key, as text."""

    certificate: str
    key: str

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Both as files."""
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        for path, text in zip(paths, (self.certificate, self.key), strict=True):
            path.write_text(text)
        return paths


class Authority:
    """Signs certificates for tests.

    Args:
        name: its own.
        days: how long its own certificate is valid; negative for one that has expired.
    """

    def __init__(self, name: str = "Test CA", days: int = 2) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            self._builder(self._name, self._key, now - 10 * DAY, now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self,
        common_name: str = "",
        *names: str,
        days: int = 2,
        end: datetime.datetime | None = None,
        subject: x509.Name | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Pem:
        """A certificate for these names and addresses."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        end = end or datetime.datetime.now(datetime.UTC) + days * DAY
        builder = self._builder(subject or x509.Name(attributes), key, end - 20 * DAY, end)
        if names:
            alternatives = [_alternative(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pem(certificate.public_bytes(Encoding.PEM).decode(), private.decode())

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begin: datetime.datetime,
        end: datetime.datetime,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def client_context(
    authority: Authority | None = None, own: tuple[Path, Path] | None = None, protocols: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """A client's settings; without an authority it believes everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = authority is not None
    context.verify_mode = ssl.CERT_REQUIRED if authority is not None else ssl.CERT_NONE
    if authority is not None:
        context.load_verify_locations(cadata=authority.pem)
    if own is not None:
        context.load_cert_chain(*own)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


class TlsConnection(ClientConnection):
    """A connection to the proxy over TLS.

    Args:
        address: of the entrypoint.
        server_name: asked for by SNI.
        context: the client's settings; by default it believes everybody.
        session: to go on with.

    Raises:
        OSError: there was no handshake.
    """

    def __init__(
        self,
        address: tuple[str, int],
        server_name: str | None = None,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        raw = socket.create_connection(address, TIMEOUT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = self.tls = (context or client_context()).wrap_socket(
                raw, server_hostname=server_name, session=session
            )
        except BaseException:
            raw.close()
            raise
        self.reader = WireReader(self.tls)

    @property
    def certificate_name(self) -> str:
        """The common name of the certificate that the proxy showed."""
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return common_name(der)


class InMemory:
    """A handshake without sockets.

    Args:
        server: its context.
        client: its context; by default one that believes everybody.
        server_name: asked for by SNI.
        session: to go on with.

    Raises:
        ssl.SSLError: one side refused.
    """

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext | None = None,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = (client or client_context()).wrap_bio(
            to_client, to_server, server_hostname=server_name, session=session
        )
        waiting = [self.client, self.server]
        for _ in range(10):
            for side in list(waiting):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    waiting.remove(side)
            if not waiting:
                break
        self.server.write(b"x")
        self.client.read(1)  # with it come the session tickets of TLS 1.3

    @property
    def certificate_name(self) -> str:
        """The common name of the server's certificate."""
        der = self.client.getpeercert(binary_form=True)
        assert der is not None
        return common_name(der)


def common_name(der: bytes) -> str:
    """Of a certificate's subject."""
    subject = x509.load_der_x509_certificate(der).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
