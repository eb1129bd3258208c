"""Message bodies as they come off a connection: one decoder for both sides, read only when asked.

h11 takes chunks apart, behind a guard that is stricter (``chunks``). Nothing is read ahead: one ``receive``
reads the wire at most until it has something, so memory is bounded by one read each way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

import h11

from shared.errors import ExchangeError
from shared.headers import Headers
from worker.chunks import ChunkGuard
from worker.fields import MalformedFields, check_fields

READ_BYTES = 262_144
"""Bytes asked of a socket at a time; reads of 64 KiB cost a large body a fifth more CPU (2026-11)."""

ReadMore = Callable[[], Awaitable[bytes]]
"""Reads some bytes; empty at the end of the stream. Raises ``ExchangeError`` only."""

Broken = Callable[[str, bool], ExchangeError]
"""Makes the error for a body that is malformed, or (True) that ended too early."""


class Framing(Protocol):
    """As much of ``h11.Connection`` as a body needs."""

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """What came behind the end, and whether the stream ended there."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes off the wire; none at the end of the stream."""

    def next_event(self) -> object:
        """``h11.Data``, ``h11.EndOfMessage`` or ``h11.NEED_DATA``."""


class LengthFraming:
    """A body of known length: counted and not copied, which h11 does twice.

    Args:
        length: bytes of it.
    """

    def __init__(self, length: int) -> None:
        self._left = length
        self._data = b""
        self._is_over = False

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """See ``Framing``."""
        return self._data, self._is_over

    def receive_data(self, data: bytes) -> None:
        """See ``Framing``."""
        self._data = self._data + data if self._data else data
        self._is_over = not data

    def next_event(self) -> object:
        """See ``Framing``.

        Raises:
            h11.RemoteProtocolError: the stream ended inside the body.
        """
        if not self._left:
            return h11.EndOfMessage()
        if self._data:
            chunk, self._data = self._data[: self._left], self._data[self._left :]
            self._left -= len(chunk)
            return h11.Data(data=chunk)
        if self._is_over:
            raise h11.RemoteProtocolError("the stream ended inside the body")
        return h11.NEED_DATA


class LiveBody(ABC):
    """A body that comes from a peer while it is read, whatever version of HTTP that peer speaks.

    Attributes:
        length: as announced; None if it was not.
        trailers: known at the end.
        is_finished: whether the end was read.
        received_bytes: so far.
    """

    def __init__(self, length: int | None) -> None:
        self.length = length
        self.trailers: Headers | None = None
        self.is_finished = False
        self.received_bytes = 0
        self._is_abandoned = False

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of it was handed out yet."""
        return not (self.received_bytes or self.is_finished or self._is_abandoned)

    @abstractmethod
    async def receive(self) -> bytes:
        """The next chunk; empty at the end.

        Raises:
            ExchangeError: the framing is broken, the stream ended inside the body, or could not be read.
        """

    @abstractmethod
    def receive_ready(self) -> bytes | None:
        """What ``receive`` would return if it needs no wait, else None.

        Raises:
            ExchangeError: the framing is broken.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Give up the rest."""


class WireBody(LiveBody):
    """A body that is decoded from a connection.

    Args:
        parser: has read the head; its next events are this body.
        read_more: reads from the connection.
        length: as announced, None when chunked or until the end of the connection.
        early: what came with the head.
        is_chunked: whether the framing is chunks.
        broken: names the error by the side that is to blame.
        on_end: called once when the end was read.
        on_abandon: called once if ``aclose`` comes before the end.
    """

    def __init__(
        self,
        parser: Framing,
        read_more: ReadMore,
        length: int | None,
        *,
        early: bytes = b"",
        is_chunked: bool = False,
        broken: Broken,
        on_end: Callable[[], None],
        on_abandon: Callable[[], None],
    ) -> None:
        super().__init__(length)
        self._parser = parser
        self._read_more = read_more
        self._broken = broken
        self._on_end = on_end
        self._on_abandon = on_abandon
        self._early = early
        self._guard = ChunkGuard() if is_chunked else None

    async def receive(self) -> bytes:
        while True:
            chunk = self.receive_ready()
            if chunk is not None:
                return chunk
            data = await self._read_more()
            self._feed(data)
            if not data:
                self._finish(Headers())
                return b""

    def receive_ready(self) -> bytes | None:
        if self.is_finished:
            return b""
        if self._is_abandoned:
            raise self._broken("the rest was given up", True)
        if self._early:
            early, self._early = self._early, b""
            self._feed(early)
        try:
            event = self._parser.next_event()
        except h11.RemoteProtocolError as error:
            raise self._broken(str(error), False) from error
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.Data):
            chunk = bytes(event.data)
            self.received_bytes += len(chunk)
            return chunk
        assert isinstance(event, h11.EndOfMessage), event
        self._finish(Headers(event.headers.raw_items()))
        return b""

    async def aclose(self) -> None:
        if not self.is_finished and not self._is_abandoned:
            self._is_abandoned = True
            self._on_abandon()

    def _feed(self, data: bytes) -> None:
        try:
            if self._guard is not None:
                self._guard.check(data)
            self._parser.receive_data(data)
            if not data:
                self._parser.next_event()
        except (MalformedFields, h11.RemoteProtocolError) as error:
            raise self._broken(str(error), not data) from error

    def _finish(self, trailers: Headers) -> None:
        try:
            check_fields(list(trailers))
        except MalformedFields as error:
            raise self._broken(str(error), False) from error
        self.trailers = trailers if len(trailers) else None
        self.is_finished = True
        self._on_end()
