"""A response as frames: head, content as fast as the client takes it, trailers.

Source: RFC 9113 section 8.1; RFC 9110 sections 6.5, 8.6 and 9.3.2.
"""

from __future__ import annotations

import time

from hpack import NeverIndexedHeaderTuple

from shared.errors import UpstreamProtocolError
from worker.bodies import LiveBody
from worker.exchange import Exchange
from worker.forwarded import passable_trailers
from worker.h2.request_head import CONNECTION_FIELDS
from worker.h2.wire import Field, Wire
from worker.messages import Body, Request, Response
from worker.response_head import date_field
from worker.tunnel import Tunnel

_BODYLESS = frozenset({204, 304})
_SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})
_GATHER_BYTES = 65_536


def wire_fields(fields: list[Field]) -> list[Field]:
    """Fields as they are sent: names in lower case, those of HTTP/1's connections left out.

    Credentials are marked so that no compression context keeps them (RFC 7541 section 7.1.3).
    """
    folded = [(name.lower(), value) for name, value in fields]
    return [
        NeverIndexedHeaderTuple(name, value) if name in _SECRET else (name, value)
        for name, value in folded
        if name not in CONNECTION_FIELDS
    ]


def response_fields(response: Response, length: int | None) -> list[Field]:
    """The head; hop-by-hop fields are gone already."""
    fields = [(b":status", b"%d" % response.status), *wire_fields(list(response.headers))]
    if b"date" not in response.headers:
        fields.append((b"date", date_field(int(time.time()))))
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    return fields


async def send_response(wire: Wire, stream_id: int, exchange: Exchange, response: Response) -> None:
    """Send all of a response.

    Raises:
        WireBrokenError: the stream is over.
        UpstreamError: the body broke off; the caller resets the stream.
    """
    body = response.body
    if isinstance(body, Tunnel):
        raise UpstreamProtocolError("a change of protocol that nobody asked for")
    length = body.length
    if exchange.request.method == "HEAD" or response.status in _BODYLESS or length == 0:
        wire.send_headers(stream_id, response_fields(response, _shown(exchange.request, response)), end=True)
        return
    if isinstance(body, LiveBody) and body.is_finished and not body.received_bytes and not body.trailers:
        # The head was the end, as gRPC has it for errors ("trailers only"); its clients want it so, too.
        wire.send_headers(stream_id, response_fields(response, length), end=True)
        return
    wire.send_headers(stream_id, response_fields(response, length))
    while True:
        chunk = await _gather(body)
        if not chunk:
            break
        exchange.bytes_out += len(chunk)
        if length is not None and exchange.bytes_out > length:
            raise UpstreamProtocolError("the body is longer than announced")
        is_last = exchange.bytes_out == length
        await wire.send_data(stream_id, chunk, end=is_last)
        if is_last:
            return
    if length is not None:
        raise UpstreamProtocolError("the body is shorter than announced")
    trailers = passable_trailers(body.trailers)
    if trailers is None:
        await wire.send_data(stream_id, b"", end=True)
    else:
        wire.send_headers(stream_id, wire_fields(list(trailers)), end=True)


async def _gather(body: Body) -> bytes:
    """What is there already, in one piece; else the next chunk."""
    if not isinstance(body, LiveBody):
        return await body.receive()
    first = body.receive_ready()
    if first is None:
        first = await body.receive()
    if not first or body.is_finished:
        return first
    parts, size = [first], len(first)
    while size < _GATHER_BYTES and not body.is_finished:
        more = body.receive_ready()
        if not more:
            break
        parts.append(more)
        size += len(more)
    return b"".join(parts)


def _shown(request: Request, response: Response) -> int | None:
    """The Content-Length of an answer without content: what a GET would have had, where that is known."""
    if response.status == 204 or (response.status == 304 and not response.from_upstream):
        return None
    return response.body.length
