"""Sending a response to a client: head and body in as few writes as waiting allows.

A write happens whenever the next chunk has to be waited for, so nothing that a server said is held back
(event streams), and a small answer leaves in one piece.
"""

from __future__ import annotations

from shared.errors import UpstreamProtocolError
from worker.bodies import LiveBody
from worker.downstream import Downstream
from worker.exchange import Exchange
from worker.forwarded import passable_trailers
from worker.messages import Body, BytesBody, Response
from worker.response_head import (
    Framing,
    decide_framing,
    encode_chunk,
    encode_last_chunk,
    encode_response_head,
)

FLUSH_BYTES = 65_536
"""Ready chunks are gathered up to this much before they are written."""


async def send_response(
    downstream: Downstream, exchange: Exchange, response: Response, *, keep_alive: bool
) -> bool:
    """Send all of a response.

    Args:
        downstream: the client.
        exchange: gets ``bytes_out``.
        response: its body is read to the end; closing it is the caller's.
        keep_alive: whether the connection may go on.

    Returns:
        Whether it does.

    Raises:
        ClientGone: the client did not take it.
        UpstreamError: the body broke off; what was sent is incomplete and the connection must be cut.
    """
    framing = decide_framing(exchange.request, response)
    keep_alive = keep_alive and framing is not Framing.CLOSE
    pending = bytearray(encode_response_head(exchange.request, response, framing, keep_alive=keep_alive))
    downstream.has_started_response = True
    if framing is Framing.NONE:
        await downstream.send(pending)
        return keep_alive
    body = response.body
    frame = encode_chunk if framing is Framing.CHUNKED else _bare
    while True:
        chunk = _receive_ready(body)
        if chunk is None:
            if not isinstance(body, BytesBody):  # that one never waits
                await _flush(downstream, pending)
            chunk = await body.receive()
        if not chunk:
            break
        exchange.bytes_out += len(chunk)
        if framing is Framing.LENGTH and exchange.bytes_out > (body.length or 0):
            raise UpstreamProtocolError("the body is longer than announced")
        pending += frame(chunk)
        chunk = b""  # a client that does not read holds one copy of it, not three
        if len(pending) >= FLUSH_BYTES:
            await _flush(downstream, pending)
    if framing is Framing.LENGTH and exchange.bytes_out != body.length:
        raise UpstreamProtocolError("the body is shorter than announced")
    if framing is Framing.CHUNKED:
        pending += encode_last_chunk(passable_trailers(body.trailers))
    await _flush(downstream, pending)
    return keep_alive


def _receive_ready(body: Body) -> bytes | None:
    return body.receive_ready() if isinstance(body, LiveBody) else None


async def _flush(downstream: Downstream, pending: bytearray) -> None:
    if pending:
        data = bytes(pending)
        pending.clear()
        await downstream.send(data)


def _bare(chunk: bytes) -> bytes:
    return chunk
