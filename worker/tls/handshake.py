"""The server's side of a handshake, in the task of whoever calls."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from worker.secure_stream import SecureStream
from worker.tls.client_hello import ClientHello
from worker.tls.material import TlsChoice
from worker.tls.stream import TlsSession, TlsStream

_ALERT = 0x15
_FATAL = 2


async def start_tls(sock: socket.socket, hello: ClientHello, choice: TlsChoice) -> TlsStream:
    """Shake hands. The caller limits the time.

    Args:
        sock: connected and non-blocking, its ClientHello unread. It belongs to the stream from now on, and is
            closed if there will be none.
        hello: what was read of it.
        choice: certificate and options.

    Raises:
        OSError: the client left, or its wishes and ours do not meet (``ssl.SSLError``).
    """
    tls = choice.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    try:
        await SecureStream(tls).do_handshake()
        return TlsStream(tls, _session(tls, hello, choice))
    except BaseException:
        tls.close()
        raise


def refuse(sock: socket.socket, alert: int) -> None:
    """Tell a client why it gets no handshake, and close."""
    with contextlib.suppress(OSError):  # a client that is gone need not know
        sock.send(bytes((_ALERT, 3, 1, 0, 2, _FATAL, alert)))
        sock.shutdown(socket.SHUT_WR)
    sock.close()


def _session(tls: ssl.SSLSocket, hello: ClientHello, choice: TlsChoice) -> TlsSession:
    cipher = tls.cipher()
    return TlsSession(
        server_name=hello.server_name,
        protocol=tls.selected_alpn_protocol() or "",
        options=choice.options,
        version=tls.version() or "",
        cipher=cipher[0] if cipher is not None else "",
        is_resumed=bool(tls.session_reused),
        client_certificates=_client_certificates(tls) if choice.context.verify_mode else (),
    )


def _client_certificates(tls: ssl.SSLSocket) -> tuple[bytes, ...]:
    """What the client sent, its own certificate first."""
    own = tls.getpeercert(binary_form=True)
    if not own:
        return ()
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # public from Python 3.13 on
    chain = [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in inner.get_unverified_chain() or ()]
    return tuple(chain) or (own,)
