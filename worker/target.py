"""A server as its service sees it: server, arena block, health, and the one place that records outcomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from shared.arena_block import Block
from shared.cells import ServerCell
from shared.errors import ConnectTimeout, ResponseTimeout, UpstreamError
from worker.balancing.rebalancer import BAD_STATUSES
from worker.exchange import Exchange
from worker.first_bytes import FirstBytes
from worker.health import FAILED_STATUS
from worker.messages import Response
from worker.server import Server


class Health(Protocol):
    """What the master's checks say about a server."""

    def is_up(self, block: Block) -> bool:
        """Whether it may get exchanges at all."""

    def is_draining(self, block: Block) -> bool:
        """Whether it keeps the clients it has and gets no new ones."""

    def note_outcome(self, block: Block, url: str, *, is_failure: bool) -> None:
        """An exchange with it ended; failed ones may put it out."""


class AlwaysUp:
    """Health without checks."""

    def is_up(self, block: Block) -> bool:
        """Yes."""
        return True

    def is_draining(self, block: Block) -> bool:
        """No."""
        return False

    def note_outcome(self, block: Block, url: str, *, is_failure: bool) -> None:
        """Nobody minds."""


Send = Callable[[Exchange, Server], Awaitable[Response]]
"""Where an exchange leaves for its server; raises ``ExchangeError`` when there is no answer."""


class Target:
    """One server of a service.

    Args:
        server: where to send.
        block: of this server in this service.
        fenced: whether it keeps the clients it has and gets no new ones.
        health: of servers.
    """

    __slots__ = ("_health", "block", "fenced", "first_bytes", "server")

    def __init__(self, server: Server, block: Block, fenced: bool, health: Health) -> None:
        self.server = server
        self.block = block
        self.fenced = fenced
        self.first_bytes = FirstBytes(block)
        self._health = health

    @property
    def is_up(self) -> bool:
        """Whether it may get exchanges of clients it has."""
        return self._health.is_up(self.block)

    @property
    def takes_new(self) -> bool:
        """Whether it may get new clients."""
        return not self.fenced and self._health.is_up(self.block) and not self._health.is_draining(self.block)

    async def exchange(self, exchange: Exchange, send: Send) -> Response:
        """Send the exchange there and record how it went; it counts as in flight until it ends.

        Raises:
            ExchangeError: there is no proper answer.
        """
        exchange.occupy(self.block)
        started = trio.current_time()
        try:
            response = await send(exchange, self.server)
        except UpstreamError as error:
            exchange.leave_server()
            self.note_failure(error)
            raise
        except BaseException:
            exchange.leave_server()
            self.note_end()
            raise
        self.note_answer(response.status, trio.current_time() - started)
        return response

    def enter(self) -> None:
        """An exchange of the plain lane is at this server."""
        self.block.add(ServerCell.IN_FLIGHT)

    def note_end(self) -> None:
        """The exchange ended before the server had a chance to answer."""
        self.block.add(ServerCell.REQUESTS)

    def leave(self) -> None:
        """It is there no more."""
        self.block.add(ServerCell.IN_FLIGHT, -1)

    def note_answer(self, status: int, first_byte_s: float) -> None:
        """The server answered."""
        block = self.block
        block.add(ServerCell.REQUESTS)
        block.add(ServerCell.STATUS_1XX - 1 + min(max(status // 100, 1), 5))
        block.add_f(ServerCell.LATENCY_S, first_byte_s)
        block.add(ServerCell.RATED_BAD if status in BAD_STATUSES else ServerCell.RATED_GOOD)
        self.first_bytes.note(first_byte_s)
        self._health.note_outcome(block, self.server.url, is_failure=status >= FAILED_STATUS)

    def note_failure(self, error: UpstreamError) -> None:
        """The server gave no proper answer."""
        block = self.block
        block.add(ServerCell.REQUESTS)
        block.add(ServerCell.NETWORK_ERRORS)
        self._health.note_outcome(block, self.server.url, is_failure=True)
        if isinstance(error, ConnectTimeout | ResponseTimeout):
            block.add(ServerCell.TIMEOUTS)
        block.add(ServerCell.RATED_BAD if error.status in BAD_STATUSES else ServerCell.RATED_GOOD)
