"""Services of a worker: what stands behind routers and hands exchanges to servers.

The state of a service (its position in the round, its servers' connections) belongs to its qualified name
and outlives generations; an endpoint belongs to one generation and uses that state. Figures of the whole
proxy are in the arena.

An endpoint answers: what goes wrong behind it becomes a reply here, inside the chain, so that steps around it
(security headers, CORS, breakers, retries) see an answer like any other. ``exchange.error`` keeps the cause.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from shared.arena import Arena
from shared.config.dynamic import Failover, HighestRandomWeight, LoadBalancer, Mirroring, Weighted
from shared.errors import ClientGone, ExchangeError, TableError
from shared.headers import Headers
from shared.identities import SERVER, SERVICE, server_name
from shared.table.entries import ServiceEntry
from shared.table.reader import Table
from worker import replies
from worker.balancing.base import Balancer, Member
from worker.balancing.highest_random_weight import HighestRandomWeight as HashedChildren
from worker.balancing.weighted_round_robin import WeightedRoundRobin
from worker.blocks import Blocks
from worker.composite_services import Endpoint, FailoverService, ServiceBalancer
from worker.exchange import Exchange
from worker.forward import forward
from worker.health import make_health
from worker.messages import Response
from worker.mirroring import Copies, Counter, MirroringService
from worker.pipeline import Handler
from worker.pool import Pools
from worker.server import Server, make_server
from worker.server_balancer import ServerBalancer
from worker.sticky import make_sessions
from worker.strategies import MAX_REMEMBERED, Strategies
from worker.target import Health, Target

logger = logging.getLogger(__name__)


class Generation:
    """The endpoints of one table.

    Attributes:
        table: the table.
        endpoints: what was made of its services so far, by qualified name.
    """

    __slots__ = ("endpoints", "table")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.endpoints: dict[str, Endpoint] = {}


class Services:
    """All services of a worker, over all generations.

    Args:
        pools: connections to servers.
        internal: services that the worker answers itself, by qualified name.
        health: of all servers; None for what each service asks for.
    """

    def __init__(self, pools: Pools, internal: Mapping[str, Handler], health: Health | None = None) -> None:
        self._pools = pools
        self._internal = internal
        self._health = health
        self._blocks: Blocks | None = None
        self._strategies = Strategies()
        self._counters: dict[str, tuple[tuple[int, ...], Counter]] = {}
        self.copies = Copies()

    def use_arena(self, arena: Arena) -> None:
        """Count in this arena from now on."""
        self._blocks = Blocks(arena)

    @property
    def blocks(self) -> Blocks:
        """Blocks of the arena; without a master, of one of our own."""
        if self._blocks is None:
            self._blocks = Blocks()
        return self._blocks

    def endpoint_maker(self, table: Table) -> Callable[[ServiceEntry], Handler]:
        """What makes the endpoints of one generation; they answer also when something went wrong."""
        generation = Generation(table)
        blocks = self.blocks  # made now, if there is no master, and not by the first exchange
        logger.debug("endpoints count in column %d", blocks.arena.column)

        def make_endpoint(entry: ServiceEntry) -> Handler:
            return AnsweringEndpoint(self._endpoint(entry, generation))

        return make_endpoint

    def _endpoint(self, entry: ServiceEntry, generation: Generation) -> Endpoint:
        """The one endpoint of a service in a generation, however many refer to it."""
        made = generation.endpoints.get(entry.name)
        if made is None:
            made = generation.endpoints[entry.name] = self._make_endpoint(entry, generation)
        return made

    def _make_endpoint(self, entry: ServiceEntry, generation: Generation) -> Endpoint:
        """An endpoint.

        Raises:
            TableError: the service is of no kind.
        """
        if entry.name in self._internal:
            return Endpoint(self._internal[entry.name])
        options = entry.options
        if options.load_balancer is not None:
            return self._balance_servers(entry, options.load_balancer, generation.table)
        table = generation.table
        children = [self._endpoint(table.service(each), generation) for each in entry.children]
        if options.weighted is not None:
            return self._balance_services(entry, options.weighted, children)
        if options.highest_random_weight is not None:
            return self._hash_to_services(entry, options.highest_random_weight, children)
        if options.mirroring is not None:
            return self._mirror(entry, options.mirroring, children)
        if options.failover is not None:
            return self._fail_over(entry, options.failover, children)
        raise TableError(f"service {entry.name} is of no kind")

    def _balance_servers(self, entry: ServiceEntry, options: LoadBalancer, table: Table) -> Endpoint:
        transport = table.transport(entry.transport)
        block = self.blocks.get(SERVICE, entry.name)
        health = self._health or make_health(entry.name, options, self.blocks.arena.clock)
        targets = [
            Target(
                make_server(each, options, transport, self._pools),
                self.blocks.get(SERVER, server_name(entry.name, each.url)),
                each.fenced,
                health,
            )
            for each in options.servers
        ]
        arena = self.blocks.arena
        strategy = f"v1-{options.v1_method}" if options.v1_method else options.strategy
        balancer = self._strategies.over_servers(entry.name, strategy, targets, block, arena)
        urls = [target.server.url for target in targets]
        sessions = make_sessions(entry.name, options.sticky, urls, with_urls=bool(options.v1_method))
        made = ServerBalancer(
            entry.name, targets, balancer, sessions, block, self._send, bool(options.v1_method)
        )
        return Endpoint(made.handle, made.is_up, made.takes_new, made if made.is_plain else None)

    def _send(self, exchange: Exchange, server: Server) -> Awaitable[Response]:
        """Where an exchange leaves for its server; ``explain`` ends it here."""
        return forward(exchange, server)

    def _balance_services(self, entry: ServiceEntry, options: Weighted, children: list[Endpoint]) -> Endpoint:
        names = [_label(each.name, entry.name) for each in options.services]
        block = self.blocks.get(SERVICE, entry.name)
        members = _members(names, [each.weight for each in options.services])
        balancer = self._strategies.round_robin(entry.name, WeightedRoundRobin, members, block)
        sessions = make_sessions(entry.name, options.sticky, names)
        minds_health = options.health_check is not None
        made = ServiceBalancer(entry.name, children, balancer, sessions, block, minds_health)
        return Endpoint(made.handle, made.is_up, made.takes_new)

    def _hash_to_services(
        self, entry: ServiceEntry, options: HighestRandomWeight, children: list[Endpoint]
    ) -> Endpoint:
        names = [_label(each.name, entry.name) for each in options.services]
        balancer: Balancer = HashedChildren(_members(names, [each.weight for each in options.services]))
        block = self.blocks.get(SERVICE, entry.name)
        made = ServiceBalancer(entry.name, children, balancer, None, block, options.health_check is not None)
        return Endpoint(made.handle, made.is_up, made.takes_new)

    def _mirror(self, entry: ServiceEntry, options: Mirroring, children: list[Endpoint]) -> Endpoint:
        percents = tuple(each.percent for each in options.mirrors)
        basis, counter = self._counters.get(entry.name, ((), None))
        if counter is None or basis != percents:
            counter = Counter(percents)
            self._counters[entry.name] = (percents, counter)
            if len(self._counters) > MAX_REMEMBERED:
                del self._counters[next(iter(self._counters))]
        block = self.blocks.get(SERVICE, entry.name)
        made = MirroringService(options, children[0], children[1:], counter, block, self.copies)
        return Endpoint(made.handle, made.is_up, made.takes_new)

    def _fail_over(self, entry: ServiceEntry, options: Failover, children: list[Endpoint]) -> Endpoint:
        main, fallback = children
        block = self.blocks.get(SERVICE, entry.name)
        made = FailoverService(entry.name, options, main, fallback, block)
        return Endpoint(made.handle, made.is_up, made.takes_new)


class AnsweringEndpoint:
    """What a chain ends in: it answers whatever happens, unless the client is gone.

    Args:
        endpoint: of the service.
    """

    __slots__ = ("_handle", "servers")

    def __init__(self, endpoint: Endpoint) -> None:
        self._handle = endpoint.handle
        self.servers = endpoint.servers

    async def __call__(self, exchange: Exchange) -> Response:
        """Answer an exchange."""
        exchange.error = None  # of an attempt before this one
        exchange.cookies = []
        try:
            response = await self._handle(exchange)
        except ClientGone:
            raise
        except ExchangeError as error:
            exchange.error = error
            response = replies.for_error(error)
        if exchange.cookies:
            ours = [(b"Set-Cookie", cookie) for cookie in exchange.cookies]
            response.headers = Headers([*ours, *response.headers])
        return response


def _members(names: list[str], weights: list[int | None]) -> list[Member]:
    pairs = zip(names, weights, strict=True)
    return [Member(name, 1 if weight is None else weight) for name, weight in pairs]


def _label(child: str, parent: str) -> str:
    """A child's name as it was written: without the provider if that is the parent's own."""
    return child.removesuffix(f"@{parent.rpartition('@')[2]}")
