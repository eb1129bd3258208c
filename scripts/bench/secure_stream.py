"""What a request and an answer of 300 bytes cost over TLS 1.3, by our stream and by trio's.

    python -m scripts.bench.secure_stream

Both ends run in one process, so the figures are for two ends; what counts is their relation.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from worker.secure_stream import SecureStream

ROUNDS = 5_000
MESSAGE = b"x" * 300

Wrap = Callable[[socket.socket, ssl.SSLContext, bool], Awaitable[Any]]


async def ours(sock: socket.socket, context: ssl.SSLContext, is_server: bool) -> SecureStream:
    sock.setblocking(False)
    name = None if is_server else "localhost"
    wrapped = context.wrap_socket(
        sock, is_server, do_handshake_on_connect=False, suppress_ragged_eofs=False, server_hostname=name
    )
    stream = SecureStream(wrapped)
    await stream.do_handshake()
    return stream


async def trios(sock: socket.socket, context: ssl.SSLContext, is_server: bool) -> trio.SSLStream[Any]:
    inner = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    name = None if is_server else "localhost"
    stream = trio.SSLStream(inner, context, server_hostname=name, server_side=is_server)
    await stream.do_handshake()
    return stream


async def measure(wrap: Wrap, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> float:
    """CPU microseconds per round, both ends together."""
    ends: dict[bool, Any] = {}

    async def shake(sock: socket.socket, is_server: bool) -> None:
        ends[is_server] = await wrap(sock, contexts[is_server], is_server)

    async def answer() -> None:
        for _ in range(ROUNDS):
            await ends[True].receive_some(65_536)
            await ends[True].send_all(MESSAGE)

    async def ask() -> None:
        for _ in range(ROUNDS):
            await ends[False].send_all(MESSAGE)
            await ends[False].receive_some(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, near, False)
        nursery.start_soon(shake, far, True)
    started = time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        nursery.start_soon(ask)
    return (time.process_time() - started) / ROUNDS * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "c"), Path(folder, "k")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for name, wrap in (("SecureStream", ours), ("trio.SSLStream", trios)):
        best = min(trio.run(measure, wrap, (client, server)) for _ in range(3))
        print(f"{name:16} {best:6.1f} µs of CPU per request and answer, both ends")


if __name__ == "__main__":
    main()
