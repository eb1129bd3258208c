"""The sessions of one UDP entrypoint in one worker.

A session is a client's address and port, the server that its first datagram was sent to, and a socket of its
own towards that server. It ends when neither side sent anything for the entrypoint's ``udp.timeout``. The
kernel sends the datagrams of one client to one worker (``shared.sockets``), so sessions are not shared.

Two tasks per entrypoint, however many sessions there are: ``accept`` reads what clients send, ``run`` what
servers answer (over one epoll instance) and ends idle sessions. Datagrams are never kept: what cannot be sent
on at once is dropped, as networks do.

While the worker drains nothing more is read from clients, as another worker may read the same socket by then;
answers still go out until the sessions are idle.

Source: spec v2 section 6.3.
"""

from __future__ import annotations

import contextlib
import logging
import math
import select
import socket
from collections import OrderedDict
from collections.abc import Callable

import trio

from shared.addresses import parse_ip
from shared.cells import ServerCell
from worker.udp.datagrams import ClientAddress, Way, open_datagrams
from worker.udp.services import UdpRoute, UdpTarget

logger = logging.getLogger(__name__)

MAX_SESSIONS = 16_384
"""Of one entrypoint in one worker, each a socket; datagrams of further clients are dropped."""
MAX_DATAGRAM_BYTES = 65_535
DATAGRAMS_PER_TURN = 64
"""Read from one socket before the worker's other tasks get their turn."""
EVENTS_PER_LOOK = 256
MAX_WAITING = 16
"""Datagrams kept per session while the name of its server is looked up."""
RESOLVE_TIMEOUT_S = 5.0
"""Longest look-up of a server's name (not measured)."""
COMPLAINT_INTERVAL_S = 60.0
"""Shortest time between two log lines about sessions that did not fit."""
SWEEPS_PER_TIMEOUT = 10
"""How often idle sessions are looked for (spec v2 section 6.3)."""

_Key = tuple[ClientAddress, Way]


class Session:
    """One client's datagrams to one server.

    Attributes:
        client, way: where answers go, and from which address.
        target: the server.
        sock: towards it; None while its name is looked up.
        waiting: what the client sent meanwhile.
        last_active: when either side sent last.
    """

    __slots__ = ("client", "last_active", "sock", "target", "waiting", "way")

    def __init__(self, client: ClientAddress, way: Way, target: UdpTarget, now: float) -> None:
        self.client = client
        self.way = way
        self.target = target
        self.sock: socket.socket | None = None
        self.waiting: list[bytes] = []
        self.last_active = now

    @property
    def key(self) -> _Key:
        """By what it is found."""
        return self.client, self.way


class UdpSessions:
    """See above.

    Args:
        listener: the slot's socket; it stays the master's.
        name: of the entrypoint.
        timeout_s: after which a silent session ends.
        find_route: what to do with a new client, now; None drops its datagram.
        limit: most sessions.
        grace_s: how long sessions may go on once the worker drains.
    """

    def __init__(
        self,
        listener: socket.socket,
        name: str,
        timeout_s: float,
        find_route: Callable[[], UdpRoute | None],
        limit: int = MAX_SESSIONS,
        grace_s: float = math.inf,
    ) -> None:
        self._listener = listener
        self._datagrams = open_datagrams(listener)
        self._name = name
        self._timeout_s = timeout_s
        self._find_route = find_route
        self._limit = limit
        self._grace_s = grace_s
        self._sessions: OrderedDict[_Key, Session] = OrderedDict()  # the longest silent first
        self._by_fd: dict[int, Session] = {}
        self._epoll = select.epoll()
        self._buffer = memoryview(bytearray(MAX_DATAGRAM_BYTES))
        self._complained_at = -math.inf
        self._is_draining = False
        self._idle = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def count(self) -> int:
        """Sessions now."""
        return len(self._sessions)

    async def accept(self) -> None:
        """Read what clients send, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._listener)
            for _ in range(DATAGRAMS_PER_TURN):
                try:
                    size, client, way = self._datagrams.receive_into(self._buffer)
                except BlockingIOError:
                    break
                except OSError as error:  # news about an earlier answer, such as an unreachable client
                    logger.debug("entrypoint %s: %s", self._name, error)
                    continue
                self._take((client, way), self._buffer[:size])

    async def run(self) -> None:
        """Pass answers on and end idle sessions, until drained or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._pass_answers)
                nursery.start_soon(self._sweep)
                await self._idle.wait()
                nursery.cancel_scope.cancel()
        finally:
            for session in list(self._sessions.values()):
                self._end(session)
            self._epoll.close()

    def begin_drain(self) -> None:
        """No new datagrams come; ``run`` returns when the sessions are idle, or after the grace."""
        self._is_draining = True
        if self._nursery is not None:
            self._nursery.cancel_scope.deadline = trio.current_time() + self._grace_s
        self._note_end()

    def _take(self, key: _Key, data: memoryview) -> None:
        session = self._sessions.get(key) or self._begin(key)
        if session is None:
            return
        session.last_active = trio.current_time()
        self._sessions.move_to_end(key)
        if session.sock is not None:
            self._send(session, data)
        elif len(session.waiting) < MAX_WAITING:
            session.waiting.append(bytes(data))

    def _begin(self, key: _Key) -> Session | None:
        if len(self._sessions) >= self._limit:
            self._complain()
            return None
        route = self._find_route()
        target = route.endpoint.choose() if route is not None else None
        if target is None:
            return None
        session = Session(*key, target, trio.current_time())
        if parse_ip(target.host) is not None:
            if not self._connect(session, target.host):
                return None
        elif self._nursery is None:
            return None
        else:
            self._nursery.start_soon(self._resolve, session)
        self._sessions[key] = session
        target.block.add(ServerCell.REQUESTS)
        target.block.add(ServerCell.IN_FLIGHT)
        return session

    async def _resolve(self, session: Session) -> None:
        target = session.target
        try:
            with trio.fail_after(RESOLVE_TIMEOUT_S):
                found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except (OSError, trio.TooSlowError) as error:
            logger.warning("server %s of entrypoint %s has no address: %s", target.address, self._name, error)
            self._end(session)
            return
        if self._sessions.get(session.key) is not session:
            return  # it ended meanwhile
        if not self._connect(session, str(found[0][4][0])):
            self._end(session)
            return
        for data in session.waiting:
            if session.sock is not None:
                self._send(session, data)
        session.waiting.clear()

    def _connect(self, session: Session, host: str) -> bool:
        target = session.target
        sock = None
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.connect((host, target.port))
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        except OSError as error:
            if sock is not None:
                sock.close()
            target.block.add(ServerCell.NETWORK_ERRORS)
            logger.warning("entrypoint %s: no session with server %s: %s", self._name, target.address, error)
            return False
        session.sock = sock
        self._by_fd[sock.fileno()] = session
        return True

    def _send(self, session: Session, data: memoryview | bytes) -> None:
        assert session.sock is not None, "it is connected"
        try:
            session.sock.send(data)
        except BlockingIOError:
            return  # dropped
        except OSError as error:
            self._fail(session, error)
            return
        session.target.block.add(ServerCell.BYTES_IN, len(data))

    async def _pass_answers(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, _ in self._epoll.poll(0, EVENTS_PER_LOOK):
                session = self._by_fd.get(fd)
                if session is not None:
                    self._answer(session)

    def _answer(self, session: Session) -> None:
        sock = session.sock
        assert sock is not None, "it has a descriptor"
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                size = sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(session, error)
                return
            session.last_active = trio.current_time()
            self._sessions.move_to_end(session.key)
            with contextlib.suppress(OSError):  # its network takes none now: dropped
                self._datagrams.send(self._buffer[:size], session.client, session.way)
                session.target.block.add(ServerCell.BYTES_OUT, size)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(self._timeout_s / SWEEPS_PER_TIMEOUT)
            limit = trio.current_time() - self._timeout_s
            while self._sessions:
                oldest = next(iter(self._sessions.values()))
                if oldest.last_active > limit:
                    break
                self._end(oldest)

    def _fail(self, session: Session, error: OSError) -> None:
        """The server is not there: the client's next datagram begins a new session, maybe elsewhere."""
        session.target.block.add(ServerCell.NETWORK_ERRORS)
        logger.debug("entrypoint %s: server %s: %s", self._name, session.target.address, error)
        self._end(session)

    def _end(self, session: Session) -> None:
        if self._sessions.get(session.key) is not session:
            return
        del self._sessions[session.key]
        if session.sock is not None:
            del self._by_fd[session.sock.fileno()]
            session.sock.close()  # which takes it out of the epoll instance, as nobody else has it
            session.sock = None
        session.target.block.add(ServerCell.IN_FLIGHT, -1)
        self._note_end()

    def _note_end(self) -> None:
        if self._is_draining and not self._sessions:
            self._idle.set()

    def _complain(self) -> None:
        now = trio.current_time()
        if now - self._complained_at >= COMPLAINT_INTERVAL_S:
            self._complained_at = now
            logger.warning(
                "entrypoint %s has %s UDP sessions, its limit; other clients' datagrams are dropped",
                *(self._name, self._limit),
            )
