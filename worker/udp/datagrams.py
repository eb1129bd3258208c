"""Receiving datagrams of clients and answering them, from the address that they were sent to.

A socket that is bound to one address answers from it. One that is bound to all of them would answer from
whatever address the system prefers, and a client that asked another one would not take that for its answer.
So there the kernel is asked where each datagram was sent to, and told the same with the answer.

Source: ip(7), IP_PKTINFO; ipv6(7), IPV6_RECVPKTINFO; RFC 3542 section 6.
"""

from __future__ import annotations

import socket
import struct
from typing import Protocol

ClientAddress = tuple[str, int] | tuple[str, int, int, int]
"""As of ``recvfrom``."""
Way = bytes
"""The address a datagram was sent to, as the kernel wrote it; empty for a socket that has only one."""

IP_PKTINFO = 8
"""Linux ip(7); Python has no name for it before 3.14."""

_PKTINFO = struct.Struct("@i4s4s")
_PKTINFO6 = struct.Struct("@16sI")
_ANCILLARY_BYTES = socket.CMSG_SPACE(max(_PKTINFO.size, _PKTINFO6.size))
_LINK_LOCAL = b"\xfe\x80"


class Datagrams(Protocol):
    """The clients' side of an entrypoint. Errors are those of the socket."""

    def receive_into(self, buffer: memoryview) -> tuple[int, ClientAddress, Way]:
        """The size of the next datagram, who sent it, and where to."""

    def send(self, data: memoryview, client: ClientAddress, way: Way) -> None:
        """Answer a client."""


def open_datagrams(listener: socket.socket) -> Datagrams:
    """What fits the address that a socket is bound to."""
    host = listener.getsockname()[0]
    if host == "0.0.0.0":
        return _Anywhere4(listener)
    return _Anywhere6(listener) if host == "::" else _OneAddress(listener)


class _OneAddress:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def receive_into(self, buffer: memoryview) -> tuple[int, ClientAddress, Way]:
        size, client = self._listener.recvfrom_into(buffer)
        return size, client, b""

    def send(self, data: memoryview, client: ClientAddress, way: Way) -> None:
        self._listener.sendto(data, client)


class _Anywhere4:
    def __init__(self, listener: socket.socket) -> None:
        listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._listener = listener

    def receive_into(self, buffer: memoryview) -> tuple[int, ClientAddress, Way]:
        size, notes, _, client = self._listener.recvmsg_into([buffer], _ANCILLARY_BYTES)
        for level, kind, data in notes:
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                return size, client, _PKTINFO.unpack(data)[1]
        return size, client, b""

    def send(self, data: memoryview, client: ClientAddress, way: Way) -> None:
        note = _PKTINFO.pack(0, way, bytes(4)) if way else b""
        notes = [(socket.IPPROTO_IP, IP_PKTINFO, note)] if note else []
        self._listener.sendmsg([data], notes, 0, client)


class _Anywhere6:
    """Both families; IPv4 addresses are written inside IPv6."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._listener = listener

    def receive_into(self, buffer: memoryview) -> tuple[int, ClientAddress, Way]:
        size, notes, _, client = self._listener.recvmsg_into([buffer], _ANCILLARY_BYTES)
        for level, kind, data in notes:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                address, interface = _PKTINFO6.unpack(data)
                # The interface matters only where addresses are good on one link; elsewhere routes decide.
                return size, client, _PKTINFO6.pack(address, interface if address[:2] == _LINK_LOCAL else 0)
        return size, client, b""

    def send(self, data: memoryview, client: ClientAddress, way: Way) -> None:
        notes = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, way)] if way else []
        self._listener.sendmsg([data], notes, 0, client)
