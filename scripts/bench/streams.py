"""Our own clients for what wrk and ab do not do: a large body, WebSocket messages, idle connections."""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

CHUNK_BYTES = 1 << 20
LIMIT_S = 60.0
"""For any single wait."""
PAYLOAD = b"m" * 64
MESSAGE = bytes((0x82, 0x80 | len(PAYLOAD))) + bytes(4) + PAYLOAD  # masked with zeros, RFC 6455 section 5.3
ECHO_BYTES = 2 + len(PAYLOAD)
WEBSOCKETS = 16
HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def download(port: int, size: int) -> None:
    """Read one body of ``size`` bytes.

    Raises:
        RuntimeError: it was none, or another length.
    """
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
        connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n" % size)
        buffer = bytearray(CHUNK_BYTES)
        head = _read_head(connection)
        if b" 200 " not in head[:16]:
            raise RuntimeError(f"download: {head[:80]!r}")
        received = len(head.partition(b"\r\n\r\n")[2])
        while received < size:
            count = connection.recv_into(buffer)
            if not count:
                raise RuntimeError(f"download: {received} of {size} bytes")
            received += count


def upload(port: int, size: int) -> None:
    """Send one body of ``size`` bytes, and read the origin's count of it.

    Raises:
        RuntimeError: the origin did not get them all.
    """
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
        head = b"POST /upload HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % size)
        block = bytes(CHUNK_BYTES)
        for _ in range(size // CHUNK_BYTES):
            connection.sendall(block)
        connection.sendall(block[: size % CHUNK_BYTES])
        answer = b""
        while received := connection.recv(CHUNK_BYTES):
            answer += received
        if b"%d bytes" % size not in answer:
            raise RuntimeError(f"upload: {answer[:80]!r}")


def exchange_messages(port: int, count: int) -> None:
    """Send ``count`` messages over ``WEBSOCKETS`` connections, each after the echo of the one before.

    Raises:
        RuntimeError: no WebSocket, or one that ended early.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.EpollSelector())
        waiting: dict[int, Echoes] = {}
        for _ in range(WEBSOCKETS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(HANDSHAKE)
            answer = _read_head(connection)
            if not re.match(rb"HTTP/1\.1 101 ", answer):
                raise RuntimeError(f"WebSocket: {answer[:80]!r}")
            waiting[connection.fileno()] = Echoes(connection)
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(MESSAGE)
        left = count
        while left > 0:
            ready = selector.select(LIMIT_S)
            if not ready:
                raise RuntimeError(f"WebSocket: no echo for {LIMIT_S:g} s")
            for key, _ in ready:
                left -= waiting[key.fd].take()


class Echoes:
    """One WebSocket that waits for its echo."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received_bytes = 0

    def take(self) -> int:
        """Read what is there, and send the next message after each echo. Returns how many there were."""
        received = self._connection.recv(CHUNK_BYTES)
        if not received:
            raise RuntimeError("WebSocket: the connection ended")
        count, self._received_bytes = divmod(self._received_bytes + len(received), ECHO_BYTES)
        for _ in range(count):
            self._connection.sendall(MESSAGE)
        return count


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """``count`` connections that had one answer each and wait for the next request."""
    request = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
            connection.sendall(request)
            _read_answer(connection)
        yield


def _read_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(4096)
        if not received:
            raise RuntimeError(f"the connection ended in the head: {data[:80]!r}")
        data += received
    return data


def _read_answer(connection: socket.socket) -> None:
    data = _read_head(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0:
        missing -= len(connection.recv(missing))
