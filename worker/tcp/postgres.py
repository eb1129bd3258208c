"""PostgreSQL's own way into TLS: a request of eight bytes, an answer of one, and only then a ClientHello.

Source: PostgreSQL documentation, "Message Flow", SSL Session Encryption; spec v2 section 7.
"""

from __future__ import annotations

import socket

import trio

from shared.errors import ConnectTimeout, UpstreamGone, UpstreamProtocolError

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
ACCEPTED = b"S"
ANSWER_TIMEOUT_S = 10.0
"""Longest wait for a server's one byte (as for a TLS handshake)."""


async def ask_for_tls(server: socket.socket) -> None:
    """Ask a server what the client has asked us, and been promised.

    Raises:
        ConnectTimeout: it does not answer.
        UpstreamProtocolError: it has no TLS.
        UpstreamGone: it broke.
    """
    try:
        server.send(SSL_REQUEST)
        with trio.fail_after(ANSWER_TIMEOUT_S):
            answer = await _receive_one(server)
    except trio.TooSlowError as error:
        raise ConnectTimeout(f"no answer to the TLS request within {ANSWER_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise UpstreamGone(str(error)) from error
    if answer != ACCEPTED:
        raise UpstreamProtocolError("the PostgreSQL server has no TLS")


async def _receive_one(server: socket.socket) -> bytes:
    while True:
        try:
            return server.recv(1)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(server)
