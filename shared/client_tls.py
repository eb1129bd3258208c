"""An OpenSSL context for connections to servers, and what is checked beyond it.

Blocking for some milliseconds when the system's authorities are loaded: callers in a loop use a thread.
Keys reach OpenSSL through memory files: they are never written to a disk.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Sequence

from shared.errors import ConfigError
from shared.table.client_tls import ClientCertificate, ClientTlsEntry


def make_client_context(entry: ClientTlsEntry, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """A context that trusts and presents what the entry says.

    Args:
        entry: of a transport.
        protocols: to offer by ALPN, best first.

    Raises:
        ConfigError: OpenSSL does not take something; ``path`` names the option.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # RFC 6125: names are in the subjectAltName
    context.check_hostname = entry.is_verified and entry.checks_name
    context.verify_mode = ssl.CERT_REQUIRED if entry.is_verified else ssl.CERT_NONE
    context.options |= ssl.OP_NO_RENEGOTIATION
    _trust(context, entry)
    for number, certificate in enumerate(entry.certificates):
        _present(context, certificate, number)
    _limit(context, entry)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def names_uri(certificate: object, uri: str) -> bool:
    """Whether a certificate, as ``getpeercert`` tells it, names a URI (spec v2 section 10.2)."""
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    return any(kind == "URI" and value.lower() == uri.lower() for kind, value in names)


def _trust(context: ssl.SSLContext, entry: ClientTlsEntry) -> None:
    if not entry.root_cas:
        if entry.is_verified:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        context.load_verify_locations(cadata=entry.root_cas.decode("ascii"))
        context.verify_flags |= (
            ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        )  # as in Go: what is listed is trusted
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError("rootCAs", f"no certificates in PEM: {_words(error)}") from error


def _present(context: ssl.SSLContext, certificate: ClientCertificate, number: int) -> None:
    chain, key = os.memfd_create("chain"), os.memfd_create("key")
    try:
        _fill(chain, certificate.chain)
        _fill(key, certificate.key.value)
        context.load_cert_chain(f"/proc/self/fd/{chain}", f"/proc/self/fd/{key}", password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"certificates[{number}]", f"not usable: {_words(error)}") from error
    finally:
        os.close(chain)
        os.close(key)


def _fill(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted")


def _limit(context: ssl.SSLContext, entry: ClientTlsEntry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of old versions: somebody asked for them by name
        if entry.min_version:
            context.minimum_version = ssl.TLSVersion(entry.min_version)
        if entry.max_version:
            context.maximum_version = ssl.TLSVersion(entry.max_version)
    try:
        if 0 < entry.min_version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers(
                f"{entry.ciphers or 'DEFAULT'}:@SECLEVEL=0"
            )  # OpenSSL 3 has them behind a switch
        elif entry.ciphers:
            context.set_ciphers(entry.ciphers)
    except ssl.SSLError as error:
        raise ConfigError("cipherSuites", "this OpenSSL has none of these") from error


def _words(error: Exception) -> str:
    """What OpenSSL says, in words; never what it was given."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unreadable").lower().replace("_", " ")
    return "the key is encrypted" if "encrypted" in str(error) else "not PEM text"
