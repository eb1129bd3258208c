"""Wait for a server that was just started."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time

START_LIMIT_S = 60.0
LONG_START_LIMIT_S = 240.0
"""For what has ``MANY_ROUTERS`` and more to read."""
MANY_ROUTERS = 50_000
CONNECT_LIMIT_S = 2.0
PAUSE_S = 0.002


def ask(
    port: int, path: str = "/", host: str = "bench.test", fields: str = "", *, has_tls: bool = False
) -> int:
    """The status of one answer over a new connection; 0 if there was none."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n"
    try:
        with _connect(port, host if has_tls else "") as connection:
            connection.sendall(request.encode())
            line = connection.recv(64)
    except OSError:
        return 0
    return int(line[9:12]) if line.startswith(b"HTTP/1.") and line[9:12].isdigit() else 0


def _connect(port: int, tls_name: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), CONNECT_LIMIT_S)
    if not tls_name:
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=tls_name)


def wait_until_it_answers(
    port: int,
    process: subprocess.Popen[bytes],
    path: str = "/",
    host: str = "bench.test",
    fields: str = "",
    limit_s: float = START_LIMIT_S,
    *,
    has_tls: bool = False,
) -> None:
    """Ask until the answer is 200.

    Raises:
        RuntimeError: it ended before, or does not answer so in ``limit_s``.
    """
    deadline = time.monotonic() + limit_s
    status = 0
    while time.monotonic() < deadline:
        status = ask(port, path, host, fields, has_tls=has_tls)
        if status == 200:
            return
        try:
            process.wait(PAUSE_S)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"it ended with {process.returncode} before it answered")
    raise RuntimeError(f"no 200 from port {port} for {host}{path} in {limit_s:g} s, last was {status}")
