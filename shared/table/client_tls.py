"""How TLS is spoken towards servers: what a transport's options mean, with every file read."""

from __future__ import annotations

import msgspec

from shared.table.secret import Secret


class ClientCertificate(msgspec.Struct, frozen=True, array_like=True):
    """A certificate chain to show to servers, and its key; both PEM, checked to belong together."""

    chain: bytes
    key: Secret


class ClientTlsEntry(msgspec.Struct, frozen=True, array_like=True):
    """Everything for handshakes as a client. Hashable: contexts are kept by it.

    Attributes:
        server_name: the name to ask for and to check; empty for the server's host.
        is_verified: whether the server's chain is checked.
        checks_name: whether its name is checked too.
        root_cas: PEM; empty for the system's.
        certificates: ours.
        min_version, max_version: of ``ssl.TLSVersion``; 0 for OpenSSL's own.
        ciphers: OpenSSL's cipher list for TLS 1.2 and older; empty for its own.
        peer_cert_uri: a URI that the server's certificate must name; compared in any case.
    """

    server_name: str = ""
    is_verified: bool = True
    checks_name: bool = True
    root_cas: bytes = b""
    certificates: tuple[ClientCertificate, ...] = ()
    min_version: int = 0
    max_version: int = 0
    ciphers: str = ""
    peer_cert_uri: str = ""


DEFAULT_TLS = ClientTlsEntry()
"""The system's authorities, the server's host as its name."""
