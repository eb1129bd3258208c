"""TCP transports of one compilation: each resolved once, when the first service asks for it.

TLS is spoken to servers that say ``tls: true``, and only to those; the transport says how (spec v2 10.3).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from master.compiler.catalog import INTERNAL, qualify
from master.compiler.client_tls import ReadPem, read_pem, resolve_client_tls
from master.compiler.once import Once
from master.compiler.stream_catalog import StreamCatalog
from master.compiler.stream_checked import CheckedTcpTransport
from master.compiler.stream_checks import check_version
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import TcpClientTls, TcpServer, TcpServersTransport
from shared.config.static import StaticConfig
from shared.errors import ConfigError
from shared.table.client_tls import DEFAULT_TLS

DEFAULT_TRANSPORT = f"default@{INTERNAL}"
WITHOUT_TLS = f"default-without-tls@{INTERNAL}"
"""The default transport for services none of whose servers speaks TLS: its certificates do not matter."""


class TcpTransportChecker:
    """See above.

    Args:
        catalog: all objects.
        static: for the default transport and the Workload API.
        found: takes the problem of each transport that cannot be used, once.
        read: reads certificates.
    """

    def __init__(
        self, catalog: StreamCatalog, static: StaticConfig, found: Diagnostics, read: ReadPem = read_pem
    ) -> None:
        self._catalog = catalog
        self._static = static
        self._found = found
        self._read = read
        self._default = default_tcp_transport(static)
        self._resolved = Once(self._resolve)
        self._without_tls = CheckedTcpTransport(WITHOUT_TLS, _without_files(self._default))

    def get(self, name: str, provider: str, servers: Iterable[TcpServer]) -> CheckedTcpTransport:
        """The transport that a service of a provider calls by this name, ready for its servers.

        Raises:
            ConfigError: it does not exist or cannot be used.
        """
        if name:
            return self._resolved.get(qualify(name, provider))
        if any(each.tls for each in servers):
            return self._resolved.get(DEFAULT_TRANSPORT)
        return self.default()

    def default(self) -> CheckedTcpTransport:
        """The default one for what speaks no TLS."""
        return self._without_tls

    def _resolve(self, name: str) -> CheckedTcpTransport:
        options = self._options(name)
        check_version(options.proxy_protocol)
        tls = DEFAULT_TLS
        if options.tls is not None:
            try:
                tls = resolve_client_tls(options.tls, self._static.spiffe, self._read)
            except ConfigError as error:
                where = f"tls.{error.path}: " if error.path else ""
                reason = f"servers transport {name} cannot be used: {where}{error.reason}"
                raise ConfigError("", reason, error.hint) from error
        return CheckedTcpTransport(name, _without_files(options), tls)

    def _options(self, name: str) -> TcpServersTransport:
        if name == DEFAULT_TRANSPORT:
            return self._default
        item = self._catalog.tcp_transports.get(name)
        if item is None:
            hint = nearest_name(name, self._catalog.tcp_transports)
            raise ConfigError("", f"servers transport not found {name}", hint)
        return item.value


def default_tcp_transport(static: StaticConfig) -> TcpServersTransport:
    """The static ``tcpServersTransport`` as the transport that services use when they name none."""
    given = static.tcp_servers_transport
    tls = given.tls
    if given.spiffe is not None:  # written beside tls in the documents, inside it in the schema
        tls = msgspec.structs.replace(tls or TcpClientTls(), spiffe=given.spiffe)
    return TcpServersTransport(
        dial_timeout=given.dial_timeout,
        dial_keep_alive=given.dial_keep_alive,
        termination_delay=given.termination_delay,
        proxy_protocol=given.proxy_protocol,
        tls=tls,
    )


def _without_files(options: TcpServersTransport) -> TcpServersTransport:
    """What was read is in the entry of its own; what is left here may be shown."""
    return msgspec.structs.replace(options, tls=None)
