"""Small routing tables for tests: one service, one transport, the routers given."""

from __future__ import annotations

from shared.config.dynamic import LoadBalancer, Server, ServersTransport, Service
from shared.config.middlewares import AddPrefix, Middleware
from shared.table.entries import (
    MiddlewareEntry,
    RouterEntry,
    RouterList,
    ServiceEntry,
    TableContent,
    TransportEntry,
)

ENTRYPOINT = "web"


def table_of(conditions, lists=None, names=None) -> TableContent:
    """A table whose routers have these conditions, in match order, on ``ENTRYPOINT`` without TLS."""
    names = names or [f"r{number}" for number in range(len(conditions))]
    return TableContent(
        routers=tuple(
            RouterEntry(f"{name}@file", f"rule {number}", condition, -number, (0,), 0)
            for number, (name, condition) in enumerate(zip(names, conditions, strict=True))
        ),
        middlewares=(MiddlewareEntry("add@file", Middleware(add_prefix=AddPrefix(prefix="/x"))),),
        services=(service_entry("app@file"),),
        transports=(TransportEntry("default@internal", ServersTransport()),),
        lists=lists or (RouterList(ENTRYPOINT, False, tuple(range(len(conditions)))),),
    )


def service_entry(name: str) -> ServiceEntry:
    """A service of one server."""
    balancer = LoadBalancer(servers=(Server(url="http://127.0.0.1:1"),))
    return ServiceEntry(name, Service(load_balancer=balancer), (), 0)
