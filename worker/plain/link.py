"""One server connection in the plain lane: lent by the shared pool, and back there after each exchange.

The lane never dials: without an idle connection the exchange goes to the general lane, whose new connection
is in the pool afterwards. A link stays in the lane's epoll instance for as long as its connection lives, so
an idle connection that its server ends is closed at once.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from shared.errors import UpstreamGone, UpstreamProtocolError
from worker.plain.answer import Answer
from worker.plain.client import READ_BYTES, PlainClient
from worker.splicing import Pipe
from worker.upstream import UpstreamConnection

if TYPE_CHECKING:
    from worker.plain.lane import PlainLane

READS_PER_TURN = 16
"""Reads of one long body before the others get their turn (1 MiB)."""
SPLICE_FROM_BYTES = 262_144
"""A body of which this much is still to come goes through a pipe: below that, two more system calls for each
read cost what they save (measured 2026-11)."""
FILLS_PER_TURN = 4
"""The same for reads into a pipe, which are larger."""


class PlainLink:
    """See above.

    Args:
        connection: from the pool; its stream has nothing buffered.
        lane: drives it.
    """

    __slots__ = ("answer", "client", "connection", "fd", "is_readable", "lane", "remaining")

    def __init__(self, connection: UpstreamConnection, lane: PlainLane) -> None:
        self.connection = connection
        self.lane = lane
        self.fd = connection.fileno()
        self.client: PlainClient | None = None
        self.answer: Answer | None = None
        self.remaining = 0
        self.is_readable = False

    def forget(self) -> None:
        """The connection is being closed."""
        self.lane.loop.unregister(self.fd)

    def send(self, data: bytes) -> bool:
        """Send a request head, on a connection that has nothing else to send; False if it is broken."""
        try:
            return os.write(self.fd, data) == len(data)
        except OSError:
            return False

    def on_events(self, events: int) -> None:
        """The kernel has news about the socket."""
        if self.client is None:
            # The event may be an old one, of bytes that the general lane has read since.
            if not self.connection.is_lent and not self.connection.is_alive():
                self.connection.close()
            return
        if events & ~select.EPOLLOUT:
            self.is_readable = True
            if not self.client.is_full:
                self.go_on()

    def go_on(self) -> None:
        """Read on: the head, or the body."""
        if self.is_readable:
            if self.answer is None:
                self._read_head()
            else:
                self._relay()

    def _read_head(self) -> None:
        client = self.client
        assert client is not None, "an idle link does not read"
        data = self._read()
        if data is None:
            return
        if not data:
            self.lane.fail(client, UpstreamGone("the connection ended before a response"))
            return
        end = data.find(b"\r\n\r\n")
        if end < 0:  # a head in pieces, or none at all: the general lane knows how to wait, and for what
            self.lane.resume(client, data)
            return
        plan = client.plan
        assert plan is not None, "a client with a link has a plan"
        answer = plan.answer_to(data[: end + 4])
        left = -1 if answer is None else answer.body_length - (len(data) - end - 4)
        if answer is None or left < 0 or self.lane.is_draining:
            self.lane.resume(client, data)
            return
        self.answer, self.remaining = answer, left
        client.first_byte_s = self.lane.now() - client.started
        if client.take(answer.head + data[end + 4 :]):
            if left:
                self.lane.loop.again(self)
            elif not client.is_full:
                self.lane.finish(client)

    def _relay(self) -> None:
        """Move body bytes until the server has no more ready, the client is full, or others are due."""
        client = self.client
        assert client is not None, "an idle link does not read"
        if client.pipe is not None or (client.session is None and self.remaining >= SPLICE_FROM_BYTES):
            if client.pipe is None:
                client.pipe = self.lane.pipes.take()
            if client.pipe is not None:
                self._splice(client, client.pipe)
                return
        for _ in range(READS_PER_TURN):
            if not self.remaining:
                break
            data = self._read()
            if data is None:
                return
            if not data or len(data) > self.remaining:
                reason = "shorter" if not data else "longer"
                self.lane.abandon(client, UpstreamProtocolError(f"the body is {reason} than announced"))
                return
            self.remaining -= len(data)
            if not client.take(data) or client.is_full:
                return
        if self.remaining:
            self.lane.loop.again(self)
        elif not client.is_full:
            self.lane.finish(client)

    def _splice(self, client: PlainClient, pipe: Pipe) -> None:
        """The same for a body that is long, without looking at its bytes."""
        for _ in range(FILLS_PER_TURN):
            if not self.remaining:
                break
            try:
                taken = pipe.fill(self.fd, self.remaining)
            except BlockingIOError:
                self.is_readable = False
                return
            except OSError:
                taken = 0
            if not taken:
                self.lane.abandon(client, UpstreamProtocolError("the body is shorter than announced"))
                return
            self.remaining -= taken
            if not client.drain(more=self.remaining > 0) or client.is_full:
                return
        if self.remaining:
            self.lane.loop.again(self)
        elif not client.is_full:
            self.lane.finish(client)

    def _read(self) -> bytes | None:
        """Some bytes; empty at the end or when it broke; None when there is nothing yet."""
        try:
            return os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            self.is_readable = False
            return None
        except OSError:
            return b""
