"""One request on one stream: from its fields to the last frame of its response, and its record.

The same steps as in ``worker.connection``; where HTTP/1 closes or cuts the connection, a stream is reset.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio
from h2.errors import ErrorCodes

from shared.errors import BadRequest, ClientGone, DownstreamError, ExchangeError
from shared.headers import Headers
from worker.conduct import record, respond
from worker.exchange import Exchange
from worker.forwarded import note_peer, without_hop_fields
from worker.h2.request_head import parse_request
from worker.h2.responding import response_fields, send_response
from worker.h2.stream import Stream, StreamBody
from worker.h2.wire import WireBrokenError
from worker.messages import BytesBody, Response
from worker.request_head import RequestHead
from worker.tls.stream import TlsStream

if TYPE_CHECKING:
    from worker.h2.server import ClientConnection

logger = logging.getLogger(__name__)


class RequestTask:
    """See above.

    Args:
        connection: it came on.
        stream: its own.
        fields: its head.
        has_body: whether the stream went on behind it.
    """

    def __init__(
        self,
        connection: ClientConnection,
        stream: Stream,
        fields: list[tuple[bytes, bytes]],
        *,
        has_body: bool,
    ) -> None:
        self._connection = connection
        self._context = connection.context
        self._entrance = connection.entrance
        self._wire = connection.wire
        self._stream = stream
        self._fields = fields
        self._has_body = has_body
        self._has_started_response = False
        self._is_whole = False

    async def run(self) -> None:
        """Serve it. Its errors end here."""
        try:
            await self._serve()
        except WireBrokenError:
            return  # the reader knows, or will
        except Exception:
            logger.exception("a stream of entrypoint %s failed", self._entrance.name)
        finally:
            if not self._is_whole:
                self._wire.reset(self._stream.id, ErrorCodes.INTERNAL_ERROR)
            self._connection.note_end(self._stream, is_whole=self._is_whole)

    async def _serve(self) -> None:
        try:
            head = parse_request(
                self._fields, self._entrance.rules, self._connection.peer, has_body=self._has_body
            )
        except DownstreamError as error:
            await self._refuse(error)
            return
        exchange = self._begin(head)
        client_host = exchange.request.headers.get(b"x-forwarded-for") or self._connection.peer.ip.encode()
        counts = self._context.counts
        counts.in_flight += 1
        counts.exchanges += 1
        number = counts.exchanges
        is_through = False
        try:
            await self._run(exchange)
            is_through = True
        finally:
            if not is_through:  # only the worker's own end cuts an exchange
                counts.cut += 1
                exchange.error = exchange.error or ExchangeError("cut at the end of the grace period")
            exchange.leave_server()
            exchange.end()
            counts.in_flight -= 1
            record(exchange, self._context, client_host, number)

    async def _refuse(self, error: DownstreamError) -> None:
        """Answer a head that cannot become a request."""
        response = self._context.failures.refuse(error, self._entrance, self._connection.peer.ip)
        content = await response.body.receive()
        fields = response_fields(response, len(content))
        self._wire.send_headers(self._stream.id, fields, end=not content)
        if content:
            await self._wire.send_data(self._stream.id, content, end=True)
        self._end_request()
        self._is_whole = True

    def _begin(self, head: RequestHead) -> Exchange:
        request = head.request
        request.body = self._open_body(head)
        note_peer(request, self._entrance.trust)
        exchange = Exchange(request, self._entrance.name, self._entrance.settings, tls=self._entrance.tls)
        exchange.generation = self._context.generations.number
        stream = self._connection.stream
        exchange.session = stream.session if isinstance(stream, TlsStream) else None
        exchange.started_at = trio.current_time()
        exchange.on_interim = self._send_interim
        return exchange

    def _open_body(self, head: RequestHead) -> BytesBody | StreamBody:
        if head.body_length == 0:
            return BytesBody()
        return StreamBody(
            self._stream,
            head.body_length,
            self._connection.body_stall_s,
            broken=BadRequest,
            before_wait=self._send_continue if head.expects_continue else None,
            on_end=_nothing,
            on_abandon=_nothing,
        )

    async def _run(self, exchange: Exchange) -> None:
        """The exchange, with a nursery for its upload if there is a body."""
        body = exchange.request.body
        if body.length == 0:
            await self._answer(exchange)
            return
        async with trio.open_nursery() as uploads:
            exchange.uploads = uploads
            await self._answer(exchange)
            uploads.cancel_scope.cancel()  # the response is through: the rest of the body has no use
        exchange.bytes_in = getattr(body, "received_bytes", 0)

    async def _answer(self, exchange: Exchange) -> None:
        """Make and send the response; the exchange's errors end here."""
        scope = self._stream.scope
        assert scope is not None, "a request's stream has one"
        with scope:
            try:
                response = await respond(exchange, self._context, self._entrance)
                await self._deliver(exchange, response)
            except WireBrokenError as error:
                exchange.error = ClientGone(str(error))
            except ExchangeError as error:
                if exchange.error is None:
                    exchange.error = error
                    self._context.failures.note_cut(error, exchange)
            except Exception as error:
                logger.exception("an exchange of entrypoint %s broke off", self._entrance.name)
                exchange.error = exchange.error or ExchangeError(str(error))
            return
        exchange.error = ClientGone("the client left before its answer was complete")

    async def _deliver(self, exchange: Exchange, response: Response) -> None:
        exchange.status = response.status
        try:
            self._has_started_response = True
            await send_response(self._wire, self._stream.id, exchange, response)
            self._end_request()
            self._is_whole = True
        finally:
            await response.body.aclose()

    def _end_request(self) -> None:
        """The answer is complete: what the client has still to send has no use (RFC 9113 section 8.1)."""
        if not self._stream.has_ended:
            self._wire.reset(self._stream.id, ErrorCodes.NO_ERROR)

    def _send_continue(self) -> None:
        if not self._has_started_response:
            self._wire.send_headers(self._stream.id, [(b":status", b"100")])

    async def _send_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if not self._has_started_response:
            fields = [(name.lower(), value) for name, value in without_hop_fields(headers)]
            self._wire.send_headers(self._stream.id, [(b":status", b"%d" % status), *fields])


def _nothing() -> None:
    return
