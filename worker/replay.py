"""Request bodies that are needed more than once: read whole, within bounds, and given again and again."""

from __future__ import annotations

import logging

from shared.errors import ContentTooLarge, ExchangeError
from shared.headers import Headers
from worker.bodies import LiveBody
from worker.messages import Body, BytesBody, Request

logger = logging.getLogger(__name__)

MAX_SKIPPED_BYTES = 65_536
"""Of an answer that nobody gets: a longer one costs less with its connection than without."""
MAX_REPLAY_BYTES = 16_777_216
"""Of a body that may have any size: what is kept in memory for one exchange, at most."""


class BodyTooLarge(ContentTooLarge):
    """The body is larger than what may be kept."""


async def read_for_replay(body: Body, limit: int) -> bytes:
    """All of a body.

    Args:
        body: not read yet.
        limit: bytes; negative for ``MAX_REPLAY_BYTES``.

    Raises:
        BodyTooLarge: it has more.
        DownstreamError: it could not be read.
    """
    content, is_whole = await read_up_to(body, limit)
    if not is_whole:
        raise BodyTooLarge(f"the request body is over {limit if limit >= 0 else MAX_REPLAY_BYTES} bytes")
    return content


async def read_up_to(body: Body, limit: int) -> tuple[bytes, bool]:
    """The beginning of a body and whether that is all of it; what was read is at most one chunk over."""
    most = limit if limit >= 0 else MAX_REPLAY_BYTES
    if body.length is not None and body.length > most:
        return b"", False
    chunks, size = [], 0
    while chunk := await body.receive():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            return b"".join(chunks), False
    return b"".join(chunks), True


async def give_up(body: Body) -> None:
    """Let go of an answer that nobody gets.

    What is here of it already is read over: if that is all, its connection is kept.
    """
    if isinstance(body, LiveBody):
        try:
            while body.received_bytes < MAX_SKIPPED_BYTES and body.receive_ready():
                pass
        except ExchangeError as error:
            logger.debug("an answer that nobody gets is malformed: %s", error)
    await body.aclose()


class ContinuedBody:
    """A body of which the beginning was read already."""

    def __init__(self, beginning: bytes, rest: Body) -> None:
        self._beginning = beginning
        self._rest = rest
        self.length = rest.length

    @property
    def trailers(self) -> Headers | None:
        """See ``Body``."""
        return self._rest.trailers

    async def receive(self) -> bytes:
        """See ``Body``."""
        if self._beginning:
            chunk, self._beginning = self._beginning, b""
            return chunk
        return await self._rest.receive()

    async def aclose(self) -> None:
        """See ``Body``."""
        await self._rest.aclose()


def replayed(request: Request, content: bytes) -> Request:
    """The same request with a body that is here; changes to one do not reach the other."""
    copy = Request(
        method=request.method,
        received_target=request.received_target,
        path=request.path,
        query=request.query,
        headers=request.headers.copy(),
        host_header=request.host_header,
        host=request.host,
        routing_path=request.routing_path,
        decoded_path=request.decoded_path,
        client_ip=request.client_ip,
        client_port=request.client_port,
        scheme=request.scheme,
        version=request.version,
        body=BytesBody(content),
    )
    copy.routing_query = request.routing_query
    return copy
