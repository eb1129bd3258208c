"""Accepting connections: one loop per slot socket, which hands each connection to the reception.

The socket belongs to the master: it is never shut down here and its flags are left alone. When the worker
serves as many connections as it may, it stops accepting and the kernel's queue holds the rest.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import socket

import trio

from shared.sockets import LISTEN_BACKLOG, is_listening
from worker.reception import Reception
from worker.state import Entrance

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 65_536
"""Client connections of one worker; also kept under half the descriptors it may open."""
ACCEPT_PAUSE_S = 0.1
"""Pause when the system has no descriptor or memory left for another connection."""
ACCEPTS_PER_TURN = 64
"""Connections taken from a queue before the worker's other tasks get their turn."""

_RESERVED_DESCRIPTORS = 64
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def connection_limit() -> int:
    """How many client connections this process can serve: each may need one to a server."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(min(MAX_CONNECTIONS, (soft - _RESERVED_DESCRIPTORS) // 2), 1)


def enter_service(sock: socket.socket) -> None:
    """Make a slot socket listen; from now on the kernel queues connections for it."""
    sock.setblocking(False)  # the master's are so already; an accept that waits would stop the whole worker
    if not is_listening(sock):
        sock.listen(LISTEN_BACKLOG)


def serve_waiting(sock: socket.socket, entrance: Entrance, reception: Reception) -> None:
    """Leave service: take what the kernel has queued, then let go of the socket.

    A slot that another worker serves loses nothing by this, and the queue of one that nobody else serves
    would be reset with the socket.
    """
    with contextlib.suppress(BlockingIOError, trio.WouldBlock), sock:
        while is_listening(sock):
            _accept(sock, entrance, reception)


async def serve_slot(sock: socket.socket, entrance: Entrance, reception: Reception) -> None:
    """Accept until cancelled: all that is queued at once, then wait for more.

    Args:
        sock: listening, and not blocking.
        entrance: its entrypoint.
        reception: where connections go.
    """
    while True:
        await reception.wait_for_room()
        await trio.lowlevel.wait_readable(sock)
        try:
            for _ in range(ACCEPTS_PER_TURN):
                _accept(sock, entrance, reception)
        except (BlockingIOError, trio.WouldBlock):
            continue
        except OSError as error:
            if error.errno not in _OUT_OF_RESOURCES:
                raise
            logger.error("entrypoint %s cannot accept: %s; trying again", entrance.name, error)
            await trio.sleep(ACCEPT_PAUSE_S)


def _accept(sock: socket.socket, entrance: Entrance, reception: Reception) -> None:
    """Take one connection from the queue.

    Raises:
        trio.WouldBlock: there is no room.
        BlockingIOError: the queue is empty.
        OSError: the system has nothing left.
    """
    reception.take_room()
    try:
        accepted, address = sock.accept()
    except ConnectionAbortedError:  # gone before we got to it
        reception.give_room()
        return
    except BaseException:
        reception.give_room()
        raise
    reception.welcome(accepted, address, entrance)
