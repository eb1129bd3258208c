"""The client's side of a connection: heads and bodies in, bytes out, and an orderly end.

States of the reading side::

    idle --first byte--> head --empty line--> body --end--> idle
                                                \\--given up--> drained (bounded) or closed

Heads are found in a buffer of our own and parsed by ``request_head``, which is stricter than h11; h11 takes
the framing off the body behind them. Foreign errors become ``DownstreamError`` here.

Source: RFC 9112 sections 2.2, 9.6; RFC 9110 section 10.1.1.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct

import h11
import trio

from shared.errors import BadRequest, ClientGone, ExchangeError, HeadersTooLarge, RequestTimeout, UriTooLong
from worker.bodies import READ_BYTES, Framing, LengthFraming, WireBody
from worker.chunks import MAX_LINE_BYTES
from worker.client_stream import ClientStream, receive_nowait
from worker.departures import Presence
from worker.messages import Body, BytesBody
from worker.request_head import MAX_TARGET_BYTES, RequestHead

HEAD_DEADLINE_S = 60.0
"""Longest time for a head, and before the first one, where ``readTimeout`` is 0 (the default of v1)."""
STALL_S = 600.0
"""Longest pause inside a request body where ``readTimeout`` is 0, and longest time to take one write where
``writeTimeout`` is 0: about a hundred bytes a second at least, so that nobody holds memory for ever."""
DRAIN_BYTES = 262_144
"""Rest of a request body that is read and dropped to keep a connection (as Go's server does)."""
DRAIN_S = 5.0
"""Longest time spent on that."""
LINGER_BYTES = 262_144
LINGER_S = 2.0
"""How much, and how long, is read after our last byte: closing with unread data resets the client."""

_START_LINE_REST_BYTES = 1_024
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Downstream:
    """One client connection.

    Args:
        stream: the accepted stream.
        presence: tells when the client leaves.
        read_timeout_s: longest time for a head, and longest pause in a body; 0 for ours.
        write_timeout_s: longest time to take one write; 0 for ours.
        early: what was read from the stream already.

    Attributes:
        head_deadline_s: longest time for a head.
    """

    def __init__(
        self,
        stream: ClientStream,
        presence: Presence,
        *,
        read_timeout_s: float,
        write_timeout_s: float,
        early: bytes = b"",
    ) -> None:
        self.stream = stream
        self.presence = presence
        self.head_deadline_s = read_timeout_s or HEAD_DEADLINE_S
        self._body_stall_s = read_timeout_s or STALL_S
        self._write_stall_s = write_timeout_s or STALL_S
        self._buffer = bytearray(early)
        self._is_continue_due = False
        self.has_started_response = False
        self.is_cut = False

    def has_buffered(self) -> bool:
        """Whether the next request has begun already."""
        self._skip_empty_lines()
        return bool(self._buffer)

    async def wait_for_request(self) -> bool:
        """Wait for the first byte of a head; False when the client closed. The caller limits the time."""
        while not self.has_buffered():
            data = await self._receive()
            if not data:
                return False
            self._buffer += data
        return True

    def poll(self) -> bool:
        """Whether a request begins in what the kernel has. Asked before an idle connection is closed."""
        self._buffer += receive_nowait(self.stream, READ_BYTES)
        return self.has_buffered()

    async def read_head(self, max_bytes: int) -> bytes:
        """The bytes of the next head, its empty line included.

        Raises:
            RequestTimeout: it did not arrive in time.
            HeadersTooLarge, UriTooLong: it is over the limit.
            BadRequest: a line does not end in CRLF.
            ClientGone: the connection ended inside it.
        """
        with trio.move_on_after(self.head_deadline_s):
            searched = 0
            while True:
                self._skip_empty_lines()
                end = self._buffer.find(b"\r\n\r\n", searched)
                size = end + 4 if end >= 0 else len(self._buffer)
                self._check_head(size, max_bytes, searched)
                if end >= 0:
                    head = bytes(self._buffer[:size])
                    del self._buffer[:size]
                    return head
                searched = max(len(self._buffer) - 3, 0)
                data = await self._receive()
                if not data:
                    raise ClientGone("the connection ended inside a head")
                self._buffer += data
        raise RequestTimeout("the head did not arrive in time")

    def open_body(self, head: RequestHead) -> Body:
        """The body that follows a head."""
        self.has_started_response = False
        # A client that has begun its body does not wait (RFC 9110 section 10.1.1).
        self._is_continue_due = head.expects_continue and head.body_length != 0 and not self._buffer
        if head.body_length == 0:
            return BytesBody()
        parser = _body_parser(head.body_length)
        early = bytes(self._buffer)
        self._buffer.clear()

        def keep_rest() -> None:
            self._buffer += parser.trailing_data[0]

        def nothing_more() -> None:
            self._is_continue_due = False

        return WireBody(
            parser,
            self._read_body,
            head.body_length,
            early=early,
            is_chunked=head.body_length is None,
            broken=_broken_body,
            on_end=keep_rest,
            on_abandon=nothing_more,
        )

    def may_skip_body(self, body: Body) -> bool:
        """Whether what is left of a request body is worth reading to keep the connection."""
        if not isinstance(body, WireBody) or body.is_finished:
            return True
        if self._is_continue_due:  # we never said 100: whether the body comes cannot be known
            return False
        return body.length is None or body.length - body.received_bytes <= DRAIN_BYTES

    async def skip_body(self, body: Body) -> bool:
        """Read and drop the rest of a request body; False when it is too long or broken."""
        if not self.may_skip_body(body):
            return False
        if not isinstance(body, WireBody) or body.is_finished:
            return True
        limit = body.received_bytes + DRAIN_BYTES
        with trio.move_on_after(DRAIN_S):
            try:
                while body.received_bytes <= limit:
                    if not await body.receive():
                        return True
            except ExchangeError:
                return False
        return False

    async def send(self, data: bytes | bytearray) -> None:
        """Send bytes of a response.

        Raises:
            ClientGone: nobody takes them.
        """
        try:
            with trio.move_on_after(self._write_stall_s) as scope:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone("the connection broke while sending") from error
        if scope.cancelled_caught:
            raise ClientGone("the client takes no more bytes")

    def take_buffer(self) -> bytes:
        """The bytes that were read too early; they belong to whoever takes the connection over."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def cut(self) -> None:
        """Reset the connection, so that what was sent cannot look complete."""
        self.is_cut = True
        self.presence.forget()
        with contextlib.suppress(OSError):
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def linger(self) -> None:
        """Say that nothing more comes, then read on for a bounded while: an early close eats our answer."""
        if self.is_cut:
            return
        with trio.move_on_after(LINGER_S), contextlib.suppress(ClientGone, OSError):
            try:
                await self.stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            dropped = 0
            while dropped < LINGER_BYTES:
                data = await self._receive()
                if not data:
                    return
                dropped += len(data)

    async def _read_body(self) -> bytes:
        if self._is_continue_due:
            self._is_continue_due = False
            if not self.has_started_response:
                await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        with trio.move_on_after(self._body_stall_s):
            data = await self._receive()
            if not data:
                raise ClientGone("the connection ended inside a body")
            return data
        raise RequestTimeout("the body stalled")

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self.stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone("the connection broke while reading") from error
        return data

    def _skip_empty_lines(self) -> None:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2
            del self._buffer[:2]

    def _check_head(self, size: int, max_bytes: int, searched: int) -> None:
        """Refuse as early as possible what can never become a head, and the same however it is split."""
        limit = min(max_bytes, MAX_TARGET_BYTES + _START_LINE_REST_BYTES)
        if size > limit and self._buffer.find(b"\r\n", 0, limit + 2) < 0:
            raise UriTooLong("the request line does not end")
        if size > max_bytes:
            raise HeadersTooLarge(f"the head is over {max_bytes} bytes")
        if _BARE_LF.search(self._buffer, searched, size):
            raise BadRequest("a line of the head does not end in CRLF")


def _body_parser(length: int | None) -> Framing:
    """What takes the framing off; for chunks an h11 server that has read a head."""
    if length is not None:
        return LengthFraming(length)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * MAX_LINE_BYTES)
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: body\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.next_event()
    return parser


def _broken_body(reason: str, is_early_end: bool) -> ExchangeError:
    return ClientGone(reason) if is_early_end else BadRequest(reason)
