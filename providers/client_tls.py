"""TLS towards a provider's server, as a ``tls`` section asks for it (spec v2 section 8).

Blocking (it reads files), so callers in a trio program use a thread. Neither a key nor a certificate is ever
part of a message.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable

from shared.config.static_providers import ProviderTls
from shared.errors import ProviderError

_PEM = "-----BEGIN"


def make_client_context(provider: str, settings: ProviderTls | None) -> ssl.SSLContext:
    """A context that trusts and presents what the section says; without one, the system's defaults.

    ``caOptional`` has no meaning for a client and is not looked at (as in the original since 3.0). A
    certificate without its key, or the other way round, is an error.

    Args:
        provider: its name, for errors.
        settings: ``ca``, ``cert`` and ``key`` are paths or PEM texts.

    Raises:
        ProviderError: something cannot be read or does not fit together.
    """
    context = ssl.create_default_context()
    if settings is None:
        return context
    if settings.ca:
        # A named authority replaces the system's.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(provider, "ca", lambda: _trust(context, settings.ca))
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert and settings.key:
        _load(provider, "cert and tls.key", lambda: _present(context, settings.cert, settings.key))
    elif settings.cert or settings.key:
        missing = "key" if settings.cert else "cert"
        raise ProviderError(provider, f"tls.cert and tls.key go together: tls.{missing} is missing")
    return context


def _load(provider: str, what: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not usable"
        raise ProviderError(provider, f"tls.{what}: cannot be used: {reason}") from error


def _trust(context: ssl.SSLContext, authority: str) -> None:
    if _PEM in authority:
        context.load_verify_locations(cadata=authority)
    else:
        context.load_verify_locations(cafile=authority)


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load the pair; OpenSSL takes both from files only, so texts pass through a private folder."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        pair = (_as_file(certificate, folder, "cert"), _as_file(key, folder, "key"))
        context.load_cert_chain(*pair, password="")  # without one OpenSSL would ask on the terminal


def _as_file(text_or_path: str, folder: str, name: str) -> str:
    if _PEM not in text_or_path:
        return text_or_path
    path = os.path.join(folder, name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text_or_path)
    return path
