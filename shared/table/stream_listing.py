"""The text form of a table's TCP and UDP side; see ``listing``. Secrets have no place in it."""

from __future__ import annotations

from collections.abc import Iterator

from shared.config.dynamic import TcpService, UdpService
from shared.table.stream_routes import TcpContent, UdpContent
from shared.table.streams import Streams


def describe_streams(streams: Streams) -> list[str]:
    """What a table says about TCP and UDP, as lines; nothing if there is nothing."""
    return [*_tcp(streams.tcp), *_udp(streams.udp)]


def _tcp(content: TcpContent) -> Iterator[str]:
    for entrance in content.entrances:
        yield f"entrypoint {entrance.entrypoint} tcp"
        yield from (f"  {content.routers[number].name}" for number in entrance.routers)
    for router in sorted(content.routers, key=lambda each: each.name):
        yield f"tcp router {router.name}"
        yield f"  rule {router.rule}"
        yield f"  priority {router.priority}"
        yield f"  tls {router.tls}"
        yield from (f"  middleware {content.middlewares[number].name}" for number in router.middlewares)
        yield f"  service {content.services[router.service].name}"
    for service in content.services:
        yield f"tcp service {service.name}"
        yield from _members(service.options)
        yield f"  transport {content.transports[service.transport].name}"


def _udp(content: UdpContent) -> Iterator[str]:
    for entrance in content.entrances:
        yield f"entrypoint {entrance.entrypoint} udp"
        yield f"  {entrance.router}"
        yield f"  service {content.services[entrance.service].name}"
    for service in content.services:
        yield f"udp service {service.name}"
        yield from _members(service.options)


def _members(service: TcpService | UdpService) -> Iterator[str]:
    if service.load_balancer is not None:
        yield from (f"  server {server.address}" for server in service.load_balancer.servers)
    if service.weighted is not None:
        for child in service.weighted.services:
            yield f"  child {child.name} weight {1 if child.weight is None else child.weight}"
