"""Transports of one compilation: each resolved once, when the first service asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from master.compiler.catalog import INTERNAL, Catalog, Item, qualify
from master.compiler.checked import CheckedTransport
from master.compiler.client_tls import ReadPem, read_pem, resolve_client_tls
from master.compiler.once import Once
from shared.config.diagnostics import Diagnostics, Path, nearest_name
from shared.config.dynamic import ForwardingTimeouts, Server, ServersTransport
from shared.config.static import StaticConfig
from shared.errors import ConfigError

DEFAULT_TRANSPORT = f"default@{INTERNAL}"
WITHOUT_TLS = f"default-without-tls@{INTERNAL}"
"""What is left of the default transport when its certificates cannot be used."""

_PART = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


class TransportChecker:
    """See above.

    Args:
        catalog: all objects.
        static: for the default transport and the Workload API.
        found: takes the problem of each transport that cannot be used, once.
        read: reads certificates.
    """

    def __init__(
        self, catalog: Catalog, static: StaticConfig, found: Diagnostics, read: ReadPem = read_pem
    ) -> None:
        self._catalog = catalog
        self._static = static
        self._found = found
        self._read = read
        self._resolved = Once(self._resolve)

    def get(self, name: str, provider: str, servers: Sequence[Server]) -> CheckedTransport:
        """The transport that a service of a provider calls by this name, ready for its servers.

        Raises:
            ConfigError: it does not exist or cannot be used.
        """
        if name:
            return self._resolved.get(qualify(name, provider))
        if any(each.url.startswith("https:") for each in servers):
            return self._resolved.get(DEFAULT_TRANSPORT)
        return self.default()

    def default(self) -> CheckedTransport:
        """The default one for what speaks no TLS: it works whatever its certificates are."""
        try:
            return self._resolved.get(DEFAULT_TRANSPORT)
        except ConfigError:
            return CheckedTransport(WITHOUT_TLS, _without_files(default_transport(self._static)))

    def _resolve(self, name: str) -> CheckedTransport:
        item = self._item(name)
        options = item.value
        try:
            tls = resolve_client_tls(
                options,
                self._static.spiffe,
                self._read,
                min_version=options.min_version,
                max_version=options.max_version,
                cipher_suites=options.cipher_suites,
            )
        except ConfigError as error:
            item.error(
                self._found, f"{error.reason}; the transport is disabled", error.hint, *_keys(error.path)
            )
            raise ConfigError("", f"servers transport {name} cannot be used: {error.reason}") from error
        return CheckedTransport(name, _without_files(options), tls)

    def _item(self, name: str) -> Item[ServersTransport]:
        if name == DEFAULT_TRANSPORT:
            path: Path = ("serversTransport",)
            return Item(name, INTERNAL, default_transport(self._static), None, path)
        item = self._catalog.transports.get(name)
        if item is None:
            hint = nearest_name(name, self._catalog.transports)
            raise ConfigError("", f"servers transport not found {name}", hint)
        return item


def default_transport(static: StaticConfig) -> ServersTransport:
    """The static ``serversTransport`` as the transport that services use when they name none."""
    given = static.servers_transport
    timeouts = given.forwarding_timeouts
    return ServersTransport(
        insecure_skip_verify=given.insecure_skip_verify,
        root_cas=given.root_cas,
        max_idle_conns_per_host=given.max_idle_conns_per_host,
        forwarding_timeouts=ForwardingTimeouts(
            dial_timeout=timeouts.dial_timeout,
            response_header_timeout=timeouts.response_header_timeout,
            idle_conn_timeout=timeouts.idle_conn_timeout,
        )
        if timeouts is not None
        else None,
        spiffe=given.spiffe,
    )


def _without_files(options: ServersTransport) -> ServersTransport:
    """What was read is in the entry of its own; what is left here may be shown."""
    return msgspec.structs.replace(options, root_cas=(), certificates=(), spiffe=None)


def _keys(path: str) -> list[str | int]:
    """A dotted path of an error as keys: ``certificates[0].keyFile``."""
    return [int(number) if number else key for key, number in _PART.findall(path)]
