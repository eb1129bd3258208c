"""IP addresses: reading them, asking whether they are in a set of networks, and finding the client's.

Everything a request can say is treated as text that may not be an address at all. An IPv4 address inside
IPv6 (``::ffff:10.0.0.1``) is the IPv4 address, and a zone (``fe80::1%eth0``) is dropped, so that one rule
covers all spellings of one address.

Source: spec v2 section 4.4 (ipStrategy); RFC 4291 section 2.5.5.2, RFC 4007 section 11.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable

from shared.config.middlewares import IpStrategy
from shared.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESS_CHARS = 64
"""Longest text that is looked at: 45 for IPv6 with embedded IPv4, the rest for a zone or a port."""
PARSED_CACHE_ENTRIES = 4096
"""Addresses kept parsed per process; parsing costs 1 to 4 microseconds (not measured more closely)."""
_IPV6_BITS = 128
_MAX_PORT = 65_535
_SERVER = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/\[\]]*)):(?P<port>\d{1,5})", re.ASCII
)


class Networks:
    """A set of addresses and networks.

    Looking up costs one set probe per different prefix length, however many networks there are.

    Args:
        networks: what is in the set.
    """

    __slots__ = ("_by_mask",)

    def __init__(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        grouped: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            key = (network.version, int(network.netmask))
            grouped.setdefault(key, set()).add(int(network.network_address))
        self._by_mask = [(version, mask, frozenset(starts)) for (version, mask), starts in grouped.items()]

    def contains(self, ip_text: str) -> bool:
        """Whether the address is in the set; a port is ignored, and text that is no address is not in it."""
        address = parse_ip(ip_text) or parse_ip(_without_port(ip_text))
        if address is None:
            return False
        number, version = int(address), address.version
        return any(each == version and number & mask in starts for each, mask, starts in self._by_mask)


class ClientIpRule:
    """How the client's address is found, ready to use.

    Args:
        depth: above 0, the entry of X-Forwarded-For this many from the right.
        excluded: otherwise, the rightmost entry that is not in here.
        ipv6_subnet: prefix length that IPv6 addresses are masked to; not with ``excluded``.
    """

    __slots__ = ("depth", "excluded", "ipv6_subnet")

    def __init__(
        self, depth: int = 0, excluded: Networks | None = None, ipv6_subnet: int | None = None
    ) -> None:
        self.depth = depth
        self.excluded = excluded
        self.ipv6_subnet = ipv6_subnet


def parse_ip(text: str) -> Address | None:
    """The address, without zone and with IPv4-in-IPv6 unwrapped; None if the text is not an address."""
    return _parse(text) if len(text) <= MAX_ADDRESS_CHARS else None


def parse_networks(texts: Iterable[str], path: str = "") -> Networks:
    """Read addresses and networks in CIDR notation (``10.0.0.0/8``; host bits may be set).

    Raises:
        ConfigError: one is neither; its path is ``path`` with the index.
    """
    return Networks(_parse_network(text.strip(), f"{path}[{index}]") for index, text in enumerate(texts))


def split_address(text: str) -> tuple[str, int]:
    """Host and port of a TCP or UDP server (``host:port``, ``[::1]:53``); an empty host is this machine.

    Raises:
        ConfigError: there is no port, or it is no address; the path is empty.
    """
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
        raise ConfigError("", f'"{text}" is no address of the form host:port')
    return found["six"] or found["host"] or "localhost", int(found["port"])


def compile_client_ip_rule(strategy: IpStrategy | None, path: str = "") -> ClientIpRule:
    """Make an ``ipStrategy`` ready to use; None means the peer's address.

    Raises:
        ConfigError: a network or the subnet size is impossible; the path starts with ``path``.
    """
    if strategy is None:
        return ClientIpRule()
    subnet = strategy.ipv6_subnet
    if subnet is not None and not 0 < subnet <= _IPV6_BITS:
        reason = f"invalid IPv6 subnet {subnet} value, should be greater to 0 and lower or equal to 128"
        raise ConfigError(f"{path}.ipv6Subnet", reason)
    excluded = parse_networks(strategy.excluded_ips, f"{path}.excludedIPs") if strategy.excluded_ips else None
    return ClientIpRule(max(strategy.depth, 0), excluded, subnet)


def pick_client_ip(rule: ClientIpRule, peer_ip: str, x_forwarded_for: str) -> str:
    """The address that counts as the client's.

    Args:
        rule: from ``compile_client_ip_rule``; depth wins over excluded networks.
        peer_ip: the address of the TCP peer.
        x_forwarded_for: the first line of X-Forwarded-For as received, before the peer is appended; may
            be empty.

    Returns:
        Text as it was sent, which need not be an address; empty when the rule finds nothing.
    """
    if rule.depth > 0:
        entries = x_forwarded_for.split(",")
        found = entries[-rule.depth].strip() if len(entries) >= rule.depth else ""
        return _masked(found, rule.ipv6_subnet)
    if rule.excluded is not None:
        for entry in reversed(x_forwarded_for.split(",")):
            candidate = entry.strip()
            if candidate and not rule.excluded.contains(candidate):
                return candidate
        return ""
    return _masked(peer_ip, rule.ipv6_subnet)


@functools.lru_cache(maxsize=PARSED_CACHE_ENTRIES)
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv6Address(int(address)) if address.scope_id is not None else address


def _parse_network(text: str, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    single = parse_ip(text)
    if single is not None:
        return ipaddress.ip_network(single)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(path, f"invalid CIDR address: {text}") from error
    if "/" not in text or not text.rpartition("/")[2].isdecimal():
        raise ConfigError(path, f"invalid CIDR address: {text}")
    return _unmapped(network)


def _unmapped(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """``::ffff:10.0.0.0/104`` is 10.0.0.0/8: addresses are compared unwrapped, so networks must be too."""
    mapped_bits = 96
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= mapped_bits:
        inner = network.network_address.ipv4_mapped
        if inner is not None:
            return ipaddress.IPv4Network((inner, network.prefixlen - mapped_bits))
    return network


def _without_port(text: str) -> str:
    """``10.0.0.1:80`` and ``[::1]:80`` without port and brackets; other text as it is."""
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (host.count(":") == 0 or host.startswith("[")):
        text = host
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _masked(text: str, ipv6_subnet: int | None) -> str:
    if ipv6_subnet is None:
        return text
    address = parse_ip(text)
    if not isinstance(address, ipaddress.IPv6Address):
        return text
    return str(ipaddress.IPv6Network((int(address), ipv6_subnet), strict=False).network_address)
