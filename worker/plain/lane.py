"""The plain lane: its connections, its exchanges, and the doors to the general lane.

Doors: ``promote`` (a head that is not plain, or no idle connection to its server), ``resume`` (an answer that
is not plain: the general lane goes on with the server's connection), ``fail`` (no answer at all) and
``hand_over`` (it is TLS). Back in: ``adopt``, for new connections and for those that are idle again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable

import trio

from shared.errors import ClientGone, ExchangeError, UpstreamError
from worker import downstream
from worker.access_log import AccessLog
from worker.admission import Place
from worker.plain.books import Books
from worker.plain.client import PlainClient
from worker.plain.link import PlainLink
from worker.plain.loop import Handler, Loop
from worker.plain.plan import Plan
from worker.plain.records import note, note_failure
from worker.request_head import Peer
from worker.resumption import Resumption
from worker.splicing import Pipes
from worker.state import Counts, Entrance, Generations, seconds
from worker.target import Target
from worker.tls.stream import TlsSession, say_goodbye

SWEEP_INTERVAL_S = 0.25
"""How often idle and waiting connections are looked through for those over their time."""
SWEEP_SHARE = 8
"""A sweep looks at one connection in so many, so that 100,000 of them do not stall the loop; at each of them
every two seconds."""

_CLIENT_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_LINK_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_CLOCK = time.monotonic


Promote = Callable[[PlainClient, bytes, Resumption | None], None]
"""Starts the general lane on a connection: the bytes already read, and the exchange that has begun if any."""


HandOver = Callable[[PlainClient], None]
"""Starts a handshake on a connection."""


class PlainLane:
    """See above.

    Args:
        generations, counts, access_log: of the worker.
        promote: the way into the general lane.
        hand_over: takes a connection that turns out to be TLS, all of its bytes unread.
    """

    def __init__(
        self,
        generations: Generations,
        counts: Counts,
        access_log: AccessLog | None,
        promote: Promote,
        hand_over: HandOver,
    ) -> None:
        self._generations = generations
        self._counts = counts
        self._access_log = access_log
        self._promote = promote
        self._hand_over = hand_over
        self._clients: dict[int, PlainClient] = {}
        self._books = Books()
        self.loop = Loop(self._close_all_of)
        self.pipes = Pipes()
        self.now = _CLOCK
        self.is_draining = False
        self._emptied = trio.Event()

    @property
    def generation(self) -> int:
        """The routes in force."""
        return self._generations.number

    # -- doors ---------------------------------------------------------------------------------------------

    def adopt(
        self,
        sock: socket.socket,
        entrance: Entrance,
        peer: Peer,
        place: Place,
        served: int = 0,
        *,
        session: TlsSession | None = None,
        is_new: bool = False,
    ) -> None:
        """Take a connection that is idle, or new: both wait for a head.

        Args:
            sock: its socket; an ``SSLSocket`` if there is a session.
            entrance: where it came in.
            peer: the other end.
            place: held as long as it lives.
            served: exchanges so far.
            session: of a TLS connection.
            is_new: nothing was read yet: its first byte says whether it is TLS.
        """
        security = None if session is None else session.identity
        book = self._books.open((entrance.name, peer.ip, security))
        client = PlainClient(sock, entrance, peer, place, self, book, session)
        client.served = served
        client.is_new = is_new
        client.last_active = self.now()
        self._clients[client.fd] = client
        self.loop.register(client.fd, client, _CLIENT_EVENTS)

    def hand_over(self, client: PlainClient) -> None:
        """It is TLS: let it shake hands in a task."""
        self._forget_client(client)
        self._hand_over(client)

    def promote(self, client: PlainClient, data: bytes, resumption: Resumption | None = None) -> None:
        """Let the general lane go on, from these bytes."""
        self._forget_client(client)
        self._promote(client, data, resumption)

    def resume(self, client: PlainClient, received: bytes) -> None:
        """The answer is not plain: let the general lane read it."""
        link, plan, target = self._part(client)
        resumption = Resumption(plan.routes, target, link.connection, received, None, self._elapsed_s(client))
        self.promote(client, client.raw_head, resumption)

    def fail(self, client: PlainClient, error: UpstreamError) -> None:
        """No answer came. A kept connection may have been dead: then the request is sent again."""
        link, plan, target = self._part(client)
        link.connection.close()
        if plan.may_repeat:
            self.promote(client, client.raw_head, Resumption(plan.routes))
        else:
            resumption = Resumption(plan.routes, target, None, b"", error, self._elapsed_s(client))
            self.promote(client, client.raw_head, resumption)

    def close(self, client: PlainClient, *, is_cut: bool = False) -> None:
        """The client is done; or cut, so that what it got cannot look complete."""
        self._forget_client(client)
        if not is_cut and not client.is_lingering and isinstance(client.sock, ssl.SSLSocket):
            say_goodbye(client.sock)
        client.sock.close()
        client.place.release()

    # -- exchanges -----------------------------------------------------------------------------------------

    def make_plan(self, client: PlainClient, data: bytes) -> Plan | None:
        """What to do with bytes that are not known yet; None unless they are one whole plain head."""
        routes = self._generations.routes
        if routes is None or self.is_draining:
            return None
        return self._books.make_plan(client, data, routes, self.generation)

    def start(self, client: PlainClient, plan: Plan, raw_head: bytes) -> None:
        """Send a request to a server, over a connection that is open already."""
        if plan.gates and not plan.enter():
            self.promote(client, raw_head)
            return
        target = plan.balancer.choose_plain(plan.exchange)
        if target is None:
            self.promote(client, raw_head, Resumption(plan.routes))
            return
        connection = target.server.pool.take_idle()
        if connection is None:
            self.promote(client, raw_head, Resumption(plan.routes, target))
            return
        link = connection.plain
        if link is None:
            link = connection.plain = PlainLink(connection, self)
            self.loop.register(link.fd, link, _LINK_EVENTS)
        client.plan, client.link, client.target = plan, link, target
        client.raw_head = raw_head
        client.started = self.now()
        link.client = client
        target.enter()
        self._counts.in_flight += 1
        if not link.send(plan.head_for(target.server)):  # nothing left us, so it may be sent again
            self._part(client)
            connection.close()
            self.promote(client, raw_head, Resumption(plan.routes))

    def finish(self, client: PlainClient) -> None:
        """The exchange is through: both connections are free again."""
        link, plan, target = client.link, client.plan, client.target
        assert link is not None, "only an exchange finishes"
        assert plan is not None, "it has a plan"
        assert target is not None, "and a server"
        answer = link.answer
        assert answer is not None, "and an answer"
        now = self.now()
        target.note_answer(answer.status, client.first_byte_s)
        self._part(client)
        if plan.gates:
            plan.leave(answer.status, now - client.started)
        link.connection.give_back(answer.is_reusable)
        self._counts.exchanges += 1
        if self._access_log is not None:
            number, duration_s = self._counts.exchanges, now - client.started
            note(self._access_log, client, plan, target.server, answer, number, duration_s)
        client.last_active = now
        client.served += 1
        if plan.closes:
            client.linger()
        elif self.is_draining:
            self.promote(client, b"")
        elif client.is_readable:
            client.on_events(select.EPOLLIN)

    def abandon(self, client: PlainClient, error: ExchangeError) -> None:
        """The exchange cannot be completed, and its client may have had a part of the answer: cut both."""
        answer = client.link.answer if client.link is not None else None
        link, plan, target = self._part(client)
        if answer is not None:
            target.note_answer(answer.status, client.first_byte_s)
        else:
            target.note_end()
        link.connection.close()
        plan.leave(answer.status if answer is not None else 0, self._elapsed_s(client))
        self._counts.exchanges += 1
        if self._access_log is not None:
            number, duration_s = self._counts.exchanges, self._elapsed_s(client)
            note_failure(self._access_log, plan, target.server, answer, error, number, duration_s)
        _reset(client.sock)
        self.close(client, is_cut=True)

    def _elapsed_s(self, client: PlainClient) -> float:
        return self.now() - client.started

    def _part(self, client: PlainClient) -> tuple[PlainLink, Plan, Target]:
        """Take the two connections of an exchange apart."""
        link, plan, target = client.link, client.plan, client.target
        assert link is not None, "only an exchange has parts"
        assert plan is not None, "a plan"
        assert target is not None, "and a server"
        client.link = client.plan = client.target = None
        if client.pipe is not None:
            self.pipes.give_back(client.pipe)
            client.pipe = None
        link.client = link.answer = None
        target.leave()
        self._counts.in_flight -= 1
        return link, plan, target

    # -- time and the end ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive everything until cancelled."""
        try:
            await self.loop.run()
        finally:
            self.is_draining = True  # nothing can be adopted any more
            self._cut_all()
            self.pipes.close()
            self.loop.close()

    def _close_all_of(self, handler: Handler) -> None:
        client = handler if isinstance(handler, PlainClient) else getattr(handler, "client", None)
        if client is not None and client.link is not None:
            self.abandon(client, ExchangeError("a defect of the proxy"))
        elif client is not None:
            self.close(client)

    async def run_sweeper(self) -> None:
        """Close what is over its time, until cancelled."""
        turn = 0
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            turn = (turn + 1) % SWEEP_SHARE
            now = self.now()
            for client in [each for fd, each in self._clients.items() if fd % SWEEP_SHARE == turn]:
                if client.link is None:
                    if now > client.last_active + idle_limit_s(client):
                        self.close(client)
                elif client.is_full and now > client.last_active + stall_limit_s(client):
                    self.abandon(client, ClientGone("the client takes no more bytes"))

    async def drain(self) -> None:
        """Give every connection that is idle to the general lane, which lets clients go politely.

        Returns when no client is left, the last ones cut at the end of their entrypoint's grace period; when
        cancelled, those that are left get cut at once.
        """
        self.is_draining = True
        idle = [each for each in self._clients.values() if each.link is None and not each.is_lingering]
        for client in idle:
            self.promote(client, b"")
        began = self.now()
        try:
            while self._clients:
                self._emptied = trio.Event()
                first_s = min(map(grace_s, self._clients.values()))
                with trio.move_on_after(max(began + first_s - self.now(), 0)):
                    await self._emptied.wait()
                for client in [
                    each for each in self._clients.values() if self.now() >= began + grace_s(each)
                ]:
                    self._cut(client)
        finally:
            self._cut_all()

    def _cut_all(self) -> None:
        for client in list(self._clients.values()):
            self._cut(client)

    def _cut(self, client: PlainClient) -> None:
        if client.link is None:
            self.close(client)
        else:
            self._counts.cut += 1
            self.abandon(client, ExchangeError("cut at the end of the grace period"))

    def _forget_client(self, client: PlainClient) -> None:
        self.loop.unregister(client.fd)
        self._clients.pop(client.fd, None)
        if not self._clients:
            self._emptied.set()


def idle_limit_s(client: PlainClient) -> float:
    """How long a connection may wait for its next request, or for its first."""
    timeouts = client.entrance.settings.transport.responding_timeouts
    if client.is_lingering:
        return downstream.LINGER_S
    if client.served:
        return seconds(timeouts.idle_timeout)
    return timeouts.read_timeout or downstream.HEAD_DEADLINE_S


def grace_s(client: PlainClient) -> float:
    """How long its exchange may go on once the worker drains."""
    return client.entrance.settings.transport.life_cycle.grace_time_out


def stall_limit_s(client: PlainClient) -> float:
    """How long a client may take no byte of its answer."""
    return client.entrance.settings.transport.responding_timeouts.write_timeout or downstream.STALL_S


def _reset(sock: socket.socket) -> None:
    """Close so that what was sent cannot look complete."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
