"""A stand-in for a Mesos master: its state, a standby's redirect, and faults."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AGENT = "agent-S1"


class MesosStandIn:
    """A master. What it holds outlives its stops.

    Args:
        port: where it listens.

    Attributes:
        tasks: by id, as the API shows them.
        leader: ``host:port`` of another master that leads; empty if this one does.
        is_old: whether it answers under the old path only, and gives an empty state instead of a redirect.
        fault: ``no leader``, ``just elected``, ``page`` or empty.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.tasks: dict[str, dict[str, Any]] = {}
        self.leader = ""
        self.is_old = False
        self.fault = ""
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> dict[str, Any]:
        """What it says when it is asked."""
        me = f"master@127.0.0.1:{self.port}"
        gone = self.fault == "just elected"
        agents = [{"id": AGENT, "pid": "slave(1)@127.0.0.1:5051", "hostname": "node-1", "active": True}]
        framework = {"id": "F1", "name": "marathon", "active": True, "tasks": list(self.tasks.values())}
        empty = bool(self.leader) or gone
        return {
            "version": "1.9.0",
            "pid": me,
            "leader": f"master@{self.leader}" if self.leader else me,
            "slaves": [] if empty else agents,
            "recovered_slaves": agents if gone else [],
            "frameworks": [] if empty else [framework],
        }

    def start(self) -> None:
        """Listen; nothing if it does."""
        if self._server is not None:
            return
        standing = self

        class Handler(_Handler):
            stand_in = standing

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut every connection; nothing if it does not run."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        self._thread.join()
        for each in list(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        server.server_close()

    def track(self, connection: socket.socket, *, is_open: bool) -> None:
        """Remember or forget a connection."""
        (self._connections.add if is_open else self._connections.discard)(connection)


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what tests do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: MesosStandIn

    def setup(self) -> None:
        super().setup()
        self.stand_in.track(self.connection, is_open=True)

    def finish(self) -> None:
        self.stand_in.track(self.connection, is_open=False)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests look at answers."""

    def do_GET(self) -> None:
        stand_in = self.stand_in
        paths = ("/state.json",) if stand_in.is_old else ("/state", "/state.json", "/master/state")
        if self.path not in paths:
            self._send(404, b"", "text/plain")
        elif stand_in.fault == "no leader":
            self._send(503, b"No leader elected", "text/plain")
        elif stand_in.fault == "page":
            self._send(200, b"<html>sign in</html>", "text/html")
        elif stand_in.leader and not stand_in.is_old:
            self._send(307, b"", "text/plain", f"//{stand_in.leader}{self.path}")
        else:
            self._send(200, json.dumps(stand_in.state).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, location: str = "") -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)


def make_task(name: str, labels: dict[str, str], *ports: int, number: int = 1, **more: Any) -> dict[str, Any]:
    """A running task with ports of its agent, which is 127.0.0.1."""
    return {
        "id": f"{name}.instance-{number}._app.1",
        "name": name,
        "framework_id": "F1",
        "slave_id": AGENT,
        "state": "TASK_RUNNING",
        "resources": {"cpus": 0.1, "ports": f"[{', '.join(f'{each}-{each}' for each in ports)}]"},
        "statuses": [
            {
                "state": "TASK_RUNNING",
                "timestamp": 1772359202.2,
                "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "172.17.0.2"}]}]},
            }
        ],
        "labels": [{"key": key, "value": value} for key, value in labels.items()],
        "discovery": {
            "name": name,
            "ports": {"ports": [{"number": each, "protocol": "tcp"} for each in ports]},
        },
        **more,
    }
