"""Looks at the first bytes of a connection and leaves them unread.

Waiting for more than is there already would return at once for ever; ``SO_RCVLOWAT`` has the kernel wake us
only when there is more than we have seen (socket(7)).
"""

from __future__ import annotations

import contextlib
import socket

import trio


async def peek(sock: socket.socket, at_least: int, limit: int) -> bytes:
    """The first bytes of a connection. The caller limits the time.

    Args:
        sock: connected and non-blocking.
        at_least: wait for so many.
        limit: most bytes returned.

    Returns:
        Fewer than ``at_least`` only if the other side ended before.

    Raises:
        OSError: the connection broke.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    waited_for = 0
    seen = -1
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                data = sock.recv(limit, socket.MSG_PEEK)
                if len(data) >= at_least or len(data) <= seen or not data:
                    return data
                seen = len(data)
                waited_for = seen + 1
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, waited_for)
            await trio.lowlevel.wait_readable(sock)
    finally:
        if waited_for:
            with contextlib.suppress(OSError):  # it broke; who reads it next will see that
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def take(sock: socket.socket, size: int) -> None:
    """Read and drop bytes that ``peek`` has shown.

    Raises:
        OSError: the connection broke.
    """
    while size:
        taken = len(sock.recv(size))
        if not taken:
            raise ConnectionResetError("the connection ended before bytes that were there")
        size -= taken
