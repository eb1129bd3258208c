"""The endpoint of a ``loadBalancer`` service: choose a server, sticky clients first, and send.

Source: spec v2 sections 3.2 to 3.4, spec v1 sections 4.1 to 4.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.arena_block import Block
from shared.cells import ServiceCell
from shared.errors import NoServerAvailable, ServersDown
from worker.balancing.base import Balancer
from worker.exchange import Exchange
from worker.messages import Response
from worker.rebalancing import DynamicRoundRobin
from worker.sticky import Sessions
from worker.target import Send, Target


class ServerBalancer:
    """Hands exchanges to the servers of one service.

    Args:
        name: of the service.
        targets: its servers, in order.
        balancer: picks among them, by position.
        sessions: sticky ones, if asked for.
        block: of the service.
        send: where exchanges leave.
        is_v1: whether clients are told in v1's words when nobody is there.
    """

    def __init__(
        self,
        name: str,
        targets: Sequence[Target],
        balancer: Balancer,
        sessions: Sessions | None,
        block: Block,
        send: Send,
        is_v1: bool = False,
    ) -> None:
        self._name = name
        self._targets = targets
        self._balancer = balancer
        self._sessions = sessions
        self._block = block
        self._send = send
        self._is_v1 = is_v1

    def is_up(self) -> bool:
        """Whether any server is."""
        return any(target.is_up for target in self._targets)

    def takes_new(self) -> bool:
        """Whether any server takes new clients."""
        return any(target.takes_new for target in self._targets)

    async def handle(self, exchange: Exchange) -> Response:
        """The answer of one server.

        Raises:
            NoServerAvailable: none may get this exchange.
            ExchangeError: the server gave no proper answer.
        """
        target = self._chosen(exchange)
        try:
            return await target.exchange(exchange, self._send)
        finally:
            if isinstance(self._balancer, DynamicRoundRobin):
                self._balancer.note_answer()

    @property
    def is_plain(self) -> bool:
        """Whether exchanges with its servers need nothing but a connection that is open already."""
        return (
            self._sessions is None
            and not isinstance(self._balancer, DynamicRoundRobin)
            and all(target.server.is_plain for target in self._targets)
        )

    def choose_plain(self, exchange: Exchange) -> Target | None:
        """The server for an exchange of the plain lane; None if there is none, which is not counted."""
        position = self._choose(exchange)
        if position is None:
            return None
        self._block.add(ServiceCell.REQUESTS)
        return self._targets[position]

    def _chosen(self, exchange: Exchange) -> Target:
        begun = exchange.resumption.target if exchange.resumption is not None else None
        if begun is not None and exchange.attempts == 0:
            return begun
        position = self._choose(exchange)
        if position is None:
            self._block.add(ServiceCell.NO_SERVER)
            error = self._nobody()
            error.is_v1 = self._is_v1
            raise error
        self._block.add(ServiceCell.REQUESTS)
        return self._targets[position]

    def _nobody(self) -> NoServerAvailable:
        if not self._targets:
            return NoServerAvailable(f"service {self._name} has no servers")
        if not self.is_up():
            return ServersDown(f"every server of service {self._name} is down")
        return NoServerAvailable(f"no server of service {self._name} takes new clients")

    def _choose(self, exchange: Exchange) -> int | None:
        failed = exchange.server_url if exchange.attempts else None
        if self._sessions is None:
            return self._pick(exchange, failed)
        session = self._sessions.find(exchange.request.headers)
        if session is not None:
            target = self._targets[session.position]
            if target.is_up and target.server.url != failed:
                if not session.is_current:
                    exchange.cookies.append(self._sessions.cookie_for(session.position))
                return session.position
        position = self._pick(exchange, failed)
        if position is not None:
            exchange.cookies.append(self._sessions.cookie_for(position))
        return position

    def _pick(self, exchange: Exchange, failed: str | None) -> int | None:
        """A server that takes new clients; the one that just failed only if there is no other."""
        targets, client = self._targets, exchange.request.client_ip
        if failed is not None:
            position = self._balancer.pick(
                lambda each: targets[each].takes_new and targets[each].server.url != failed, client
            )
            if position is not None:
                return position
        return self._balancer.pick(lambda each: targets[each].takes_new, client)
