"""The second opinion: HTTP/1.1 messages read as strictly as the RFC allows, from bytes that are all there.

Written from the grammar, apart from the proxy's own parsers and from h11, so that a mistake in one of them is
not repeated by the judge. Works byte by byte on purpose: nothing here is fast, and everything is plain.

Source: RFC 9112; RFC 9110 sections 5 and 8.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Field = tuple[bytes, bytes]

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset(b"0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_MAX_NUMBER = 2**63


class MalformedError(Exception):
    """The bytes can never become a message that has one reading."""


class UnfinishedError(Exception):
    """The message goes on behind the last byte."""


@dataclass
class Message:
    """A message as a strict reader understands it.

    Attributes:
        start: the three words of the request line, or version, status and reason.
        fields: lower-case name and value, in order.
        interim: statuses of 1xx answers before a final one.
    """

    start: tuple[bytes, bytes, bytes]
    fields: list[Field]
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    is_chunked: bool = False
    ends_with_connection: bool = False

    @property
    def method(self) -> bytes:
        """Of a request."""
        return self.start[0]

    @property
    def target(self) -> bytes:
        """Of a request."""
        return self.start[1]

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start[1])

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of every line of a lower-case name."""
        return [value for each, value in self.fields if each == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The lower-case members of a list, over all lines."""
        parts = b",".join(self.get_all(name)).split(b",")
        return [part.strip(b" \t").lower() for part in parts if part.strip(b" \t")]


def read_request(data: bytes, at: int = 0) -> tuple[Message, int]:
    """The request that begins at ``at``, and where it ends.

    Raises:
        MalformedError: it has no single reading.
        UnfinishedError: it goes on.
    """
    while data.startswith(b"\r\n", at):
        at += 2
    line, at = _read_line(data, at)
    words = line.split(b" ")
    if len(words) != 3 or not _is_token(words[0]) or not words[1]:
        raise MalformedError(f"request line {line[:80]!r}")
    if any(byte <= 0x20 or byte == 0x7F for byte in words[1]) or b"#" in words[1]:
        raise MalformedError(f"target {words[1][:80]!r}")
    if words[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise MalformedError(f"version {words[2]!r}")
    fields, at = _read_fields(data, at)
    message = Message((words[0], words[1], words[2]), fields)
    hosts = message.get_all(b"host")
    if len(hosts) > 1 or (not hosts and words[2] == b"HTTP/1.1"):
        raise MalformedError(f"{len(hosts)} Host fields")
    length = _framing(message, words[2])
    if message.is_chunked:
        return message, _read_chunks(message, data, at)
    message.body, at = _take(data, at, length or 0)
    return message, at


def read_response(data: bytes, at: int, method: bytes, *, ended: bool) -> tuple[Message, int]:
    """The final response to ``method`` that begins at ``at``, and where it ends.

    Args:
        data: what came.
        at: where to begin.
        method: of the request.
        ended: whether nothing can follow any more.

    Raises:
        MalformedError: it has no single reading.
        UnfinishedError: it goes on, or broke off.
    """
    interim: list[int] = []
    while True:
        line, at = _read_line(data, at)
        words = (*line.split(b" ", 2), b"")[:3]
        if words[0] not in (b"HTTP/1.0", b"HTTP/1.1"):
            raise MalformedError(f"status line {line[:80]!r}")
        if len(words[1]) != 3 or not set(words[1]) <= _DIGITS or words[1] < b"100":
            raise MalformedError(f"status {words[1][:80]!r}")
        if any((byte < 0x20 and byte != 9) or byte == 0x7F for byte in words[2]):
            raise MalformedError("control byte in a reason")
        fields, at = _read_fields(data, at)
        message = Message((words[0], words[1], words[2]), fields, interim=interim)
        if message.status >= 200 or message.status == 101:
            break
        interim.append(message.status)
    length = _framing(message, words[0], may_repeat=True)
    if method == b"HEAD" or message.status in (101, 204, 304):
        return message, at
    if message.is_chunked:
        return message, _read_chunks(message, data, at)
    if length is not None:
        message.body, at = _take(data, at, length)
        return message, at
    message.ends_with_connection = True
    if not ended:
        raise UnfinishedError("the body ends with the connection")
    message.body = data[at:]
    return message, len(data)


def _framing(message: Message, version: bytes, *, may_repeat: bool = False) -> int | None:
    codings = message.get_all(b"transfer-encoding")
    lengths = message.get_all(b"content-length")
    if codings:
        if len(codings) > 1 or codings[0].lower() != b"chunked" or lengths or version == b"HTTP/1.0":
            raise MalformedError("Transfer-Encoding that is not just one chunked")
        message.is_chunked = True
        return None
    if not lengths:
        return None
    if may_repeat and len(set(lengths)) == 1:  # section 6.3 rule 5 allows it for responses
        del lengths[1:]
    if len(lengths) > 1 or not lengths[0] or not set(lengths[0]) <= _DIGITS or int(lengths[0]) >= _MAX_NUMBER:
        raise MalformedError(f"Content-Length {[each[:40] for each in lengths]}")
    return int(lengths[0])


def _read_chunks(message: Message, data: bytes, at: int) -> int:
    pieces = []
    while True:
        line, at = _read_line(data, at)
        digits, _, extension = line.partition(b";")
        if not digits or not set(digits) <= _HEX or len(digits) > 16:
            raise MalformedError(f"chunk size {digits[:40]!r}")
        if any((byte < 0x20 and byte != 9) or byte == 0x7F for byte in extension):
            raise MalformedError("control byte in a chunk extension")
        size = int(digits, 16)
        if size >= _MAX_NUMBER:
            raise MalformedError("chunk size over 63 bits")
        if size == 0:
            break
        piece, at = _take(data, at, size)
        mark = data[at : at + 2]
        if not b"\r\n".startswith(mark[:2]):
            raise MalformedError(f"chunk ends in {mark!r}")
        if len(mark) < 2:
            raise UnfinishedError("inside the end of a chunk")
        pieces.append(piece)
        at += 2
    message.body = b"".join(pieces)
    message.trailers, at = _read_fields(data, at)
    return at


def _read_fields(data: bytes, at: int) -> tuple[list[Field], int]:
    fields: list[Field] = []
    while True:
        line, at = _read_line(data, at)
        if not line:
            return fields, at
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _is_token(name):
            raise MalformedError(f"field line {line[:80]!r}")
        if any((byte < 0x20 and byte != 9) or byte == 0x7F for byte in value):
            raise MalformedError(f"control byte in the value of {name[:40]!r}")
        fields.append((name.lower(), value))


def _read_line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\r\n", at)
    line = data[at:] if end < 0 else data[at:end]
    bare = line.removesuffix(b"\r") if end < 0 else line
    if b"\n" in bare or b"\r" in bare:
        raise MalformedError(f"bare line end in {line[:80]!r}")
    if end < 0:
        raise UnfinishedError(f"inside the line {line[:80]!r}")
    return line, end + 2


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if len(data) - at < size:
        raise UnfinishedError(f"{len(data) - at} of {size} bytes")
    return data[at : at + size], at + size


def _is_token(text: bytes) -> bool:
    return bool(text) and set(text) <= _TOKEN
