"""What is sent for a request head, and for a response head: worked out once, then remembered. Pure.

A keep-alive client sends the same head again and again, and a server answers with the same head for as long
as its Date stands still. What the general lane would do with a head depends only on the head, the peer and
the routes of a generation, if every step of the chain is pure; so a plan is valid for as long as the
generation is. All of it is computed by the general lane's functions: this file decides nothing about HTTP
but whether an exchange is plain.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.errors import ExchangeError, TableError
from shared.headers import Headers
from worker.access_log import LinePattern, Record
from worker.exchange import Exchange
from worker.forward import IDEMPOTENT, build_headers, target_for
from worker.forwarded import is_upgrade, note_peer, without_hop_fields
from worker.handling import check_options
from worker.messages import Response
from worker.pipeline import SyncStep
from worker.request_head import Peer, check_escapes, parse_request
from worker.response_head import decide_framing, encode_response_head
from worker.routes import Route, Routes
from worker.server import Server
from worker.server_balancer import ServerBalancer
from worker.services import AnsweringEndpoint
from worker.state import Entrance
from worker.tls.stream import TlsSession
from worker.upstream import UpstreamHead, parse_head

MAX_ANSWERS = 32
"""Response heads remembered per plan; a server's Date makes a new one every second."""
MAX_REMEMBERED_BYTES = 8_192
"""Longer heads are not plain, and longer answers not remembered: they are rare, and memory is for the many. A
kernel takes a head of this size at once."""


class Answer:
    """What becomes of a response head.

    Attributes:
        head: the bytes for the client.
        body_length: bytes of body that follow.
        is_reusable: whether the server's connection stays open.
    """

    __slots__ = ("_lines", "body_length", "head", "is_reusable", "status")

    def __init__(self, head: bytes, status: int, body_length: int, is_reusable: bool) -> None:
        self.head = head
        self.status = status
        self.body_length = body_length
        self.is_reusable = is_reusable


class Plan:
    """What becomes of a request head.

    Attributes:
        exchange: what the chain made of it; a pattern that no exchange changes.
        routes, generation: what it is valid for.
        balancer: of the service.
        closes: whether the connection ends with the exchange, as the client wants.
        may_repeat: whether it may be sent again when a kept connection turns out dead.
    """

    __slots__ = (
        "_answers",
        "_heads",
        "_lines",
        "balancer",
        "client_host",
        "closes",
        "exchange",
        "generation",
        "may_repeat",
        "routes",
    )

    def __init__(
        self,
        exchange: Exchange,
        routes: Routes,
        balancer: ServerBalancer,
        client_host: bytes,
        *,
        closes: bool,
    ) -> None:
        self.exchange = exchange
        self.routes = routes
        self.balancer = balancer
        self.client_host = client_host
        self.closes = closes
        self.generation = exchange.generation
        self.may_repeat = exchange.request.method in IDEMPOTENT
        self._heads: dict[Server, bytes] = {}
        self._answers: dict[bytes, Answer] = {}
        self._lines: dict[Server, LinePattern] = {}

    def line_for(self, server: Server) -> LinePattern:
        """The pattern of its access log lines."""
        known = self._lines.get(server)
        if known is None:
            known = self._lines[server] = LinePattern(_record(self, server.url, 0, 0.0, 0.0))
        return known

    def head_for(self, server: Server) -> bytes:
        """The request as this server gets it."""
        known = self._heads.get(server)
        if known is None:
            headers = build_headers(self.exchange, server)
            request = self.exchange.request
            start = f"{request.method} {target_for(request, server)} HTTP/1.1".encode(
                "utf-8", "surrogateescape"
            )
            known = self._heads[server] = b"\r\n".join(
                [start, *(b"%b: %b" % field for field in headers), b"\r\n"]
            )
        return known

    def answer_to(self, raw_head: bytes) -> Answer | None:
        """What becomes of a server's answer to it; None if it is not plain."""
        known = self._answers.get(raw_head)
        if known is not None:
            return known
        made = _make_answer(self.exchange, raw_head, keep_alive=not self.closes)
        if made is not None and len(raw_head) <= MAX_REMEMBERED_BYTES:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[raw_head] = made
        return made


def make_plan(
    raw_head: bytes,
    entrance: Entrance,
    peer: Peer,
    routes: Routes,
    generation: int,
    session: TlsSession | None = None,
) -> Plan | None:
    """The plan for a request without a body; None if the exchange is not plain.

    Not plain is whatever needs a wait, a body, a decision per request or an error reply: the general lane
    reads the same bytes again and does it.
    """
    try:
        head = parse_request(raw_head, entrance.rules, peer)
        request = head.request
        if (
            head.body_length != 0
            or b"expect" in request.headers
            or b"upgrade" in request.headers
            or is_upgrade(request.headers)
        ):
            return None
        note_peer(request, entrance.trust)
        exchange = Exchange(request, entrance.name, entrance.settings, tls=entrance.tls)
        exchange.generation = generation
        exchange.session = session
        route = routes.match(entrance.name, entrance.tls, request)
        servers = None if route is None else _plain_servers(route)
        if route is None or servers is None:
            return None
        exchange.route = route
        check_escapes(request, entrance.rules)
        check_options(exchange, route)
        client_host = request.headers.get(b"x-forwarded-for") or peer.ip.encode()
        for step in route.steps:
            if step.on_request(exchange) is not None:  # type: ignore[union-attr]  # all are SyncSteps
                return None
    except (ExchangeError, TableError):
        return None
    return Plan(exchange, routes, servers, client_host, closes=not head.keep_alive)


def _plain_servers(route: Route) -> ServerBalancer | None:
    """Who picks the server, if all of the route is plain."""
    if not all(isinstance(step, SyncStep) and step.is_pure for step in route.steps):
        return None
    return route.endpoint.servers if isinstance(route.endpoint, AnsweringEndpoint) else None


class _Announced:
    """Stands for a body of which only the length matters."""

    trailers: Headers | None = None

    def __init__(self, length: int | None) -> None:
        self.length = length

    async def receive(self) -> bytes:
        """Never called: the lane moves the bytes itself."""
        raise AssertionError("the plain lane reads bodies from the socket")

    async def aclose(self) -> None:
        """Nothing to release."""


def _make_answer(exchange: Exchange, raw_head: bytes, *, keep_alive: bool) -> Answer | None:
    try:
        head = parse_head(raw_head)
    except ExchangeError:
        return None
    body_length = _body_length(exchange, head)
    if body_length is None or not raw_head.startswith(b"HTTP/1.1 ") or b"date" not in head.headers:
        return None
    body: Any = _Announced(head.announced_length)
    response = Response(
        head.status, without_hop_fields(head.headers), body, reason=head.reason, from_upstream=True
    )
    assert exchange.route is not None, "a plan has a route"
    for step in reversed(exchange.route.steps):
        step.on_response(exchange, response)  # type: ignore[union-attr]  # all are SyncSteps
    framing = decide_framing(exchange.request, response)
    raw = encode_response_head(exchange.request, response, framing, keep_alive=keep_alive)
    return Answer(raw, response.status, body_length, b"close" not in head.headers.tokens(b"connection"))


def _body_length(exchange: Exchange, head: UpstreamHead) -> int | None:
    """Bytes behind the head; None if that is not known beforehand, or the answer is not a final one."""
    if head.status < 200 or b"transfer-encoding" in head.headers:
        return None
    if exchange.request.method == "HEAD" or head.status in (204, 304):
        return 0
    return head.announced_length


def make_record(
    plan: Plan,
    server_url: str,
    answer: Answer,
    *,
    number: int,
    started_at: float,
    duration_s: float,
    first_byte_s: float,
) -> Record:
    """The access record of an exchange that went through; what the general lane would write."""
    record = _record(plan, server_url, number, started_at, duration_s)
    return msgspec.structs.replace(
        record,
        status=answer.status,
        size_bytes=answer.body_length,
        upstream_status=answer.status,
        first_byte_s=first_byte_s,
    )


def make_failed_record(
    plan: Plan,
    server_url: str,
    error: ExchangeError,
    *,
    number: int,
    started_at: float,
    duration_s: float,
    status: int,
) -> Record:
    """The access record of an exchange that was cut."""
    record = _record(plan, server_url, number, started_at, duration_s)
    return msgspec.structs.replace(record, status=status, error=f"{type(error).__name__}: {error}")


def _record(plan: Plan, server_url: str, number: int, started_at: float, duration_s: float) -> Record:
    exchange, request = plan.exchange, plan.exchange.request
    route = exchange.route
    assert route is not None, "a plan has a route"
    return Record(
        started_at=started_at,
        duration_s=duration_s,
        client_host=plan.client_host,
        username=exchange.username or "",
        method=request.method,
        target=request.received_target,
        protocol=f"HTTP/{request.version}",
        status=0,
        size_bytes=0,
        referer=request.headers.get(b"referer") or b"",
        user_agent=request.headers.get(b"user-agent") or b"",
        number=number,
        router=route.name,
        server_url=server_url,
        entrypoint=exchange.entrypoint_name,
        service=route.service_name,
        host=request.host_header,
        upstream_connect_s=0.0,
        attempts=1,
    )
