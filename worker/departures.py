"""Noticing that a client left while its exchange is still going on.

A task that waits for a server does not read from the client, so it would not see it go. One more epoll
instance per worker asks the kernel for nothing but hang-ups, which costs one system call per connection and
no task; reading is not an option, as what comes may be the next request.

A client that closed both ways and one that only finished sending (half-close) look the same until something
is written to them. One that finished sending may read on, and is owed its answer (RFC 9112 section 9.6), so a
plain end of file does not end the exchange, however long its server takes. So as not to work for ever for a
client that is gone, its kernel is asked: from its end of file on, the connection is probed every
``PROBE_S``. The kernel of a client that only half-closed goes on to say that all is well; one whose program
closed forgets the connection after its FIN-WAIT-2 time (60 s on Linux and BSD) and answers the next probe
with a reset. A reset is final at once.

Source: epoll_ctl(2), EPOLLRDHUP and EPOLLET; tcp(7), TCP_KEEPIDLE and tcp_fin_timeout.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

import trio

PROBE_S = 15
"""Seconds between probes of a client that finished sending while its exchange goes on."""
PROBES = 4
"""Probes without any answer after which it is gone."""

_MASK = select.EPOLLRDHUP | select.EPOLLET


class Presence:
    """Whether one client is still there, and the exchange that depends on it.

    Args:
        fd: of its socket.
        forget: stops the watching.
    """

    __slots__ = ("_fd", "_forget", "_scope", "has_finished_sending")

    def __init__(self, fd: int, forget: Callable[[], None]) -> None:
        self._fd = fd
        self._forget = forget
        self.has_finished_sending = False
        self._scope: trio.CancelScope | None = None

    def guard(self, scope: trio.CancelScope | None) -> None:
        """From now on, end ``scope`` if the client leaves; None for nothing."""
        self._scope = scope
        if self.has_finished_sending:
            self._probe()

    def forget(self) -> None:
        """Stop to watch: before the socket is closed, as its number is another's then. Safe to call twice."""
        self._forget()

    def note_departure(self, is_reset: bool) -> None:
        """The kernel saw the client's end of file, or a reset."""
        self.has_finished_sending = True
        if self._scope is not None and is_reset:
            self._scope.cancel()
        else:
            self._probe()

    def _probe(self) -> None:
        """Have the kernel ask, if an exchange depends on the answer."""
        if self._scope is None:
            return
        with contextlib.suppress(OSError):  # not a TCP socket, or gone already: then the next write tells
            sock = socket.socket(fileno=self._fd)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_S)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            finally:
                sock.detach()


class Departures:
    """Watches the sockets of all clients of a worker."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Presence] = {}

    def watch(self, fd: int) -> Presence:
        """Start to watch a connected socket. Forget it before it is closed."""
        presence = Presence(fd, lambda: self._drop(fd, presence))
        self._watched[fd] = presence
        self._epoll.register(fd, _MASK)
        return presence

    async def run(self) -> None:
        """Pass on what the kernel says, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0):
                presence = self._watched.get(fd)
                if presence is not None:
                    presence.note_departure(bool(events & (select.EPOLLHUP | select.EPOLLERR)))

    def close(self) -> None:
        """Release the epoll instance."""
        self._epoll.close()

    def _drop(self, fd: int, presence: Presence) -> None:
        if self._watched.get(fd) is presence:
            del self._watched[fd]
            self._epoll.unregister(fd)
