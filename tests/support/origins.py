"""Real servers to put behind the proxy, in threads of the test process, on a port of the kernel's choice.

An origin is a function over one connection; the base class accepts, counts and stops. Nothing in here sleeps:
slow origins wait for an event that the test sets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.wire import Body, Head, WireClosedError, WireReader

IDLE_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
BACKLOG = 512


@dataclass
class ReceivedRequest:
    """A request as an origin saw it."""

    head: Head
    body: Body
    connection_number: int

    @property
    def method(self) -> str:
        """Its method."""
        return self.head.start_line.split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Its target."""
        return self.head.start_line.split(b" ")[1].decode("latin-1")

    def header(self, name: str) -> str | None:
        """The value of the only field of that name."""
        value = self.head.get(name.encode())
        return None if value is None else value.decode("latin-1")


class OriginConnection:
    """One accepted connection, as an origin's function sees it. ``number`` counts from 0."""

    def __init__(self, origin: Origin, sock: socket.socket, number: int) -> None:
        self.origin = origin
        self.socket = sock
        self.number = number
        self.reader = WireReader(sock)

    def receive_request(self) -> ReceivedRequest | None:
        """The next whole request, recorded with the origin; None when the peer is done."""
        try:
            head = self.reader.read_head()
        except WireClosedError:
            return None
        if b"100-continue" in b",".join(head.get_all(b"expect")).lower():
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = ReceivedRequest(head, self.reader.read_body(head, to_end=False), self.number)
        self.origin.record(request)
        return request

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.socket.sendall(data)

    def reset(self) -> None:
        """Close so that the peer gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Serve = Callable[[OriginConnection], None]


class Origin:
    """A server on 127.0.0.1. Each connection runs ``serve`` in a thread and is closed when that returns.

    With a ``tls`` context its URL is ``https://localhost:PORT``; failed handshakes are in ``refused``.
    """

    idle_timeout_s = IDLE_TIMEOUT_S
    """After so long without a byte a connection is closed."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._tls = tls
        self.refused: list[ssl.SSLError] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._changed = threading.Condition()
        self._requests: list[ReceivedRequest] = []
        self._open: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._accepted = 0
        self._failures: list[BaseException] = []
        self._stopping = False
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name=f"origin {self.url}", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        if self._tls is not None:
            return f"https://localhost:{self.address[1]}"
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests received so far."""
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many connections were accepted in all."""
        with self._changed:
            return self._accepted

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._changed:
            return len(self._open)

    def record(self, request: ReceivedRequest) -> None:
        """Add a request to ``requests``."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until a condition over this origin's figures holds; it is looked at after every change."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise AssertionError(f"{self.url}: not within {timeout_s:g} s: {what}")

    def wait_for_requests(self, count: int) -> list[ReceivedRequest]:
        """Wait until that many requests were received."""
        self.wait_for(lambda: len(self._requests) >= count, f"{count} requests")
        return self.requests

    def stop(self) -> None:
        """Refuse new connections, cut open ones, and wait for the threads.

        Raises:
            AssertionError: the origin's function failed, or does not return.
        """
        with self._changed:
            self._stopping = True
            for each in self._open.values():
                _shut_down(each)
        _shut_down(self._listener)
        self._acceptor.join(STOP_TIMEOUT_S)
        self._listener.close()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)
        stuck = [thread.name for thread in [self._acceptor, *self._threads] if thread.is_alive()]
        if stuck:
            raise AssertionError(f"{self.url}: still running: {', '.join(stuck)}")
        if self._failures:
            raise AssertionError(f"{self.url}: {self._failures[0]!r}") from self._failures[0]

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(self.idle_timeout_s)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                if self._stopping:
                    accepted.close()
                    return
                number = self._accepted
                self._accepted += 1
                self._open[number] = accepted
                name = f"origin {self.url} connection {number}"
                thread = threading.Thread(target=self._run, args=(accepted, number), name=name, daemon=True)
                self._threads.append(thread)
                self._changed.notify_all()
            thread.start()

    def _run(self, accepted: socket.socket, number: int) -> None:
        try:
            with accepted:
                if self._tls is None:
                    self._serve(OriginConnection(self, accepted, number))
                else:
                    self._serve_securely(accepted, number, self._tls)
        except (WireClosedError, OSError):
            pass  # the proxy left: the test looks at that from its own side
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            with self._changed:
                del self._open[number]
                self._changed.notify_all()

    def _serve_securely(self, accepted: socket.socket, number: int, tls: ssl.SSLContext) -> None:
        try:
            secure = tls.wrap_socket(accepted, server_side=True)
        except ssl.SSLError as refused:
            self.refused.append(refused)
            return
        with self._changed:  # what can be shut down now is this one
            self._open[number] = secure
            if self._stopping:
                _shut_down(secure)
        with secure:
            self._serve(OriginConnection(self, secure, number))
            with contextlib.suppress(OSError, ValueError):
                secure.unwrap()


def _shut_down(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own would forget its session
    except OSError:
        return  # it was not connected any more


@contextmanager
def running_origin(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """An origin for the length of a with block."""
    origin = Origin(serve, tls)
    try:
        yield origin
    finally:
        origin.stop()


def echo(name: str = "") -> Serve:
    """Answers every request with JSON of what arrived, and the field ``X-Origin: name``."""

    def serve(connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            fields = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.head.fields]
            content = json.dumps(
                {
                    "name": name,
                    "connection": connection.number,
                    "method": request.method,
                    "target": request.target,
                    "version": request.head.start_line.rsplit(b" ", 1)[1].decode("latin-1"),
                    "headers": fields,
                    "body_size": len(request.body.content),
                    "body_sha256": hashlib.sha256(request.body.content).hexdigest(),
                    "trailers": [
                        [n.decode("latin-1"), v.decode("latin-1")] for n, v in request.body.trailers
                    ],
                }
            ).encode()
            connection.send(
                answer(
                    200,
                    b"" if request.method == "HEAD" else content,
                    fields=(("X-Origin", name),),
                    size=len(content),
                )
            )
            if b"close" in b",".join(request.head.get_all(b"connection")).lower():
                return

    return serve


def scripted(*answers: bytes | Serve) -> Serve:
    """Connection ``n`` follows ``answers[n]``; all after the last follow the last.

    Bytes are sent after one whole request was received, then the connection is closed. A function does as it
    likes.
    """

    def serve(connection: OriginConnection) -> None:
        script = answers[min(connection.number, len(answers) - 1)]
        if not isinstance(script, bytes):
            script(connection)
        elif connection.receive_request() is not None:
            connection.send(script)

    return serve


def waiting(release: threading.Event, then: Serve) -> Serve:
    """Accepts, and does ``then`` once ``release`` is set: a slow origin whose slowness the test decides."""

    def serve(connection: OriginConnection) -> None:
        if not release.wait(IDLE_TIMEOUT_S):
            raise AssertionError(f"the test did not release the origin within {IDLE_TIMEOUT_S:g} s")
        then(connection)

    return serve


def answering_slowly(release: threading.Event, response: bytes) -> Serve:
    """Receives a request, and answers it once ``release`` is set."""

    def serve(connection: OriginConnection) -> None:
        while connection.receive_request() is not None:
            if not release.wait(IDLE_TIMEOUT_S):
                raise AssertionError(f"the test did not release the answer within {IDLE_TIMEOUT_S:g} s")
            connection.send(response)

    return serve


def streaming(chunks: Callable[[ReceivedRequest], Iterator[bytes]]) -> Serve:
    """Answers chunked, sending every chunk as soon as the test's iterator yields it."""

    def serve(connection: OriginConnection) -> None:
        while (request := connection.receive_request()) is not None:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in chunks(request):
                connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            connection.send(b"0\r\n\r\n")

    return serve


def upgrading(protocol: bytes = b"websocket") -> Serve:
    """Answers 101 to an upgrade to ``protocol`` and echoes every byte after it until the peer half-closes."""

    def serve(connection: OriginConnection) -> None:
        request = connection.receive_request()
        if request is None:
            return
        if (request.head.get(b"upgrade") or b"").lower() != protocol:
            connection.send(answer(400, b"an upgrade was expected\n"))
            return
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
        )
        while data := connection.reader.read_some():
            connection.send(data)

    return serve


def answer(
    status: int, content: bytes = b"", *, fields: tuple[tuple[str, str], ...] = (), size: int | None = None
) -> bytes:
    """An ordinary response; ``size`` overrides the Content-Length for an answer to HEAD."""
    lines = [f"HTTP/1.1 {status} Test", *(f"{name}: {value}" for name, value in fields)]
    lines.append(f"Content-Length: {len(content) if size is None else size}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content
