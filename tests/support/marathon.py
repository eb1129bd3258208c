"""A stand-in for Marathon: applications with tasks, the event stream, credentials, redirects and faults.

Written to the public description of the REST API, as the recorded examples that its rules come from: tasks
only when embedded, an event stream without length or chunks, heartbeats of an empty line, credentials asked
for on every path, 302 to the leader from a standby (for the stream alone).
"""

from __future__ import annotations

import base64
import json
import queue
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.stand_in import StandIn, StandInHandler

HEARTBEAT_S = 0.5
"""The real one's is 10 s."""


class MarathonStandIn(StandIn):
    """A server. What it holds outlives its stops.

    Args:
        port: where it listens.

    Attributes:
        apps: by id, as the API shows them, tasks included.
        credentials: ``user:password`` that it asks for; None asks for nothing.
        leader: where the stream is redirected; empty if this one leads.
        fault: ``no leader``, ``page`` (200 with HTML) or empty.
        requests: paths that were asked for.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port, _Handler)
        self.apps: dict[str, dict[str, Any]] = {}
        self.credentials: str | None = None
        self.leader = ""
        self.fault = ""
        self.requests: list[str] = []
        self.streams: set[queue.Queue[bytes | None]] = set()

    def put(self, app: dict[str, Any]) -> None:
        """Add or replace an application, and say so."""
        self.apps[app["id"]] = app
        self.send("status_update_event", {"appId": app["id"], "taskStatus": "TASK_RUNNING"})

    def remove(self, app_id: str) -> None:
        """Remove an application, and say so; nothing if it is not there."""
        if self.apps.pop(app_id, None) is not None:
            self.send("app_terminated_event", {"appId": app_id})

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """An event to every stream."""
        text = json.dumps({**data, "eventType": kind})
        self.send_raw(f"event: {kind}\r\ndata: {text}\r\n\r\n".encode())

    def send_raw(self, text: bytes) -> None:
        """Bytes to every stream."""
        for each in list(self.streams):
            each.put(text)

    def end_streams(self) -> None:
        """End every stream, as a leader does that steps down."""
        for each in list(self.streams):
            each.put(None)


class _Handler(StandInHandler):
    stand_in: MarathonStandIn

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        stand_in = self.stand_in
        stand_in.requests.append(parts.path)
        if not self._is_allowed():
            page = b"<html><head><title>Error 401 Unauthorized</title></head></html>"
            self.send(401, page, "text/html", {"WWW-Authenticate": 'basic realm="Mesosphere"'})
        elif parts.path == "/ping":
            self.send(200, b"pong", "text/plain")
        elif stand_in.fault == "no leader":
            page = (
                b"<html><head><title>Error 502 Could not determine the current leader</title></head></html>"
            )
            self.send(502, page, "text/html")
        elif stand_in.fault == "page":
            self.send(200, b"<html>sign in</html>", "text/html")
        elif parts.path == "/v2/apps":
            self._apps(parse_qs(parts.query).get("embed", []))
        elif parts.path == "/v2/events":
            self._events()
        else:
            self.send(404, b'{"message":"HTTP 404 Not Found"}', "application/json")

    def _is_allowed(self) -> bool:
        wanted = self.stand_in.credentials
        if wanted is None:
            return True
        encoded = base64.b64encode(wanted.encode()).decode()
        return self.headers.get("Authorization") in (f"Basic {encoded}", f"token={wanted}")

    def _apps(self, embed: list[str]) -> None:
        hidden = {
            *(() if "apps.tasks" in embed else ("tasks",)),
            *(() if "apps.readiness" in embed else ("readinessCheckResults",)),
        }
        apps = [
            {key: value for key, value in app.items() if key not in hidden}
            for app in list(self.stand_in.apps.values())
        ]
        self.send(200, json.dumps({"apps": apps}).encode(), "application/json")

    def _events(self) -> None:
        if self.headers.get("Accept") != "text/event-stream":
            self.send(405, b"<html>HTTP method GET is not supported by this URL</html>", "text/html")
            return
        if self.stand_in.leader:
            self.send(302, b"", "text/plain", {"Location": f"{self.stand_in.leader}/v2/events"})
            return
        mine: queue.Queue[bytes | None] = queue.Queue()
        self.stand_in.streams.add(mine)
        self.close_connection = True
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream;charset=utf-8")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b'event: event_stream_attached\r\ndata: {"remoteAddress":"127.0.0.1"}\r\n\r\n')
            while True:
                try:
                    text = mine.get(timeout=HEARTBEAT_S)
                except queue.Empty:
                    text = b"\r\n"
                if text is None:
                    return
                self.wfile.write(text)
        except OSError:
            return
        finally:
            self.stand_in.streams.discard(mine)


def make_app(app_id: str, labels: dict[str, str], *ports: int, **more: Any) -> dict[str, Any]:
    """An application in the host's network, with a running task on 127.0.0.1."""
    name = app_id.strip("/").replace("/", "_")
    task = {
        "id": f"{name}.instance-1._app.1",
        "appId": app_id,
        "host": "127.0.0.1",
        "ports": list(ports),
        "state": "TASK_RUNNING",
        "version": "2026-03-01T10:00:00.000Z",
        "startedAt": "2026-03-01T10:00:05.250Z",
        "ipAddresses": [{"ipAddress": "127.0.0.1", "protocol": "IPv4"}],
    }
    return {
        "id": app_id,
        "labels": labels,
        "version": "2026-03-01T10:00:00.000Z",
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 10_000 + at, "protocol": "tcp"} for at in range(len(ports))],
        "healthChecks": [],
        "deployments": [],
        "tasks": [task],
        **more,
    }
