"""Connecting to a TCP server; foreign errors become ``UpstreamError`` here (spec v2 section 10.3)."""

from __future__ import annotations

import socket

import trio

from shared.addresses import parse_ip
from shared.errors import ConnectFailed, ConnectTimeout
from worker.tcp.services import TcpTarget


async def dial(target: TcpTarget) -> socket.socket:
    """A connected socket that does not block.

    Raises:
        ConnectTimeout: not within the transport's time.
        ConnectFailed: not at all.
    """
    transport = target.transport
    try:
        with trio.fail_after(transport.dial_timeout_s):
            sock = await _connect(target.host, target.port)
    except trio.TooSlowError as error:
        raise ConnectTimeout(f"no connection within {transport.dial_timeout_s:g} s") from error
    except OSError as error:
        raise ConnectFailed(str(error)) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if transport.keep_alive_s is not None:
        pause_s = max(round(transport.keep_alive_s), 1)  # the kernel counts in seconds
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause_s)
    return sock


async def _connect(host: str, port: int) -> socket.socket:
    if parse_ip(host) is None:
        stream = await trio.open_tcp_stream(host, port)
        return _plain(stream.socket)
    made = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        await made.connect((host, port))
    except BaseException:
        made.close()
        raise
    return _plain(made)


def _plain(sock: trio.socket.SocketType) -> socket.socket:
    """Without trio around it: splice wants a descriptor, and no wrapper's cost per call."""
    plain = socket.socket(fileno=sock.detach())
    plain.setblocking(False)
    return plain
