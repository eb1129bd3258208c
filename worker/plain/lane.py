"""The loop of the plain lane, and the doors between the lanes.

One trio task waits until the lane's epoll instance has events, handles what there is, looks again a bounded
number of times and waits anew: trio is asked once for many exchanges. Nothing in here waits otherwise.

Doors to the general lane: ``promote`` (a head that is not plain, or no idle connection to its server),
``resume`` (an answer that is not plain: the general lane goes on with the server's connection) and ``fail``
(no answer at all). Back in: ``adopt``, for new connections and for those that are idle again.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from shared.errors import ClientGone, ExchangeError, UpstreamError
from worker import downstream
from worker.access_log import AccessLog
from worker.admission import Place
from worker.plain.answer import Answer
from worker.plain.client import PlainClient
from worker.plain.composer import MAX_HEAD_BYTES
from worker.plain.link import PlainLink
from worker.plain.plan import Plan, Planner
from worker.plain.records import make_failed_record, make_record
from worker.request_head import Peer
from worker.resumption import Resumption
from worker.server import Server
from worker.splicing import Pipes
from worker.state import Counts, Entrance, Generations, Lifetime, seconds
from worker.target import Target
from worker.tls.stream import TlsIdentity, TlsSession, say_goodbye

logger = logging.getLogger(__name__)

MAX_PLANS = 16_384
"""Request heads remembered per worker; with them go their answers (bounded by 300 MB; usually a few)."""
MAX_SEEN = 65_536
"""Marks of heads seen once (about 6 MB)."""
EVENTS_PER_LOOK = 256
LOOKS_PER_TURN = 8
"""Before trio's other tasks get their turn."""
SWEEP_INTERVAL_S = 0.25
"""How often idle and waiting connections are looked through for those over their time."""
SWEEP_SHARE = 8
"""A sweep looks at one connection in so many, so that 100,000 of them do not stall the loop; at each of them
every two seconds."""

_CLIENT_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_LINK_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_CLOCK = time.monotonic


class Handler(Protocol):
    """What the loop drives."""

    def on_events(self, events: int) -> None:
        """The kernel has news about its socket."""


Promote = Callable[[PlainClient, bytes, Resumption | None], None]
"""Starts the general lane on a connection: the bytes already read, and the exchange that has begun if any."""


HandOver = Callable[[PlainClient], None]
"""Starts a handshake on a connection."""

BookKey = tuple[str, str, TlsIdentity | None]
"""What the plans of a connection depend on: entrypoint, peer, and what TLS says about the client."""


class Book(dict[bytes, Plan]):
    """The plans of one peer at one entrypoint; shared by its connections and gone with the last of them."""

    __slots__ = ("__weakref__",)


class PlainLane:
    """See above.

    Args:
        generations, lifetime, counts, access_log: of the worker.
        promote: the way into the general lane.
        hand_over: takes a connection that turns out to be TLS, all of its bytes unread.
    """

    def __init__(
        self,
        generations: Generations,
        lifetime: Lifetime,
        counts: Counts,
        access_log: AccessLog | None,
        promote: Promote,
        hand_over: HandOver,
    ) -> None:
        self._generations = generations
        self._lifetime = lifetime
        self._counts = counts
        self._access_log = access_log
        self._promote = promote
        self._hand_over = hand_over
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._clients: dict[int, PlainClient] = {}
        self._books: weakref.WeakValueDictionary[BookKey, Book] = weakref.WeakValueDictionary()
        self._planner = Planner()
        self.pipes = Pipes()
        self._plan_count = 0
        self._seen: set[int] = set()
        self._due: deque[PlainLink] = deque()
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
        key = (entrance.name, peer.ip, security)
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = Book()
        client = PlainClient(sock, entrance, peer, place, self, book, session)
        client.served = served
        client.is_new = is_new
        client.last_active = self.now()
        self._clients[client.fd] = self._handlers[client.fd] = client
        self._epoll.register(client.fd, _CLIENT_EVENTS)

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
        if len(data) > MAX_HEAD_BYTES:
            return None
        if routes is None or self.is_draining or data.find(b"\r\n\r\n") != len(data) - 4:
            return None
        plan = self._planner.make_plan(
            data, client.entrance, client.peer, routes, self.generation, client.session
        )
        if plan is not None and self._is_known(data):
            if self._plan_count >= MAX_PLANS:
                self._forget_plans()
            self._plan_count += 1
            client.plans[data] = plan
        return plan

    def _is_known(self, head: bytes) -> bool:
        """Whether this head was seen lately: one that never comes again is not worth a place."""
        mark = hash(head)
        if mark in self._seen:
            return True
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(mark)
        return False

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
            self._handlers[link.fd] = link
            self._epoll.register(link.fd, _LINK_EVENTS)
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
        counts = self._counts
        counts.exchanges += 1
        if self._access_log is not None:
            self._note(client, plan, target.server, answer, now - client.started)
        client.last_active = now
        client.served += 1
        if plan.closes:
            client.linger()
        elif self.is_draining:
            self.promote(client, b"")
        elif client.is_readable:
            client.on_events(select.EPOLLIN)

    def _note(
        self, client: PlainClient, plan: Plan, server: Server, answer: Answer, duration_s: float
    ) -> None:
        """Write the access record."""
        log, number = self._access_log, self._counts.exchanges
        assert log is not None, "the caller looked"
        started_at = time.time() - duration_s
        if log.has_line_pattern:
            pattern = plan.line_for(server)
            log.put(pattern.fill(started_at, duration_s, answer.status, answer.body_length, number))
            return
        log.put(
            make_record(
                plan,
                server.url,
                answer,
                number=number,
                started_at=started_at,
                duration_s=duration_s,
                first_byte_s=client.first_byte_s,
            )
        )

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
            self._note_failure(client, plan, target.server.url, answer, error)
        _reset(client.sock)
        self.close(client, is_cut=True)

    def _note_failure(
        self, client: PlainClient, plan: Plan, server_url: str, answer: Answer | None, error: ExchangeError
    ) -> None:
        assert self._access_log is not None
        status = answer.status if answer is not None else 0
        duration_s = self.now() - client.started
        self._access_log.put(
            make_failed_record(
                plan,
                server_url,
                error,
                number=self._counts.exchanges,
                started_at=time.time() - duration_s,
                duration_s=duration_s,
                status=ClientGone.status if isinstance(error, ClientGone) else status,
            )
        )

    def again(self, link: PlainLink) -> None:
        """The link has more to read, after others had their turn."""
        self._due.append(link)

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

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive everything until cancelled."""
        try:
            while True:
                if self._due:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._look()
        finally:
            self.is_draining = True  # nothing can be adopted any more
            self._cut_all()
            self.pipes.close()
            self._epoll.close()

    def _look(self) -> None:
        for _ in range(LOOKS_PER_TURN):
            events = self._epoll.poll(0, EVENTS_PER_LOOK)
            for fd, what in events:
                self._handle(fd, what)
            for _ in range(len(self._due)):
                self._due.popleft().go_on()
            if not events:
                return

    def _handle(self, fd: int, events: int) -> None:
        handler = self._handlers.get(fd)
        if handler is None:  # closed by an event before this one
            return
        try:
            handler.on_events(events)
        except Exception:  # one connection never ends the lane
            logger.exception("a connection of the plain lane failed; it is closed")
            self._close_all_of(handler)

    def _close_all_of(self, handler: Handler) -> None:
        client = handler if isinstance(handler, PlainClient) else getattr(handler, "client", None)
        if client is not None and client.link is not None:
            self.abandon(client, ExchangeError("a defect of the proxy"))
        elif client is not None:
            self.close(client)

    def unregister(self, fd: int) -> None:
        """Drive a socket no more; it may be closed already."""
        if self._handlers.pop(fd, None) is not None and not self._epoll.closed:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    # -- time and the end ----------------------------------------------------------------------------------

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
        self.unregister(client.fd)
        self._clients.pop(client.fd, None)
        if not self._clients:
            self._emptied.set()

    def _forget_plans(self) -> None:
        for book in list(self._books.values()):
            book.clear()
        self._plan_count = 0


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
