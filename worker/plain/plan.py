"""What is sent for a request head: worked out once, then remembered. Pure.

A keep-alive client often sends the same head again and again. What the general lane would do with a head
depends only on the head, the peer and the routes of a generation, if every step of the chain is pure; so a
plan is valid for as long as the generation is. A head that is new is put together from known parts if it can
be (``composer``), else read whole; either way the general lane's functions say what becomes of it. This file
decides nothing about HTTP but whether an exchange is plain.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.errors import ExchangeError, TableError
from worker.access_log import LinePattern
from worker.exchange import Exchange
from worker.forward import IDEMPOTENT, build_headers, target_for
from worker.forwarded import is_upgrade, note_peer
from worker.handling import check_options
from worker.pipeline import OPEN_GATE, Gate, GatedStep, SyncStep
from worker.plain.answer import MAX_SHARED_ANSWERS, Answer, Answers
from worker.plain.composer import Composer, Composition
from worker.plain.records import blank_record
from worker.request_head import Peer, check_escapes, parse_request
from worker.routes import Route, Routes
from worker.server import Server
from worker.server_balancer import ServerBalancer
from worker.services import AnsweringEndpoint
from worker.state import Entrance
from worker.tls.stream import TlsSession


class Reading(NamedTuple):
    """A request without a body, before its chain.

    Attributes:
        client_host: who the access log says it is from.
        closes: whether the connection ends with the exchange, as the client wants.
        composition: what its head was put together from; None if it was read whole.
    """

    exchange: Exchange
    client_host: bytes
    closes: bool
    composition: Composition | None = None


class Plan:
    """What becomes of a request head.

    Attributes:
        exchange: what the chain made of it; a pattern that no exchange changes.
        routes, generation: what it is valid for.
        balancer: of the service.
        client_host, closes: see ``Reading``.
        gates: what each exchange has to pass, and leaves again.
        may_repeat: whether it may be sent again when a kept connection turns out dead.
    """

    __slots__ = (
        "_answers",
        "_composition",
        "_heads",
        "_lines",
        "balancer",
        "client_host",
        "closes",
        "exchange",
        "gates",
        "generation",
        "may_repeat",
        "routes",
    )

    def __init__(
        self,
        reading: Reading,
        routes: Routes,
        balancer: ServerBalancer,
        answers: Answers,
        gates: tuple[Gate, ...] = (),
    ) -> None:
        self.exchange = exchange = reading.exchange
        self.routes = routes
        self.balancer = balancer
        self.client_host = reading.client_host
        self.closes = reading.closes
        self.gates = gates
        self.generation = exchange.generation
        self.may_repeat = exchange.request.method in IDEMPOTENT
        self._composition = reading.composition
        self._answers = answers
        self._heads: dict[Server, bytes] = {}
        self._lines: dict[Server, LinePattern] = {}

    def line_for(self, server: Server) -> LinePattern:
        """The pattern of its access log lines."""
        known = self._lines.get(server)
        if known is None:
            known = self._lines[server] = LinePattern(blank_record(self, server.url))
        return known

    def head_for(self, server: Server) -> bytes:
        """The request as this server gets it."""
        known = self._heads.get(server)
        if known is None:
            known = self._heads[server] = self._make_head(server)
        return known

    def _make_head(self, server: Server) -> bytes:
        request = self.exchange.request
        start = f"{request.method} {target_for(request, server)} HTTP/1.1\r\n".encode(
            "utf-8", "surrogateescape"
        )
        if self._composition is not None:
            before, behind = self._composition.frame.around(server)
            return b"%b%b%b%b" % (start, before, self._composition.lines, behind)
        lines = [b"%b: %b\r\n" % field for field in build_headers(self.exchange, server)]
        return start + b"".join(lines) + b"\r\n"

    def answer_to(self, raw_head: bytes) -> Answer | None:
        """What becomes of a server's answer to it; None if it is not plain."""
        answer = self._answers.get(raw_head, self.exchange, keep_alive=not self.closes)
        if answer is not None and not all(gate.is_final(answer.status) for gate in self.gates):
            return None
        return answer

    def enter(self) -> bool:
        """Pass the gates; False if one is closed, and then it is as if nobody had come."""
        for number, gate in enumerate(self.gates):
            if not gate.enter():
                for passed in self.gates[:number]:
                    passed.leave(0, 0.0)
                return False
        return True

    def leave(self, status: int, duration_s: float) -> None:
        """The exchange is over: see ``Gate.leave``."""
        for gate in self.gates:
            gate.leave(status, duration_s)


class Planner:
    """Makes plans; remembers parts of heads, and answers that depend on no chain."""

    def __init__(self) -> None:
        self._composer = Composer()
        self._answers: dict[tuple[bool, str, bool], Answers] = {}

    def make_plan(
        self,
        raw_head: bytes,
        entrance: Entrance,
        peer: Peer,
        routes: Routes,
        generation: int,
        session: TlsSession | None = None,
    ) -> Plan | None:
        """The plan for a request without a body; None if the exchange is not plain.

        Not plain is whatever needs a wait, a body, a decision per request or an error reply: the general
        lane reads the same bytes again and does it.
        """
        try:
            reading = self._read(raw_head, entrance, peer, routes, generation)
            if reading is None:
                return None
            exchange = reading.exchange
            exchange.session = session
            route = routes.match(entrance.name, entrance.tls, exchange.request)
            balancer = None if route is None else _plain_servers(route)
            if route is None or balancer is None:
                return None
            exchange.route = route
            check_escapes(exchange.request, entrance.rules)
            check_options(exchange, route)
            gates = _run_steps(route, exchange)
        except (ExchangeError, TableError):
            return None
        if gates is None:
            return None
        if not route.steps:
            return Plan(reading, routes, balancer, self._answers_to(reading))
        return Plan(reading._replace(composition=None), routes, balancer, Answers(), gates)

    def _read(
        self, raw_head: bytes, entrance: Entrance, peer: Peer, routes: Routes, generation: int
    ) -> Reading | None:
        composed = self._composer.compose(raw_head, entrance, peer, routes, generation)
        if composed is not None:
            return Reading(composed.exchange, composed.frame.client_host, False, composed)
        return read_whole(raw_head, entrance, peer, generation)

    def _answers_to(self, reading: Reading) -> Answers:
        """Of what a request says, an answer depends on this much."""
        request = reading.exchange.request
        key = (request.method == "HEAD", request.version, reading.closes)
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = Answers(MAX_SHARED_ANSWERS)
        return known


def read_whole(raw_head: bytes, entrance: Entrance, peer: Peer, generation: int) -> Reading | None:
    """A request as the general lane reads it; None if it is not plain.

    Raises:
        DownstreamError: the head is refused.
    """
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
    client_host = request.headers.get(b"x-forwarded-for") or peer.ip.encode()
    return Reading(exchange, client_host, closes=not head.keep_alive)


def _run_steps(route: Route, exchange: Exchange) -> tuple[Gate, ...] | None:
    """Run the chain on a request. Returns its gates; None if a step answers or waits.

    What one gate took is lost when the next one is closed; so the one that cannot give back stands last, and
    there is no other of its kind.
    """
    gates: list[Gate] = []
    for step in route.steps:
        if isinstance(step, GatedStep):
            gate = step.gate(exchange)
            if gate is None:
                return None
            if gate is not OPEN_GATE:
                gates.append(gate)
        elif isinstance(step, SyncStep) and step.on_request(exchange) is not None:
            return None
    if sum(not gate.is_lossless for gate in gates) > 1:
        return None
    return tuple(sorted(gates, key=_losses))


def _losses(gate: Gate) -> bool:
    return not gate.is_lossless


def _plain_servers(route: Route) -> ServerBalancer | None:
    """Who picks the server, if all of the route is plain."""
    if not route.runs_at_once:
        return None
    return route.endpoint.servers if isinstance(route.endpoint, AnsweringEndpoint) else None
