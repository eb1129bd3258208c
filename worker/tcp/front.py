"""What happens to a connection before anybody serves it: who is behind it, and who has it.

Only connections of entrypoints with TCP routers or the PROXY protocol come here; whether an entrypoint has
them is decided once per table. Every byte that is looked at stays unread, but for the PROXY protocol's header
and PostgreSQL's request for TLS.

Source: spec v2 sections 1.5 (proxyProtocol) and 6.1.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from worker.downstream import HEAD_DEADLINE_S
from worker.proxy_protocol import MAX_V2_BYTES, BadProxyHeader, parse_header
from worker.request_head import Peer
from worker.state import Generations, Lifetime
from worker.tcp import postgres
from worker.tcp.arrival import Arrival
from worker.tcp.facts import Facts
from worker.tcp.peeking import peek, take
from worker.tcp.routes import Onward, TcpRoute, TcpRoutes
from worker.tcp.tunnel import Tunnels
from worker.tls.client_hello import HANDSHAKE_RECORD, BadClientHello
from worker.tls.peeking import peek_client_hello

logger = logging.getLogger(__name__)

_SSL_2 = 0x80
"""The first byte of an SSL 2 hello, which is refused like any other broken one."""


class Seat(Protocol):
    """Where a connection goes that no TCP router has."""

    def __call__(self, arrival: Arrival, *, is_tls: bool) -> None:
        """Serve it as HTTP, inside of TLS or not."""


class Front:
    """See above.

    Args:
        generations, lifetime: of the worker.
        tunnels: serves connections of TCP routers.
        seat: serves all others.
    """

    def __init__(self, generations: Generations, lifetime: Lifetime, tunnels: Tunnels, seat: Seat) -> None:
        self._generations = generations
        self._lifetime = lifetime
        self._tunnels = tunnels
        self._seat = seat

    async def receive(self, arrival: Arrival) -> None:
        """Find out who has a connection, and see it through if that is a TCP router."""
        is_seated = False
        try:
            is_seated = await self._receive(arrival)
        except (OSError, BadClientHello, BadProxyHeader) as error:
            logger.debug("a connection of %s ended before it was served: %s", arrival.peer.ip, error)
        except Exception:
            logger.exception("a connection of entrypoint %s failed; it is closed", arrival.entrance.name)
        finally:
            if not is_seated:
                arrival.close()

    async def _receive(self, arrival: Arrival) -> bool:
        """True if somebody else serves the connection now."""
        routes = self._generations.routes
        tcp = routes.tcp.get(arrival.entrance.name) if routes is not None else None
        owner: TcpRoute | Onward = Onward.HTTP
        is_postgres = False
        with trio.CancelScope() as waiting:
            timeouts = arrival.entrance.settings.transport.responding_timeouts
            limit_s = timeouts.read_timeout or HEAD_DEADLINE_S
            waiting.deadline = trio.current_time() + limit_s
            self._lifetime.enter_idle(waiting)
            try:
                await self._read_proxy_header(arrival)
                if tcp is not None:
                    owner, is_postgres = await self._find_owner(arrival, tcp)
            finally:
                self._lifetime.leave_idle(waiting)
        if waiting.cancelled_caught:
            logger.debug("a connection of %s said nothing in time", arrival.peer.ip)
            return False
        if isinstance(owner, Onward):
            self._seat(arrival, is_tls=owner is Onward.HTTPS)
            return True
        await self._tunnels.serve(arrival, owner, is_postgres=is_postgres)
        return False

    async def _read_proxy_header(self, arrival: Arrival) -> None:
        trust = arrival.entrance.proxy_trust
        if trust is None or not trust.covers(arrival.peer.ip):
            return
        seen = 0
        while True:
            data = await peek(arrival.sock, seen + 1, MAX_V2_BYTES)
            if len(data) <= seen:
                raise BadProxyHeader("the connection ended inside the PROXY header" if seen else "no bytes")
            header = parse_header(data)
            if header is not None:
                break
            seen = len(data)
        take(arrival.sock, header.size)
        if header.ends is not None:
            arrival.ends = header.ends
            arrival.peer = Peer(*header.ends.source)

    async def _find_owner(self, arrival: Arrival, tcp: TcpRoutes) -> tuple[TcpRoute | Onward, bool]:
        """Who has it, and whether it came by PostgreSQL's way."""
        ip = arrival.peer.ip
        if not tcp.needs_hello:  # nothing is read, so that servers may speak first
            return tcp.match_plain(Facts(ip, None)), False
        first = await peek(arrival.sock, 1, len(postgres.SSL_REQUEST))
        if not first:
            raise ConnectionResetError("it ended without a byte")
        if postgres.SSL_REQUEST.startswith(first):
            first = await peek(arrival.sock, len(postgres.SSL_REQUEST), len(postgres.SSL_REQUEST))
            if first == postgres.SSL_REQUEST:
                return await self._find_postgres_owner(arrival, tcp), True
        if first[0] not in (HANDSHAKE_RECORD, _SSL_2):
            return tcp.match_plain(Facts(ip, None)), False
        hello = await peek_client_hello(arrival.sock)
        return tcp.match_secure(Facts(ip, hello)), False

    async def _find_postgres_owner(self, arrival: Arrival, tcp: TcpRoutes) -> TcpRoute:
        take(arrival.sock, len(postgres.SSL_REQUEST))
        arrival.sock.send(postgres.ACCEPTED)
        hello = await peek_client_hello(arrival.sock)
        route = tcp.match_secure_tcp(Facts(arrival.peer.ip, hello))
        if route is None:
            raise BadClientHello("no TCP router has this PostgreSQL connection")
        return route
