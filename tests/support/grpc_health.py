"""A gRPC server that knows one call, ``grpc.health.v1.Health/Check``. Traefik's own client accepts it, which
``tests/differential`` shows."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import h2.config
import h2.connection
import h2.events

from tests.support.origins import Origin, OriginConnection

SERVING, NOT_SERVING = 1, 2


class GrpcHealth(Origin):
    """The server. Everything may be changed at any time.

    Attributes:
        state: the serving status that it answers with; None for no message.
        grpc_status: of the call.
        message: the whole answer instead of the one that ``state`` makes.
        http_status: other than 200 for something that is no gRPC.
        calls: how many came.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.state: int | None = SERVING
        self.grpc_status = 0
        self.message: bytes | None = None
        self.http_status = 200
        self.calls: list[dict[str, str]] = []
        super().__init__(self._serve_h2, tls)

    def wait_for_calls(self, more: int, timeout_s: float) -> None:
        """Wait until so many more calls have come."""
        wanted = len(self.calls) + more
        self.wait_for(lambda: len(self.calls) >= wanted, f"{more} calls", timeout_s)

    def _serve_h2(self, accepted: OriginConnection) -> None:
        sock = accepted.socket
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        while data := sock.recv(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._note(dict(event.headers))
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(connection, event.stream_id)
            sock.sendall(connection.data_to_send())

    def _note(self, fields: dict[str, str]) -> None:
        with self._changed:
            self.calls.append(fields)
            self._changed.notify_all()

    def _answer(self, connection: h2.connection.H2Connection, stream: int) -> None:
        head = [(":status", str(self.http_status)), ("content-type", "application/grpc")]
        if self.http_status != 200:
            connection.send_headers(stream, head, end_stream=True)
            return
        message = self.message
        if message is None and self.state is not None:
            message = framed(bytes([0x08, self.state]) if self.state else b"")
        trailers = [("grpc-status", str(self.grpc_status)), ("grpc-message", "as%20told")]
        if message is None:
            connection.send_headers(stream, head + trailers, end_stream=True)
            return
        connection.send_headers(stream, head)
        connection.send_data(stream, message)
        connection.send_headers(stream, trailers, end_stream=True)


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@contextmanager
def running_grpc_health(tls: ssl.SSLContext | None = None) -> Iterator[GrpcHealth]:
    """The server for the length of a with block."""
    server = GrpcHealth(tls)
    try:
        yield server
    finally:
        server.stop()
