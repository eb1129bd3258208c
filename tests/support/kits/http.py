"""An HTTP server that serves one document."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.kits.base import Kit, Route
from tests.support.ports import reserve_port

USER = "proxy"


class HttpKit(Kit):
    """v2's file schema, polled."""

    provider = "http"
    is_written_by_parts = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = reserve_port()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._routers: dict[str, Any] = {}
        self._services: dict[str, Any] = {}
        self._password = ""
        self._body = b""
        self.clear()

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.number

    def start(self) -> None:
        if self._server is None:
            self._server = http.server.ThreadingHTTPServer(self.address, _handler(self))
            self._server.daemon_threads = True
            self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def close(self) -> None:
        super().close()
        self._port.release()

    def clear(self) -> None:
        self._routers, self._services, self._password = {}, {}, ""
        self._publish()

    def settings(self, host: str, port: int, password: str = "") -> str:
        who = f"{USER}:{password.replace(' ', '%20')}@" if password else ""
        return (
            f'[providers.http]\nendpoint = "http://{who}{host}:{port}/rules"\n'
            'pollInterval = "50ms"\npollTimeout = "2s"\n'
        )

    def write(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._routers[route.name] = {"rule": f"Host(`{route.host}`)", "service": route.name}
            self._services[route.name] = {"loadBalancer": {"servers": [{"url": route.url}]}}
        self._publish()

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            del self._routers[route.name], self._services[route.name]
        self._publish()

    def spoil(self, route: Route) -> str:
        self._routers[route.name]["bogus"] = 1
        self._publish()
        return f"http.routers.{route.name}.bogus"

    def set_password(self, password: str) -> None:
        self._password = password

    def answer(self, authorization: str | None) -> tuple[int, bytes]:
        """Status and body for a request with this header."""
        wanted = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        if self._password and authorization != f"Basic {wanted}":
            return 401, b"who are you?\n"
        return 200, self._body

    def _publish(self) -> None:
        self._body = json.dumps({"http": {"routers": self._routers, "services": self._services}}).encode()


def _handler(kit: HttpKit) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = kit.answer(self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
