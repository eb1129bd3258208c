"""Clients that send exactly the bytes a test writes and show exactly the bytes that come back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.wire import Body, Head, WireClosedError, WireReader

Address = tuple[str, int]
TIMEOUT_S = 15.0


@dataclass
class RawResponse:
    """One response as received.

    Attributes:
        head: its start line and fields.
        body: its body, without framing in ``content``, with it in ``raw``.
        interim: the heads of 1xx responses that came before.
    """

    head: Head
    body: Body
    interim: list[Head] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.start_line.split(b" ", 2)[1])

    @property
    def content(self) -> bytes:
        """The body without its framing."""
        return self.body.content

    @property
    def raw(self) -> bytes:
        """Every byte of the final response."""
        return self.head.raw + self.body.raw

    def header(self, name: str) -> str | None:
        """The value of the only field of that name."""
        value = self.head.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def json(self) -> Any:
        """The body as JSON, as the echo origin answers."""
        return json.loads(self.body.content)


class ClientConnection:
    """One connection; requests follow each other on it as a test says."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S, source: str | None = None) -> None:
        self.socket = socket.create_connection(address, timeout_s, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = WireReader(self.socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(data)

    def finish_sending(self) -> None:
        """Half-close: nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self, *, method: str = "GET") -> RawResponse:
        """The next response to a request of ``method``.

        Raises:
            WireClosedError: it did not come complete.
        """
        interim = []
        while True:
            head = self.reader.read_head()
            status = int(head.start_line.split(b" ", 2)[1])
            if status >= 200 or status == 101:
                break
            interim.append(head)
        bodiless = method == "HEAD" or status in (101, 204, 304)
        body = Body(b"", b"") if bodiless else self.reader.read_body(head, to_end=True)
        return RawResponse(head, body, interim)

    def request(
        self,
        method: str,
        target: str,
        *,
        host: str,
        fields: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> RawResponse:
        """Send one ordinary request and read its response."""
        self.send(request_bytes(method, target, host=host, fields=fields, body=body))
        return self.receive(method=method)

    def is_closed_by_peer(self) -> bool:
        """Wait until the peer closes: True if it does within the timeout and sends nothing before."""
        try:
            return self.reader.read_to_end() == b""
        except WireClosedError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        """Close. Safe to call twice."""
        self.socket.close()


def exchange(address: Address, raw: bytes, *, timeout_s: float = TIMEOUT_S) -> RawResponse:
    """Send ``raw`` on a new connection and read one response; the method is the first word of ``raw``."""
    with ClientConnection(address, timeout_s) as connection:
        connection.send(raw)
        return connection.receive(method=raw.split(b" ", 1)[0].decode("latin-1"))


def get(address: Address, target: str, *, host: str, fields: Iterable[tuple[str, str]] = ()) -> RawResponse:
    """One GET on a new connection."""
    with ClientConnection(address) as connection:
        return connection.request("GET", target, host=host, fields=fields)


def request_bytes(
    method: str, target: str, *, host: str, fields: Iterable[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """An ordinary request, with Content-Length when it has a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
