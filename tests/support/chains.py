"""Runs middlewares around an endpoint that records what would go upstream, without any sockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import trio

from shared.config.checks import check_middleware
from shared.config.middlewares import Middleware
from shared.config.static import EntryPoint, ForwardedHeaders
from shared.headers import Headers
from shared.paths import decoded_path, normalise_escapes, routing_path, sanitise
from worker.exchange import Exchange
from worker.forwarded import for_upstream, make_trust, note_peer
from worker.messages import Request, Response
from worker.middlewares.registry import build_step
from worker.pipeline import compose

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass
class Outcome:
    """What came of a request.

    Attributes:
        response: what the client gets.
        body: its body.
        exchange: as it was at the end.
        upstream_target, upstream_headers: what the server got; None when it got nothing.
    """

    response: Response
    body: bytes
    exchange: Exchange
    upstream_target: str | None
    upstream_headers: Headers | None

    @property
    def location(self) -> str | None:
        """The Location field as text."""
        value = self.response.headers.get(b"Location")
        return None if value is None else value.decode("ascii")


def no_file(path: str) -> str:
    """A ``read_file`` for configurations that name no file."""
    raise FileNotFoundError(2, "No such file or directory", path)


def make_exchange(
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "foo.test",
    headers: Fields = (),
    client_ip: str = "127.0.0.1",
    tls: bool = False,
    trusted: bool = False,
) -> Exchange:
    """An exchange as the connection would hand it to the chain; ``trusted`` says who sent X-Forwarded-*."""
    raw_path, mark, query = target.partition("?")
    path = sanitise(normalise_escapes(raw_path))
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    request = Request(
        method=method,
        received_target=target,
        path=path,
        query=query if mark else None,
        headers=Headers((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in pairs),
        host_header=host,
        host=host.partition(":")[0],
        routing_path=routing_path(path),
        decoded_path=decoded_path(path),
        client_ip=client_ip,
        scheme="https" if tls else "http",
    )
    note_peer(request, make_trust(ForwardedHeaders(insecure=trusted), "proxy.test"))
    return Exchange(request, "web", EntryPoint(address=":80"), tls=tls)


def run_chain(
    middlewares: Middleware | list[Middleware], exchange: Exchange, reply_headers: Fields = ()
) -> Outcome:
    """Check, build and run middlewares; the endpoint answers 200 with ``reply_headers``."""
    chain = middlewares if isinstance(middlewares, list) else [middlewares]
    steps = [build_step(check_middleware(each, no_file)) for each in chain]
    pairs = reply_headers.items() if isinstance(reply_headers, Mapping) else reply_headers
    reply = Response(200, Headers((name.encode(), value.encode()) for name, value in pairs))
    sent: list[tuple[str, Headers]] = []

    async def endpoint(at_end: Exchange) -> Response:
        fields = for_upstream(at_end.request, append=at_end.append_forwarded_for)
        fields.set(b"Host", at_end.request.host_header.encode())
        sent.append((at_end.request.target, fields))
        return reply

    async def run() -> tuple[Response, bytes]:
        response = await compose(steps, endpoint)(exchange)
        return response, await response.body.receive()

    response, body = trio.run(run)
    assert len(sent) <= 1
    target, fields = sent[0] if sent else (None, None)
    return Outcome(response, body, exchange, target, fields)
