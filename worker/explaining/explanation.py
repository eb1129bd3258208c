"""Answers a question: runs the request through the data plane, with watched steps, and does not send it.

What a connection does, in its order: parse the head, note the peer, match, check, run the chain. Then the
routers that did not win are judged one by one, which serving never does.
"""

from __future__ import annotations

import dataclasses
import socket

import trio

from shared.config.dynamic import Service
from shared.config.static import StaticConfig
from shared.errors import DownstreamError, ExchangeError, NoRoute
from shared.explanation import (
    NEAREST_SHOWN,
    Answer,
    ExplainedServer,
    ExplainedService,
    Explanation,
    Fate,
    JudgedRouter,
    Question,
    Received,
)
from shared.table.entries import RouterEntry
from shared.table.reader import Table, open_table
from worker.exchange import Exchange
from worker.explaining.judging import Judgement, judge_routers, nearest, reasons_of
from worker.explaining.question import Arrival, read_question
from worker.explaining.texts import header_lines, shown
from worker.explaining.watching import WatchedChain, WatchedServices
from worker.forwarded import note_peer
from worker.handling import handle, reply_to
from worker.internal_services import NOOP, OF_THE_MASTER, PING, answer_for, answer_noop, make_ping
from worker.messages import BytesBody, Request, Response
from worker.request_head import Peer, RequestHead, parse_request
from worker.routes import Routes
from worker.state import Entrance, Lifetime, make_entrance

OURSELVES = "penstock"
FRESH_BALANCER = (
    "The server is the one that a worker picks first after its start;"
    " running workers may be elsewhere in the round."
)


def explain_request(table_bytes: bytes | memoryview, static: StaticConfig, question: Question) -> Explanation:
    """What would become of a request. Blocks, for a second with 100,000 routers; has no effect on anything.

    Args:
        table_bytes: the routing table, as workers get it.
        static: the settings that workers have.
        question: which request.

    Raises:
        UsageError: the question makes no sense.
        TableError: the table is damaged.
    """
    arrival = read_question(question, static)
    table = open_table(table_bytes)
    name = arrival.entrypoint
    entrance = make_entrance(name, static.entry_points[name], socket.gethostname())
    notes = [] if arrival.tls is entrance.tls else [_other_lane(entrance)]
    entrance = dataclasses.replace(entrance, tls=arrival.tls)
    scheme = "https" if arrival.tls else "http"
    try:
        head = parse_request(arrival.raw_head, entrance.rules, Peer(arrival.client_ip, 0, scheme))
    except DownstreamError as error:
        why = f"the request head is refused: {error}"
        answer = trio.run(_answer, reply_to(error), OURSELVES, why)
        return Explanation(table.generation, answer=answer, notes=tuple(notes))
    # Read twice: steps change the request that they are shown, and routers are judged by the one that came.
    untouched = parse_request(arrival.raw_head, entrance.rules, Peer(arrival.client_ip, 0, scheme)).request
    note_peer(untouched, entrance.trust)
    return _Run(table, static, entrance, arrival).explain(head, untouched, question, notes)


class _Run:
    """One request on its way through the watched data plane."""

    def __init__(self, table: Table, static: StaticConfig, entrance: Entrance, arrival: Arrival) -> None:
        self._table = table
        self._entrance = entrance
        self._arrival = arrival
        self._chain = WatchedChain()
        internal = {NOOP: answer_noop, PING: make_ping(static, Lifetime()), **answer_for(OF_THE_MASTER)}
        self._services = WatchedServices(internal)
        self._routes = Routes(table, self._services.endpoint_maker(table), self._chain.build_step)

    def explain(
        self, head: RequestHead, untouched: Request, question: Question, notes: list[str]
    ) -> Explanation:
        """Run the request and tell what happened."""
        request = head.request
        body = BytesBody()
        body.length = head.body_length  # announced, and never read
        request.body = body
        note_peer(request, self._entrance.trust)
        exchange = Exchange(request, self._entrance.name, self._entrance.settings, tls=self._entrance.tls)
        answer = trio.run(self._handle, exchange)
        route = exchange.route
        winner, others, left_out = self._judge(untouched, route.entry if route else None, question.show_all)
        services = self._explained_services()
        if self._services.sent is not None and any(len(each.members) > 1 for each in services):
            notes.append(FRESH_BALANCER)
        chain = self._chain.explained(self._table, route.entry) if route is not None else ()
        skipped = [each.name for each in chain if each.outcome == "not run"]
        notes += [f"{name} was not run: it may wait for others." for name in skipped]
        return Explanation(
            generation=self._table.generation,
            received=_received(untouched, self._arrival),
            router=winner,
            others=others,
            others_left_out=left_out,
            chain=chain,
            services=services,
            upstream=self._services.sent,
            answer=answer,
            notes=tuple(notes),
        )

    async def _handle(self, exchange: Exchange) -> Answer | None:
        """Our own answer, None if a server would give it."""
        try:
            response = await handle(exchange, self._entrance, self._routes)
        except ExchangeError as error:
            response = reply_to(error)
            lane = f"{self._entrance.name}{' for TLS' if self._entrance.tls else ''}"
            why = f"no router of entrypoint {lane} matches" if isinstance(error, NoRoute) else str(error)
            return await _answer(response, OURSELVES, why)
        if self._services.sent is not None:
            return None
        assert exchange.route is not None, "handle raises without one"
        if exchange.error is not None:  # the end of the chain turned it into an answer
            return await _answer(response, OURSELVES, str(exchange.error))
        answered = next((each for each in self._chain.notes if each.outcome == "answered"), None)
        if answered is not None:
            return await _answer(response, answered.name, f"the middleware {answered.name} answers")
        return await _answer(response, exchange.route.service_name, f"{exchange.route.service_name} answers")

    def _judge(
        self, request: Request, winner: RouterEntry | None, show_all: bool
    ) -> tuple[JudgedRouter | None, tuple[JudgedRouter, ...], int]:
        won: JudgedRouter | None = None
        losers: list[Judgement] = []
        count = 0

        def judged(judgement: Judgement, fate: Fate, outranked_by: str = "") -> JudgedRouter:
            router = judgement.router
            return JudgedRouter(
                rank=judgement.rank + 1,
                name=router.name,
                rule=shown(router.rule),
                priority=router.priority,
                service=self._table.service(router.service).name,
                fate=fate,
                reasons=tuple(shown(each) for each in reasons_of(judgement, request)),
                outranked_by=outranked_by,
            )

        for judgement in judge_routers(self._table, self._entrance.name, self._entrance.tls, request):
            if judgement.router is winner:
                won = judged(judgement, "won")
            else:
                count += 1
                losers.append(judgement)
        if not show_all:
            losers = sorted(nearest(losers, request, NEAREST_SHOWN))
        others = tuple(
            judged(each, "outranked", _precedence(winner, each.router))
            if each.verdict.holds and winner is not None
            else judged(each, "failed")
            for each in losers
        )
        return won, others, count - len(others)

    def _explained_services(self) -> tuple[ExplainedService, ...]:
        trail = self._services.trail
        if not trail:
            return ()
        picks = [*trail[1:], self._services.sent.server_url if self._services.sent is not None else ""]
        explained = []
        for name, pick in zip(trail, picks, strict=True):
            number = self._table.find_service(name)
            options = self._table.service(number).options if number is not None else Service()
            explained.append(_explained_service(name, options, pick))
        return tuple(explained)


def _received(request: Request, arrival: Arrival) -> Received:
    return Received(
        entrypoint=arrival.entrypoint,
        tls=arrival.tls,
        client_ip=request.client_ip,
        method=shown(request.method),
        host=shown(request.host),
        path=shown(request.routing_path),
        decoded_path=shown(request.decoded_path),
        query=None if request.query is None else shown(request.query),
    )


def _explained_service(name: str, options: Service, pick: str) -> ExplainedService:
    """A service with its members' shares; the first member of the picked name is marked."""
    if options.weighted is not None:
        strategy = "wrr"
        rows = [(each.name, each.weight, "") for each in options.weighted.services]
    elif options.load_balancer is not None:
        strategy = options.load_balancer.strategy
        servers = options.load_balancer.servers
        rows = [(each.url, each.weight, "fenced" if each.fenced else "") for each in servers]
    else:
        return ExplainedService(name, "answers itself")
    weights = [0 if note else max(1 if weight is None else weight, 0) for _, weight, note in rows]
    total = sum(weights) or 1
    picked = next((place for place, row in enumerate(rows) if row[0] == pick and weights[place]), -1)
    members = tuple(
        ExplainedServer(shown(row[0]), weight, weight / total, place == picked, row[2])
        for place, (row, weight) in enumerate(zip(rows, weights, strict=True))
    )
    return ExplainedService(name, strategy, members)


def _precedence(winner: RouterEntry, loser: RouterEntry) -> str:
    if winner.priority != loser.priority:
        return f"{winner.name} has priority {winner.priority}, over {loser.priority}"
    providers = [each.name.rpartition("@")[2] for each in (winner, loser)]
    by = "name" if providers[0] == providers[1] else "provider"
    return f"{winner.name} has the same priority, {winner.priority}, and comes first by its {by}"


async def _answer(response: Response, by: str, why: str) -> Answer:
    content = await response.body.receive()  # ours are here already, in one piece
    return Answer(
        status=response.status,
        reason=response.reason.decode("ascii", "replace"),
        headers=header_lines(response.headers),
        body=content.decode("utf-8", "backslashreplace"),
        by=by,
        why=shown(why),
    )


def _other_lane(entrance: Entrance) -> str:
    speaks = "TLS" if entrance.tls else "plain HTTP"
    return f"Entrypoint {entrance.name} speaks {speaks} in this version; the question supposes otherwise."
