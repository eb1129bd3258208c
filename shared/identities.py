"""Which objects of a table have a block in the arena, and under which names. Pure."""

from __future__ import annotations

import msgspec

from shared.breaker_counters import Question, question_of
from shared.breaker_expression import parse_expression
from shared.cells import Kept
from shared.config.dynamic import Service
from shared.config.middlewares import Middleware

SERVICE, SERVER, MIDDLEWARE, WINDOW = "service", "server", "middleware", "window"
TCP_SERVICE, TCP_SERVER = "tcp-service", "tcp-server"
UDP_SERVICE, UDP_SERVER = "udp-service", "udp-server"
TCP_MIDDLEWARE = "tcp-middleware"
"""Kinds of their own: an HTTP and a TCP service may have one name."""


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """An object that the arena knows.

    Attributes:
        kind: one of the kinds above.
        name: see the functions below.
        keyed: whether it has keyed tables.
        kept: what of it outlives processes beyond counters, a ``Kept``.
    """

    kind: str
    name: str
    keyed: bool = False
    kept: int = Kept.NOTHING


def server_name(service: str, url: str) -> str:
    """The name of a server's block: a server of two services has two."""
    return f"{service} {url}"


def middleware_name(router: str, middleware: str) -> str:
    """The name of a middleware's block: breakers and limits count per use."""
    return f"{router} {middleware}"


def of_service(name: str, options: Service) -> tuple[Identity, ...]:
    """A service and its servers."""
    servers = options.load_balancer.servers if options.load_balancer is not None else ()
    return (
        Identity(SERVICE, name),
        *(Identity(SERVER, server_name(name, server.url)) for server in servers),
    )


def window_name(breaker: str, number: int) -> str:
    """The name of the block of one of a breaker's rolling counters."""
    return f"{breaker} {number}"


def state_name(router: str, middleware: str, options: Middleware) -> str:
    """The name of a middleware's block: its own alone if one state serves all routers that use it."""
    for section in (options.circuit_breaker, options.in_flight_req):
        if section is not None and section.is_shared:
            return middleware
    return middleware_name(router, middleware)


def breaker_question(expression: str) -> Question:
    """What a breaker's expression asks about its counters; one window each.

    Raises:
        ConfigError: it cannot be understood.
    """
    return question_of(parse_expression(expression))


def of_middleware(router: str, name: str, options: Middleware) -> tuple[Identity, ...]:
    """What a middleware in one router's chain needs, if it keeps state."""
    own = state_name(router, name, options)
    if options.circuit_breaker is not None:
        counters = breaker_question(options.circuit_breaker.expression).counters
        names = (window_name(own, number) for number in range(len(counters)))
        windows = (Identity(WINDOW, name, kept=Kept.WINDOW) for name in names)
        return (Identity(MIDDLEWARE, own, kept=Kept.SHARE), *windows)
    if options.rate_limit is not None:
        return (Identity(MIDDLEWARE, own, keyed=True, kept=Kept.RATES),)
    if options.in_flight_req is not None:
        return (Identity(MIDDLEWARE, own, keyed=True),)
    return ()
