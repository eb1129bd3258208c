"""What came on one stream and was not taken yet, and the body that is read from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from shared.errors import ExchangeError, RequestTimeout
from shared.headers import Headers
from worker.bodies import LiveBody
from worker.fields import MalformedFields, check_fields

if TYPE_CHECKING:
    from worker.h2.wire import Wire


class Stream:
    """One stream; filled by the task that reads, emptied by the task that the stream belongs to.

    Attributes:
        heads: field sections that came before any content: of a response, interim ones too.
        chunks: content that nobody took; bounded by the window that we gave.
        trailers: fields behind the content.
        has_ended: whether the peer ended its side.
        error: why nothing more comes, if that is not the end.
        scope: what ends when the peer gives the stream up.
    """

    __slots__ = ("_news", "_wire", "chunks", "error", "has_ended", "heads", "id", "scope", "trailers")

    def __init__(self, wire: Wire, stream_id: int) -> None:
        self._wire = wire
        self._news = trio.Event()
        self.id = stream_id
        self.heads: deque[list[tuple[bytes, bytes]]] = deque()
        self.chunks: deque[tuple[bytes, int]] = deque()
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.has_ended = False
        self.error: ExchangeError | None = None
        self.scope: trio.CancelScope | None = None

    def add_data(self, data: bytes, size: int) -> None:
        """Content came; ``size`` counts its padding too."""
        if self.error is not None:  # nobody will take it
            self._wire.acknowledge(self.id, size)
            return
        self.chunks.append((data, size))
        self.wake()

    def end(self, trailers: list[tuple[bytes, bytes]] | None = None) -> None:
        """The peer ended its side."""
        self.has_ended = True
        if trailers is not None:
            self.trailers = trailers
        self.wake()

    def fail(self, error: ExchangeError) -> None:
        """Nothing more comes."""
        if self.error is None:
            self.error = error
        self.wake()

    def take(self) -> bytes:
        """All content that is here; the peer may send as much again."""
        data = b"".join(chunk for chunk, _ in self.chunks)
        size = sum(size for _, size in self.chunks)
        self.chunks.clear()
        self._wire.acknowledge(self.id, size)
        return data

    def wake(self) -> None:
        """There is something to look at."""
        self._news.set()

    async def wait(self) -> None:
        """Wait until there is."""
        await self._news.wait()
        self._news = trio.Event()


class StreamBody(LiveBody):
    """The content of one message.

    Args:
        stream: it comes on.
        length: as announced.
        stall_s: longest pause.
        broken: makes the error for a body that is malformed.
        before_wait: called once before the first wait: the peer may wait for us (100 Continue).
        on_end: called once when the end was read.
        on_abandon: called once if ``aclose`` comes before the end.
        is_bodyless: the length is that of content which is not sent.
    """

    def __init__(
        self,
        stream: Stream,
        length: int | None,
        stall_s: float,
        *,
        broken: Callable[[str], ExchangeError],
        before_wait: Callable[[], None] | None = None,
        on_end: Callable[[], None],
        on_abandon: Callable[[], None],
        is_bodyless: bool = False,
    ) -> None:
        super().__init__(length)
        self._stream = stream
        self._stall_s = stall_s
        self._broken = broken
        self._before_wait = before_wait
        self._on_end = on_end
        self._on_abandon = on_abandon
        self._due_bytes = 0 if is_bodyless else length

    async def receive(self) -> bytes:
        while True:
            chunk = self.receive_ready()
            if chunk is not None:
                return chunk
            if self._before_wait is not None:
                before_wait, self._before_wait = self._before_wait, None
                before_wait()
            with trio.move_on_after(self._stall_s) as scope:
                await self._stream.wait()
            if scope.cancelled_caught:
                raise RequestTimeout("the body stalled")

    def receive_ready(self) -> bytes | None:
        if self.is_finished:
            return b""
        if self._is_abandoned:
            raise self._broken("the rest was given up")
        while self._stream.chunks:
            data = self._stream.take()
            if data:
                self.received_bytes += len(data)
                return data
        if self._stream.error is not None:
            raise self._stream.error
        if not self._stream.has_ended:
            return None
        self._finish()
        return b""

    async def aclose(self) -> None:
        if not self.is_finished and not self._is_abandoned:
            self._is_abandoned = True
            self._stream.take()
            self._on_abandon()

    def _finish(self) -> None:
        fields = self._stream.trailers
        if fields is not None:
            if any(name.startswith(b":") or name != name.lower() for name, _ in fields):
                raise self._broken("a trailer field is malformed")
            try:
                check_fields(fields)
            except MalformedFields as error:
                raise self._broken(str(error)) from error
            self.trailers = Headers(fields) if fields else None
        if self._due_bytes is not None and self.received_bytes != self._due_bytes:
            raise self._broken("the content is not as long as announced")
        self.is_finished = True
        self._on_end()
