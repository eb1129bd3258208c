"""What stand-ins for HTTP services share: a server that can be stopped, which cuts every connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandIn:
    """A server. What it holds outlives its stops.

    Args:
        port: where it listens.
        handler: answers; its ``stand_in`` is this.
    """

    def __init__(self, port: int, handler: type[StandInHandler]) -> None:
        self.port = port
        self._handler = handler
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def start(self) -> None:
        """Listen; nothing if it does."""
        if self._server is not None:
            return
        handler = type("Handler", (self._handler,), {"stand_in": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut every connection; nothing if it does not run."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        self._thread.join()
        self.end_streams()
        for each in list(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        server.server_close()

    def end_streams(self) -> None:
        """End what goes on by itself; here nothing."""

    def track(self, connection: socket.socket, *, is_open: bool) -> None:
        """Remember or forget a connection."""
        (self._connections.add if is_open else self._connections.discard)(connection)


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what tests do."""


class StandInHandler(BaseHTTPRequestHandler):
    """Answers one connection; whoever derives from it adds the methods."""

    protocol_version = "HTTP/1.1"
    stand_in: Any

    def setup(self) -> None:
        """Called when the connection begins."""
        super().setup()
        self.stand_in.track(self.connection, is_open=True)

    def finish(self) -> None:
        """Called when it ends."""
        self.stand_in.track(self.connection, is_open=False)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests look at answers."""

    def send(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        """A whole answer, with more fields if there are any."""
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (more or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
