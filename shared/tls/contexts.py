"""Contexts for the server side of TLS, from options and a certificate.

One context is one pair of the two, and its session tickets open under no other pair: what one set of options
demanded of a client (a certificate above all) is never got round by resuming a session made under another.
The key of tickets is derived from a secret that all workers share, so that any of them resumes what another
began; a new certificate or changed options end all sessions.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import warnings
from collections.abc import Iterator

import msgspec

from shared.table.secret import Secret
from shared.table.streams import CertificateEntry, TlsOptionsEntry
from shared.tls import libssl

_VERIFY_MODES = {
    "none": ssl.CERT_NONE,
    "request": ssl.CERT_OPTIONAL,
    "require": ssl.CERT_REQUIRED,
    "verify-if-given": ssl.CERT_OPTIONAL,
    "verify": ssl.CERT_REQUIRED,
}


def make_server_context(
    options: TlsOptionsEntry, certificate: CertificateEntry | None, ticket_secret: Secret
) -> ssl.SSLContext:
    """A context that serves this certificate with these options.

    Args:
        options: usable ones.
        certificate: None only to try the options out.
        ticket_secret: of the table; empty for a key that only this context has.

    Raises:
        ssl.SSLError: OpenSSL does not take something of it.
        ValueError: a version or a file is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_protocol(context, options)
    _set_client_auth(context, options)
    libssl.forget_sessions(context)
    if not options.has_tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    elif ticket_secret.value and libssl.is_available():
        libssl.set_ticket_key(context, _ticket_key(options, certificate, ticket_secret))
    if certificate is not None:
        with _as_file(certificate.chain + b"\n" + certificate.key.value) as path:
            context.load_cert_chain(path, password=_no_password)
    return context


def _set_protocol(context: ssl.SSLContext, options: TlsOptionsEntry) -> None:
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    ciphers = options.ciphers
    is_old = 0 < options.min_version < ssl.TLSVersion.TLSv1_2
    if is_old:  # what OpenSSL 3 has behind a switch, and somebody asked for by name
        ciphers += ":@SECLEVEL=0"
    if ciphers:
        context.set_ciphers(ciphers)
    with _quietly():
        if options.min_version:
            context.minimum_version = ssl.TLSVersion(options.min_version)
        if options.max_version:
            context.maximum_version = ssl.TLSVersion(options.max_version)
    if options.groups:
        libssl.set_groups(context, options.groups)
    if options.protocols:
        context.set_alpn_protocols(list(options.protocols))


def _set_client_auth(context: ssl.SSLContext, options: TlsOptionsEntry) -> None:
    context.verify_mode = _VERIFY_MODES[options.client_auth]
    if options.client_auth in ("request", "require"):
        libssl.accept_any_client_certificate(context)
    if options.client_cas:
        context.load_verify_locations(cadata=options.client_cas.decode("ascii"))
        context.verify_flags |= (
            ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        )  # as Go: whatever is listed is trusted
        with _as_file(options.client_cas) as path:
            libssl.name_client_authorities(context, path)


def _ticket_key(
    options: TlsOptionsEntry, certificate: CertificateEntry | None, ticket_secret: Secret
) -> bytes:
    """What tickets of this context are sealed with: changes with all that a session was made under."""
    made_under = hashlib.blake2b(msgspec.msgpack.encode(options), digest_size=32)
    made_under.update(certificate.chain if certificate is not None else b"")
    person = made_under.digest()
    parts = [
        hashlib.blake2b(person + bytes((number,)), key=ticket_secret.value[:64], digest_size=40).digest()
        for number in range(libssl.TICKET_KEY_BYTES // 40)
    ]
    return b"".join(parts)


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that has this content, in memory only: OpenSSL reads certificates from files."""
    fd = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _no_password() -> bytes:
    """Instead of asking at the terminal: keys with a password were refused before."""
    return b""


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Python's warning about old versions: somebody asked for them by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
