"""A demo service that tells what it was asked, in the form of traefik/whoami.

    GET /            who answers, from where it was asked, and the request as it arrived
    GET /api         the same as JSON
    GET /health      200; POST a number there to change it
    GET /data?size=N[&unit=KB|MB|GB]   N bytes
    GET /bench       one byte, for load generators

It prints ``listening on http://HOST:PORT`` once it accepts, and stops on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import functools
import json
import signal
import socket
import sys
from urllib.parse import parse_qs, urlsplit

import h11
import trio

READ_BYTES = 65_536
PATTERN = b"|" + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-" * 1_000
UNIT_BYTES = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}
MAX_DATA_BYTES = 10_000_000_000
MAX_HEALTH_BODY_BYTES = 16

Answer = tuple[int, bytes, int]
"""Status, what the body repeats, and the size of the body."""


class Service:
    """What the service knows about itself."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.health_status = 200

    def answer(self, request: h11.Request, body: bytes, peer: str) -> Answer:
        """Decide what to say."""
        url = urlsplit(request.target.decode("latin-1"))
        if url.path == "/health":
            return self._health(request.method, body)
        if url.path == "/bench":
            return _whole(200, b"1")
        if url.path == "/data":
            return _data(parse_qs(url.query))
        if url.path == "/api":
            return _whole(200, json.dumps(self._facts(request, peer), indent=2).encode() + b"\n")
        return _whole(200, self._text(request, peer))

    def _health(self, method: bytes, body: bytes) -> Answer:
        if method != b"POST":
            return _whole(self.health_status, b"")
        if not (body.isdigit() and 200 <= int(body) <= 599):
            return _whole(400, b"the body must be a status code from 200 to 599\n")
        self.health_status = int(body)
        return _whole(200, b"")

    def _facts(self, request: h11.Request, peer: str) -> dict[str, object]:
        return {
            "name": self.name,
            "hostname": socket.gethostname(),
            "ip": [self.address],
            "remoteAddr": peer,
            "method": request.method.decode(),
            "url": request.target.decode("latin-1"),
            "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers.raw_items()],
        }

    def _text(self, request: h11.Request, peer: str) -> bytes:
        lines = [f"Name: {self.name}"] if self.name else []
        lines += [f"Hostname: {socket.gethostname()}", f"IP: {self.address}", f"RemoteAddr: {peer}"]
        start = b"%s %s HTTP/%s" % (request.method, request.target, request.http_version)
        fields = [b"%s: %s" % (name, value) for name, value in request.headers.raw_items()]
        return b"\n".join([*(line.encode() for line in lines), start, *fields, b"", b""])


def _whole(status: int, content: bytes) -> Answer:
    return status, content, len(content)


def _data(query: dict[str, list[str]]) -> Answer:
    size, unit = query.get("size", ["1"])[0], query.get("unit", [""])[0].lower()
    if not size.isdigit() or unit not in UNIT_BYTES or int(size) * UNIT_BYTES[unit] > MAX_DATA_BYTES:
        return _whole(400, b"size must be a number, unit one of B, KB, MB, GB, and both at most 10 GB\n")
    return 200, PATTERN, int(size) * UNIT_BYTES[unit]


async def serve_connection(service: Service, stream: trio.SocketStream) -> None:
    """Answer requests on one connection until either side closes it."""
    host, port = stream.socket.getpeername()[:2]
    protocol = h11.Connection(h11.SERVER)
    try:
        async with stream:
            while await serve_request(service, protocol, stream, f"{host}:{port}"):
                protocol.start_next_cycle()
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return  # the client left, or does not speak HTTP: nothing to tell it


async def serve_request(
    service: Service, protocol: h11.Connection, stream: trio.SocketStream, peer: str
) -> bool:
    """Answer one request; False when there is none or none can follow."""
    request = await next_event(protocol, stream)
    if not isinstance(request, h11.Request):
        return False
    body = bytearray()
    while isinstance(event := await next_event(protocol, stream), h11.Data):
        body += event.data[: MAX_HEALTH_BODY_BYTES - len(body)]
    if not isinstance(event, h11.EndOfMessage):
        return False
    status, pattern, size = service.answer(request, bytes(body), peer)
    await send_answer(protocol, stream, request, status, pattern, size)
    return protocol.our_state is h11.DONE and protocol.their_state is h11.DONE


async def next_event(protocol: h11.Connection, stream: trio.SocketStream) -> object:
    """The next event of the request, reading as needed."""
    while True:
        if protocol.they_are_waiting_for_100_continue:
            head = protocol.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(head or b"")
        event = protocol.next_event()
        if event is not h11.NEED_DATA:
            return event
        protocol.receive_data(await stream.receive_some(READ_BYTES))


async def send_answer(
    protocol: h11.Connection,
    stream: trio.SocketStream,
    request: h11.Request,
    status: int,
    pattern: bytes,
    size: int,
) -> None:
    """Send the head together with the first piece, then the rest."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(size))]
    output = protocol.send(h11.Response(status_code=status, headers=headers)) or b""
    rest = 0 if request.method == b"HEAD" else size
    while rest > 0:
        piece = pattern[:rest]
        output += protocol.send(h11.Data(data=piece)) or b""
        await stream.send_all(output)
        output = b""
        rest -= len(piece)
    await stream.send_all(output + (protocol.send(h11.EndOfMessage()) or b""))


async def listen(host: str, port: int, *, or_any: bool) -> trio.SocketListener:
    """A listener on the port, or with ``or_any`` on any free one if it is taken."""
    try:
        return (await trio.open_tcp_listeners(port, host=host))[0]
    except OSError:
        if not or_any:
            raise
        return (await trio.open_tcp_listeners(0, host=host))[0]


async def run(arguments: argparse.Namespace) -> None:
    """Serve until told to stop."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        listener = await listen(arguments.host, arguments.port, or_any=arguments.or_any)
        host, port = listener.socket.getsockname()[:2]
        service = Service(arguments.name, host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, functools.partial(serve_connection, service), [listener])
            print(f"listening on http://{host}:{port}", flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A demo service that tells what it was asked.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any free port")
    parser.add_argument("--or-any", action="store_true", help="take any free port if this one is taken")
    parser.add_argument("--name", default="")
    arguments = parser.parse_args()
    try:
        trio.run(run, arguments)
    except OSError as error:
        print(f"whoami: {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
