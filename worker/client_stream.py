"""A client's connection as the general lane sees it: trio's own stream, or TLS on the same descriptor."""

from __future__ import annotations

import contextlib
import os
import socket

import trio

from worker.tls.stream import TlsSession, TlsStream

ClientStream = trio.SocketStream | TlsStream


def open_stream(sock: socket.socket, session: TlsSession | None) -> ClientStream:
    """The stream over a non-blocking socket; an ``ssl.SSLSocket`` where there is a session."""
    if session is not None:
        return TlsStream.of(sock, session)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def receive_nowait(stream: ClientStream, max_bytes: int) -> bytes:
    """What is there without waiting; empty if nothing, at the end, or when it broke."""
    if isinstance(stream, TlsStream):
        return stream.receive_nowait(max_bytes)
    with contextlib.suppress(OSError):
        return os.read(stream.socket.fileno(), max_bytes)
    return b""


def release(stream: ClientStream) -> socket.socket:
    """The socket of a stream that nobody uses any more."""
    if isinstance(stream, TlsStream):
        return stream.ssl_socket
    return socket.socket(fileno=stream.socket.detach())


def close(stream: ClientStream) -> None:
    """Close, politely where TLS has a word for it. Nothing happens to one that was cut."""
    if isinstance(stream, TlsStream):
        stream.close()
    else:
        stream.socket.close()
