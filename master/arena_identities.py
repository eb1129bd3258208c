"""Plans which identities a table needs, from its content. What did not change is not looked at again."""

from __future__ import annotations

from collections.abc import Iterator

from shared.identities import (
    TCP_MIDDLEWARE,
    TCP_SERVER,
    TCP_SERVICE,
    UDP_SERVER,
    UDP_SERVICE,
    Identity,
    middleware_name,
    of_middleware,
    of_service,
    server_name,
)
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry, TableContent
from shared.table.reader import Table
from shared.table.streams import Streams


class IdentityPlanner:
    """Plans again and again for a configuration that changes a little each time."""

    def __init__(self) -> None:
        self._services: dict[str, tuple[ServiceEntry, tuple[Identity, ...]]] = {}

    def plan(self, content: TableContent) -> frozenset[Identity]:
        """Every identity that workers of this table will look for."""
        fresh: dict[str, tuple[ServiceEntry, tuple[Identity, ...]]] = {}
        found: set[Identity] = set()
        for entry in content.services:
            before = self._services.get(entry.name)
            known = before if before is not None and before[0] is entry else (entry, _of_service(entry))
            fresh[entry.name] = known
            found.update(known[1])
        self._services = fresh
        for router in content.routers:
            found.update(_of_router(router, content.middlewares))
        found.update(of_streams(content.streams))
        return frozenset(found)


def of_streams(streams: Streams) -> Iterator[Identity]:
    """What TCP and UDP keep in the arena: services, their servers, and limits on connections."""
    tcp, udp = streams.tcp, streams.udp
    for service in tcp.services:
        yield Identity(TCP_SERVICE, service.name)
        balancer = service.options.load_balancer
        for server in balancer.servers if balancer is not None else ():
            yield Identity(TCP_SERVER, server_name(service.name, server.address))
    for each in udp.services:
        yield Identity(UDP_SERVICE, each.name)
        udp_balancer = each.options.load_balancer
        for udp_server in udp_balancer.servers if udp_balancer is not None else ():
            yield Identity(UDP_SERVER, server_name(each.name, udp_server.address))
    for router in tcp.routers:
        for number in router.middlewares:
            step = tcp.middlewares[number]
            if step.options.in_flight_conn is not None:
                yield Identity(TCP_MIDDLEWARE, middleware_name(router.name, step.name), keyed=True)


def identities_of_table(table: Table) -> frozenset[Identity]:
    """As ``IdentityPlanner.plan``, from a table that was read back."""
    middlewares = tuple(map(table.middleware, range(table.middleware_count)))
    found: set[Identity] = set()
    for number in range(table.service_count):
        found.update(_of_service(table.service(number)))
    for number in range(table.router_count):
        found.update(_of_router(table.router(number), middlewares))
    found.update(of_streams(table.streams()))
    return frozenset(found)


def _of_service(entry: ServiceEntry) -> tuple[Identity, ...]:
    return of_service(entry.name, entry.options)


def _of_router(router: RouterEntry, middlewares: tuple[MiddlewareEntry, ...]) -> list[Identity]:
    entries = [middlewares[number] for number in router.middlewares]
    return [each for entry in entries for each in of_middleware(router.name, entry.name, entry.options)]
