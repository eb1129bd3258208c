"""A connection that has arrived: its socket, and who is behind it."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from worker.admission import Place
from worker.proxy_protocol import Ends
from worker.request_head import Peer
from worker.state import Entrance


@dataclass(slots=True)
class Arrival:
    """A connection before anybody serves it.

    Attributes:
        sock: accepted, not blocking; nothing that belongs to the client's protocol was read from it.
        entrance: where it came in.
        peer: the client; from the PROXY protocol if that was believed.
        place: its place in the worker's room.
        ends: what the PROXY protocol said.
    """

    sock: socket.socket
    entrance: Entrance
    peer: Peer
    place: Place
    ends: Ends | None = None

    def close(self) -> None:
        """Nobody serves it."""
        self.sock.close()
        self.place.release()

    def client_and_target(self) -> Ends:
        """Both ends as a server may be told: the client, and the address that it meant to reach.

        Raises:
            OSError: the connection broke.
        """
        if self.ends is not None:
            return self.ends
        here = self.sock.getsockname()
        return Ends((self.peer.ip, self.peer.port), (here[0], here[1]))
