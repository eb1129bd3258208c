"""Connecting to a server: TCP, then TLS where its URL says so. Foreign errors become ``UpstreamError`` here.

Source: spec v2 sections 5.4, 10.1 and 10.2.
"""

from __future__ import annotations

import socket
import ssl
import weakref

import trio

from shared.client_tls import make_client_context, names_uri
from shared.errors import ConfigError, ConnectFailed, ConnectTimeout, UpstreamUntrusted
from shared.table.client_tls import ClientTlsEntry
from worker.secure_stream import SecureStream
from worker.upstream import Origin

HANDSHAKE_TIMEOUT_S = 10.0
"""Longest TLS handshake with a server (spec v2 section 5.4)."""
KEEP_ALIVE_S = 30
"""TCP keep-alive towards servers (as Go's dialer): a machine that died does not hold an exchange for ever."""

HTTP2, HTTP1 = "h2", "http/1.1"

_contexts: weakref.WeakValueDictionary[tuple[ClientTlsEntry, tuple[str, ...]], ssl.SSLContext] = (
    weakref.WeakValueDictionary()
)


class Dialer:
    """Makes connections to one origin through one transport.

    Args:
        origin: where to.
        tls: how, if the scheme is ``https``.
        dial_timeout_s: longest time for TCP; infinite for no limit.
    """

    def __init__(self, origin: Origin, tls: ClientTlsEntry, dial_timeout_s: float) -> None:
        self._origin = origin
        self._tls = tls
        self._dial_timeout_s = dial_timeout_s
        self._kept: dict[tuple[str, ...], ssl.SSLContext] = {}

    async def dial(self, protocols: tuple[str, ...]) -> trio.SocketStream | SecureStream:
        """A connection.

        Args:
            protocols: to offer by ALPN, best first.

        Raises:
            ConnectTimeout: not within the time.
            ConnectFailed: not at all.
            UpstreamUntrusted: the server is not who it should be, or does not speak TLS.
        """
        stream = await self._connect()
        if self._origin.scheme != "https":
            return stream
        try:
            return await self.secure(stream, protocols)
        except BaseException:
            stream.socket.close()
            raise

    async def _connect(self) -> trio.SocketStream:
        try:
            with trio.fail_after(self._dial_timeout_s):
                if self._origin.scheme == "unix":
                    return await trio.open_unix_socket(self._origin.host)
                stream = await trio.open_tcp_stream(self._origin.host, self._origin.port)
        except trio.TooSlowError as error:
            raise ConnectTimeout(f"no connection within {self._dial_timeout_s} s") from error
        except OSError as error:
            raise ConnectFailed(str(error)) from error
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            stream.setsockopt(socket.IPPROTO_TCP, option, KEEP_ALIVE_S)
        return stream

    async def secure(self, stream: trio.SocketStream, protocols: tuple[str, ...]) -> SecureStream:
        """TLS on a connection that is there already; arguments and errors as for ``dial``."""
        context = await self._context(protocols)
        raw = socket.socket(fileno=stream.socket.detach())
        raw.setblocking(False)
        try:
            secure = SecureStream(
                context.wrap_socket(
                    raw,
                    server_hostname=self._tls.server_name or self._origin.host,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,
                )
            )
        except (OSError, ValueError) as error:
            raw.close()
            raise ConnectFailed(f"TLS cannot begin: {error}") from error
        try:
            await self._shake_hands(secure)
        except BaseException:
            secure.close()
            raise
        return secure

    async def _shake_hands(self, secure: SecureStream) -> None:
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                await secure.do_handshake()
        except trio.TooSlowError as error:
            raise ConnectTimeout(f"no TLS handshake within {HANDSHAKE_TIMEOUT_S} s") from error
        except ssl.SSLCertVerificationError as error:
            raise UpstreamUntrusted(f"its certificate is refused: {error.verify_message}") from error
        except ssl.SSLEOFError as error:
            raise ConnectFailed("the connection ended inside the TLS handshake") from error
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):  # the server's word, which the original counts as network
                raise ConnectFailed(f"the server ended the TLS handshake: {error.reason}") from error
            raise UpstreamUntrusted(f"TLS failed: {error.reason}") from error
        except OSError as error:
            raise ConnectFailed(f"the connection broke inside the TLS handshake: {error}") from error
        uri = self._tls.peer_cert_uri
        if uri and not names_uri(secure.tls.getpeercert(), uri):
            raise UpstreamUntrusted(f"its certificate does not name {uri}")

    async def _context(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """Of this transport and these protocols; made in a thread, as loading authorities takes 20 ms."""
        context = self._kept.get(protocols)
        if context is None:
            key = (self._tls, protocols)
            context = _contexts.get(key)
            if context is None:
                try:
                    made = await trio.to_thread.run_sync(make_client_context, self._tls, protocols)
                except ConfigError as error:
                    raise UpstreamUntrusted(str(error)) from error
                context = _contexts.setdefault(key, made)
            self._kept[protocols] = context
        return context
