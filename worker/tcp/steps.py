"""TCP middlewares: who may pass, decided before a byte is read or a server is asked (spec v2 section 4.9)."""

from __future__ import annotations

import math
from typing import Protocol

from shared.addresses import parse_networks
from shared.cells import InFlightCell
from shared.config.middlewares import TcpMiddleware
from shared.errors import TableError
from shared.identities import TCP_MIDDLEWARE
from worker.blocks import Blocks


class TcpStep(Protocol):
    """One step."""

    def admit(self, ip: str) -> bool:
        """Whether a connection of this client may pass; one that did calls ``leave`` at its end."""

    def leave(self, ip: str) -> None:
        """A connection that was admitted has ended."""


class AddressStep:
    """``ipAllowList``: only some addresses pass."""

    def __init__(self, ranges: tuple[str, ...]) -> None:
        self._networks = parse_networks(ranges)

    def admit(self, ip: str) -> bool:
        """Whether the address is in a range."""
        return self._networks.contains(ip)

    def leave(self, ip: str) -> None:
        """Nothing is counted."""


class ConnectionsStep:
    """``inFlightConn``: so many connections per address at a time, over all workers.

    A worker counts its connection first and looks at the sum then, as ``inFlightReq`` does: there are never
    too many, and two that come at once may both be refused.
    """

    def __init__(self, amount: int, name: str, blocks: Blocks) -> None:
        self._amount = amount
        self._keyed = blocks.keyed(TCP_MIDDLEWARE, name)
        self._clock = blocks.arena.clock

    def admit(self, ip: str) -> bool:
        """Take a place for the address, if one is free."""
        key = ip.encode()
        cells = self._keyed.own(key)
        cells.add(InFlightCell.GAUGE)
        cells.keep_until(math.inf)
        others = sum(each.get(InFlightCell.GAUGE) for each in self._keyed.others(key))
        if cells.get(InFlightCell.GAUGE) + others <= self._amount:
            return True
        self.leave(ip)
        return False

    def leave(self, ip: str) -> None:
        """Give the place back."""
        cells = self._keyed.own(ip.encode())
        left = max(0, cells.get(InFlightCell.GAUGE) - 1)  # 0 already if a flood of addresses displaced it
        cells.set(InFlightCell.GAUGE, left)
        if not left:
            cells.keep_until(self._clock())


def build_tcp_step(options: TcpMiddleware, name: str, blocks: Blocks) -> TcpStep:
    """The step of a middleware in one router's chain.

    Args:
        options: exactly one kind is set.
        name: of this use, for what it counts.
        blocks: finds blocks.

    Raises:
        TableError: it is of no kind.
    """
    if options.ip_allow_list is not None:
        return AddressStep(options.ip_allow_list.source_range)
    if options.in_flight_conn is not None:
        return ConnectionsStep(options.in_flight_conn.amount, name, blocks)
    raise TableError(f"TCP middleware {name} is of no kind")
