"""Whether this host has a way to an address, as its routing tables say; nothing is sent.

A container's address is of use only where a route leads to its network. A router of the network may well know
more than we do, so that only the certain is called unreachable: no route at all; and, for a network that must
be on this very machine (a local engine's), no route but the default one, which leads away from it.

Source: proc(5), /proc/net/route; Linux net/ipv6/route.c, /proc/net/ipv6_route.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Way = Literal["direct", "default", "none"]
"""How an address is reached: a route of its own, only the default route, or none."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ROUTES_4, ROUTES_6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")

_UP, _REJECT = 0x0001, 0x0200
"""RTF_UP and RTF_REJECT of linux/route.h."""


class RoutingTable:
    """The networks that routes lead to.

    Args:
        networks: their destinations; None if they could not be read, and then everything counts as direct.
    """

    def __init__(self, networks: Iterable[Network] | None) -> None:
        self._networks = None if networks is None else tuple(networks)

    def way_to(self, text: str) -> Way:
        """How an address is reached; host names, and what is no address, count as direct."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return "direct"
        if address.is_loopback or self._networks is None:
            return "direct"
        fitting = [each for each in self._networks if each.version == address.version and address in each]
        if not fitting:
            return "none"
        return "direct" if any(each.prefixlen for each in fitting) else "default"


def read_routing_table() -> RoutingTable:
    """The kernel's tables as they are now. Reads two files of /proc, which never blocks for long."""
    try:
        networks: list[Network] = list(_networks_4(ROUTES_4.read_text()))
    except OSError:
        return RoutingTable(None)
    with contextlib.suppress(OSError):  # IPv6 is off: no route, then
        networks += _networks_6(ROUTES_6.read_text())
    return RoutingTable(networks)


def why_not(table: RoutingTable, address: str, on_this_machine: bool) -> str:
    """Why an address cannot be used; empty if it can, as far as is known.

    Args:
        table: the host's.
        address: of the workload.
        on_this_machine: whether its network must be on this very machine.
    """
    way = table.way_to(address)
    if way == "none":
        return "this host has no route to it"
    if way == "default" and on_this_machine and ipaddress.ip_address(address).is_private:
        return "this host is not in its network"
    return ""


def _networks_4(text: str) -> Iterable[ipaddress.IPv4Network]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or not int(fields[3], 16) & _UP or int(fields[3], 16) & _REJECT:
            continue
        destination, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        yield ipaddress.IPv4Network((destination, mask.bit_count()))


def _networks_6(text: str) -> Iterable[ipaddress.IPv6Network]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 10 or not int(fields[8], 16) & _UP or int(fields[8], 16) & _REJECT:
            continue
        yield ipaddress.IPv6Network((int(fields[0], 16), int(fields[1], 16)), strict=False)
