"""What a table says about connections below HTTP: TLS material, and who gets it; TCP and UDP routes.

Few entries, decoded whole.

Private keys and the ticket secret are ``Secret``: their text form shows nothing, so that no log line, table
listing or error can carry them. They travel in the table itself (a sealed memfd, and a file of mode 0600), so
that a handshake and the routes behind it always belong to one generation.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.table.secret import Secret
from shared.table.stream_routes import TcpContent, UdpContent

ClientAuthMode = Literal["none", "request", "require", "verify-if-given", "verify"]
"""Whether a client certificate is asked for, needed and checked (spec v2 section 7)."""

DEFAULT_OPTIONS = "default"
"""The TLS options of connections for which nobody wants others."""


class CertificateEntry(msgspec.Struct, frozen=True, array_like=True):
    """A certificate chain with its key, checked to belong together.

    Attributes:
        names: what it is good for: lower-case host names, wildcards and addresses, sorted.
        chain: PEM, the leaf first.
        key: PEM.
    """

    names: tuple[str, ...]
    chain: bytes
    key: Secret


class TlsOptionsEntry(msgspec.Struct, frozen=True, array_like=True):
    """Protocol settings of the server side of TLS, in OpenSSL's words, checked to be usable.

    Attributes:
        name: qualified, or ``default``; what a 421 is decided by.
        min_version, max_version: of ``ssl.TLSVersion``; 0 for none.
        ciphers: OpenSSL's cipher list for TLS 1.2 and older.
        groups: OpenSSL's names of curves in order of preference; empty for its own choice.
        client_auth: what is asked of clients.
        client_cas: PEM, who may have signed client certificates.
        sni_strict: refuse names for which there is no certificate.
        protocols: to offer by ALPN, best first.
        has_tickets: whether sessions can be resumed.
        is_usable: False refuses connections for whose names these options were asked: they are broken.
    """

    name: str
    min_version: int = 0
    max_version: int = 0
    ciphers: str = ""
    groups: tuple[str, ...] = ()
    client_auth: ClientAuthMode = "none"
    client_cas: bytes = b""
    sni_strict: bool = False
    protocols: tuple[str, ...] = ()
    has_tickets: bool = True
    is_usable: bool = True


class TlsEntrance(msgspec.Struct, frozen=True, array_like=True):
    """What TLS means at one entrypoint. Numbers are indexes into ``TlsContent``.

    Attributes:
        entrypoint: its name.
        options: of connections whose name asks for none, by name.
        hosts: options by host name, where they are not ``options``; ``*.x`` stands for one label.
        certificates: to choose from, the first that fits wins; None for those of the default store.
        default_certificate: where none fits; None for that of the default store.
    """

    entrypoint: str
    options: str = DEFAULT_OPTIONS
    hosts: dict[str, str] = {}
    certificates: tuple[int, ...] | None = None
    default_certificate: int | None = None


class TlsContent(msgspec.Struct, frozen=True, array_like=True):
    """Everything for handshakes.

    Attributes:
        certificates: all of them.
        store: indexes of the default store's certificates, in the order in which they are tried.
        default_certificate: index of the default store's own; None if TLS is not used at all.
        options: by no order; the one called ``default`` is always there when TLS is used.
        entrances: entrypoints that differ from the default.
        ticket_secret: what the keys of session tickets are derived from; the same for all workers.
    """

    certificates: tuple[CertificateEntry, ...] = ()
    store: tuple[int, ...] = ()
    default_certificate: int | None = None
    options: tuple[TlsOptionsEntry, ...] = ()
    entrances: tuple[TlsEntrance, ...] = ()
    ticket_secret: Secret = Secret(b"")


class Streams(msgspec.Struct, frozen=True, array_like=True):
    """The content of the section ``STREAMS``."""

    tls: TlsContent = TlsContent()
    tcp: TcpContent = TcpContent()
    udp: UdpContent = UdpContent()
