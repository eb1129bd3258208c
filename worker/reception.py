"""Where connections go: into the plain lane, into a task of the general lane, and from one to the other.

The first byte of a connection says whether it is TLS; every entrypoint takes both. A handshake has a task and
goes by the routes in force at its beginning; what is inside is served like any connection, in either lane.

A connection has one place in the worker's room for all of its life, whichever lane it is in. It begins in the
plain lane, costs a task only while the general lane has it, and goes back when it is idle.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from shared.addresses import parse_ip
from worker.admission import Place, Room
from worker.client_stream import close, open_stream, release
from worker.conduct import Context
from worker.connection import Connection, Opening
from worker.downstream import HEAD_DEADLINE_S
from worker.plain.client import PlainClient
from worker.plain.lane import PlainLane
from worker.request_head import Peer
from worker.resumption import Resumption
from worker.state import Entrance
from worker.tcp.arrival import Arrival
from worker.tcp.front import Front
from worker.tcp.tunnel import Tunnels
from worker.tls.client_hello import HANDSHAKE_RECORD
from worker.tls.handshakes import Handshakes
from worker.tls.material import Contexts
from worker.tls.stream import TlsSession, TlsStream

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 180
"""TCP keep-alive of client connections (spec v2 section 1.5: 3 minutes)."""


class Reception:
    """See above.

    Args:
        context: of the worker.
        room: the places for connections.
        connections: where the tasks of the general lane run.
        has_plain_lane: False sends everything through the general lane.
        contexts: TLS contexts of the worker.
        longest_grace_s: of its entrypoints; ``connections`` ends at that.
    """

    def __init__(
        self,
        context: Context,
        room: Room,
        connections: trio.Nursery,
        *,
        has_plain_lane: bool = True,
        contexts: Contexts | None = None,
        longest_grace_s: float = 0.0,
    ) -> None:
        self._context = context
        self._room = room
        self._connections = connections
        self.tunnels = Tunnels(self._terminate)
        self._front = Front(context.generations, context.lifetime, self.tunnels, self._seat_arrival)
        self.lane: PlainLane | None = None
        if has_plain_lane:
            self.lane = PlainLane(
                context.generations,
                context.counts,
                context.access_log,
                self._promote,
                self._hand_over,
            )
        self._over_tls: dict[str, Entrance] = {}
        self._handshakes = Handshakes(context.generations, contexts if contexts is not None else Contexts())
        self._longest_grace_s = longest_grace_s

    async def wait_for_room(self) -> None:
        """Wait until a connection may be taken."""
        await self._room.acquire()
        self._room.release()

    def take_room(self) -> None:
        """For the connection that is about to be accepted.

        Raises:
            trio.WouldBlock: there is none.
        """
        self._room.acquire_nowait()

    def give_room(self) -> None:
        """No connection came."""
        self._room.release()

    def welcome(self, accepted: socket.socket, address: tuple[Any, ...], entrance: Entrance) -> None:
        """A connection was accepted, and room was taken for it."""
        ip = parse_ip(address[0])
        peer = Peer(str(ip) if ip is not None else address[0], address[1])
        has_front = self._has_front(entrance)
        shared = not (
            entrance.trust.trusted.contains(peer.ip) or (has_front and _speaks_for_others(entrance, peer))
        )
        if shared and not self._room.admit(peer.ip):
            self._room.release()
            accepted.close()
            return
        place = Place(self._room, self._context.counts, peer.ip if shared else None)
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_S)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the client left already
            accepted.close()
            place.release()
            return
        if has_front:
            self._connections.start_soon(self._receive, Arrival(accepted, entrance, peer, place))
        else:
            self._seat(accepted, entrance, peer, place)

    async def _receive(self, arrival: Arrival) -> None:
        with self._grace(arrival.entrance):
            await self._front.receive(arrival)

    def _has_front(self, entrance: Entrance) -> bool:
        """Whether somebody has to look at a connection before HTTP has it."""
        routes = self._context.generations.routes
        return entrance.proxy_trust is not None or (routes is not None and entrance.name in routes.tcp)

    def _seat_arrival(self, arrival: Arrival, *, is_tls: bool) -> None:
        """A connection that no TCP router has."""
        sock, entrance, peer, place = arrival.sock, arrival.entrance, arrival.peer, arrival.place
        if is_tls:
            self._connections.start_soon(self._secure, sock, entrance, peer, place, trio.current_time())
        else:
            self._seat(sock, entrance, peer, place)

    def _seat(self, accepted: socket.socket, entrance: Entrance, peer: Peer, place: Place) -> None:
        """HTTP has it, if it turns out not to be TLS."""
        lane = self._lane_for(entrance)
        if lane is not None:
            lane.adopt(accepted, entrance, peer, place, is_new=True)
        else:
            self._connections.start_soon(self._begin, accepted, entrance, peer, place)

    def _lane_for(self, entrance: Entrance) -> PlainLane | None:
        """The plain lane, if connections of an entrypoint may be in it now."""
        is_open = self.lane is not None and not self.lane.is_draining and entrance.is_plain
        return self.lane if is_open else None

    def _promote(self, client: PlainClient, data: bytes, resumption: Resumption | None) -> None:
        if client.is_new:  # nothing came yet: it may still turn out to be TLS
            self._connections.start_soon(self._begin, client.sock, client.entrance, client.peer, client.place)
            return
        opening = Opening(client.opened_at, client.served, data, resumption)
        self._connections.start_soon(
            self._serve, client.sock, client.entrance, client.peer, client.place, opening, client.session
        )

    def _hand_over(self, client: PlainClient) -> None:
        self._connections.start_soon(
            self._secure, client.sock, client.entrance, client.peer, client.place, client.opened_at
        )

    async def _begin(self, accepted: socket.socket, entrance: Entrance, peer: Peer, place: Place) -> None:
        """A new connection without the plain lane: its first byte says whether it is TLS."""
        opened_at = trio.current_time()
        limit_s = entrance.settings.transport.responding_timeouts.read_timeout or HEAD_DEADLINE_S
        first = b""
        waiting = trio.CancelScope(deadline=opened_at + limit_s)
        try:
            with waiting:
                self._context.lifetime.enter_idle(waiting)
                await trio.lowlevel.wait_readable(accepted)
                first = accepted.recv(1, socket.MSG_PEEK)
        except OSError:
            first = b""
        finally:
            self._context.lifetime.leave_idle(waiting)
            if not first:
                accepted.close()
                place.release()
        if first and first[0] == HANDSHAKE_RECORD:
            await self._secure(accepted, entrance, peer, place, opened_at)
        elif first:
            await self._serve(accepted, entrance, peer, place, Opening(opened_at=opened_at), None)

    async def _secure(
        self, accepted: socket.socket, entrance: Entrance, peer: Peer, place: Place, opened_at: float
    ) -> None:
        """Shake hands, then serve what is inside as any other connection."""
        stream = None
        try:
            stream = await self._handshakes.shake_hands(accepted, entrance, peer)
        except Exception:
            logger.exception("a handshake of entrypoint %s failed; its connection is closed", entrance.name)
        finally:
            if stream is None:
                accepted.close()
                place.release()
        if stream is None:
            return
        inside = self._over_tls.get(entrance.name)
        if inside is None:
            inside = self._over_tls[entrance.name] = dataclasses.replace(entrance, tls=True)
        peer = dataclasses.replace(peer, scheme="https")
        sock, session = release(stream), stream.session
        lane = self._lane_for(inside)
        if lane is not None and session.protocol != "h2":
            lane.adopt(sock, inside, peer, place, session=session)
        else:
            await self._serve(sock, inside, peer, place, Opening(opened_at=opened_at), session)

    async def _terminate(self, arrival: Arrival, options: str) -> TlsStream | None:
        """The inside of a connection that a TCP router terminates with these options."""
        return await self._handshakes.shake_hands(arrival.sock, arrival.entrance, arrival.peer, options)

    @contextmanager
    def _grace(self, entrance: Entrance) -> Iterator[None]:
        """Cut what is inside at the end of the entrypoint's grace period, if that is shorter than others'."""
        grace_s = entrance.settings.transport.life_cycle.grace_time_out
        if grace_s >= self._longest_grace_s:
            yield
            return
        with trio.CancelScope() as stay:

            def limit() -> None:
                stay.deadline = trio.current_time() + grace_s

            self._context.lifetime.watch_drain(limit)
            try:
                yield
            finally:
                self._context.lifetime.forget_drain(limit)

    async def _serve(
        self,
        accepted: socket.socket,
        entrance: Entrance,
        peer: Peer,
        place: Place,
        opening: Opening,
        session: TlsSession | None,
    ) -> None:
        """A connection's stay in the general lane. Nothing it does ends the worker."""
        stream = open_stream(accepted, session)
        connection = Connection(stream, peer, entrance, self._context, opening)
        returns = False
        try:
            has_way_back = self.lane is not None and entrance.is_plain
            with self._grace(entrance):
                returns = await connection.serve(has_way_back=has_way_back)
        except Exception:
            logger.exception("a connection of entrypoint %s failed; it is closed", entrance.name)
        finally:
            if not returns or self.lane is None or self.lane.is_draining:
                close(stream)
                place.release()
        if returns and self.lane is not None and not self.lane.is_draining:
            self.lane.adopt(release(stream), entrance, peer, place, connection.served, session=session)


def _speaks_for_others(entrance: Entrance, peer: Peer) -> bool:
    return entrance.proxy_trust is not None and entrance.proxy_trust.covers(peer.ip)
