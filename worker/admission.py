"""Room for client connections: how many a worker serves at once, and how many of them one address may hold.

When the worker is full it stops accepting, and the kernel's queue holds the rest. When one address has its
share, its next connection is closed before a byte of it is read: an answer would cost what the limit is there
to save. Peers that an entrypoint trusts speak for others (a balancer in front) and have no share. Counts are
this worker's own; the kernel spreads the connections of an address over all workers.

State changes only between awaits.
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections import Counter

import trio

from worker.state import Counts

logger = logging.getLogger(__name__)

ADDRESS_SHARE = 0.75
"""Part of a worker's connections that one client address may hold: generous, as whole companies share one."""
IPV6_PREFIX_BITS = 64
"""An IPv6 client owns a network of this size, so that is what counts as one address."""
COMPLAINT_INTERVAL_S = 60.0
"""Shortest time between two log lines about addresses that are over their share."""


class Room:
    """The places of one worker.

    Args:
        places: connections at once.
    """

    def __init__(self, places: int) -> None:
        self._places = trio.Semaphore(places)
        self.share = max(int(places * ADDRESS_SHARE), 1)
        self._held: Counter[str] = Counter()
        self._complained_at = -math.inf

    async def acquire(self) -> None:
        """Wait for a place."""
        await self._places.acquire()

    def acquire_nowait(self) -> None:
        """Take a place.

        Raises:
            trio.WouldBlock: there is none.
        """
        self._places.acquire_nowait()

    def release(self) -> None:
        """Give a place back."""
        self._places.release()

    def admit(self, ip: str) -> bool:
        """Count a connection of this address; False, and not counted, when it has its share."""
        key = _owner(ip)
        if self._held[key] >= self.share:
            self._complain(key)
            return False
        self._held[key] += 1
        return True

    def leave(self, ip: str) -> None:
        """A connection that was admitted has ended."""
        key = _owner(ip)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]

    def _complain(self, key: str) -> None:
        now = trio.current_time()
        if now - self._complained_at >= COMPLAINT_INTERVAL_S:
            self._complained_at = now
            logger.warning("%s has %s connections, which is its share; others are refused", key, self.share)


class Place:
    """One connection's place, from its acceptance to its end.

    Args:
        room: where the place is taken already.
        counts: of the worker.
        ip: whose share it counts to; None for peers without one.
    """

    __slots__ = ("_counts", "_ip", "_room")

    def __init__(self, room: Room, counts: Counts, ip: str | None) -> None:
        self._room = room
        self._counts = counts
        self._ip = ip
        counts.connections += 1

    def release(self) -> None:
        """The connection is closed. Called once."""
        self._counts.connections -= 1
        if self._ip is not None:
            self._room.leave(self._ip)
        self._room.release()


def _owner(ip: str) -> str:
    if ":" not in ip:
        return ip
    address = ipaddress.IPv6Address(ip.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX_BITS), strict=False))
