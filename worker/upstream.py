"""One connection to a server: a request out, a response in, both at once if need be.

States, by exchange::

    idle --begin--> talking --both messages ended cleanly, keep-alive--> idle (back to the pool)
                           \\--anything else--> closed

Response heads are checked as strictly as request heads before h11 reads them: what is passed on has one
reading. Foreign errors become ``UpstreamError`` here.

Source: RFC 9112 sections 4, 6.3 and 9.
"""

from __future__ import annotations

import re
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11
import trio

from shared.errors import (
    ExchangeError,
    UpstreamGone,
    UpstreamProtocolError,
)
from shared.headers import Headers
from worker.bodies import READ_BYTES, WireBody
from worker.fields import MalformedFields, parse_fields, parse_length
from worker.secure_stream import SecureStream

if TYPE_CHECKING:
    from worker.plain.link import PlainLink

MAX_HEAD_BYTES = 1_048_576
"""Longest response head (Go allows 10 MiB; the fields travel through our memory whole)."""
MAX_INTERIM = 32
"""Most 1xx responses before a final one."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_BARE_LF = re.compile(rb"(?<!\r)\n")

OnInterim = Callable[[int, bytes, Headers], Awaitable[None]]
"""Is told about 1xx responses other than 100 and 101: status, reason, fields."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go. For the scheme ``unix`` the host is the path of a socket."""

    scheme: str
    host: str
    port: int


@dataclass(slots=True)
class UpstreamHead:
    """A final response head, or a 101. ``announced_length`` is what Content-Length says, if anything."""

    status: int
    reason: bytes
    headers: Headers
    announced_length: int | None


class UpstreamConnection:
    """A connection, lent to one exchange at a time.

    Args:
        stream: connected.
        give_back: called once per loan: with True when the connection can serve the next exchange, with
            False when it is closed.
    """

    def __init__(
        self,
        stream: trio.SocketStream | SecureStream,
        give_back: Callable[[UpstreamConnection, bool], None],
    ) -> None:
        self._stream = stream
        self._give_back = give_back
        self._news = select.poll()
        self._news.register(stream.socket.fileno(), select.POLLIN | select.POLLRDHUP)
        self._parser = h11.Connection(h11.CLIENT)
        self._buffer = bytearray()
        self._pending = bytearray()
        self._failure: ExchangeError | None = None
        self._is_bodyless = False
        self._offered: frozenset[bytes] = frozenset()
        self._is_sending = False
        self.is_closed = False
        self.plain: PlainLink | None = None
        """The plain lane's side of this connection, once it has used it."""
        self.is_lent = False
        self.is_reused = False
        self.has_written = False
        """Whether the kernel took any byte of this request: from then on the server may have seen it."""
        self.idle_since = 0.0
        self.answer_began = trio.Event()
        """Set when the server asked for the body (100 Continue) or answered for good."""
        self.has_final_head = False
        self.waiting = trio.CancelScope()
        """Around the wait for the response head; its deadline is set once the request is out."""

    def is_alive(self) -> bool:
        """Whether an idle connection is fit for use: what can be read on it now was not asked for."""
        if not self._news.poll(0):
            return True
        return isinstance(self._stream, SecureStream) and self._stream.is_quiet()

    def fileno(self) -> int:
        """Of its socket."""
        return self._stream.socket.fileno()

    def take_up(self, received: bytes) -> None:
        """After ``begin``: the head is on its way already, and this much of the answer has come."""
        self._parser.send(h11.EndOfMessage())
        self._pending.clear()
        self.has_written = True
        self._buffer += received

    def give_back(self, is_usable: bool) -> None:
        """End the loan after an exchange that somebody else conducted over the socket."""
        if is_usable:
            self._end_loan(True)
        else:
            self.close()

    def begin(self, method: str, target: str, headers: Headers) -> None:
        """Start a request; its head is sent with the first thing that follows it."""
        self._parser = h11.Connection(h11.CLIENT)
        self._buffer.clear()
        self._pending.clear()
        self.answer_began = trio.Event()
        self.has_final_head = False
        self.has_written = False
        self.waiting = trio.CancelScope()
        self._is_bodyless = method == "HEAD"
        self._offered = frozenset(headers.tokens(b"upgrade"))
        try:
            head = h11.Request(method=method, target=target, headers=list(headers))
            self._pending += self._parser.send(head) or b""
        except h11.LocalProtocolError as error:
            raise ExchangeError(f"the request cannot be sent: {error}") from error

    async def send_head(self) -> None:
        """Send the head now.

        Raises:
            UpstreamGone: the connection broke; so for the other two.
        """
        await self._send(b"")

    async def send_data(self, data: bytes) -> None:
        """Send some of the body."""
        await self._send(self._encode(h11.Data(data=data)))

    async def send_end(self, trailers: Headers | None) -> None:
        """End the request."""
        await self._send(self._encode(h11.EndOfMessage(headers=list(trailers or ()))))

    async def read_head(self, on_interim: OnInterim) -> UpstreamHead:
        """The final response head, or the 101 that was asked for.

        Raises:
            UpstreamGone: the connection ended before a byte of an answer.
            UpstreamProtocolError: the answer is not proper HTTP.
        """
        for _ in range(MAX_INTERIM):
            raw = await self._read_raw_head()
            head = parse_head(raw)
            self._feed(raw)
            event = self._next_event()
            if isinstance(event, h11.Response) or head.status == 101:
                self._check_switch(head)
                self.has_final_head = True
                self.answer_began.set()
                return head
            if head.status == 100:
                self.answer_began.set()
            else:
                await on_interim(head.status, head.reason, head.headers)
        raise UpstreamProtocolError(f"more than {MAX_INTERIM} interim responses")

    def open_body(self, head: UpstreamHead) -> WireBody:
        """The body behind a final head. At its end the connection goes back to its pool or is closed."""
        early = bytes(self._buffer)
        self._buffer.clear()
        is_bodyless = self._is_bodyless or head.status in (204, 304)
        body = WireBody(
            self._parser,
            self._read_body,
            head.announced_length,
            early=early,
            is_chunked=not is_bodyless and b"transfer-encoding" in head.headers,
            broken=_broken_body,
            on_end=self._settle,
            on_abandon=self.close,
        )
        if is_bodyless or head.announced_length == 0:
            body.receive_ready()  # the end is here already
        return body

    def take_over(self) -> tuple[trio.SocketStream | SecureStream, bytes]:
        """After a 101: the stream and the bytes behind the head. ``close`` is for the caller to call."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return self._stream, rest

    def fail(self, error: ExchangeError) -> None:
        """Close it because the exchange failed elsewhere; who waits for the server gets ``error``."""
        self._failure = error
        self.close()

    def close(self) -> None:
        """Close it now. Safe to call twice."""
        if not self.is_closed:
            self.is_closed = True
            if self.plain is not None:
                self.plain.forget()
            self._stream.socket.close()
            self._end_loan(False)

    def _settle(self) -> None:
        """The response ended: keep the connection only if nothing at all is left over."""
        clean = (
            not self.is_closed
            and self._parser.our_state is h11.DONE
            and self._parser.their_state is h11.DONE
            and self._parser.trailing_data == (b"", False)
            and not self._pending
            and not self._is_sending
        )
        if clean:
            self._end_loan(True)
        else:
            self.close()

    def _end_loan(self, is_usable: bool) -> None:
        if self.is_lent:
            self.is_lent = False
            self._give_back(self, is_usable)

    def _check_switch(self, head: UpstreamHead) -> None:
        """A 101 must come after the whole request, and agree to what was offered (RFC 9110 section 7.8)."""
        if head.status != 101:
            return
        if self._parser.our_state is not h11.SWITCHED_PROTOCOL or self._is_sending:
            raise UpstreamProtocolError("a change of protocol before the request was complete")
        agreed = head.headers.tokens(b"upgrade")
        if not agreed or not set(agreed) <= self._offered:
            raise UpstreamProtocolError("a change to a protocol that was not offered")

    def _encode(self, event: h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._parser.send(event) or b""
        except h11.LocalProtocolError as error:
            raise UpstreamGone(f"the request cannot go on: {error}") from error

    async def _send(self, data: bytes) -> None:
        if self._pending:
            data = bytes(self._pending) + data
            self._pending.clear()
        try:
            if data:
                self._is_sending = True  # stays so if this is cancelled half-way
                await self._write(data)
                self._is_sending = False
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._failure or UpstreamGone("the connection broke while sending") from error

    async def _write(self, data: bytes) -> None:
        """As ``send_all``, which does not tell how far it came."""
        if not self.has_written:
            try:
                sent = await self._stream.socket.send(data)
            except OSError as error:
                raise trio.BrokenResourceError from error
            self.has_written = True
            data = data[sent:]
        if data:
            await self._stream.send_all(data)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._failure or UpstreamGone("the connection broke while reading") from error

    async def _read_body(self) -> bytes:
        return await self._receive()

    async def _read_raw_head(self) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\r\n\r\n", searched)
            size = end + 4 if end >= 0 else len(self._buffer)
            if size > MAX_HEAD_BYTES or _BARE_LF.search(self._buffer, searched, size):
                raise UpstreamProtocolError("the response head is malformed or too long")
            if end >= 0:
                raw = bytes(self._buffer[: end + 4])
                del self._buffer[: end + 4]
                return raw
            searched = max(len(self._buffer) - 3, 0)
            data = await self._receive()
            if not data:
                if self._buffer:
                    raise UpstreamProtocolError("the connection ended inside the response head")
                raise UpstreamGone("the connection ended before a response")
            self._buffer += data

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise UpstreamProtocolError(str(error)) from error

    def _next_event(self) -> object:
        try:
            return self._parser.next_event()
        except h11.RemoteProtocolError as error:
            raise UpstreamProtocolError(str(error)) from error


def parse_head(raw: bytes) -> UpstreamHead:
    """Read a response head, from the status line to the empty line, both included.

    Raises:
        UpstreamProtocolError: it is malformed or ambiguous.
    """
    start_line, *lines = raw[:-4].split(b"\r\n")
    found = _STATUS_LINE.fullmatch(start_line)
    if found is None:
        raise UpstreamProtocolError("malformed status line")
    try:
        headers = Headers(parse_fields(lines))
        length = _announced_length(headers)
    except MalformedFields as error:
        raise UpstreamProtocolError(str(error)) from error
    codings = headers.get_all(b"transfer-encoding")
    if codings and (
        length is not None or found[1] == b"0" or [each.lower() for each in codings] != [b"chunked"]
    ):
        raise UpstreamProtocolError("ambiguous framing of the response")
    return UpstreamHead(int(found[2]), found[3] or b"", headers, length)


def _announced_length(headers: Headers) -> int | None:
    """Repeated lines are one if they agree (RFC 9112 section 6.3 rule 5 allows that for responses)."""
    lengths = {parse_length(value) for value in headers.get_all(b"content-length")}
    if len(lengths) > 1:
        raise MalformedFields("different Content-Length lines")
    return next(iter(lengths), None)


def _broken_body(reason: str, is_early_end: bool) -> ExchangeError:
    return UpstreamGone(reason) if is_early_end else UpstreamProtocolError(reason)
