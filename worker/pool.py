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

import trio

from shared.config.dynamic import ForwardingTimeouts, ServersTransport
from shared.errors import PoolTimeout
from shared.table.client_tls import DEFAULT_TLS, ClientTlsEntry
from worker.dialing import HTTP1, Dialer
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


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How a transport speaks to servers; times in seconds, infinite for no limit."""

    dial_timeout_s: float
    response_header_timeout_s: float
    idle_timeout_s: float
    max_idle: int


def make_settings(transport: ServersTransport) -> TransportSettings:
    """The settings that a transport's options mean."""
    timeouts = transport.forwarding_timeouts or ForwardingTimeouts()
    return TransportSettings(
        dial_timeout_s=timeouts.dial_timeout or math.inf,
        response_header_timeout_s=timeouts.response_header_timeout or math.inf,
        idle_timeout_s=timeouts.idle_conn_timeout or math.inf,
        max_idle=max(transport.max_idle_conns_per_host or DEFAULT_MAX_IDLE, 0),
    )


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
        self._room = trio.Semaphore(MAX_LENT)
        self.lent = 0

    @property
    def idle_count(self) -> int:
        """Connections that wait."""
        return len(self._idle)

    async def acquire(self) -> UpstreamConnection:
        """The connection that was used last, as its server is the least likely to end it now; else a new one.

        Raises:
            PoolTimeout: too many are lent, and none came back in time.
            UpstreamError: no connection can be made.
        """
        await self._take_room()
        oldest = trio.current_time() - self.settings.idle_timeout_s
        while self._idle:
            link = self._idle.pop()
            if link.idle_since >= oldest and link.is_alive():
                link.is_reused = True
                return self._lend(link)
            link.close()
        return await self._dial_in_room()

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

    async def dial(self) -> UpstreamConnection:
        """A new connection.

        Raises:
            PoolTimeout, UpstreamError: none can be made.
        """
        await self._take_room()
        return await self._dial_in_room()

    def reap(self, now: float) -> None:
        """Close idle connections that are over their time or dead."""
        oldest = now - self.settings.idle_timeout_s
        for link in self._idle[:]:
            if link.idle_since < oldest or not link.is_alive():
                self._idle.remove(link)
                link.close()

    def close_idle(self) -> None:
        """Close all that wait."""
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

    async def _dial_in_room(self) -> UpstreamConnection:
        try:
            stream = await self._dialer.dial((HTTP1,))
        except BaseException:
            self._room.release()
            raise
        return self._lend(UpstreamConnection(stream, self._take_back))

    def _lend(self, link: UpstreamConnection) -> UpstreamConnection:
        self.lent += 1
        link.is_lent = True
        return link

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
        """Connections wait in this pool."""
        self._holding.add(pool)

    def close(self) -> None:
        """Close everything that waits."""
        for pool in self._holding:
            pool.close_idle()
        self._holding.clear()

    async def run_reaper(self) -> None:
        """Close what became old or dead, until cancelled."""
        while True:
            await trio.sleep(REAP_INTERVAL_S)
            now = trio.current_time()
            for pool in tuple(self._holding):
                pool.reap(now)
                if not pool.idle_count:
                    self._holding.discard(pool)
