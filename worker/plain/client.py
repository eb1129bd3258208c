"""One client connection in the plain lane.

States::

    idle --a whole plain head--> waiting --answer head--> sending --body through--> idle
      |                             |                        |
      |anything else                |answer is not plain     |the client is slow: stop reading the server
      v                             v                        v
    general lane                 general lane, with       sending, until it takes more
                                 the server's connection

Events are edge-triggered: what arrives while nobody reads is remembered in ``is_readable``. A client that
leaves while its exchange goes on ends it; a half-closed one is served. A connection that
ends with its exchange lingers until the client has closed too, or the sweeper comes.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from shared.errors import ClientGone
from worker.admission import Place
from worker.plain.plan import Plan
from worker.request_head import Peer
from worker.splicing import Pipe
from worker.state import Entrance
from worker.target import Target
from worker.tls.client_hello import HANDSHAKE_RECORD
from worker.tls.stream import TlsSession, end_sending, receiver, sender

if TYPE_CHECKING:
    from worker.plain.lane import PlainLane
    from worker.plain.link import PlainLink

READ_BYTES = 65_536
"""Bytes asked of a socket at a time."""

DROPS_PER_EVENT = 4
"""Reads from a client that is to close and sends on."""

_TLS_HANDSHAKE = bytes((HANDSHAKE_RECORD,))
_GONE = select.EPOLLHUP | select.EPOLLERR


class PlainClient:
    """See above.

    Args:
        sock: accepted and non-blocking; closed by us or handed over.
        entrance: where it came in.
        peer: the other end.
        place: held for as long as the connection lives.
        lane: drives it.
        session: of a TLS connection; without one, the first byte says whether it will be one.
    """

    __slots__ = (
        "_pending",
        "entrance",
        "fd",
        "first_byte_s",
        "is_lingering",
        "is_new",
        "is_readable",
        "lane",
        "last_active",
        "link",
        "opened_at",
        "peer",
        "pipe",
        "place",
        "plan",
        "plans",
        "raw_head",
        "recv",
        "send",
        "served",
        "session",
        "sock",
        "started",
        "target",
    )

    def __init__(
        self,
        sock: socket.socket,
        entrance: Entrance,
        peer: Peer,
        place: Place,
        lane: PlainLane,
        plans: dict[bytes, Plan],
        session: TlsSession | None = None,
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.recv: Callable[[int], bytes] = sock.recv
        self.send: Callable[[bytes], int] = sock.send
        self.session = session
        if isinstance(sock, ssl.SSLSocket):
            self.recv, self.send = receiver(sock), sender(sock)
        self.is_new = False
        self.entrance = entrance
        self.peer = peer
        self.place = place
        self.lane = lane
        self.plans = plans
        self.link: PlainLink | None = None
        self.plan: Plan | None = None
        self.target: Target | None = None
        self.opened_at = trio.current_time()
        self.raw_head = b""
        self.is_readable = False
        self.is_lingering = False
        self._pending = b""
        self.pipe: Pipe | None = None
        self.started = 0.0
        self.first_byte_s = 0.0
        self.last_active = 0.0
        self.served = 0

    def on_events(self, events: int) -> None:
        """The kernel has news about the socket."""
        if self.is_lingering:
            self._drop()
            return
        if self.link is None:
            self._read_request()
            return
        if events & _GONE:
            self.lane.abandon(self, ClientGone("the client left before its answer was complete"))
            return
        if events & select.EPOLLIN:
            self.is_readable = True
        if events & select.EPOLLOUT and self.is_full:
            self._flush()

    def linger(self) -> None:
        """Say that nothing more comes, and read on until the client closes: an early close eats answers."""
        self.is_lingering = True
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                end_sending(self.sock)
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.lane.close(self)
            return
        if self.is_readable or self.session is not None:
            self._drop()

    def _drop(self) -> None:
        try:
            for _ in range(DROPS_PER_EVENT):
                if not self.recv(READ_BYTES):
                    break
            else:
                return  # it goes on sending; the sweeper ends that
        except BlockingIOError:
            return
        except OSError:
            pass  # it is gone: as good as an end
        self.lane.close(self)

    def _read_request(self) -> None:
        try:
            if self.is_new:
                first = self.sock.recv(1, socket.MSG_PEEK)
                self.is_new = False
                if first == _TLS_HANDSHAKE:
                    self.lane.hand_over(self)
                    return
            data = self.recv(READ_BYTES)
        except BlockingIOError:
            self.is_readable = False
            return
        except OSError:
            data = b""
        if not data:
            self.lane.close(self)
            return
        # A TLS record at a time is read, and what is behind it raises no new event.
        if self.session is not None:
            self.is_readable = True
        lane = self.lane
        plan = self.plans.get(data)
        if plan is None or plan.generation != lane.generation:
            plan = lane.make_plan(self, data)
            if plan is None:
                lane.promote(self, data)
                return
        lane.start(self, plan, data)

    def take(self, data: bytes) -> bool:
        """Send bytes of a response, keeping what the kernel does not take; False if the client is gone."""
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lane.abandon(self, ClientGone("the connection broke while sending"))
            return False
        if sent != len(data):
            self._pending = data[sent:]
            self.last_active = self.lane.now()
        return True

    @property
    def is_full(self) -> bool:
        """Whether the client has to take bytes before more may be read for it."""
        return bool(self._pending) or (self.pipe is not None and self.pipe.held > 0)

    def drain(self, *, more: bool) -> bool:
        """Send what is in the pipe; False if the client is gone."""
        assert self.pipe is not None, "only spliced bodies have one"
        try:
            self.pipe.drain(self.fd, more=more)
        except OSError:
            self.lane.abandon(self, ClientGone("the connection broke while sending"))
            return False
        if self.pipe.held:
            self.last_active = self.lane.now()
        return True

    def _flush(self) -> None:
        if self._pending:
            data, self._pending = self._pending, b""
            is_there = self.take(data)
        else:
            is_there = self.drain(more=False)
        if is_there and not self.is_full and self.link is not None:
            self.link.go_on()
