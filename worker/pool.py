"""Idle connections to servers, kept for the next exchange. What is in here may differ between workers.

Invariants: a connection is lent to one exchange at a time; what is closed is never lent; at most
``max_idle`` wait and at most ``MAX_LENT`` are lent; every lent connection comes back exactly once, whole or
closed, whatever is cancelled.
State changes only between awaits.

Source: spec v2 sections 10.1 and 10.2 (pools are shared by transport across services).
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TypeVar

import trio

from shared.config.dynamic import ForwardingTimeouts, ServersTransport
from shared.errors import PoolTimeout, UpstreamError
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry
from worker.dialing import HTTP1, HTTP2, Dialer
from worker.h2.client import ServerConnection
from worker.h2.stream_link import StreamLink
from worker.secure_stream import SecureStream
from worker.upstream import Origin, UpstreamConnection

DEFAULT_MAX_IDLE = 2
"""Idle connections per host when a transport says 0 (Go's ``DefaultMaxIdleConnsPerHost``)."""
MAX_LENT = 16_384
"""Connections lent at once per pool, those being made included; a machine has about 28,000 ports to connect
to one server from. Tunnels count for as long as they last."""
POOL_WAIT_S = 5.0
"""Longest wait for one of them to come back; then the exchange fails with ``PoolTimeout``."""
REAP_INTERVAL_S = 1.0
"""How often idle connections are looked through: those that servers ended, and those too old."""


Link = UpstreamConnection | StreamLink
"""What an exchange is conducted over."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How a transport speaks to servers; times in seconds, infinite for no limit.

    Attributes:
        max_idle: connections kept; with none each exchange has its own.
        read_idle_s: silence on an HTTP/2 connection after which the server is pinged.
        ping_timeout_s: longest wait for its answer.
        offers_http2: whether TLS connections may become HTTP/2.
    """

    dial_timeout_s: float
    response_header_timeout_s: float
    idle_timeout_s: float
    max_idle: int
    read_idle_s: float = math.inf
    ping_timeout_s: float = math.inf
    offers_http2: bool = True


def make_settings(transport: ServersTransport) -> TransportSettings:
    """The settings that a transport's options mean."""
    timeouts = transport.forwarding_timeouts or ForwardingTimeouts()
    return TransportSettings(
        dial_timeout_s=timeouts.dial_timeout or math.inf,
        response_header_timeout_s=timeouts.response_header_timeout or math.inf,
        idle_timeout_s=timeouts.idle_conn_timeout or math.inf,
        max_idle=max(transport.max_idle_conns_per_host or DEFAULT_MAX_IDLE, 0),
        read_idle_s=timeouts.read_idle_timeout or math.inf,
        ping_timeout_s=timeouts.ping_timeout or math.inf,
        offers_http2=not transport.disable_http2,
    )


AnyLink = TypeVar("AnyLink", UpstreamConnection, StreamLink)


class Pool:
    """Connections to one origin through one transport."""

    def __init__(
        self,
        origin: Origin,
        settings: TransportSettings,
        pools: Pools,
        tls: ClientTlsEntry = DEFAULT_TLS,
    ) -> None:
        self.origin = origin
        self.settings = settings
        self._dialer = Dialer(origin, tls, settings.dial_timeout_s)
        self._pools = pools
        self._idle: list[UpstreamConnection] = []
        self._shared: list[ServerConnection] = []
        self._may_share = origin.scheme == "h2c" or (origin.scheme == "https" and settings.offers_http2)
        self._dialing = trio.Lock()
        self._failure: tuple[float, UpstreamError] = (-math.inf, UpstreamError())
        self._room = trio.Semaphore(MAX_LENT)
        self.lent = 0

    @property
    def idle_count(self) -> int:
        """Connections that wait."""
        return len(self._idle)

    @property
    def is_holding(self) -> bool:
        """Whether connections wait or are shared."""
        return bool(self._idle or self._shared)

    async def acquire(self, *, needs_http1: bool = False) -> Link:
        """A stream of a shared connection; else the connection that was used last, as its server is the least
        likely to end it now; else a new one.

        Args:
            needs_http1: for a change of protocol.

        Raises:
            PoolTimeout: too many are lent, and none came back in time.
            UpstreamError: no connection can be made.
        """
        await self._take_room()
        shared = None if needs_http1 else self._share()
        if shared is not None:
            return shared
        oldest = trio.current_time() - self.settings.idle_timeout_s
        while self._idle:
            link = self._idle.pop()
            if link.idle_since >= oldest and link.is_alive():
                link.is_reused = True
                return self._lend(link)
            link.close()
        return await self._dial_in_room(needs_http1=needs_http1)

    def take_idle(self) -> UpstreamConnection | None:
        """A waiting connection that is fit for use now; None if there is none. Waits for nothing."""
        oldest = trio.current_time() - self.settings.idle_timeout_s
        while self._idle:
            link = self._idle.pop()
            if link.idle_since >= oldest and not link.is_closed and link.is_alive():
                try:
                    self._room.acquire_nowait()
                except trio.WouldBlock:
                    self._idle.append(link)
                    return None
                link.is_reused = True
                return self._lend(link)
            link.close()
        return None

    def discard(self, link: UpstreamConnection) -> None:
        """Close a waiting connection that its server ended."""
        if link in self._idle:
            self._idle.remove(link)
        link.close()

    async def dial(self, *, needs_http1: bool = False) -> Link:
        """A new connection.

        Raises:
            PoolTimeout, UpstreamError: none can be made.
        """
        await self._take_room()
        return await self._dial_in_room(needs_http1=needs_http1, is_fresh=True)

    def reap(self, now: float) -> None:
        """Close idle connections that are over their time or dead."""
        oldest = now - self.settings.idle_timeout_s
        for link in self._idle[:]:
            if link.idle_since < oldest or not link.is_alive():
                self._idle.remove(link)
                link.close()
        for connection in self._shared[:]:
            if connection.is_closed or (connection.is_idle and connection.idle_since < oldest):
                self._shared.remove(connection)
                connection.close()

    def close_idle(self) -> None:
        """Close all that wait or are shared."""
        while self._shared:
            self._shared.pop().close()
        while self._idle:
            self._idle.pop().close()

    async def _take_room(self) -> None:
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(POOL_WAIT_S) as wait:
                await self._room.acquire()
            if wait.cancelled_caught:
                raise PoolTimeout(f"{MAX_LENT} connections lent, none came back in {POOL_WAIT_S} s") from None

    async def _dial_in_room(self, *, needs_http1: bool, is_fresh: bool = False) -> Link:
        try:
            if needs_http1 or not self._may_share:
                return self._lend(self._alone(await self._dialer.dial((HTTP1,))))
            return await self._dial_to_share(is_fresh=is_fresh)
        except BaseException:
            self._room.release()
            raise

    async def _dial_to_share(self, *, is_fresh: bool) -> Link:
        """One at a time, as the others can use what it brings; if it fails, they fail with it."""
        began = trio.current_time()
        async with self._dialing:
            shared = None if is_fresh else self._share()
            if shared is not None:
                return shared
            failed_at, failure = self._failure
            if failed_at > began:
                raise type(failure)(*failure.args)
            try:
                stream = await self._dialer.dial((HTTP2, HTTP1))
            except UpstreamError as error:
                self._failure = (trio.current_time(), error)
                raise
            if isinstance(stream, SecureStream) and stream.protocol != HTTP2:
                self._may_share = False
                return self._lend(self._alone(stream))
            connection = ServerConnection(
                stream,
                read_idle_s=self.settings.read_idle_s,
                ping_timeout_s=self.settings.ping_timeout_s,
                is_single_use=not self.settings.max_idle,
            )
            self._pools.start(connection)
            self._shared.append(connection)
            self._pools.note_holding(self)
            return self._lend(connection.open(self._take_back_stream))

    def _alone(self, stream: trio.SocketStream | SecureStream) -> UpstreamConnection:
        return UpstreamConnection(stream, self._take_back)

    def _share(self) -> StreamLink | None:
        """A stream of a connection that has room for it."""
        for connection in self._shared:
            if connection.has_room:
                return self._lend(connection.open(self._take_back_stream))
        return None

    def _lend(self, link: AnyLink) -> AnyLink:
        self.lent += 1
        link.is_lent = True
        return link

    def _take_back_stream(self, link: StreamLink, is_usable: bool) -> None:
        self.lent -= 1
        self._room.release()

    def _take_back(self, link: UpstreamConnection, is_usable: bool) -> None:
        self.lent -= 1
        self._room.release()
        if not is_usable:
            return
        if len(self._idle) >= self.settings.max_idle:
            link.close()
            return
        link.idle_since = trio.current_time()
        self._idle.append(link)
        self._pools.note_holding(self)


class Pools:
    """All pools of a worker. A pool lives for as long as a service uses it or connections wait in it."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[
            tuple[Origin, ServersTransport, ClientTlsEntry, str], Pool
        ] = weakref.WeakValueDictionary()
        self._holding: set[Pool] = set()
        self._tasks: trio.Nursery | None = None

    def get(
        self,
        origin: Origin,
        transport_name: str,
        transport: ServersTransport,
        tls: ClientTlsEntry = DEFAULT_TLS,
    ) -> Pool:
        """The pool for an origin; a transport whose options changed is another one."""
        key = (origin, transport, tls, transport_name)
        pool = self._known.get(key)
        if pool is None:
            pool = self._known[key] = Pool(origin, make_settings(transport), self, tls)
        return pool

    def note_holding(self, pool: Pool) -> None:
        """Connections wait in this pool, or are shared."""
        self._holding.add(pool)

    def start(self, connection: ServerConnection) -> None:
        """Run a shared connection for as long as this worker.

        Raises:
            UpstreamError: the worker is ending.
        """
        if self._tasks is None:
            connection.wire.stream.socket.close()
            raise UpstreamError("no more connections are made")
        self._tasks.start_soon(connection.run)

    def close(self) -> None:
        """Close everything that waits."""
        for pool in self._holding:
            pool.close_idle()
        self._holding.clear()

    async def run_reaper(self) -> None:
        """Run shared connections, and close what became old or dead, until cancelled."""
        async with trio.open_nursery() as self._tasks:
            try:
                while True:
                    await trio.sleep(REAP_INTERVAL_S)
                    self._reap(trio.current_time())
            finally:
                self._tasks = None

    def _reap(self, now: float) -> None:
        for pool in tuple(self._holding):
            pool.reap(now)
            if not pool.is_holding:
                self._holding.discard(pool)
