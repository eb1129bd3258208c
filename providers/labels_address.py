"""Where a workload is to be reached: which port, and whether on its own address or where it is published.

Pure: whether the host has a way to an address is asked elsewhere (``reachability``), before.
"""

from __future__ import annotations

import ipaddress

from providers.labels import Port, Workload
from shared.errors import ConfigError

MAX_PORT = 65_535
NO_ADDRESS = "unable to find the IP address"
"""What is said when nobody says why."""


def choose_address(workload: Workload, wanted: str = "") -> tuple[str, int]:
    """Host and port of a workload.

    Args:
        workload: what is to be reached.
        wanted: the port label; without one the lowest port counts.

    Raises:
        ConfigError: it has no port or no address; the reason says why.
    """
    number = parse_port(wanted) if wanted else lowest_port(workload.ports)
    if number is None:
        raise ConfigError("", "port is missing: it exposes none and no label names one")
    if workload.by_binding:
        published = binding(workload.ports, number)
        if published is not None:
            return published
    if not workload.address:
        raise ConfigError("", workload.trouble or NO_ADDRESS)
    return workload.address, number


def parse_port(text: str) -> int:
    """A port as a label gives it.

    Raises:
        ConfigError: it is not a number from 1 to 65535.
    """
    stripped = text.strip()
    if (
        not (stripped.isascii() and stripped.isdecimal() and len(stripped) <= 5)
        or not 0 < int(stripped) <= MAX_PORT
    ):
        raise ConfigError("", f'the port "{text[:60]}" is not a number from 1 to {MAX_PORT}')
    return int(stripped)


def lowest_port(ports: tuple[Port, ...]) -> int | None:
    """The port that is used when no label names one."""
    return min((port.number for port in ports if port.number), default=None)


def binding(ports: tuple[Port, ...], number: int) -> tuple[str, int] | None:
    """Where a port is published, if that is an address one can connect to (not 0.0.0.0 or ::)."""
    for port in ports:
        if port.number == number and port.host_number and not _is_wildcard(port.host_address):
            return port.host_address, port.host_number
    return None


def _is_wildcard(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return True
