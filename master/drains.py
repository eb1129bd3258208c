"""Takes servers out of service gently: finds those that are meant, marks them, waits until they are empty.

A server that drains gets no new sessions. Clients that a sticky cookie binds to it keep coming, and what is
in flight ends as usual. The mark stands in the arena, so it outlives reloads and workers; it is gone with the
server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from shared.config.diagnostics import nearest_name
from shared.errors import UsageError

if TYPE_CHECKING:
    from master.health import HealthMonitor, ServerId  # not for the command, which only sends an order

LOOK_INTERVAL_S = 0.05
"""Between looks at the gauges while somebody waits."""

_WITH_URL = re.compile(r"(?:(?P<service>.+)/)?(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)")


class DrainOrder(msgspec.Struct, frozen=True):
    """What ``penstock drain`` and ``undrain`` ask for.

    Attributes:
        server: ``URL``, ``SERVICE/URL`` or ``HOST:PORT``.
        wait_s: how long to wait until nothing is in flight; None for not at all.
    """

    server: str
    wait_s: float | None = None


class DrainedServer(msgspec.Struct, frozen=True):
    """One of the servers that were meant."""

    service: str
    url: str
    in_flight: int


class DrainOutcome(msgspec.Struct, frozen=True):
    """How it ended; ``reason`` is empty unless the wait was too short."""

    servers: tuple[DrainedServer, ...]
    reason: str = ""


async def drain(monitor: HealthMonitor, order: DrainOrder) -> DrainOutcome:
    """Have servers get no new sessions, and wait if asked to.

    Raises:
        UsageError: no server is called so.
    """
    servers = find_servers(order.server, monitor.servers())
    for server in servers:
        monitor.set_draining(server, True)
    if order.wait_s is not None:
        with trio.move_on_after(order.wait_s):
            while _count(monitor, servers):  # noqa: ASYNC110  # nobody could set an event
                await trio.sleep(LOOK_INTERVAL_S)  # the gauges are other processes' memory
    left = _count(monitor, servers) if order.wait_s is not None else 0
    waited = f"still in flight after {order.wait_s:g} s: {left}; the server goes on draining" if left else ""
    return DrainOutcome(_describe(monitor, servers), waited)


def undrain(monitor: HealthMonitor, order: DrainOrder) -> DrainOutcome:
    """Have servers get new sessions again.

    Raises:
        UsageError: no server is called so.
    """
    servers = find_servers(order.server, monitor.servers())
    for server in servers:
        monitor.set_draining(server, False)
    return DrainOutcome(_describe(monitor, servers))


def find_servers(text: str, known: Iterable[ServerId]) -> list[ServerId]:
    """The servers that somebody means. A URL alone means it in every service that has it.

    Args:
        text: ``URL``, ``SERVICE/URL`` or ``HOST:PORT``; services may be named without their provider.
        known: all servers.

    Raises:
        UsageError: there is none.
    """
    servers = list(known)
    match = _WITH_URL.fullmatch(text)
    service, url = (match["service"], match["url"]) if match else (None, text)
    found = [
        each
        for each in servers
        if (_same_url(url, each[1]) if match else urlsplit(each[1]).netloc == url)
        and (service is None or service in (each[0], each[0].rpartition("@")[0]))
    ]
    if found:
        return found
    names = [f"{name}/{each}" for name, each in servers] if service else [each for _, each in servers]
    near = nearest_name(text, names)
    hint = f'; did you mean "{near}"?' if near else "; see penstock routes and penstock status"
    raise UsageError(f'no server "{text}"{hint}')


def _same_url(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _count(monitor: HealthMonitor, servers: Iterable[ServerId]) -> int:
    return sum(map(monitor.in_flight, servers))


def _describe(monitor: HealthMonitor, servers: Iterable[ServerId]) -> tuple[DrainedServer, ...]:
    return tuple(DrainedServer(*server, monitor.in_flight(server)) for server in servers)
