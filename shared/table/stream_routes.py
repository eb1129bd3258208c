"""What a table says about TCP and UDP: routers, services and transports. Few entries, decoded whole.

As everywhere in a table, references are indexes into sibling lists, and everything in it has been checked.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.config.dynamic import TcpServersTransport, TcpService, UdpService
from shared.config.middlewares import TcpMiddleware
from shared.rules.conditions import AnyCondition
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry

TlsMode = Literal["plain", "terminate", "passthrough"]
"""What a router sees: connections without TLS; the inside of TLS; TLS that only its server can read."""


class TcpMiddlewareEntry(msgspec.Struct, frozen=True, array_like=True):
    """One TCP middleware; ``options`` has exactly one kind set."""

    name: str
    options: TcpMiddleware


class TcpTransportEntry(msgspec.Struct, frozen=True, array_like=True):
    """One way to speak to TCP servers; what ``options`` say about TLS is in ``tls``, with files read."""

    name: str
    options: TcpServersTransport
    tls: ClientTlsEntry = DEFAULT_TLS


class TcpServiceEntry(msgspec.Struct, frozen=True, array_like=True):
    """One TCP service. Child names in ``options`` are qualified.

    Attributes:
        name: qualified; the identity that its position and figures follow.
        children: indexes of child services, in the order that ``options`` names them.
        transport: index into the transports.
    """

    name: str
    options: TcpService
    children: tuple[int, ...]
    transport: int


class TcpRouterEntry(msgspec.Struct, frozen=True, array_like=True):
    """One TCP router.

    Attributes:
        name: qualified.
        rule: as written, for people.
        condition: what it means (``shared.rules.tcp``).
        priority: computed.
        tls: which connections it sees.
        tls_options: name of the TLS options it terminates with; empty without TLS.
        is_catch_all: its rule is HostSNI(`*`) and nothing else.
        middlewares: indexes, in order.
        service: index into the services.
    """

    name: str
    rule: str
    condition: AnyCondition
    priority: int
    tls: TlsMode
    tls_options: str
    is_catch_all: bool
    middlewares: tuple[int, ...]
    service: int


class TcpEntrance(msgspec.Struct, frozen=True, array_like=True):
    """The TCP side of one entrypoint.

    Attributes:
        entrypoint: its name.
        routers: indexes, in match order.
        https_hosts: lower-case hosts that HTTP routers with TLS name there; ``*.x`` stands for one label.
        has_https: whether there are HTTP routers with TLS at all.
        has_https_catch_all: whether one of them names no host.
    """

    entrypoint: str
    routers: tuple[int, ...]
    https_hosts: tuple[str, ...] = ()
    has_https: bool = False
    has_https_catch_all: bool = False


class TcpContent(msgspec.Struct, frozen=True, array_like=True):
    """Everything about TCP."""

    routers: tuple[TcpRouterEntry, ...] = ()
    services: tuple[TcpServiceEntry, ...] = ()
    middlewares: tuple[TcpMiddlewareEntry, ...] = ()
    transports: tuple[TcpTransportEntry, ...] = ()
    entrances: tuple[TcpEntrance, ...] = ()


class UdpServiceEntry(msgspec.Struct, frozen=True, array_like=True):
    """One UDP service; as ``TcpServiceEntry``."""

    name: str
    options: UdpService
    children: tuple[int, ...]


class UdpEntrance(msgspec.Struct, frozen=True, array_like=True):
    """The one router of a UDP entrypoint.

    Attributes:
        entrypoint: its name.
        router: the router's qualified name.
        service: index into the services.
    """

    entrypoint: str
    router: str
    service: int


class UdpContent(msgspec.Struct, frozen=True, array_like=True):
    """Everything about UDP."""

    services: tuple[UdpServiceEntry, ...] = ()
    entrances: tuple[UdpEntrance, ...] = ()
