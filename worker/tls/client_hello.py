"""Reads a ClientHello without answering it: which name and which protocols a client asks for.

Pure. What is no TLS, or breaks its rules, is an error; what is not complete yet is None. Everything else in a
hello is left to the handshake itself.

Source: RFC 8446 sections 4.1.2, 4.2 and 5.1; RFC 6066 section 3; RFC 7301 section 3.1.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from shared.hosts import lower_ascii

HANDSHAKE_RECORD = 0x16
"""The first byte of every TLS connection (RFC 8446 section 5.1)."""
MAX_HELLO_BYTES = 65_536
"""Most bytes of records that a ClientHello may take; those of browsers have up to 2 KB."""

_RECORD_HEAD = 5
_MAX_RECORD_BYTES = 16_384
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16
_HOST_NAME = 0
_RANDOM_END = 2 + 32
_size = struct.Struct(">H")
_extension = struct.Struct(">HH")


class ClientHello(NamedTuple):
    """What a client asks for.

    Attributes:
        server_name: in lower case, without a final dot; empty if it names none.
        protocols: of ALPN, as the client prefers them.
    """

    server_name: str = ""
    protocols: tuple[str, ...] = ()


class BadClientHello(ValueError):
    """These bytes do not begin a TLS connection."""


def parse_client_hello(data: bytes) -> ClientHello | None:
    """What the hello at the beginning of a connection says.

    Args:
        data: the first bytes of the connection.

    Returns:
        None while it is incomplete.

    Raises:
        BadClientHello: it is none, or too long.
    """
    message = bytearray()
    at = 0
    while True:
        head = data[at : at + _RECORD_HEAD]
        if head and (head[0] != HANDSHAKE_RECORD or head[1:2] not in (b"", b"\x03")):
            raise BadClientHello("not a TLS handshake")
        if len(head) < _RECORD_HEAD:
            return None
        size = int.from_bytes(head[3:5])
        if not 0 < size <= _MAX_RECORD_BYTES or at + _RECORD_HEAD + size > MAX_HELLO_BYTES:
            raise BadClientHello("a TLS record of an impossible size")
        message += data[at + _RECORD_HEAD : at + _RECORD_HEAD + size]
        if message and message[0] != _CLIENT_HELLO:
            raise BadClientHello("the first TLS message is not a ClientHello")
        at += _RECORD_HEAD + size
        if len(message) >= 4 and len(message) - 4 >= int.from_bytes(message[1:4]):
            return _parse_body(bytes(message[4 : 4 + int.from_bytes(message[1:4])]))
        if at >= len(data):
            return None


def _parse_body(body: bytes) -> ClientHello:
    """Walk over the extensions (a dozen in a browser's hello) and look into two of them."""
    server_name = ""
    protocols: tuple[str, ...] = ()
    try:
        at = _RANDOM_END
        at += 1 + body[at]  # session id
        at += 2 + _size.unpack_from(body, at)[0]  # cipher suites
        at += 1 + body[at]  # compression methods
        if at < len(body):
            end = at + 2 + _size.unpack_from(body, at)[0]
            at += 2
            while at < end:
                kind, size = _extension.unpack_from(body, at)
                at += 4 + size
                if kind == _SERVER_NAME:
                    server_name = _server_name(body[at - size : at])
                elif kind == _ALPN:
                    protocols = _protocols(body[at - size : at])
            if at != end:
                raise BadClientHello("an extension of the ClientHello is cut off")
        if at > len(body):
            raise BadClientHello("a field of the ClientHello is cut off")
    except (IndexError, struct.error) as error:
        raise BadClientHello("a field of the ClientHello is cut off") from error
    return ClientHello(server_name, protocols)


def _server_name(content: bytes) -> str:
    names = _Reader(_Reader(content).vector(2))
    while not names.is_at_end:
        kind = names.take(1)[0]
        name = names.vector(2)
        if kind == _HOST_NAME:
            try:
                return lower_ascii(name.decode("ascii")).removesuffix(".")
            except UnicodeDecodeError as error:
                raise BadClientHello("the server name is not ASCII") from error
    return ""


def _protocols(content: bytes) -> tuple[str, ...]:
    names = _Reader(_Reader(content).vector(2))
    found: list[str] = []
    while not names.is_at_end:
        found.append(names.vector(1).decode("latin-1"))
    return tuple(found)


class _Reader:
    """Takes fields off bytes, and never goes beyond them."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise BadClientHello("a field of the ClientHello is cut off")
        found = self._data[self._at : end]
        self._at = end
        return found

    def vector(self, length_bytes: int) -> bytes:
        """The next field that says its own length in so many bytes."""
        return self.take(int.from_bytes(self.take(length_bytes)))
