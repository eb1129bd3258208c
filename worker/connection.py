"""The general lane: one task per client connection, one exchange after the other.

What happens to an exchange here, in order: wait (idle), read and parse its head, note the peer, match,
run the chain, stream the response, write the record, and decide whether the connection goes on. While the
response is still to come, a client that leaves ends the exchange.

A client is told what went wrong as long as nothing of a response was sent; after that the connection is cut,
so that what was sent cannot look complete. Waiting and exchanging are different cancel scopes: draining cuts
the first, only the worker's deadline the second.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import trio

from shared.errors import BadRequest, ClientGone, DownstreamError, ExchangeError
from shared.headers import Headers
from worker.client_stream import ClientStream
from worker.conduct import Context, record, respond
from worker.downstream import Downstream
from worker.exchange import Exchange
from worker.forwarded import is_upgrade, note_peer, without_hop_fields
from worker.h2.server import PREFACE_HEAD, ClientConnection
from worker.messages import Response
from worker.request_head import (
    Peer,
    RequestHead,
    parse_request,
)
from worker.response_head import encode_interim_head
from worker.response_stream import send_response
from worker.resumption import Resumption
from worker.state import Entrance, seconds
from worker.tls.stream import TlsStream
from worker.tunnel import Tunnel

logger = logging.getLogger(__name__)

RETURN_AFTER_S = 1.0
"""How long a connection stays idle in the general lane before it goes back to the plain one: what came last
was not plain, so the next may not be either, and going back and forth costs more than a waiting task."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a connection has behind it when the general lane gets it.

    Attributes:
        opened_at: when it was accepted, by trio's clock.
        served: exchanges so far.
        early: bytes that were read from it and not used.
        resumption: the exchange that ``early`` began, as far as it came in the plain lane.
    """

    opened_at: float
    served: int = 0
    early: bytes = b""
    resumption: Resumption | None = None


class Connection:
    """One client connection.

    Args:
        stream: accepted.
        peer: the client.
        entrance: where it came in.
        context: of the worker.
        opening: what went before.

    Attributes:
        served: exchanges so far.
    """

    def __init__(
        self, stream: ClientStream, peer: Peer, entrance: Entrance, context: Context, opening: Opening
    ) -> None:
        self._stream = stream
        self._session = stream.session if isinstance(stream, TlsStream) else None
        self._entrance = entrance
        self._context = context
        self._transport = entrance.settings.transport
        self._opened_at = opening.opened_at
        self._resumption = opening.resumption
        self._is_returning = False
        self.served = opening.served
        self._peer = peer
        timeouts = self._transport.responding_timeouts
        self._downstream = Downstream(
            stream,
            context.departures.watch(stream.socket.fileno()),
            read_timeout_s=timeouts.read_timeout,
            write_timeout_s=timeouts.write_timeout,
            early=opening.early,
        )

    async def serve(self, *, has_way_back: bool = False) -> bool:
        """Serve exchanges until either side is done, or the connection is idle and may go back.

        Returns:
            Whether it is idle; only with ``has_way_back``. Else the caller closes the socket.
        """
        returns_at_once = has_way_back and self._resumption is not None
        try:
            if self._session is not None and self._session.protocol == "h2":
                await self._speak_http2(self._downstream.take_buffer())
                await self._downstream.linger()
                return False
            while await self._wait_for_request(has_way_back=has_way_back):
                if not await self._serve_one():
                    await self._downstream.linger()
                    return False
                if returns_at_once and not self._downstream.has_buffered():
                    return True
            return self._is_returning
        except ClientGone:
            return False
        finally:
            self._downstream.presence.forget()

    async def _wait_for_request(self, *, has_way_back: bool) -> bool:
        """Wait between exchanges; False when there will be no other, or not here."""
        if self._downstream.has_buffered():
            return True
        timeouts = self._transport.responding_timeouts
        limit_s = seconds(timeouts.idle_timeout) if self.served else self._downstream.head_deadline_s
        lifetime = self._context.lifetime
        stay_s = RETURN_AFTER_S if has_way_back else math.inf
        with trio.CancelScope(deadline=trio.current_time() + min(limit_s, stay_s)) as idle:
            lifetime.enter_idle(idle)
            try:
                return await self._downstream.wait_for_request()
            finally:
                lifetime.leave_idle(idle)
        if self._downstream.poll():
            return True
        self._is_returning = stay_s < limit_s and not lifetime.is_draining
        return False

    async def _serve_one(self) -> bool:
        """One exchange; whether the connection goes on."""
        try:
            raw_head = await self._downstream.read_head(self._entrance.rules.max_bytes)
            if raw_head == PREFACE_HEAD and not self.served and self._session is None:
                await self._speak_http2(raw_head + self._downstream.take_buffer())
                return False
            head = parse_request(raw_head, self._entrance.rules, self._peer)
        except ClientGone:
            raise
        except DownstreamError as error:
            await self._refuse(error)
            return False
        self.served += 1
        exchange = self._begin(head)
        client_host = exchange.request.headers.get(b"x-forwarded-for") or self._peer.ip.encode()
        counts = self._context.counts
        counts.in_flight += 1
        counts.exchanges += 1
        number = counts.exchanges
        is_through = False
        try:
            keep_alive = await self._run(exchange, head)
            is_through = True
            return keep_alive
        finally:
            if not is_through:  # only the worker's own end cuts an exchange
                counts.cut += 1
                exchange.error = exchange.error or ExchangeError("cut at the end of the grace period")
            exchange.leave_server()
            exchange.end()
            counts.in_flight -= 1
            record(exchange, self._context, client_host, number)

    async def _speak_http2(self, early: bytes) -> None:
        """Another protocol for the whole of the connection (RFC 9113 sections 3.2 and 3.3)."""
        self._downstream.presence.forget()
        connection = ClientConnection(
            self._stream, self._peer, self._entrance, self._context, self._opened_at, early
        )
        await connection.serve()

    async def _refuse(self, error: DownstreamError) -> None:
        """Answer a head that cannot become a request, in the version every client understands."""
        response = self._context.failures.refuse(error, self._entrance, self._peer.ip)
        lines = [b"HTTP/1.1 %d %b" % (response.status, response.reason)]
        lines += [b"%b: %b" % field for field in response.headers]
        lines += [b"Content-Length: %d" % (response.body.length or 0), b"Connection: close"]
        await self._downstream.send(b"\r\n".join(lines) + b"\r\n\r\n" + await response.body.receive())

    def _begin(self, head: RequestHead) -> Exchange:
        request = head.request
        request.body = self._downstream.open_body(head)
        note_peer(request, self._entrance.trust)
        exchange = Exchange(request, self._entrance.name, self._entrance.settings, tls=self._entrance.tls)
        exchange.generation = self._context.generations.number
        exchange.session = self._session
        exchange.started_at = trio.current_time()
        exchange.resumption, self._resumption = self._resumption, None
        if request.version == "1.1":
            exchange.on_interim = self._send_interim
        return exchange

    async def _run(self, exchange: Exchange, head: RequestHead) -> bool:
        """The exchange, with a nursery for its upload if there is a body; whether the connection goes on."""
        body = exchange.request.body
        if body.length == 0:
            return await self._answer(exchange, head)
        async with trio.open_nursery() as uploads:
            exchange.uploads = uploads
            keep_alive = await self._answer(exchange, head)
            uploads.cancel_scope.cancel()  # the response is through: the rest of the body has no use
        exchange.bytes_in = getattr(body, "received_bytes", 0)
        return keep_alive and await self._downstream.skip_body(body)

    async def _answer(self, exchange: Exchange, head: RequestHead) -> bool:
        """Make and send the response; whether the connection goes on. The exchange's errors end here."""
        presence = self._downstream.presence
        with trio.CancelScope() as scope:
            presence.guard(scope)
            try:
                response = await respond(exchange, self._context, self._entrance)
                return await self._deliver(exchange, head, response)
            except ExchangeError as error:
                if exchange.error is None:
                    exchange.error = error
                    self._context.failures.note_cut(error, exchange)
                self._downstream.cut()
                return False
            except Exception as error:
                logger.exception("an exchange of entrypoint %s broke off", self._entrance.name)
                exchange.error = exchange.error or ExchangeError(str(error))
                self._downstream.cut()
                return False
            finally:
                presence.guard(None)
        exchange.error = ClientGone("the client left before its answer was complete")
        self._downstream.cut()
        return False

    async def _deliver(self, exchange: Exchange, head: RequestHead, response: Response) -> bool:
        exchange.status = response.status
        try:
            if isinstance(response.body, Tunnel):
                await self._switch(exchange, response, response.body)
                return False
            keep_alive = self._may_go_on(exchange, head)
            return await send_response(self._downstream, exchange, response, keep_alive=keep_alive)
        finally:
            await response.body.aclose()

    def _may_go_on(self, exchange: Exchange, head: RequestHead) -> bool:
        """Whether the connection may serve another exchange; said to the client in the response head."""
        if (
            not head.keep_alive
            or self._context.lifetime.is_draining
            or isinstance(exchange.error, DownstreamError)
        ):
            return False
        if exchange.uploads is not None and not self._downstream.may_skip_body(exchange.request.body):
            return False
        most = self._transport.keep_alive_max_requests
        longest_s = self._transport.keep_alive_max_time
        if most and self.served >= most:
            return False
        return not longest_s or trio.current_time() - self._opened_at < longest_s

    async def _switch(self, exchange: Exchange, response: Response, tunnel: Tunnel) -> None:
        """Another protocol from here on, if the client asked for one."""
        if not is_upgrade(exchange.request.headers):
            raise BadRequest("a change of protocol that nobody asked for")
        self._downstream.presence.guard(None)
        self._downstream.has_started_response = True
        await self._downstream.send(encode_interim_head(101, response.reason, response.headers))
        try:
            await tunnel.relay(self._stream, self._downstream.take_buffer())
        finally:
            exchange.bytes_in, exchange.bytes_out = tunnel.bytes_in, tunnel.bytes_out

    async def _send_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if not self._downstream.has_started_response:
            await self._downstream.send(encode_interim_head(status, reason, without_hop_fields(headers)))
