"""HTTP/1.1 messages read from a socket, byte for byte: what the test clients and origins are built on.

Deliberately not the parser under test, and deliberately lenient: it takes what comes and shows it raw.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

READ_BYTES = 65_536
MAX_HEAD_BYTES = 4_194_304


class WireClosedError(Exception):
    """The peer closed, or reset, before the message was complete; ``received`` is what came."""

    def __init__(self, received: bytes, reset: bool = False) -> None:
        self.received = received
        self.reset = reset
        super().__init__(
            f"connection {'reset' if reset else 'closed'} after {len(received)} bytes: {received[:200]!r}"
        )


@dataclass
class Head:
    """A start line and the fields after it, as received."""

    start_line: bytes
    fields: list[tuple[bytes, bytes]]
    raw: bytes

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of every field of that name, in order."""
        return [value for each, value in self.fields if each.lower() == name.lower()]

    def get(self, name: bytes) -> bytes | None:
        """The value of the only field of that name, None without one."""
        values = self.get_all(name)
        if len(values) > 1:
            raise AssertionError(f"{name!r} stands {len(values)} times: {values}")
        return values[0] if values else None


@dataclass
class Body:
    """A body as received, with the framing taken off."""

    content: bytes
    raw: bytes
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


class WireReader:
    """Reads messages from a socket and keeps what came too early for the next."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""

    def read_head(self) -> Head:
        """The next head, up to and with its empty line.

        Raises:
            WireClosedError: the peer closed first.
        """
        raw = self._read_through(b"\r\n\r\n")
        start_line, *lines = raw[:-4].split(b"\r\n")
        fields = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
        return Head(start_line, fields, raw)

    def read_exactly(self, size: int) -> bytes:
        """That many bytes.

        Raises:
            WireClosedError: the peer closed first.
        """
        while len(self._buffer) < size:
            self._fill()
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        return content

    def read_some(self) -> bytes:
        """What there is, waiting for at least a byte; empty at the end."""
        if not self._buffer:
            try:
                self._fill()
            except WireClosedError as closed:
                if closed.reset:
                    raise
                return b""
        content, self._buffer = self._buffer, b""
        return content

    def read_to_end(self) -> bytes:
        """Everything until the peer closes.

        Raises:
            WireClosedError: the connection was reset instead.
        """
        while True:
            try:
                self._fill()
            except WireClosedError as closed:
                if closed.reset:
                    raise
                content, self._buffer = self._buffer, b""
                return content

    def read_body(self, head: Head, *, to_end: bool) -> Body:
        """The body that ``head`` announces; without framing all until the end if ``to_end``, else none."""
        codings = b",".join(head.get_all(b"transfer-encoding")).lower()
        if codings.endswith(b"chunked"):
            return self._read_chunked()
        if lengths := head.get_all(b"content-length"):
            content = self.read_exactly(int(lengths[0]))
            return Body(content, content)
        content = self.read_to_end() if to_end else b""
        return Body(content, content)

    def _read_chunked(self) -> Body:
        raw, chunks = b"", []
        while True:
            line = self._read_through(b"\r\n")
            size = int(line.split(b";")[0].strip(), 16)
            if size == 0:
                break
            chunk = self.read_exactly(size + 2)
            raw += line + chunk
            chunks.append(chunk[:-2])
        raw += line
        trailers = []
        while (line := self._read_through(b"\r\n")) != b"\r\n":
            name, _, value = line[:-2].partition(b":")
            trailers.append((name, value.strip(b" \t")))
            raw += line
        return Body(b"".join(chunks), raw + line, chunks, trailers)

    def _read_through(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise AssertionError(f"no {mark!r} within {MAX_HEAD_BYTES} bytes")
            self._fill()
        end += len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    def _fill(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionResetError as error:
            raise WireClosedError(self._buffer, reset=True) from error
        if not data:
            raise WireClosedError(self._buffer)
        self._buffer += data
