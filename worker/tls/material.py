"""Which certificate and which options a connection gets: one generation's TLS, ready to choose from.

The choice falls before the handshake, by what the ClientHello says, so that a connection has one context from
its first byte to its last. Contexts are made when they are first needed and go on in the next generation
where nothing about them changed.

Source: spec v2 section 7; v1 section 2; RFC 8446 section 6.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

from shared.table.secret import Secret
from shared.table.streams import CertificateEntry, TlsContent, TlsEntrance, TlsOptionsEntry
from shared.tls.contexts import make_server_context

MAX_CONTEXTS = 1_024
"""Contexts kept by a worker (about 30 KB each); more certificates than that are loaded again when needed."""

ALERT_HANDSHAKE_FAILURE = 40
ALERT_INTERNAL_ERROR = 80
ALERT_UNRECOGNIZED_NAME = 112

_Key = tuple[TlsOptionsEntry, CertificateEntry, Secret]


class TlsRefused(Exception):
    """A connection gets no handshake.

    Args:
        alert: what the client is told.
        reason: for the log.
    """

    def __init__(self, alert: int, reason: str) -> None:
        super().__init__(reason)
        self.alert = alert


class TlsChoice(NamedTuple):
    """What a connection is served with.

    Attributes:
        options: name of its TLS options.
        context: with these options and one certificate.
    """

    options: str
    context: ssl.SSLContext


class Contexts:
    """The contexts of a worker, by what they are made of; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._known: dict[_Key, ssl.SSLContext] = {}

    def get(self, options: TlsOptionsEntry, certificate: CertificateEntry, secret: Secret) -> ssl.SSLContext:
        """The context for these; making one takes about a millisecond.

        Raises:
            ssl.SSLError, ValueError: OpenSSL does not take them, although it did in the master.
        """
        key = (options, certificate, secret)
        context = self._known.get(key)
        if context is None:
            if len(self._known) >= MAX_CONTEXTS:
                del self._known[next(iter(self._known))]
            context = self._known[key] = make_server_context(options, certificate, secret)
        return context

    def keep_only(self, content: TlsContent) -> None:
        """Let go of certificates and keys that are no longer configured."""
        certificates = frozenset(content.certificates)
        self._known = {key: each for key, each in self._known.items() if key[1] in certificates}


class _Store:
    """Certificates by name."""

    def __init__(self, content: TlsContent, numbers: tuple[int, ...], *, exact_first: bool) -> None:
        self._numbers = numbers
        self._exact_first = exact_first
        self._ranks: dict[str, int] = {}
        for rank, number in enumerate(numbers):
            for name in content.certificates[number].names:
                self._ranks.setdefault(name, rank)

    def find(self, name: str) -> int | None:
        """The number of the certificate for a name, or None."""
        exact = self._ranks.get(name)
        if exact is not None and self._exact_first:
            return self._numbers[exact]
        wild = self._ranks.get(f"*.{name.partition('.')[2]}")
        ranks = [rank for rank in (exact, wild) if rank is not None]
        return self._numbers[min(ranks)] if ranks else None


class TlsMaterial:
    """One generation's TLS. Making it looks at every certificate: for a thread.

    Args:
        content: of the table.
    """

    def __init__(self, content: TlsContent) -> None:
        self.content = content
        self._options = {each.name: each for each in content.options}
        self._entrances = {each.entrypoint: each for each in content.entrances}
        self._store = _Store(content, content.store, exact_first=False)
        self._own = {
            each.entrypoint: _Store(content, each.certificates, exact_first=True)
            for each in content.entrances
            if each.certificates is not None
        }

    def choose(
        self, contexts: Contexts, entrypoint: str, server_name: str, local_ip: str, options: str | None = None
    ) -> TlsChoice:
        """What a connection is served with.

        Args:
            contexts: of the worker.
            entrypoint: where it came in.
            server_name: of its ClientHello; empty if there was none.
            local_ip: the address it came to, which stands for a missing name.
            options: name of the options, where more than the name decided about them (a TCP router).

        Raises:
            TlsRefused: it gets none.
        """
        entrance = self._entrances.get(entrypoint) or TlsEntrance(entrypoint)
        wanted = options or _options_of(entrance, server_name)
        entry = self._options.get(wanted)
        if entry is None or not entry.is_usable:
            raise TlsRefused(ALERT_HANDSHAKE_FAILURE, f"the TLS options {wanted} cannot be used")
        number = self._own.get(entrypoint, self._store).find(server_name or local_ip)
        if number is None and entry.sni_strict:
            raise TlsRefused(ALERT_UNRECOGNIZED_NAME, f'sniStrict: no certificate for "{server_name}"')
        if number is None:
            own = entrance.default_certificate
            number = own if own is not None else self.content.default_certificate
        if number is None:
            raise TlsRefused(ALERT_HANDSHAKE_FAILURE, "there is no certificate at all")
        try:
            context = contexts.get(entry, self.content.certificates[number], self.content.ticket_secret)
        except (ssl.SSLError, ValueError) as error:
            raise TlsRefused(ALERT_INTERNAL_ERROR, f"cannot serve certificate {number}: {error}") from error
        return TlsChoice(wanted, context)


def _options_of(entrance: TlsEntrance, server_name: str) -> str:
    found = entrance.hosts.get(server_name)
    if found is None and server_name:
        found = entrance.hosts.get(f"*.{server_name.partition('.')[2]}")
    return entrance.options if found is None else found
