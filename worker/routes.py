"""The routes of one generation: routers ready to serve, each made when a request first needs it.

Installing a table therefore costs the same for ten routers and for 100,000. What is made is kept for as long
as the generation lives; there is at most one predicate and one route per router.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from shared.rules.conditions import Matchable
from shared.rules.predicates import Predicate, compile_predicate
from shared.table.entries import MiddlewareEntry, RouterEntry, ServiceEntry
from shared.table.reader import Table
from worker.matching import match
from worker.pipeline import Handler, Step, compose, runs_at_once
from worker.tcp.routes import TcpRoutes
from worker.tls.material import TlsMaterial
from worker.udp.services import UdpRoute

_INTERNAL_SUFFIX = "@internal"
NO_TCP: Mapping[str, TcpRoutes] = MappingProxyType({})
NO_UDP: Mapping[str, UdpRoute] = MappingProxyType({})

MakeEndpoint = Callable[[ServiceEntry], Handler]
"""What forwards to a service. Called once per service that a used router names."""

BuildStep = Callable[[MiddlewareEntry, RouterEntry], Step]
"""The step of a middleware in one router's chain: breakers and limits count per use, not per middleware."""


class Route:
    """A router with its chain composed.

    Attributes:
        name: of the router, qualified.
        entry: as in the table.
        predicate: whether a request fulfils its rule.
        steps: its chain, in order.
        endpoint: what the chain ends in.
        handler: the chain around it.
        service_name: of the service, qualified.
        runs_at_once: whether the plain lane can run the chain.
        is_internal: whether the service is one of Penstock's own (``api@internal``).
    """

    __slots__ = (
        "endpoint",
        "entry",
        "handler",
        "is_internal",
        "name",
        "predicate",
        "runs_at_once",
        "service_name",
        "steps",
    )

    def __init__(
        self,
        entry: RouterEntry,
        predicate: Predicate,
        steps: tuple[Step, ...],
        endpoint: Handler,
        service_name: str,
    ) -> None:
        self.name = entry.name
        self.entry = entry
        self.predicate = predicate
        self.steps = steps
        self.endpoint = endpoint
        self.handler = compose(steps, endpoint)
        self.runs_at_once = runs_at_once(steps)
        self.service_name = service_name
        self.is_internal = service_name.endswith(_INTERNAL_SUFFIX)


class Routes:
    """All routes of a table.

    Args:
        table: an opened table.
        make_endpoint: makes what forwards to a service.
        build_step: makes the step of a middleware.
        tls: certificates and options of this generation; by default those of the table.
        tcp: routes of connections that are not HTTP, by entrypoint.
        udp: services of datagrams, by entrypoint.
    """

    def __init__(
        self,
        table: Table,
        make_endpoint: MakeEndpoint,
        build_step: BuildStep,
        tls: TlsMaterial | None = None,
        tcp: Mapping[str, TcpRoutes] = NO_TCP,
        udp: Mapping[str, UdpRoute] = NO_UDP,
    ) -> None:
        self.table = table
        self.tls = tls if tls is not None else TlsMaterial(table.streams().tls)
        self.tcp = tcp
        self.udp = udp
        self._make_endpoint = make_endpoint
        self._build_step = build_step
        self._predicates: dict[int, Predicate] = {}
        self._endpoints: dict[int, Handler] = {}
        self._routes: dict[int, Route] = {}

    def match(self, entrypoint: str, tls: bool, request: Matchable) -> Route | None:
        """The route that serves a request, or None.

        Raises:
            TableError: the table is damaged where this request leads.
        """
        number = match(self.table, self._predicate, entrypoint, tls, request)
        if number is None:
            return None
        return self._routes.get(number) or self._make_route(number)

    def _predicate(self, number: int) -> Predicate:
        known = self._predicates.get(number)
        if known is None:
            known = self._predicates[number] = compile_predicate(self.table.router(number).condition)
        return known

    def _make_route(self, number: int) -> Route:
        entry = self.table.router(number)
        steps = tuple(self._build_step(self.table.middleware(each), entry) for each in entry.middlewares)
        endpoint = self._endpoints.get(entry.service)
        service = self.table.service(entry.service)
        if endpoint is None:
            endpoint = self._endpoints[entry.service] = self._make_endpoint(service)
        route = Route(entry, self._predicate(number), steps, endpoint, service.name)
        self._routes[number] = route
        return route
