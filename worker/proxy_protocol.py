"""The PROXY protocol: where a connection came from, said by a balancer in front, or by us to a server.

Pure. A header is looked at before anything is taken from the connection, so whatever is no header stays as it
is. Text (version 1) and binary (version 2) are read; what both say is the same. A header that says nothing
about a client (``UNKNOWN``, ``LOCAL``, families other than IP) leaves the connection's own addresses.

Source: HAProxy, "The PROXY protocol", versions 1 and 2, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

from shared.addresses import Networks, parse_ip, parse_networks
from shared.config.trust import ProxyProtocolTrust

MAX_V1_BYTES = 107
"""Longest header of version 1 (section 2.1), with its line end."""
MAX_V2_BYTES = 4_096
"""Longest header of version 2 that is read; its addresses take 52 bytes, the rest are notes to us."""

_V1_BEGIN = b"PROXY "
_V2_BEGIN = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_TCP4_ADDRESSES = struct.Struct("!4s4sHH")
_TCP6_ADDRESSES = struct.Struct("!16s16sHH")
_V1_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_MAX_PORT = 65_535


class Ends(NamedTuple):
    """The two ends of a connection, as the client sees it; addresses as text."""

    source: tuple[str, int]
    target: tuple[str, int]


class ProxyHeader(NamedTuple):
    """A header.

    Attributes:
        size: bytes it takes.
        ends: what it says; None if nothing.
    """

    size: int
    ends: Ends | None


class BadProxyHeader(ValueError):
    """It begins like a header and is none."""


class ProxyTrust:
    """Whose headers are believed.

    Args:
        settings: of the entrypoint.
    """

    def __init__(self, settings: ProxyProtocolTrust) -> None:
        self._is_open = settings.insecure
        self._trusted = parse_networks(settings.trusted_ips) if settings.trusted_ips else Networks(())

    def covers(self, ip: str) -> bool:
        """Whether headers of this peer are read."""
        return self._is_open or self._trusted.contains(ip)


def parse_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of a connection.

    Args:
        data: the first bytes, at least one.

    Returns:
        None while it is incomplete; size 0 if there is no header.

    Raises:
        BadProxyHeader: it is broken or too long.
    """
    if _begins(data, _V1_BEGIN):
        return _parse_v1(data) if len(data) >= len(_V1_BEGIN) else None
    if _begins(data, _V2_BEGIN):
        return _parse_v2(data) if len(data) >= _V2_HEAD.size else None
    return ProxyHeader(0, None)


def format_header(version: int, ends: Ends) -> bytes:
    """The header that tells a server about a client. Addresses of different families are not told."""
    source, target = (parse_ip(ip) for ip, _ in ends)
    ports = ends.source[1], ends.target[1]
    if source is None or target is None or source.version != target.version:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _V2_HEAD.pack(_V2_BEGIN, _V2_LOCAL, 0, 0)
    if version == 1:
        return f"PROXY TCP{source.version} {source} {target} {ports[0]} {ports[1]}\r\n".encode()
    family, addresses = (_TCP4, _TCP4_ADDRESSES) if source.version == 4 else (_TCP6, _TCP6_ADDRESSES)
    head = _V2_HEAD.pack(_V2_BEGIN, _V2_PROXY, family, addresses.size)
    return head + addresses.pack(source.packed, target.packed, *ports)


def _begins(data: bytes, mark: bytes) -> bool:
    return data[: len(mark)] == mark[: len(data)]


def _parse_v1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:MAX_V1_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_V1_BYTES:
            raise BadProxyHeader("a PROXY line without an end")
        return None
    size = len(line) + 2
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(size, None)
    if words[1] not in (b"TCP4", b"TCP6") or len(words) != 6:
        raise BadProxyHeader("a PROXY line of unknown form")
    version = 4 if words[1] == b"TCP4" else 6
    source, target = (_v1_address(word, version) for word in words[2:4])
    return ProxyHeader(size, Ends((source, _v1_port(words[4])), (target, _v1_port(words[5]))))


def _v1_address(word: bytes, version: int) -> str:
    try:
        found = ipaddress.ip_address(word.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise BadProxyHeader("a PROXY line with a bad address") from None
    if found.version != version:
        raise BadProxyHeader("a PROXY line with an address of the other family")
    return _plain(found)


def _v1_port(word: bytes) -> int:
    if not _V1_PORT.fullmatch(word) or int(word) > _MAX_PORT:
        raise BadProxyHeader("a PROXY line with a bad port")
    return int(word)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in (_V2_LOCAL, _V2_PROXY) or size > MAX_V2_BYTES:
        raise BadProxyHeader("a PROXY header of unknown version or command, or too long")
    if len(data) < size:
        return None
    if command == _V2_LOCAL or family not in (_TCP4, _TCP6):
        return ProxyHeader(size, None)
    addresses = _TCP4_ADDRESSES if family == _TCP4 else _TCP6_ADDRESSES
    if length < addresses.size:
        raise BadProxyHeader("a PROXY header without room for its addresses")
    source, target, source_port, target_port = addresses.unpack_from(data, _V2_HEAD.size)
    texts = [_plain(ipaddress.ip_address(each)) for each in (source, target)]
    return ProxyHeader(size, Ends((texts[0], source_port), (texts[1], target_port)))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As text, without zone and with IPv4 inside IPv6 taken out: one spelling of one address."""
    found = parse_ip(str(address))
    return str(found if found is not None else address)
