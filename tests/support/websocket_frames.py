"""WebSocket frames written by hand: what a library would refuse to send (RFC 6455 section 5.2)."""

from __future__ import annotations

import socket
import struct

from tests.support.wire import Head, WireReader

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x12\x34\x56\x78"
Address = tuple[str, int]


def frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One frame as a client sends it."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    size = len(payload)
    flag = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if not masked:
        return head + payload
    covered = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return head + MASK + covered


class FrameConnection:
    """A WebSocket client that sends what it is told, in pieces if need be, and shows what comes back."""

    def __init__(self, address: Address, *, extensions: str = "", timeout_s: float = 15.0) -> None:
        self.socket = socket.create_connection(address, timeout_s)
        self.reader = WireReader(self.socket)
        lines = [
            "GET /chat?room=1 HTTP/1.1",
            f"Host: {address[0]}:{address[1]}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        if extensions:
            lines.append(f"Sec-WebSocket-Extensions: {extensions}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.head: Head = self.reader.read_head()

    def send(self, *frames: bytes, piece_bytes: int = 0) -> None:
        """Send frames, cut into pieces of that size."""
        data = b"".join(frames)
        step = piece_bytes or max(len(data), 1)
        for start in range(0, len(data), step):
            self.socket.sendall(data[start : start + step])

    def receive(self) -> tuple[int, bytes]:
        """The first byte of the next frame (flags and opcode) and its payload."""
        first, second = self.reader.read_exactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.reader.read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.reader.read_exactly(8))
        return first, self.reader.read_exactly(size)

    def receive_all(self) -> list[tuple[int, bytes]]:
        """All frames up to and with the close frame."""
        frames = [self.receive()]
        while frames[-1][0] & 0x0F != CLOSE:
            frames.append(self.receive())
        return frames

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
