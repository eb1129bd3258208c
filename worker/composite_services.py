"""The endpoints of services over services: weighted, highestRandomWeight, failover. See also mirroring.

A composite looks at its children's health only if it was told to (``healthCheck: {}``), as in the original.

Source: spec v2 sections 3.5 and 3.6.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from shared.arena_block import Block
from shared.cells import ServiceCell
from shared.config.dynamic import Failover
from shared.errors import ClientGone, ExchangeError, NoServerAvailable, ServersDown
from shared.status_ranges import StatusRanges
from worker import replies
from worker.balancing.base import Balancer
from worker.exchange import Exchange
from worker.messages import Response
from worker.replay import BodyTooLarge, read_for_replay, replayed
from worker.server_balancer import ServerBalancer
from worker.sticky import Sessions


class Endpoint:
    """What a service is to its router or its parent.

    Attributes:
        handle: answers an exchange; raises ``ExchangeError`` when it cannot.
        is_up: whether any server behind it is.
        takes_new: whether any server behind it takes new clients; one that drains does not.
        servers: what the plain lane picks servers from; None if that is not all there is to it.
    """

    __slots__ = ("handle", "is_up", "servers", "takes_new")

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[Response]],
        is_up: Callable[[], bool] = lambda: True,
        takes_new: Callable[[], bool] | None = None,
        servers: ServerBalancer | None = None,
    ) -> None:
        self.handle = handle
        self.is_up = is_up
        self.takes_new = takes_new if takes_new is not None else is_up
        self.servers = servers


class ServiceBalancer:
    """Hands exchanges to child services: ``weighted`` and ``highestRandomWeight``.

    Args:
        name: of the service.
        children: in order.
        balancer: picks among them, by position.
        sessions: sticky ones, if asked for.
        block: of the service.
        minds_health: whether children that are down are passed over.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[Endpoint],
        balancer: Balancer,
        sessions: Sessions | None,
        block: Block,
        minds_health: bool,
    ) -> None:
        self._name = name
        self._children = children
        self._balancer = balancer
        self._sessions = sessions
        self._block = block
        self._minds_health = minds_health

    def is_up(self) -> bool:
        """Whether any child is."""
        return any(child.is_up() for child in self._children)

    def takes_new(self) -> bool:
        """Whether any child takes new clients."""
        return any(child.takes_new() for child in self._children)

    async def handle(self, exchange: Exchange) -> Response:
        """The answer of one child.

        Raises:
            NoServerAvailable: none may get this exchange.
            ExchangeError: the child gave no proper answer.
        """
        position = self._choose(exchange)
        if position is None:
            self._block.add(ServiceCell.NO_SERVER)
            raise self._nobody()
        self._block.add(ServiceCell.REQUESTS)
        return await self._children[position].handle(exchange)

    def _nobody(self) -> NoServerAvailable:
        if self._children and self._minds_health and not self.is_up():
            return ServersDown(f"every child of service {self._name} is down")
        return NoServerAvailable(f"service {self._name} has no usable child")

    def _may(self, position: int) -> bool:
        return not self._minds_health or self._children[position].takes_new()

    def _may_stay(self, position: int) -> bool:
        return not self._minds_health or self._children[position].is_up()

    def _choose(self, exchange: Exchange) -> int | None:
        client = exchange.request.client_ip
        if self._sessions is None:
            return self._balancer.pick(self._may, client)
        session = self._sessions.find(exchange.request.headers)
        if session is not None and self._may_stay(session.position):
            position: int | None = session.position
            if session.is_current:
                return position
        else:
            position = self._balancer.pick(self._may, client)
        if position is not None:
            exchange.cookies.append(self._sessions.cookie_for(position))
        return position


class FailoverService:
    """Hands exchanges to a main service, or to another when that is down or answers with an error.

    Args:
        name: of the service.
        options: as configured.
        main, fallback: the two.
        block: of the service.
    """

    def __init__(
        self, name: str, options: Failover, main: Endpoint, fallback: Endpoint, block: Block
    ) -> None:
        self._name = name
        self._main = main
        self._fallback = fallback
        self._block = block
        errors = options.errors
        self._statuses = StatusRanges(errors.status) if errors is not None and errors.status else None
        self._max_body_bytes = errors.max_request_body_bytes if errors is not None else -1

    def is_up(self) -> bool:
        """Whether either is."""
        return self._main.is_up() or self._fallback.is_up()

    def takes_new(self) -> bool:
        """Whether either takes new clients."""
        return self._main.takes_new() or self._fallback.takes_new()

    async def handle(self, exchange: Exchange) -> Response:
        """The answer of the main service, or of the fallback.

        Raises:
            ExchangeError: there is no proper answer.
        """
        self._block.add(ServiceCell.REQUESTS)
        if self._main.takes_new():
            if self._statuses is None:
                return await self._main.handle(exchange)
            return await self._try_main(exchange, self._statuses)
        if self._main.is_up():
            with contextlib.suppress(NoServerAvailable):  # it drains: only the clients it has may go there
                return await self._main.handle(exchange)
        if self._fallback.is_up():
            return await self._fallback.handle(exchange)
        self._block.add(ServiceCell.NO_SERVER)
        exchange.error = ServersDown(f"service {self._name}: main and fallback are down")
        return replies.http_error(exchange.error.status, "Service Unavailable")

    async def _try_main(self, exchange: Exchange, statuses: StatusRanges) -> Response:
        try:
            content = await read_for_replay(exchange.request.body, self._max_body_bytes)
        except BodyTooLarge as error:
            exchange.error = error
            return replies.http_error(error.status, "Request body too large")
        request = exchange.request
        begun = replayed(request, content)
        exchange.request = replayed(request, content)
        cookies = list(exchange.cookies)
        try:
            response = await self._main.handle(exchange)
        except ClientGone:
            raise
        except ExchangeError as error:
            if error.status not in statuses:
                raise
        else:
            if response.status not in statuses:
                return response
            await response.body.aclose()
        exchange.leave_server()
        exchange.request, exchange.cookies = begun, cookies
        exchange.attempts = 0  # another service: its servers have not failed yet
        return await self._fallback.handle(exchange)
