"""A TLS connection as both lanes use it: an ``SSLSocket`` on the descriptor itself, never blocking.

The general lane has ``TlsStream``, which looks like trio's ``SocketStream``. The plain lane has ``receiver``
and ``sender``, which look like the methods of a plain socket. Both turn OpenSSL's wishes into waiting.

A connection that ends well says so (``close_notify``); one that is cut does not, so that what was sent cannot
look complete.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import trio

from worker.secure_stream import SecureStream

MAX_RECEIVE_BYTES = 65_536


TlsIdentity = tuple[str, str, str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class TlsSession:
    """What was agreed on with a client.

    Attributes:
        server_name: which the client asked for; empty if none.
        protocol: of ALPN; empty if none was agreed on.
        options: name of the TLS options.
        version, cipher: as OpenSSL calls them.
        is_resumed: whether an earlier session went on.
        client_certificates: DER, the client's own first; empty if it sent none.
    """

    server_name: str = ""
    protocol: str = ""
    options: str = ""
    version: str = ""
    cipher: str = ""
    is_resumed: bool = False
    client_certificates: tuple[bytes, ...] = ()

    @property
    def identity(self) -> TlsIdentity:
        """What exchanges and their records depend on; connections where it is equal share plans."""
        return (self.options, self.version, self.cipher, self.client_certificates)


class TlsSocket:
    """The part of trio's socket that the lanes use of a client's connection."""

    __slots__ = ("_sock",)

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self._sock.fileno()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """As of a socket."""
        self._sock.setsockopt(level, option, value)

    def close(self) -> None:
        """Close, without a word to the client. Whoever waits for the socket is told."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


class TlsStream:
    """A client's connection after its handshake, for the general lane.

    Args:
        sock: handshaken and non-blocking.
        session: what was agreed on.
    """

    def __init__(self, sock: ssl.SSLSocket, session: TlsSession) -> None:
        self.ssl_socket = sock
        self.session = session
        self.socket = TlsSocket(sock)
        self._stream = SecureStream(sock)
        self._has_ended = False

    @classmethod
    def of(cls, sock: socket.socket, session: TlsSession) -> TlsStream:
        """The stream over a socket that has a session."""
        assert isinstance(sock, ssl.SSLSocket), "only those have sessions"
        return cls(sock, session)

    async def receive_some(self, max_bytes: int = MAX_RECEIVE_BYTES) -> bytes:
        """Some bytes, or none at the end. Lets other tasks run, also when there is always more.

        Raises:
            trio.BrokenResourceError: the connection broke, or what came was no proper TLS.
            trio.ClosedResourceError: we closed it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        data = await self._stream.receive_some(max_bytes)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def receive_nowait(self, max_bytes: int = MAX_RECEIVE_BYTES) -> bytes:
        """What is there without waiting; empty if nothing."""
        with contextlib.suppress(OSError, ValueError):
            return self.ssl_socket.recv(max_bytes)
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; errors as for ``receive_some``. When cancelled, the connection is of no use."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._stream.send_all(data)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Say that nothing more comes; reading goes on. Errors as for ``receive_some``."""
        await trio.lowlevel.checkpoint()
        if self.ssl_socket.fileno() < 0:
            raise trio.ClosedResourceError("the connection is closed")
        self._has_ended = True
        try:
            end_sending(self.ssl_socket)
        except OSError as error:
            raise trio.BrokenResourceError("the connection broke") from error

    def close(self) -> None:
        """Close an idle or finished connection politely. Nothing happens if it is closed already."""
        if self.ssl_socket.fileno() >= 0 and not self._has_ended:
            say_goodbye(self.ssl_socket)
        self.socket.close()


def receiver(sock: ssl.SSLSocket) -> Callable[[int], bytes]:
    """``recv`` of a plain non-blocking socket, over TLS."""
    receive = sock.recv

    def recv(max_bytes: int) -> bytes:
        try:
            return receive(max_bytes)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ValueError as error:  # what Python says when the session is over
            raise OSError(str(error)) from error

    return recv


def sender(sock: ssl.SSLSocket) -> Callable[[bytes], int]:
    """``send`` of a plain non-blocking socket, over TLS: all that the kernel takes now.

    OpenSSL wants the same bytes again after it could not send them; the caller's habit to keep what was not
    sent, from its first byte on, is just that.
    """
    write = sock.send

    def send(data: bytes) -> int:
        try:
            sent = write(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ValueError as error:
            raise OSError(str(error)) from error
        if sent == len(data):
            return sent
        return sent + _send_rest(memoryview(data)[sent:])

    def _send_rest(rest: memoryview) -> int:
        total = 0
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while rest:
                sent = write(rest)
                total, rest = total + sent, rest[sent:]
        return total

    return send


def say_goodbye(sock: ssl.SSLSocket) -> None:
    """Send ``close_notify``, as far as the kernel takes it now; never waits."""
    with contextlib.suppress(
        OSError, ValueError
    ):  # it wants to read the client's own, or all is over already
        sock.unwrap()


def end_sending(sock: ssl.SSLSocket) -> None:
    """``close_notify``, then the end of the TCP side; ``recv`` goes on.

    Raises:
        OSError: the connection is gone.
    """
    say_goodbye(sock)
    socket.socket.shutdown(sock, socket.SHUT_WR)  # SSLSocket's own would forget the session, and with it recv
