"""One health check of mode grpc: the call ``grpc.health.v1.Health/Check`` for the server as a whole.

One HTTP/2 connection, one stream, one message each way. The answer's message has one field that matters, so
it is read here instead of by a gRPC library, which would bring a runtime of its own threads.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, health-checking.md; RFC 9113.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from shared.client_tls import make_client_context, names_uri
from shared.config.dynamic import HealthCheck
from shared.table.client_tls import ClientTlsEntry

PATH: Final = "/grpc.health.v1.Health/Check"
SERVING: Final = 1
_STATES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_STATUS_FIELD: Final = 1
_UNIMPLEMENTED: Final = 12
MAX_ANSWER_BYTES: Final = 4_096
"""Of the answer's message; a true one has 2 and may be padded with fields that are not known here."""
READ_BYTES: Final = 16_384
_PREFIX_BYTES: Final = 5
_NO_REQUEST: Final = bytes(_PREFIX_BYTES)
"""An uncompressed message of length 0: the empty service name, which means the whole server."""
_DEFAULT_PORTS: Final = {"https": 443}


class GrpcAnswer:
    """What came back, as far as it came."""

    def __init__(self) -> None:
        self.http_status = ""
        self.grpc_status = ""
        self.grpc_message = ""
        self.content = b""
        self.reset: int | None = None
        self.is_complete = False

    def take_fields(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Of the head or of the trailers."""
        for name, value in fields:
            text = value.decode("utf-8", "replace")
            if name == b":status":
                self.http_status = text
            elif name == b"grpc-status":
                self.grpc_status = text
            elif name == b"grpc-message":
                self.grpc_message = unquote(text)


def grpc_address(server_url: str, check: HealthCheck) -> tuple[str, int, bool]:
    """Host, port and whether to speak TLS.

    Raises:
        ValueError: the URL has no host.
    """
    url = urlsplit(server_url)
    if not url.hostname:
        raise ValueError(f"the server's URL {server_url!r} has no host")
    scheme = check.scheme or url.scheme
    return url.hostname, check.port or url.port or _DEFAULT_PORTS.get(url.scheme, 80), scheme == "https"


async def ask_health(host: str, port: int, tls: ClientTlsEntry | None) -> GrpcAnswer:
    """Make the call. The caller has a deadline.

    Args:
        tls: how to speak TLS; None for plain text, HTTP/2 by prior knowledge.

    Raises:
        OSError: no connection, or it broke.
        ConfigError: TLS cannot be spoken as asked.
        h2.exceptions.ProtocolError: it does not speak HTTP/2 properly.
    """
    context = None
    if tls is not None:  # in a thread, as the system's authorities take 20 ms to load
        context = await trio.to_thread.run_sync(make_client_context, tls, ("h2",))
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is not None and context is not None:
            stream = await _secured(stream, tls, context, host)
        return await _call(stream, authority, "http" if tls is None else "https")
    except trio.BrokenResourceError as error:
        raise OSError(f"the connection broke: {error.__cause__ or error}") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _secured(
    plain: trio.abc.Stream, tls: ClientTlsEntry, context: ssl.SSLContext, host: str
) -> trio.SSLStream[trio.abc.Stream]:
    stream = trio.SSLStream(plain, context, server_hostname=tls.server_name or host, https_compatible=True)
    await stream.do_handshake()
    if tls.peer_cert_uri and not names_uri(stream.getpeercert(), tls.peer_cert_uri):
        raise OSError(f"the server's certificate does not name {tls.peer_cert_uri}")
    return stream


def judge(answer: GrpcAnswer) -> str:
    """Why the server is not healthy; empty if it is."""
    if answer.reset is not None:
        return f"the call was reset with HTTP/2 code {answer.reset}"
    if answer.http_status != "200":
        return f"status {answer.http_status or 'missing'} instead of a gRPC answer"
    if answer.grpc_status == str(_UNIMPLEMENTED):
        return "the server does not implement grpc.health.v1"
    if answer.grpc_status != "0":
        return f"gRPC status {answer.grpc_status or 'missing'} {answer.grpc_message}".rstrip()
    state = read_state(answer.content)
    return "" if state == SERVING else f"it says {_STATES.get(state, state)}"


def read_state(content: bytes) -> int:
    """The serving state in a framed ``HealthCheckResponse``; 0, which is UNKNOWN, if it is not in there.

    Raises:
        ValueError: that is no such message.
    """
    if len(content) < _PREFIX_BYTES or content[0] != 0:
        raise ValueError("the answer is no plain gRPC message")
    message = content[_PREFIX_BYTES : _PREFIX_BYTES + int.from_bytes(content[1:_PREFIX_BYTES], "big")]
    state, at = 0, 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire_type = key >> 3, key & 7
        value, at = _value(message, at, wire_type)
        if field == _STATUS_FIELD and wire_type == 0:
            state = value
    return state


async def _call(stream: trio.abc.Stream, authority: str, scheme: str) -> GrpcAnswer:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    number = connection.get_next_available_stream_id()
    connection.send_headers(number, _fields(authority, scheme))
    connection.send_data(number, _NO_REQUEST, end_stream=True)
    answer = GrpcAnswer()
    while not answer.is_complete:
        await stream.send_all(connection.data_to_send())
        data = await stream.receive_some(READ_BYTES)
        if not data:
            raise OSError("the connection ended before the answer")
        for event in connection.receive_data(data):
            _take(connection, event, answer)
    return answer


def _take(connection: h2.connection.H2Connection, event: h2.events.Event, answer: GrpcAnswer) -> None:
    match event:
        case h2.events.ResponseReceived() | h2.events.TrailersReceived():
            answer.take_fields(event.headers)
        case h2.events.DataReceived():
            answer.content += event.data
            if len(answer.content) > MAX_ANSWER_BYTES:
                raise OSError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        case h2.events.StreamReset():
            answer.reset = int(event.error_code)
            answer.is_complete = True
        case h2.events.StreamEnded():
            answer.is_complete = True
        case h2.events.ConnectionTerminated():
            raise OSError(f"the server ended the connection with HTTP/2 code {int(event.error_code or 0)}")


def _fields(authority: str, scheme: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", PATH),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "Penstock"),
    ]


def _value(message: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """A field's value, if it is a number, and where the next field begins."""
    if wire_type == 0:
        return _varint(message, at)
    if wire_type == 2:
        length, at = _varint(message, at)
        return 0, at + length
    if wire_type in (1, 5):
        return 0, at + (8 if wire_type == 1 else 4)
    raise ValueError(f"the answer has a field of wire type {wire_type}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("the answer has a number without an end")
