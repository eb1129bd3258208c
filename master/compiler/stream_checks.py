"""What TCP and UDP objects must fulfil, one function per demand (spec v2 sections 4.9, 6.2 and 6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from master.compiler.catalog import Item, qualify
from master.compiler.services import MAX_SERVICE_DEPTH, MULTI_TYPES
from shared.addresses import parse_networks, split_address
from shared.config.diagnostics import Diagnostics, nearest_name
from shared.config.dynamic import (
    ProxyProtocol,
    TcpServer,
    TcpService,
    UdpServer,
    UdpService,
    Weighted,
)
from shared.config.middlewares import IpAllowList, TcpMiddleware
from shared.errors import ConfigError

PROXY_PROTOCOL_VERSIONS = (1, 2)

_Server = TypeVar("_Server", TcpServer, UdpServer)
_Service = TypeVar("_Service", TcpService, UdpService)


def check_tcp_middleware(options: TcpMiddleware) -> TcpMiddleware:
    """The middleware with its old name replaced.

    Raises:
        ConfigError: it is of no kind or of several, or its options are impossible.
    """
    kinds = [name for name in options.__struct_fields__ if getattr(options, name) is not None]
    if len(kinds) != 1:
        raise ConfigError("", "a middleware needs exactly one type")
    if options.ip_white_list is not None:
        allowed = IpAllowList(source_range=options.ip_white_list.source_range)
        options = TcpMiddleware(ip_allow_list=allowed)
    if options.ip_allow_list is not None:
        if not options.ip_allow_list.source_range:
            raise ConfigError("sourceRange", "sourceRange is empty, so nobody could pass")
        parse_networks(options.ip_allow_list.source_range, "sourceRange")
    return options


def check_version(options: ProxyProtocol | None) -> None:
    """Refuse versions of the PROXY protocol that do not exist."""
    if options is not None and options.version not in PROXY_PROTOCOL_VERSIONS:
        raise ConfigError("", f"unknown proxyProtocol version: {options.version}; there are 1 and 2")


def check_circle(name: str, trail: tuple[str, ...]) -> None:
    """Refuse services that lead to themselves."""
    if name in trail or len(trail) >= MAX_SERVICE_DEPTH:
        path = " -> ".join((*trail, name))
        raise ConfigError("", f"services refer to each other in a circle: {path}")


def find_service(name: str, items: Mapping[str, Item[_Service]]) -> Item[_Service]:
    """The service of this name."""
    item = items.get(name)
    if item is None:
        raise ConfigError("", f'the service "{name}" does not exist', nearest_name(name, items))
    return item


def check_kinds(name: str, service: TcpService | UdpService) -> None:
    """Refuse services of no kind and of several."""
    kinds = [kind for kind in service.__struct_fields__ if getattr(service, kind) is not None]
    if not kinds:
        raise ConfigError("", f'the service "{name}" does not have any type defined')
    if len(kinds) > 1:
        raise ConfigError("", f"{MULTI_TYPES} (service {name})")


def qualified_members(weighted: Weighted, provider: str) -> Weighted:
    """The same with qualified child names."""
    members = (msgspec.structs.replace(each, name=qualify(each.name, provider)) for each in weighted.services)
    return msgspec.structs.replace(weighted, services=tuple(members))


def usable_servers(
    item: Item[TcpService] | Item[UdpService], servers: Iterable[_Server], found: Diagnostics
) -> tuple[_Server, ...]:
    """The servers that have an address; of the others ``found`` is told."""
    good: list[_Server] = []
    for index, server in enumerate(servers):
        try:
            split_address(server.address)
        except ConfigError as error:
            where = ("loadBalancer", "servers", index, "address")
            item.error(found, f"{error.reason}; this server is left out", None, *where)
        else:
            good.append(server)
    return tuple(good)
