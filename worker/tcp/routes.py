"""The TCP routes of one generation: which router has a connection, and what it does with it.

At an entrypoint that HTTP shares, the order is that of spec v2 section 6.1. Without TLS: the first TCP router
that matches, else HTTP. With TLS: HTTP routers that name this host; TCP routers but for HostSNI(`*`); HTTP
routers that name no host; HostSNI(`*`); and if nobody wants it HTTP, which answers 404.

Routers with TLS are found by name (``worker.tcp.index``); those without have no name and are few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

from shared.rules.predicates import Predicate, compile_predicate
from shared.table.stream_routes import TcpContent, TcpEntrance, TcpMiddlewareEntry, TcpRouterEntry
from worker.tcp.facts import Facts
from worker.tcp.index import NameIndex
from worker.tcp.services import TcpEndpoint
from worker.tcp.steps import TcpStep

MakeTcpEndpoint = Callable[[TcpContent, int], TcpEndpoint]
BuildTcpStep = Callable[[TcpMiddlewareEntry, TcpRouterEntry], TcpStep]


class Onward(Enum):
    """No TCP router has it: who else."""

    HTTP = auto()
    HTTPS = auto()


class TcpRoute:
    """A router, ready.

    Attributes:
        name: of the router, qualified.
        entry: as in the table.
        holds: whether a connection fulfils its rule.
        steps: who may pass.
        endpoint: its service.
    """

    __slots__ = ("endpoint", "entry", "holds", "name", "steps")

    def __init__(
        self, entry: TcpRouterEntry, holds: Predicate, steps: Sequence[TcpStep], endpoint: TcpEndpoint
    ) -> None:
        self.name = entry.name
        self.entry = entry
        self.holds = holds
        self.steps = tuple(steps)
        self.endpoint = endpoint


class TcpRoutes:
    """What one entrypoint does with connections.

    Args:
        entrance: as in the table.
        routes: its routers, in match order.

    Attributes:
        needs_hello: whether the first bytes decide: there is something for TLS connections.
    """

    def __init__(self, entrance: TcpEntrance, routes: Sequence[TcpRoute]) -> None:
        self._plain = [each for each in routes if each.entry.tls == "plain"]
        secure = [each for each in routes if each.entry.tls != "plain"]
        self._secure = NameIndex([(each.entry.condition, each) for each in secure])
        self._https_hosts = frozenset(host.removesuffix(".") for host in entrance.https_hosts)
        self._https_catches_all = entrance.has_https_catch_all
        self.needs_hello = bool(secure) or entrance.has_https

    def match_plain(self, facts: Facts) -> TcpRoute | Onward:
        """Who has a connection without TLS, or one of which nothing is known yet."""
        return next((each for each in self._plain if each.holds(facts)), Onward.HTTP)

    def match_secure(self, facts: Facts) -> TcpRoute | Onward:
        """Who has a connection that begins with a ClientHello."""
        if self._is_https(facts.host):
            return Onward.HTTPS
        route = self.match_secure_tcp(facts)
        if route is not None and not (route.entry.is_catch_all and self._https_catches_all):
            return route
        return Onward.HTTPS

    def match_secure_tcp(self, facts: Facts) -> TcpRoute | None:
        """The TCP router for a ClientHello, as if there were no HTTP."""
        return next((each for each in self._secure.candidates(facts.host) if each.holds(facts)), None)

    def _is_https(self, host: str) -> bool:
        return bool(host) and (
            host in self._https_hosts or f"*.{host.partition('.')[2]}" in self._https_hosts
        )


def make_tcp_routes(
    content: TcpContent, make_endpoint: MakeTcpEndpoint, build_step: BuildTcpStep
) -> Mapping[str, TcpRoutes]:
    """The routes of a table by entrypoint; entrypoints without TCP routers have none."""
    made: dict[int, TcpRoute] = {}
    found: dict[str, TcpRoutes] = {}
    for entrance in content.entrances:
        for number in entrance.routers:
            if number not in made:
                entry = content.routers[number]
                steps = [build_step(content.middlewares[each], entry) for each in entry.middlewares]
                endpoint = make_endpoint(content, entry.service)
                made[number] = TcpRoute(entry, compile_predicate(entry.condition), steps, endpoint)
        found[entrance.entrypoint] = TcpRoutes(entrance, [made[number] for number in entrance.routers])
    return found
