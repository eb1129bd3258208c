"""Where connections go: into the plain lane, into a task of the general lane, and from one to the other.

A connection has one place in the worker's room for all of its life, whichever lane it is in. It begins in the
plain lane, costs a task only while the general lane has it, and goes back when it is idle.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import trio

from shared.addresses import parse_ip
from worker.admission import Place, Room
from worker.connection import Connection, Context, Opening
from worker.plain.client import PlainClient
from worker.plain.lane import PlainLane
from worker.request_head import Peer
from worker.resumption import Resumption
from worker.state import Entrance

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
    """

    def __init__(
        self, context: Context, room: Room, connections: trio.Nursery, *, has_plain_lane: bool = True
    ) -> None:
        self._context = context
        self._room = room
        self._connections = connections
        self.lane: PlainLane | None = None
        if has_plain_lane:
            self.lane = PlainLane(
                context.generations, context.lifetime, context.counts, context.access_log, self._promote
            )

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
        shared = not entrance.trust.trusted.contains(peer.ip)
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
        if self.lane is not None and not self.lane.is_draining and entrance.is_plain:
            self.lane.adopt(accepted, entrance, peer, place)
        else:
            opening = Opening(opened_at=trio.current_time())
            self._connections.start_soon(self._serve, accepted, entrance, peer, place, opening)

    def _promote(self, client: PlainClient, data: bytes, resumption: Resumption | None) -> None:
        opening = Opening(client.opened_at, client.served, data, resumption)
        self._connections.start_soon(
            self._serve, client.sock, client.entrance, client.peer, client.place, opening
        )

    async def _serve(
        self, accepted: socket.socket, entrance: Entrance, peer: Peer, place: Place, opening: Opening
    ) -> None:
        """A connection's stay in the general lane. Nothing it does ends the worker."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
        connection = Connection(stream, peer, entrance, self._context, opening)
        returns = False
        try:
            has_way_back = self.lane is not None and entrance.is_plain
            returns = await connection.serve(has_way_back=has_way_back)
        except Exception:
            logger.exception("a connection of entrypoint %s failed; it is closed", entrance.name)
        finally:
            if not returns or self.lane is None or self.lane.is_draining:
                stream.socket.close()
                place.release()
        if returns and self.lane is not None and not self.lane.is_draining:
            sock = socket.socket(fileno=stream.socket.detach())
            self.lane.adopt(sock, entrance, peer, place, connection.served)
