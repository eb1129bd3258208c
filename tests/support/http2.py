"""HTTP/2 peers for tests: a client and an origin over the h2 library, with exact frames where needed."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes

from tests.support.origins import OriginConnection, Serve

TIMEOUT_S = 20.0
READ_BYTES = 65_536
Fields = list[tuple[bytes, bytes]]


@dataclass
class H2Response:
    """What came on one stream.

    Attributes:
        interim: heads of 1xx responses.
        reset: the error code of a RST_STREAM, if one came.
    """

    fields: Fields = field(default_factory=list)
    content: bytes = b""
    trailers: Fields | None = None
    interim: list[Fields] = field(default_factory=list)
    has_ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.header("status", pseudo=":"))

    def header(self, name: str, pseudo: str = "") -> str:
        """The first field of a name; empty if there is none."""
        wanted = f"{pseudo}{name}".lower().encode()
        return next((value.decode() for key, value in self.fields if key == wanted), "")

    def json(self) -> Any:
        """The content, as the echoing origins send it."""
        return json.loads(self.content)


class H2Client:
    """One connection that speaks HTTP/2 from its first byte on.

    Args:
        sock: connected.
        window: bytes that may come on a stream before the test takes them.
    """

    def __init__(self, sock: socket.socket, window: int = 1 << 20) -> None:
        sock.settimeout(TIMEOUT_S)
        self.socket = sock
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.state = h2.connection.H2Connection(config)
        # h2 would take nothing after a GOAWAY; the protocol lets open streams end.
        states, goodbye = h2.connection.ConnectionState, h2.connection.ConnectionInputs.RECV_GOAWAY
        stays = {(state, goodbye): (None, state) for state in (states.IDLE, states.CLIENT_OPEN)}
        machine = self.state.state_machine
        machine._transitions = {**machine._transitions, **stays}
        self.state.initiate_connection()
        self.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.state.increment_flow_control_window(1 << 24)
        self.streams: dict[int, H2Response] = {}
        self.farewells: list[h2.events.ConnectionTerminated] = []
        self.has_ended = False
        self.flush()

    @classmethod
    def connect(cls, address: tuple[str, int], window: int = 1 << 20) -> Self:
        """Connect in the clear."""
        return cls(socket.create_connection(address, TIMEOUT_S), window)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        """Send what h2 wants to send."""
        self.socket.sendall(self.state.data_to_send())

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.socket.sendall(data)

    def start(
        self,
        target: str = "/",
        *,
        host: str = "a.test",
        method: str = "GET",
        fields: Iterable = (),
        end: bool = True,
    ) -> int:
        """Send a head; returns its stream."""
        head = [
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":authority", host.encode()),
            (b":path", target.encode()),
        ]
        return self.start_with([*head, *fields], end=end)

    def start_with(self, fields: Iterable[tuple[bytes, bytes]], *, end: bool = True) -> int:
        """Send exactly these fields as a head."""
        stream_id = self.state.get_next_available_stream_id()
        self.streams[stream_id] = H2Response()
        self.state.send_headers(stream_id, list(fields), end_stream=end)
        self.flush()
        return stream_id

    def send_data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send content as the proxy's windows allow."""
        while True:
            size = min(self.state.local_flow_control_window(stream_id), 16_384, len(data))
            if size or not data:
                self.state.send_data(stream_id, data[:size], end_stream=end and size == len(data))
                self.flush()
                data = data[size:]
                if not data:
                    return
            else:
                self.read_some()

    def read_some(self) -> bool:
        """Read once and take note; False at the end of the connection."""
        try:
            data = self.socket.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            self.has_ended = True
            return False
        for event in self.state.receive_data(data):
            self._note(event)
        self.flush_quietly()
        return True

    def flush_quietly(self) -> None:
        """Send answers to what came; the proxy may be gone."""
        try:
            self.flush()
        except OSError:
            return

    def finish(self, stream_id: int) -> H2Response:
        """Read until a stream has ended or was reset."""
        response = self.streams[stream_id]
        while not response.has_ended and response.reset is None:
            assert self.read_some(), f"the connection ended first; farewells: {self.farewells}"
        return response

    def get(self, target: str = "/", **options: Any) -> H2Response:
        """A whole exchange without content."""
        return self.finish(self.start(target, **options))

    def post(self, target: str, content: bytes, **options: Any) -> H2Response:
        """A whole exchange with content."""
        stream_id = self.start(target, method="POST", end=False, **options)
        self.send_data(stream_id, content, end=True)
        return self.finish(stream_id)

    def wait_for_farewell(self) -> h2.events.ConnectionTerminated:
        """Read until a GOAWAY came; the newest."""
        while not self.farewells:
            assert self.read_some(), "the connection ended without a GOAWAY"
        return self.farewells[-1]

    def wait_for_end(self) -> None:
        """Read until the connection ends."""
        while self.read_some():
            pass

    def _note(self, event: h2.events.Event) -> None:
        response = self.streams.get(getattr(event, "stream_id", None) or 0)
        match event:
            case h2.events.ConnectionTerminated():
                self.farewells.append(event)
            case h2.events.InformationalResponseReceived() if response:
                response.interim.append(list(event.headers))
            case h2.events.ResponseReceived() if response:
                response.fields = list(event.headers)
            case h2.events.DataReceived() if response:
                response.content += event.data
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived() if response:
                response.trailers = list(event.headers)
            case h2.events.StreamEnded() if response:
                response.has_ended = True
            case h2.events.StreamReset() if response:
                response.reset = int(event.error_code)


@dataclass
class H2Request:
    """A request as an HTTP/2 origin saw it."""

    stream_id: int
    fields: Fields
    content: bytes = b""
    trailers: Fields = field(default_factory=list)

    def header(self, name: str) -> str:
        """The first field of a name; empty if there is none."""
        return next((value.decode() for key, value in self.fields if key == name.encode()), "")


class H2OriginConnection:
    """An origin's side of a connection; ``on_request`` is called for each complete request."""

    def __init__(self, connection: OriginConnection, on_request: Callable[[Self, H2Request], None]) -> None:
        self.connection = connection
        self.number = connection.number
        self._on_request = on_request
        config = h2.config.H2Configuration(
            client_side=False, header_encoding=None, validate_outbound_headers=False
        )
        self.state = h2.connection.H2Connection(config)
        self.requests: dict[int, H2Request] = {}
        self.resets: list[int] = []

    def serve(self) -> None:
        """Serve until the peer is done."""
        self.state.initiate_connection()
        self.flush()
        while data := self.connection.socket.recv(READ_BYTES):
            for event in self.state.receive_data(data):
                self._note(event)
            self.flush()

    def flush(self) -> None:
        """Send what h2 wants to send."""
        self.connection.send(self.state.data_to_send())

    def answer(
        self, stream_id: int, status: int, content: bytes = b"", fields: Iterable = (), trailers=()
    ) -> None:
        """A whole response; content must fit the window."""
        head = [(b":status", b"%d" % status), *fields]
        self.state.send_headers(stream_id, head, end_stream=not content and not trailers)
        while content:
            self.state.send_data(
                stream_id, content[:16_384], end_stream=len(content) <= 16_384 and not trailers
            )
            content = content[16_384:]
        if trailers:
            self.state.send_headers(stream_id, list(trailers), end_stream=True)
        self.flush()

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """End a stream."""
        self.state.reset_stream(stream_id, code)
        self.flush()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.requests[event.stream_id] = H2Request(event.stream_id, list(event.headers))
            case h2.events.DataReceived():
                self.requests[event.stream_id].content += event.data
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.requests[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamReset():
                self.resets.append(event.stream_id)
            case h2.events.StreamEnded():
                self._on_request(self, self.requests[event.stream_id])


def http2(on_request: Callable[[H2OriginConnection, H2Request], None]) -> Serve:
    """An origin that speaks HTTP/2 from the first byte on, or what ALPN chose."""

    def serve(connection: OriginConnection) -> None:
        H2OriginConnection(connection, on_request).serve()

    return serve


def http2_echo(name: str = "") -> Serve:
    """As ``origins.echo``."""

    def on_request(connection: H2OriginConnection, request: H2Request) -> None:
        echo_request(connection, request, name)

    return http2(on_request)


def echo_request(connection: H2OriginConnection, request: H2Request, name: str = "") -> None:
    """Answer with JSON of what arrived."""
    content = json.dumps(
        {
            "name": name,
            "connection": connection.number,
            "stream": request.stream_id,
            "headers": [[key.decode(), value.decode()] for key, value in request.fields],
            "body_size": len(request.content),
            "body_sha256": hashlib.sha256(request.content).hexdigest(),
            "trailers": [[key.decode(), value.decode()] for key, value in request.trailers],
        }
    ).encode()
    fields = [(b"x-origin", name.encode()), (b"content-length", b"%d" % len(content))]
    is_head = request.header(":method") == "HEAD"
    connection.answer(request.stream_id, 200, b"" if is_head else content, fields)
