"""TCP and UDP objects that were checked and linked: what the table's streams are assembled from."""

from __future__ import annotations

import msgspec

from shared.config.dynamic import TcpServersTransport, TcpService, UdpService
from shared.config.middlewares import TcpMiddleware
from shared.rules.conditions import AnyCondition
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry
from shared.table.stream_routes import TlsMode


class CheckedTcpMiddleware(msgspec.Struct, frozen=True, eq=False):
    """A TCP middleware that can be built."""

    name: str
    options: TcpMiddleware


class CheckedTcpTransport(msgspec.Struct, frozen=True, eq=False):
    """A way to speak to TCP servers that can be used."""

    name: str
    options: TcpServersTransport
    tls: ClientTlsEntry = DEFAULT_TLS


class CheckedTcpService(msgspec.Struct, frozen=True, eq=False):
    """A TCP service whose children and transport exist."""

    name: str
    options: TcpService
    children: tuple[CheckedTcpService, ...]
    transport: CheckedTcpTransport


class CheckedUdpService(msgspec.Struct, frozen=True, eq=False):
    """A UDP service whose children exist."""

    name: str
    options: UdpService
    children: tuple[CheckedUdpService, ...]


class LinkedTcpRouter(msgspec.Struct, frozen=True, eq=False):
    """A TCP router with everything it needs; it can outlive what it was linked from."""

    name: str
    provider: str
    rule: str
    condition: AnyCondition
    priority: int
    is_catch_all: bool
    tls: TlsMode
    tls_options: str
    middlewares: tuple[CheckedTcpMiddleware, ...]
    service: CheckedTcpService
    entry_points: tuple[str, ...]


class LinkedUdpRouter(msgspec.Struct, frozen=True, eq=False):
    """A UDP router with everything it needs."""

    name: str
    provider: str
    service: CheckedUdpService
    entry_points: tuple[str, ...]
