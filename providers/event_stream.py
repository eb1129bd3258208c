"""Server-sent events: a stream of bytes to events, whatever its line ends and wherever its pieces are cut.

Source: WHATWG HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""A larger event is refused: Marathon's hold a whole deployment plan, some hundred kilobytes."""


class ServerEvent(msgspec.Struct, frozen=True):
    """An event: its type (``message`` if none was given) and its data, lines joined."""

    kind: str
    data: str


class EventParser:
    """Collects pieces; gives each event once it is whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_return = False
        self._kind = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that this piece completes.

        Raises:
            ValueError: an event is larger than ``MAX_EVENT_BYTES``.
        """
        for line in self._lines(piece):
            event = self._take(line)
            if event is not None:
                yield event

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]  # of CR LF, cut in the middle
        if piece:
            self._after_return = piece.endswith(b"\r")
        text = (self._rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, self._rest = text.split(b"\n")
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise ValueError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        yield from whole

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value)
            if self._size > MAX_EVENT_BYTES:
                raise ValueError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        return None

    def _dispatch(self) -> ServerEvent | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data, self._size = "", [], 0
        return ServerEvent(kind, "\n".join(data)) if data else None


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent | None]:
    """The events of a stream; None for each piece, so that a caller sees heartbeats too.

    Raises:
        ValueError: an event is too large.
    """
    parser = EventParser()
    async for piece in pieces:
        for event in parser.feed(piece):
            yield event
        yield None
