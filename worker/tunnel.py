"""After a 101: bytes both ways until both sides have ended, with half-close and without timeouts.

A tunnel keeps running across reloads, as it needs no routes. It counts as a connection while the worker
drains and is cut at the deadline.

Source: RFC 9110 section 7.8; spec v2 section 5.2.
"""

from __future__ import annotations

import trio

from shared.headers import Headers
from worker.bodies import READ_BYTES
from worker.client_stream import ClientStream
from worker.secure_stream import SecureStream
from worker.upstream import UpstreamConnection

Stream = ClientStream | SecureStream


class Tunnel:
    """Stands as the body of a 101 response; ``relay`` takes the place of reading it."""

    length: int | None = None
    trailers: Headers | None = None

    def __init__(self, link: UpstreamConnection) -> None:
        self._link = link
        self.bytes_in = 0
        self.bytes_out = 0

    async def receive(self) -> bytes:
        """A 101 has no body."""
        return b""

    async def aclose(self) -> None:
        """Close the server's side."""
        self._link.close()

    async def relay(self, downstream: Stream, early: bytes) -> None:
        """Copy until both sides ended or one broke.

        Args:
            downstream: the client.
            early: what the client sent behind its request.
        """
        upstream, rest = self._link.take_over()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy_in, downstream, upstream, early, nursery)
                nursery.start_soon(self._copy_out, upstream, downstream, rest, nursery)
        finally:
            self._link.close()

    async def _copy_in(self, source: Stream, target: Stream, first: bytes, nursery: trio.Nursery) -> None:
        try:
            data = first or bytes(await source.receive_some(READ_BYTES))
            while data:
                await target.send_all(data)
                self.bytes_in += len(data)
                data = bytes(await source.receive_some(READ_BYTES))
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()

    async def _copy_out(self, source: Stream, target: Stream, first: bytes, nursery: trio.Nursery) -> None:
        try:
            data = first or bytes(await source.receive_some(READ_BYTES))
            while data:
                await target.send_all(data)
                self.bytes_out += len(data)
                data = bytes(await source.receive_some(READ_BYTES))
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()
