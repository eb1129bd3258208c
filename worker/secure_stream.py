"""A TLS connection over a non-blocking ``SSLSocket``, for one reading and one writing task.

OpenSSL works on the descriptor itself. ``trio.SSLStream`` copies every byte through two memory buffers and
takes locks. Measured 2026-11 on 2 busy cores, a request and an answer of 300 bytes over TLS 1.3, both ends
together: 34 µs of CPU here, 65 µs there (scripts/bench/secure_stream.py).

Renegotiation is off in our contexts, so a write never has to wait for a read, nor the other way round.
"""

from __future__ import annotations

import contextlib
import ssl

import trio

RECORD_BYTES = 16_384
"""Longest TLS record. OpenSSL wants to be asked again with the same bytes when the kernel takes no more, so
it gets one record at a time."""


class SecureStream:
    """As a ``trio.SocketStream``, and as its ``socket`` where only that will do.

    Args:
        sock: connected, not blocking, made with ``do_handshake_on_connect=False`` and
            ``suppress_ragged_eofs=False``: a connection that ends without saying so is broken.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock

    @property
    def socket(self) -> SecureStream:
        """Itself."""
        return self

    @property
    def tls(self) -> ssl.SSLSocket:
        """What was agreed on can be asked of it."""
        return self._sock

    @property
    def protocol(self) -> str | None:
        """What ALPN chose."""
        return self._sock.selected_alpn_protocol()

    def fileno(self) -> int:
        """Of its socket."""
        return self._sock.fileno()

    async def do_handshake(self) -> None:
        """Shake hands. The caller limits the time.

        Raises:
            ssl.SSLError: what the other side says is not accepted, or it does not accept us.
            OSError: the connection broke.
        """
        while True:
            try:
                self._sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Some bytes; empty once the other side said that it has no more.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: there will be none.
        """
        while True:
            try:
                return self._sock.recv(max_bytes)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
            except (OSError, ValueError) as error:
                raise _broken(self._sock) from error

    async def send(self, data: bytes | memoryview) -> int:
        """Send some bytes; returns how many OpenSSL took.

        Raises:
            OSError: it takes none.
        """
        piece = data[:RECORD_BYTES]
        while True:
            try:
                return self._sock.send(piece)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ValueError as error:  # closed meanwhile
                raise OSError("the connection is closed") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it. After a cancellation nothing else can be sent.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: nobody takes it.
        """
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                with view[sent : sent + RECORD_BYTES] as piece:
                    try:
                        sent += await self.send(piece)
                    except OSError as error:
                        raise _broken(self._sock) from error

    async def send_eof(self) -> None:
        """Say that nothing more comes (RFC 8446 section 6.1); reading goes on."""
        try:
            self._sock.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return  # it is said; the other side has not said so yet
        except (OSError, ValueError) as error:
            raise _broken(self._sock) from error

    def is_quiet(self) -> bool:
        """Whether nothing came that was not asked for. Session tickets do not count."""
        try:
            self._sock.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except (OSError, ValueError):
            return False
        return False

    def close(self) -> None:
        """Close it now. Who waits gets ``trio.ClosedResourceError``."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()  # so that the other side knows that nothing was cut
            self._sock.close()

    async def aclose(self) -> None:
        """As ``close``."""
        self.close()


def _broken(sock: ssl.SSLSocket) -> trio.BrokenResourceError | trio.ClosedResourceError:
    if sock.fileno() < 0:
        return trio.ClosedResourceError("the connection is closed")
    return trio.BrokenResourceError("the connection broke")
