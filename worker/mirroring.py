"""Copies of requests for other services: sent in the background, answers thrown away.

The client's answer waits for nothing of this. Copies wait in a queue with a limit and are sent by a few
tasks; when the queue is full a copy is dropped and counted. A copy has one deadline for everything.

Source: spec v2 section 3.6.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from shared.arena_block import Block
from shared.cells import ServiceCell
from shared.config.dynamic import Mirroring
from shared.errors import ExchangeError
from worker.composite_services import Endpoint
from worker.exchange import Exchange
from worker.messages import BytesBody, Request, Response
from worker.replay import ContinuedBody, read_up_to, replayed

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Copies that wait, over all services of a worker."""
SENDERS = 64
"""Copies on their way at a time."""
CLOSE_LIMIT_S = 1.0
"""For giving up a connection while being cancelled."""
COPY_TIMEOUT_S = 60.0
"""From the first byte sent to the last one thrown away."""


class Copies:
    """Sends copies in the background, for all services of a worker."""

    def __init__(self) -> None:
        self._queue, self._waiting = trio.open_memory_channel[tuple[Endpoint, Exchange]](MAX_WAITING)

    def put(self, mirror: Endpoint, exchange: Exchange) -> bool:
        """Have a copy sent; False if too many wait."""
        try:
            self._queue.send_nowait((mirror, exchange))
        except trio.WouldBlock:
            return False
        return True

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(SENDERS):
                nursery.start_soon(self._send_copies)

    async def _send_copies(self) -> None:
        while True:
            mirror, exchange = await self._waiting.receive()
            try:
                with trio.move_on_after(COPY_TIMEOUT_S):
                    await _send_copy(mirror, exchange)
            except ExchangeError as error:
                logger.debug("a copy for %s failed: %s", exchange.server_url, error)
            except Exception:
                logger.exception("a copy for %s broke off", exchange.server_url)
            finally:
                exchange.leave_server()


class Share:
    """How many of a service's requests a mirror gets: exactly so many of a hundred, from the first on."""

    __slots__ = ("_copied", "percent")

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self._copied = 0

    def takes(self, total: int) -> bool:
        """Whether the request of this number, counted from 1, is one of them."""
        if self._copied * 100 >= total * self.percent:
            return False
        self._copied += 1
        return True


class Counter:
    """The requests of a mirroring service and its mirrors' shares; outlives reloads."""

    __slots__ = ("shares", "total")

    def __init__(self, percents: Sequence[int]) -> None:
        self.shares = [Share(percent) for percent in percents]
        self.total = 0

    def next_mirrors(self) -> list[int]:
        """Positions of the mirrors that get a copy of the next request."""
        self.total += 1
        return [position for position, share in enumerate(self.shares) if share.takes(self.total)]


class MirroringService:
    """Hands exchanges to a main service and copies of some to mirrors.

    Args:
        options: as configured.
        main: answers the client.
        mirrors: in order.
        counter: of this service.
        block: of the service.
        copies: sends them.
    """

    def __init__(
        self,
        options: Mirroring,
        main: Endpoint,
        mirrors: Sequence[Endpoint],
        counter: Counter,
        block: Block,
        copies: Copies,
    ) -> None:
        self._options = options
        self._main = main
        self._mirrors = mirrors
        self._counter = counter
        self._block = block
        self._copies = copies

    def is_up(self) -> bool:
        """Whether the main service is."""
        return self._main.is_up()

    def takes_new(self) -> bool:
        """Whether the main service takes new clients."""
        return self._main.takes_new()

    async def handle(self, exchange: Exchange) -> Response:
        """The answer of the main service; copies follow it.

        Raises:
            ExchangeError: the main service gave no proper answer.
        """
        self._block.add(ServiceCell.REQUESTS)
        active = self._counter.next_mirrors()
        content = await self._content(exchange) if active else None
        if content is None:
            return await self._main.handle(exchange)
        original = replayed(exchange.request, content)
        try:
            response = await self._main.handle(exchange)
        except ExchangeError as error:
            if error.side != "downstream":  # else the client is gone or broke off: nobody meant this request
                self._mirror(active, original, content, exchange)
            raise
        self._mirror(active, original, content, exchange)
        return response

    async def _content(self, exchange: Exchange) -> bytes | None:
        """The body that mirrors get; None if it is too large, and then all of it is still there."""
        request = exchange.request
        if not self._options.mirror_body or request.body.length == 0:
            return b""
        content, is_whole = await read_up_to(request.body, self._options.max_body_size)
        if is_whole:
            request.body = BytesBody(content)
            return content
        if content:
            request.body = ContinuedBody(content, request.body)
        return None

    def _mirror(self, active: Sequence[int], original: Request, content: bytes, exchange: Exchange) -> None:
        for position in active:
            request = replayed(original, content)
            copy = Exchange(request, exchange.entrypoint_name, exchange.entrypoint, tls=exchange.tls)
            copy.append_forwarded_for = exchange.append_forwarded_for
            copy.route, copy.started_at = exchange.route, exchange.started_at
            is_taken = self._copies.put(self._mirrors[position], copy)
            self._block.add(ServiceCell.COPIES if is_taken else ServiceCell.COPIES_DROPPED)


async def _send_copy(mirror: Endpoint, exchange: Exchange) -> None:
    response = await mirror.handle(exchange)
    try:
        while await response.body.receive():
            pass
    finally:
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
            await response.body.aclose()
