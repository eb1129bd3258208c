"""The servers behind every proxy: a cheap one for small answers, and one for bodies and WebSockets.

Small answers come from nginx where it is installed, as it costs the load's CPU least; otherwise from the
second kind, which is this file run as a program: a thread per connection on blocking sockets, which speaks as
much HTTP/1.1 as the load generators and proxies of a benchmark do, and no more.

    GET /bytes/N      N bytes, sent from a file in memory
    POST ...          reads the whole body, then answers how many bytes it had
    Upgrade           echoes WebSocket messages of one frame
    all else          a small answer
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.machine import LOAD_CPUS, PROJECT, on_cpus
from scripts.bench.waiting import wait_until_it_answers
from tests.support.ports import reserve_port

SMALL_BODY = b"Hello from the origin.\n"
CHUNK_BYTES = 1 << 20
MAX_HEAD_BYTES = 1 << 16
STOP_TIMEOUT_S = 5.0
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
SIZE = re.compile(rb"GET /bytes/(\d+)")
CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)")
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; etag off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{first} reuseport; listen 127.0.0.1:{second} reuseport;
           location / {{ return 200 "{body}"; }} }}
}}
"""


@dataclass(frozen=True)
class Origins:
    """Ports of what runs behind the proxies, and what the small answers come from."""

    small: tuple[int, ...]
    bodies: tuple[int, ...]
    kind: str


@contextmanager
def running_origins(folder: Path) -> Iterator[Origins]:
    """Both kinds of server for the length of a with block."""
    with ExitStack() as stack:
        bodies = stack.enter_context(_running_own())
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None:
            yield Origins((bodies, bodies), (bodies,), "own origin in Python")
            return
        ports = tuple(stack.enter_context(reserve_port()).number for _ in range(2))
        stack.enter_context(_running_nginx(nginx, folder, ports))
        yield Origins(ports, (bodies,), "nginx, fixed answer on two ports")


@contextmanager
def _running_nginx(program: str, folder: Path, ports: tuple[int, ...]) -> Iterator[None]:
    body = SMALL_BODY.decode().replace("\n", "\\n")
    text = NGINX.format(folder=folder, first=ports[0], second=ports[1], body=body)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with on_cpus(LOAD_CPUS):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        for port in ports:
            wait_until_it_answers(port, process)
        yield
    finally:
        _stop(process)


@contextmanager
def _running_own() -> Iterator[int]:
    with on_cpus(LOAD_CPUS):
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.origin"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=PROJECT,
        )
    try:
        line = process.stdout.readline() if process.stdout is not None else b""
        if not line:
            raise SystemExit("bench: the origin did not start")
        yield int(line)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Serve until terminated; the port is the only line of output."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    memory = os.memfd_create("bodies")
    os.truncate(memory, 1 << 30)  # sparse: holes read as zeros and cost nothing
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(client, memory), daemon=True).start()


def _serve(client: socket.socket, memory: int) -> None:
    with client, suppress(OSError, ValueError):
        rest = b""
        while True:
            head, rest = _read_head(client, rest)
            if not head:
                return
            if key := KEY.search(head):
                _echo(client, key[1].strip())
                return
            rest = _answer(client, head, rest, memory)
            if b" HTTP/1.0\r\n" in head or CLOSE.search(head):
                return


def _read_head(client: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data:
        received = client.recv(MAX_HEAD_BYTES)
        if not received or len(data) > MAX_HEAD_BYTES:
            return b"", b""
        data += received
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _answer(client: socket.socket, head: bytes, rest: bytes, memory: int) -> bytes:
    """Read what is left of the request, answer it; returns what came after it."""
    length = LENGTH.search(head)
    if length and int(length[1]):
        size = int(length[1])
        _discard(client, size - len(rest))
        body = b"%d bytes\n" % size
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return rest[size:]
    if asked := SIZE.match(head):
        size = int(asked[1])
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        sent = 0
        while sent < size:
            sent += os.sendfile(client.fileno(), memory, sent, size - sent)
        return rest
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(SMALL_BODY), SMALL_BODY))
    return rest


def _discard(client: socket.socket, size: int) -> None:
    buffer = bytearray(CHUNK_BYTES)
    while size > 0:
        received = client.recv_into(buffer, min(size, CHUNK_BYTES))
        if not received:
            raise ValueError("the body ended early")
        size -= received


def _echo(client: socket.socket, key: bytes) -> None:
    """Echo binary messages of up to 125 bytes, one frame each."""
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
    data = b""
    while received := client.recv(CHUNK_BYTES):
        data += received
        while len(data) >= 2 and len(data) >= 6 + (data[1] & 0x7F):
            size = data[1] & 0x7F
            mask, payload, data = data[2:6], data[6 : 6 + size], data[6 + size :]
            if any(mask):
                payload = bytes(each ^ mask[at % 4] for at, each in enumerate(payload))
            client.sendall(bytes((0x82, size)) + payload)


if __name__ == "__main__":
    main()
