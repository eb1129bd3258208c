"""Handshakes of one worker: a connection whose ClientHello is unread becomes a stream, or gets an alert."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import trio

from worker.tls.client_hello import BadClientHello
from worker.tls.handshake import refuse, start_tls
from worker.tls.material import Contexts, TlsRefused
from worker.tls.peeking import peek_client_hello
from worker.tls.stream import TlsStream

if TYPE_CHECKING:
    from worker.request_head import Peer
    from worker.state import Entrance, Generations

logger = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
"""Longest time from a connection's first byte to the end of its handshake; ``readTimeout`` may be less."""
MAX_HANDSHAKES = 4_096
"""Handshakes at once in a worker; a connection beyond them is closed."""


class Handshakes:
    """Chooses and shakes hands; counts those that go on.

    Args:
        generations: whose routes in force decide.
        contexts: of the worker.
    """

    def __init__(self, generations: Generations, contexts: Contexts) -> None:
        self._generations = generations
        self._contexts = contexts
        self._count = 0

    async def shake_hands(
        self, accepted: socket.socket, entrance: Entrance, peer: Peer, options: str | None = None
    ) -> TlsStream | None:
        """The connection with TLS on it; None, with the client told why, when there is none to be.

        Args:
            accepted: its ClientHello is unread.
            entrance: where it came in.
            peer: the client.
            options: name of the TLS options, if not the server name decides.
        """
        if self._count >= MAX_HANDSHAKES:
            return None
        self._count += 1
        try:
            read_timeout_s = entrance.settings.transport.responding_timeouts.read_timeout
            with trio.move_on_after(min(HANDSHAKE_S, read_timeout_s or HANDSHAKE_S)):
                hello = await peek_client_hello(accepted)
                local_ip = accepted.getsockname()[0]
                routes = self._generations.routes  # those of now, however long the hello took
                if routes is None:
                    return None
                choice = routes.tls.choose(
                    self._contexts, entrance.name, hello.server_name, local_ip, options
                )
                return await start_tls(accepted, hello, choice)
            logger.debug("%s: no handshake with %s in time", entrance.name, peer.ip)
        except TlsRefused as error:
            logger.debug("%s: no handshake with %s: %s", entrance.name, peer.ip, error)
            refuse(accepted, error.alert)
        except (OSError, BadClientHello) as error:
            logger.debug("%s: no handshake with %s: %s", entrance.name, peer.ip, error)
        finally:
            self._count -= 1
        return None
