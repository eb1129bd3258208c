"""One exchange on a shared connection to a server. The same verbs as ``worker.upstream.UpstreamConnection``.

Source: RFC 9113 sections 8.1 to 8.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio
from h2.errors import ErrorCodes

from shared.errors import ExchangeError, UpstreamGone, UpstreamProtocolError
from shared.headers import Headers
from worker.fields import MalformedFields, check_fields, parse_length
from worker.h2.responding import wire_fields
from worker.h2.stream import Stream, StreamBody
from worker.h2.wire import Field, Wire, WireBrokenError
from worker.messages import reason_phrase
from worker.secure_stream import SecureStream
from worker.upstream import MAX_INTERIM, OnInterim, UpstreamHead


class StreamLink:
    """See above; attributes as of ``UpstreamConnection``.

    Args:
        wire: of the connection.
        by_id: where the connection finds its links.
        give_back: called once, when the loan ends.
    """

    def __init__(
        self, wire: Wire, by_id: dict[int, StreamLink], give_back: Callable[[StreamLink, bool], None]
    ) -> None:
        self._wire = wire
        self._by_id = by_id
        self._give_back = give_back
        self._fields: list[Field] = []
        self._has_sent_head = False
        self._has_sent_all = False
        self._is_bodyless = False
        self._failure: ExchangeError | None = None
        self.stream = Stream(wire, 0)
        self.is_closed = False
        self.is_lent = False
        self.is_reused = False
        self.has_written = False
        self.has_final_head = False
        self.answer_began = trio.Event()
        self.waiting = trio.CancelScope()

    def begin(self, method: str, target: str, headers: Headers) -> None:
        """Start a request; its head is sent with the first thing that follows it."""
        self._is_bodyless = method == "HEAD"
        authority = headers.get(b"host") or b""
        scheme = b"https" if isinstance(self._wire.stream, SecureStream) else b"http"
        self._fields = [
            (b":method", method.encode("ascii")),
            (b":scheme", scheme),
            (b":authority", authority),
            (b":path", target.encode("utf-8", "surrogateescape")),
            *wire_fields([each for each in headers if each[0].lower() != b"host"]),
        ]

    async def send_head(self) -> None:
        """Send the head now.

        Raises:
            UpstreamGone: the stream or the connection is over; so for the other two.
        """
        self._send_head(end=False)
        await trio.lowlevel.checkpoint()

    async def send_data(self, data: bytes) -> None:
        """Send some of the body."""
        self._send_head(end=False)
        try:
            await self._wire.send_data(self.stream.id, data)
        except WireBrokenError as error:
            raise self._gone(error) from error

    async def send_end(self, trailers: Headers | None) -> None:
        """End the request."""
        try:
            if not self._has_sent_head:
                self._send_head(end=True)
                await trio.lowlevel.checkpoint()
            elif trailers:
                self._wire.send_headers(self.stream.id, wire_fields(list(trailers)), end=True)
            else:
                await self._wire.send_data(self.stream.id, b"", end=True)
        except WireBrokenError as error:
            raise self._gone(error) from error
        self._has_sent_all = True

    async def read_head(self, on_interim: OnInterim) -> UpstreamHead:
        """The final response head.

        Raises:
            UpstreamGone: the stream ended without one.
            UpstreamProtocolError: the answer is malformed.
        """
        for _ in range(MAX_INTERIM):
            head = _parse_head(await self._next_fields())
            if head.status >= 200:
                self.has_final_head = True
                self.answer_began.set()
                return head
            if head.status == 101:
                raise UpstreamProtocolError("a change of protocol in HTTP/2")
            if head.status == 100:
                self.answer_began.set()
            else:
                await on_interim(head.status, head.reason, head.headers)
        raise UpstreamProtocolError(f"more than {MAX_INTERIM} interim responses")

    def open_body(self, head: UpstreamHead) -> StreamBody:
        """The body behind a final head. At its end, or when it is given up, the loan ends."""
        is_bodyless = self._is_bodyless or head.status in (204, 304)
        body = StreamBody(
            self.stream,
            head.announced_length,
            math.inf,
            broken=UpstreamProtocolError,
            on_end=self._settle,
            on_abandon=self.close,
            is_bodyless=is_bodyless,
        )
        if self.stream.has_ended and not self.stream.chunks:
            body.receive_ready()  # the end is here already
        return body

    def note_refusal(self) -> None:
        """The server has not looked at the request: it may be sent again, whatever its method."""
        self.has_written = False
        self.is_reused = True

    def fail(self, error: ExchangeError) -> None:
        """Reset the stream because the exchange failed elsewhere; who waits for the server gets ``error``."""
        self._failure = error
        self.stream.fail(error)
        self.close()

    def close(self) -> None:
        """Give up what is left of the exchange. Safe to call twice."""
        if not self.is_closed:
            self.is_closed = True
            self.stream.fail(UpstreamGone("the exchange was given up"))
            self.stream.take()
            if self._has_sent_head:
                self._wire.reset(self.stream.id, ErrorCodes.CANCEL)
            self._end_loan(False)

    def _settle(self) -> None:
        """The response ended; what is left of the request has no use."""
        if not self.is_closed:
            self.is_closed = True
            self._wire.meter.earn()
            if not self._has_sent_all:
                self._wire.reset(self.stream.id, ErrorCodes.CANCEL)
            self._end_loan(True)

    def _end_loan(self, is_usable: bool) -> None:
        if self.is_lent:
            self.is_lent = False
            self._give_back(self, is_usable)

    def _send_head(self, *, end: bool) -> None:
        if self._has_sent_head:
            return
        if self.is_closed:
            raise self._failure or UpstreamGone("the exchange was given up")
        try:
            stream_id = self._wire.state.get_next_available_stream_id()
            self._wire.send_headers(stream_id, self._fields, end=end)
        except WireBrokenError as error:
            raise self._gone(error) from error
        self._has_sent_head = self.has_written = True
        self.stream.id = stream_id
        self._by_id[stream_id] = self

    async def _next_fields(self) -> list[tuple[bytes, bytes]]:
        stream = self.stream
        while not stream.heads:
            if stream.error is not None:
                raise stream.error
            if stream.has_ended:
                raise UpstreamProtocolError("the stream ended before a response head")
            await stream.wait()
        return stream.heads.popleft()

    def _gone(self, error: WireBrokenError) -> ExchangeError:
        return self._failure or self.stream.error or UpstreamGone(str(error))


def _parse_head(fields: list[tuple[bytes, bytes]]) -> UpstreamHead:
    """A response head from its fields.

    Raises:
        UpstreamProtocolError: it is malformed.
    """
    if not fields or fields[0][0] != b":status" or any(name[:1] == b":" for name, _ in fields[1:]):
        raise UpstreamProtocolError("a response head without exactly one status")
    status = fields[0][1]
    if len(status) != 3 or not status.isdigit() or status < b"100":
        raise UpstreamProtocolError("a malformed status")
    regular = fields[1:]
    try:
        if any(name != name.lower() for name, _ in regular):
            raise MalformedFields("a field name is not lower-case")
        check_fields(regular)
        lengths = {parse_length(value) for name, value in regular if name == b"content-length"}
    except MalformedFields as error:
        raise UpstreamProtocolError(str(error)) from error
    if len(lengths) > 1:
        raise UpstreamProtocolError("different Content-Length lines")
    number = int(status)
    return UpstreamHead(number, reason_phrase(number), Headers(regular), next(iter(lengths), None))
