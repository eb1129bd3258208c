"""A connection to Redis: commands out, replies in, on trio. The grammar is hiredis's.

Redis's own parser does the reading, as it needs no I/O of its own; its Python client does not run on trio
(docs/decisions/0001-libraries.md). Replies are bounded, and errors are Redis's words, never a command's:
those may hold passwords.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import hiredis
import trio

from providers.http_api import without_secrets
from providers.kv import MAX_TREE_BYTES
from shared.errors import ConfigError, ProviderError

CONNECT_S = 10.0
"""Until a connection is made, including TLS."""
CHUNK_BYTES = 65_536
DEFAULT_PORT = 6379
MAX_REPLY_BYTES = 2 * MAX_TREE_BYTES
"""Of one reply: a tree of the largest size, and what Redis puts around it."""


class RedisConnection:
    """One connection; one task at a time sends and receives. Made by ``open_redis``.

    Attributes:
        shown: the endpoint as messages name it.
    """

    def __init__(self, provider: str, shown: str, stream: trio.abc.Stream, password: str) -> None:
        self.shown = shown
        self._password = password
        self._provider = provider
        self._stream = stream
        self._reader = hiredis.Reader()

    def failed(self, reason: str) -> ProviderError:
        """An error that names the endpoint; Redis quotes the words of commands that it does not know."""
        return ProviderError(self._provider, f"{self.shown}: {without_secrets(reason, [self._password])}")

    async def ask(self, *command: str | int, timeout_s: float) -> Any:  # noqa: ANN401 - any reply
        """Send a command and wait for its reply.

        Raises:
            ProviderError: the connection broke off, no reply came in time, or Redis refuses.
        """
        try:
            with trio.fail_after(timeout_s):
                await self.send(*command)
                reply = await self.receive()
        except trio.TooSlowError as error:
            raise self.failed(f"no whole answer within {timeout_s:g} s") from error
        if isinstance(reply, hiredis.ReplyError):
            raise self.failed(f"it refuses {str(command[0]).upper()}: {reply}")
        return reply

    async def send(self, *command: str | int) -> None:
        """Send a command.

        Raises:
            ProviderError: the connection broke off.
        """
        try:
            packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # the stub takes only one word
            await self._stream.send_all(packed)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.failed("the connection broke off") from error

    async def receive(self) -> Any:  # noqa: ANN401 - any reply
        """Wait for the next reply, or message of a subscription; a refusal is a ``hiredis.ReplyError``.

        Raises:
            ProviderError: the connection broke off, or what comes is not Redis's.
        """
        size = 0
        try:
            while (reply := self._reader.gets()) is False:
                chunk = await self._stream.receive_some(CHUNK_BYTES)
                size += len(chunk)
                if not chunk:
                    raise self.failed("the connection broke off")
                if size > MAX_REPLY_BYTES:
                    raise self.failed(f"an answer of more than {MAX_REPLY_BYTES} bytes")
                self._reader.feed(bytes(chunk))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.failed("the connection broke off") from error
        except hiredis.ProtocolError as error:
            raise self.failed("it answers something that is not Redis's") from error
        return reply


@asynccontextmanager
async def open_redis(
    provider: str,
    endpoint: tuple[str, int],
    context: ssl.SSLContext | None,
    *,
    username: str = "",
    password: str = "",
    db: int = 0,
) -> AsyncIterator[RedisConnection]:
    """Connect, log in and choose the database.

    Args:
        endpoint: host and port.
        context: for TLS; plain without.

    Raises:
        ProviderError: Redis does not answer, or refuses.
    """
    host, port = endpoint
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    stream = await _connect(provider, shown, host, port, context)
    try:
        connection = RedisConnection(provider, shown, stream, password)
        if password:
            names = (username,) if username else ()
            await connection.ask("AUTH", *names, password, timeout_s=CONNECT_S)
        if db:
            await connection.ask("SELECT", db, timeout_s=CONNECT_S)
        yield connection
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


def parse_server(endpoint: str) -> tuple[str, int]:
    """``host:port`` as both; the port is Redis's own if it is not said.

    Raises:
        ConfigError: it is not of that form. It is not quoted, as it may hold a password.
    """
    refused = ConfigError("providers.redis.endpoints", "expected HOST:PORT")
    try:
        parts = urlsplit(f"//{endpoint.removeprefix('redis://')}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise refused from error
    if not host or parts.username is not None or parts.path.strip("/") or parts.query:
        raise refused
    return host, port or DEFAULT_PORT


async def _connect(
    provider: str, shown: str, host: str, port: int, context: ssl.SSLContext | None
) -> trio.abc.Stream:
    try:
        with trio.fail_after(CONNECT_S):
            stream = await trio.open_tcp_stream(host, port)
            if context is None:
                return stream
            secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
            try:
                await secured.do_handshake()
            except BaseException:
                stream.socket.close()
                raise
            return secured
    except trio.TooSlowError as error:
        raise ProviderError(provider, f"{shown}: no connection within {CONNECT_S:g} s") from error
    except (OSError, trio.BrokenResourceError) as error:
        raise ProviderError(provider, f"{shown}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS as we do"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
    return "cannot connect"
