"""A scenario with servers that misbehave, and one proxy that it is played against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.support.clients import Address, ClientConnection, request_bytes
from tests.support.grpc_health import GrpcHealth
from tests.support.scripted_upstream import (
    NEVER,
    ScriptedUpstream,
    answering,
)
from tests.support.wire import WireClosedError

PATIENCE_S = 30.0
PACE_S = 0.012
"""Between requests where a breaker has to look at each answer; it looks every 5 ms."""
INTERVAL = "150ms"
CHECK = {"healthCheck": {"path": "/health", "interval": INTERVAL, "timeout": "2s"}}
FAIL, GOOD = answering(500, b"failed"), answering()
GRPC_PORT = "port of the gRPC server"
"""Stands for its number."""
DEAD = "dead"
"""The name of a server where nobody listens."""
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
CHUNKED_PART = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


@dataclass(frozen=True)
class Reply:
    """What a client got; ``is_cut`` if the answer did not come whole."""

    status: int
    content: bytes = b""
    server: str | None = None
    cookies: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()
    is_cut: bool = False


class Side:
    """One proxy with the servers of one scenario.

    Attributes:
        servers: by name.
        grpc: a gRPC server beside them, for the scenarios that name its port.
    """

    def __init__(
        self, address: Address, host: str, servers: Mapping[str, ScriptedUpstream], grpc: GrpcHealth
    ) -> None:
        self.servers = servers
        self.grpc = grpc
        self._address = address
        self._host = host
        self._stack = ExitStack()
        self._client: ClientConnection | None = None

    def __getitem__(self, name: str) -> ScriptedUpstream:
        return self.servers[name]

    def connect(self) -> ClientConnection:
        """A connection that is closed at the end."""
        return self._stack.enter_context(ClientConnection(self._address, PATIENCE_S))

    def close(self) -> None:
        """Close all connections."""
        self._stack.close()

    def ask(
        self,
        method: str = "GET",
        *,
        body: bytes | None = None,
        fields: Iterable[tuple[str, str]] = (),
        client: ClientConnection | None = None,
    ) -> Reply:
        """One request, on a connection that is kept for as long as it lasts."""
        link = client or self._client or self.connect()
        self._client = self._client or link
        link.send(request_bytes(method, "/", host=self._host, fields=fields, body=body))
        try:
            head = link.reader.read_head()
        except WireClosedError:
            self._client = None
            return Reply(0, is_cut=True)
        status = int(head.start_line.split(b" ")[1])
        if b"close" in (head.get(b"connection") or b""):
            self._client = None
        try:
            content = b"" if status == 204 else link.reader.read_body(head, to_end=True).content
        except WireClosedError:
            self._client = None
            return Reply(status, is_cut=True)
        return Reply(
            status,
            content,
            (head.get(b"x-server") or b"").decode() or None,
            tuple(value.decode() for value in head.get_all(b"set-cookie")),
            frozenset(name.decode().lower() for name, _ in head.fields),
        )

    def send(self) -> ClientConnection:
        """Ask on a new connection, and leave the answer for later."""
        link = self.connect()
        link.send(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        return link

    def statuses(self, count: int, method: str = "GET", **options: Any) -> list[int]:
        """Of so many requests."""
        return [self.ask(method, **options).status for _ in range(count)]

    def servers_of(self, count: int) -> set[str | None]:
        """Who answered so many requests."""
        return {self.ask().server for _ in range(count)}

    def until(self, wanted: Callable[[Reply], bool], *, pace_s: float = PACE_S) -> list[Reply]:
        """Ask until an answer fits; all of them."""
        found: list[Reply] = []
        for _ in range(int(PATIENCE_S / pace_s)):
            found.append(self.ask())
            if wanted(found[-1]):
                return found
            NEVER.wait(pace_s)
        raise AssertionError(f"no such answer in {len(found)}: {Counter(each.status for each in found)}")

    def set_health(self, name: str, status: int) -> None:
        """Change what a server's checks get, and wait until that is known: the second check comes an interval
        after the first one was answered."""
        self[name].health = answering(status)
        self[name].wait_for_checks(2, PATIENCE_S)

    def received(self) -> dict[str, int]:
        """Requests by server."""
        return {name: len(each.requests) for name, each in self.servers.items()}


Urls = Mapping[str, str]
Play = Callable[[Side], object]


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        name: unique; its routers, services and middlewares are named after it.
        servers: names of its servers.
        http: from their URLs to ``services`` and ``middlewares`` and the like; the service ``main`` is asked.
        play: what happens.
        expected: what has to come of it.
        theirs: what comes of it with Traefik, where a known difference says that it is something else.
        difference: the name of that one.
    """

    name: str
    servers: tuple[str, ...]
    http: Callable[[Urls], dict[str, Any]]
    play: Play
    expected: object
    middlewares: tuple[dict[str, Any], ...] = field(default=())
    theirs: object = None
    difference: str = ""


def balancer(urls: Urls, *names: str, **options: Any) -> dict[str, Any]:
    """A loadBalancer over servers."""
    return {"loadBalancer": {"servers": [{"url": urls[name]} for name in names], **options}}


def over(*names: str, **options: Any) -> Callable[[Urls], dict[str, Any]]:
    """One loadBalancer, the service ``main``."""
    return lambda urls: {"services": {"main": balancer(urls, *names, **options)}}


def runs(values: Iterable[object]) -> list[object]:
    """The values without immediate repetitions."""
    return [value for value, _ in groupby(values)]
