"""Sending an exchange to one server and making a response of its answer.

A request without a body is sent and answered in this task. A body is sent by a task of its own, so that a
server may answer before it has read everything; once the response is through, what is left of the upload is
given up by whoever opened ``exchange.uploads``.

A connection from the pool may have died unseen. Then the request is sent once more over a new one, but only
if that cannot do its work twice (RFC 9112 section 9.3.1; RFC 9110 section 9.2.2): if the kernel took no byte
of it and its body was not touched, or if its method is idempotent and it has no body. Bytes that the kernel
took count as seen by the server, as nobody can know; bodies are not kept for a second time.

Source: spec v2 sections 5.2 and 5.4; RFC 9110 section 10.1.1.
"""

from __future__ import annotations

import trio

from shared.errors import ExchangeError, ResponseTimeout, UpstreamError, UpstreamGone
from shared.headers import Headers
from worker.bodies import LiveBody
from worker.exchange import Exchange, OnInterim
from worker.forwarded import for_upstream, is_upgrade, passable_trailers, without_hop_fields
from worker.messages import Body, BytesBody, Request, Response
from worker.pool import Link
from worker.server import Server
from worker.tunnel import Tunnel
from worker.upstream import UpstreamConnection

CONTINUE_WAIT_S = 1.0
"""How long a server gets to answer ``Expect: 100-continue`` before the body is sent anyway (as in Go)."""

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


async def forward(exchange: Exchange, server: Server) -> Response:
    """The server's answer; its body streams from the server.

    Args:
        exchange: its request is what the chain made of it.
        server: where to send it.

    Raises:
        UpstreamError: there is no proper answer.
        DownstreamError: the request body could not be read.
    """
    request = exchange.request
    exchange.server_url = server.url
    exchange.attempts += 1
    headers = build_headers(exchange, server)
    if exchange.resumption is not None and exchange.attempts == 1:
        if exchange.resumption.error is not None:
            raise exchange.resumption.error
        if exchange.resumption.link is not None:
            return await _converse(exchange, server, exchange.resumption.link, headers)
    started = trio.current_time()
    needs_http1 = is_upgrade(headers)
    link = await server.pool.acquire(needs_http1=needs_http1)
    exchange.upstream_connect_s = trio.current_time() - started
    try:
        return await _converse(exchange, server, link, headers)
    except UpstreamGone:
        if not (link.is_reused and _may_repeat(request, link)):
            raise
    link = await server.pool.dial(needs_http1=needs_http1)
    return await _converse(exchange, server, link, headers)


def _may_repeat(request: Request, link: Link) -> bool:
    if request.body.length == 0:
        return not link.has_written or request.method in IDEMPOTENT
    return not link.has_written and isinstance(request.body, LiveBody) and request.body.is_untouched


def build_headers(exchange: Exchange, server: Server) -> Headers:
    """The fields of the request as the server gets them: Host first, framing last."""
    request = exchange.request
    append = (
        exchange.append_forwarded_for and not exchange.entrypoint.forwarded_headers.not_append_x_forwarded_for
    )
    host = request.host_header if server.pass_host_header else ""
    headers = Headers([(b"Host", (host or server.host_header).encode("utf-8", "surrogateescape"))])
    for name, value in for_upstream(request, append=append):
        headers.add(name, value)
    if not server.keeps_connections and not is_upgrade(headers):
        headers.add(b"Connection", b"close")
    length = request.body.length
    if length is None:
        headers.add(b"Transfer-Encoding", b"chunked")
    elif length > 0 or request.method in ("POST", "PUT", "PATCH"):
        headers.add(b"Content-Length", b"%d" % length)
    return headers


def target_for(request: Request, server: Server) -> str:
    """The request target; behind the path of the server's URL only if that is to be kept."""
    if not server.base_path or request.path == "*":
        return request.target
    joined = f"{server.base_path.rstrip('/')}{request.path or '/'}"
    return joined if request.query is None else f"{joined}?{request.query}"


async def _converse(exchange: Exchange, server: Server, link: Link, headers: Headers) -> Response:
    upload: Upload | None = None
    try:
        link.begin(exchange.request.method, target_for(exchange.request, server), headers)
        if (
            exchange.resumption is not None
            and exchange.resumption.link is link
            and isinstance(link, UpstreamConnection)
        ):
            link.take_up(exchange.resumption.received)
        else:
            upload = await _send_request(exchange, server, link, headers)
        with link.waiting:
            head = await link.read_head(_interim_sender(exchange))
        if link.waiting.cancelled_caught:
            raise ResponseTimeout(f"no response head within {server.response_header_timeout_s} s")
    except BaseException:
        link.close()
        if upload is not None:
            upload.forget()
        raise
    exchange.first_byte_s = trio.current_time() - exchange.started_at
    exchange.upstream_status = head.status
    if head.status == 101 and isinstance(link, UpstreamConnection):
        kept = without_hop_fields(head.headers, keep_upgrade=True)
        return Response(101, kept, Tunnel(link), reason=head.reason, from_upstream=True)
    return Response(
        head.status,
        without_hop_fields(head.headers),
        link.open_body(head),
        reason=head.reason,
        from_upstream=True,
    )


async def _send_request(exchange: Exchange, server: Server, link: Link, headers: Headers) -> Upload | None:
    """Send it, or begin to: the upload that goes on is returned."""
    body = exchange.request.body
    timeout_s = server.response_header_timeout_s
    if body.length != 0:
        expects = b"100-continue" in headers.tokens(b"expect")
        upload = Upload(body, link, expects_continue=expects, header_timeout_s=timeout_s)
        if exchange.uploads is not None and not isinstance(body, BytesBody):
            exchange.uploads.start_soon(upload.run)
            return upload
        await upload.run()
        return None
    await link.send_end(None)
    link.waiting.deadline = trio.current_time() + timeout_s
    return None


class Upload:
    """A request body on its way to a server.

    Args:
        body: is read only as fast as the server takes it.
        link: has begun the request.
        expects_continue: wait a moment for the server to ask for the body.
        header_timeout_s: how long the response head may take once the request is out.
    """

    def __init__(self, body: Body, link: Link, *, expects_continue: bool, header_timeout_s: float) -> None:
        self._body = body
        self._link = link
        self._expects_continue = expects_continue
        self._header_timeout_s = header_timeout_s
        self._is_forgotten = False

    async def run(self) -> None:
        """Send all of it. Whatever goes wrong is left for the reader of the response to find."""
        if self._is_forgotten:
            return
        try:
            await self._send()
        except UpstreamError:
            return  # the server may have answered all the same
        except ExchangeError as error:
            self._link.fail(error)  # cut, so that the body cannot look complete

    def forget(self) -> None:
        """Do not begin: the connection broke, and the body may belong to a second try."""
        self._is_forgotten = True

    async def _send(self) -> None:
        link, body = self._link, self._body
        if self._expects_continue:
            await link.send_head()
            with trio.move_on_after(CONTINUE_WAIT_S):
                await link.answer_began.wait()
            if link.has_final_head:
                return
        chunk = body.receive_ready() if isinstance(body, LiveBody) else None
        if chunk is None:
            if not isinstance(body, BytesBody):  # that one never waits
                await link.send_head()  # the server may have something to say before the client goes on
            chunk = await body.receive()
        while chunk:
            await link.send_data(chunk)
            chunk = await body.receive()
        await link.send_end(passable_trailers(body.trailers))
        link.waiting.deadline = trio.current_time() + self._header_timeout_s


async def _drop_interim(status: int, reason: bytes, headers: Headers) -> None:
    return


def _interim_sender(exchange: Exchange) -> OnInterim:
    return exchange.on_interim or _drop_interim
