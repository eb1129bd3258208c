"""A body that is compressed while it is read.

Chunk by chunk: what is held is one chunk of the source and the encoder's window. Whenever the next chunk has
to be waited for, all that came before is given out in a form that can be decoded at once: events of a stream
are not held back.
"""

from __future__ import annotations

import trio

from worker.bodies import LiveBody
from worker.messages import Body
from worker.middlewares.encoders import Encoder

TURN_BYTES = 65_536
"""Compressed in one go before other connections have their turn: at most a millisecond (2026-11)."""


class CompressedBody(LiveBody):
    """What ``encoder`` makes of ``source``; its length is not known.

    Args:
        source: not read yet, or its beginning is in ``beginning``.
        encoder: of this body alone.
        beginning: what was read of the source already.
    """

    def __init__(self, source: Body, encoder: Encoder, beginning: bytes = b"") -> None:
        super().__init__(None)
        self._source = source
        self._encoder = encoder
        self._input = memoryview(beginning)
        self._is_source_over = False
        self._holds_data = False
        self._turn_left = TURN_BYTES

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self._turn_left = TURN_BYTES
        while (ready := self.receive_ready()) is None:
            if self._turn_left > 0:
                self._accept(await self._source.receive())
            else:
                await trio.lowlevel.checkpoint()
                self._turn_left = TURN_BYTES
        return ready

    def receive_ready(self) -> bytes | None:
        while not self.is_finished:
            if not self._input and not self._is_source_over:
                chunk = self._source.receive_ready() if isinstance(self._source, LiveBody) else None
                if chunk is None:
                    return self._flushed()
                self._accept(chunk)
            if self._is_source_over and not self._input:
                return self._finished()
            if self._turn_left <= 0:
                return None
            if encoded := self._encode_some():
                return encoded
        return b""

    async def aclose(self) -> None:
        self._is_abandoned = True
        self._input = memoryview(b"")
        await self._source.aclose()

    def _accept(self, chunk: bytes) -> None:
        self._input = memoryview(chunk)
        self._is_source_over = not chunk

    def _encode_some(self) -> bytes:
        size = min(len(self._input), self._turn_left)
        piece, self._input = self._input[:size], self._input[size:]
        self._turn_left -= size
        self._holds_data = True
        return self._given(self._encoder.encode(piece))

    def _flushed(self) -> bytes | None:
        """What is held back; None if that is nothing. A source that never waits needs no flush."""
        if not self._holds_data or not isinstance(self._source, LiveBody):
            return None
        self._holds_data = False
        return self._given(self._encoder.flush()) or None

    def _finished(self) -> bytes:
        self.trailers = self._source.trailers
        self.is_finished = True
        return self._given(self._encoder.finish())

    def _given(self, encoded: bytes) -> bytes:
        self.received_bytes += len(encoded)
        return encoded
