"""Looks at the first bytes of a connection and leaves them where they are, for whoever serves it."""

from __future__ import annotations

import contextlib
import socket

import trio

from worker.tls.client_hello import MAX_HELLO_BYTES, BadClientHello, ClientHello, parse_client_hello


async def peek_client_hello(sock: socket.socket) -> ClientHello:
    """Wait for a ClientHello; its bytes stay unread. The caller limits the time.

    Args:
        sock: connected and non-blocking.

    Raises:
        BadClientHello: something else comes, or the connection ends inside it.
        OSError: the connection broke.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    seen = 0
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                data = sock.recv(MAX_HELLO_BYTES, socket.MSG_PEEK)
                hello = parse_client_hello(data)
                if hello is not None:
                    return hello
                if len(data) <= seen or len(data) >= MAX_HELLO_BYTES:
                    raise BadClientHello("the connection ended inside the ClientHello")
                seen = len(data)
                # Readable only once there is more than we have seen: waiting would spin otherwise.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
            await trio.lowlevel.wait_readable(sock)
    finally:
        if seen:
            with contextlib.suppress(OSError):  # it broke; who reads it next will see that
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
