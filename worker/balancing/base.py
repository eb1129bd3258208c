"""What every strategy offers: pick one member for an exchange. Pure: no sockets, no clock, no arena.

A strategy's position is its worker's own. That keeps the shares of the whole proxy, however unevenly requests
are spread over workers: a worker's picks are exact within one pick per member over *any* run, so those of all
workers together are exact within one pick per member and worker (8 of 10,000 with 8 workers). What has to be
shared is where a new worker begins: ``start`` is how many exchanges the service had before, in any worker, so
that many short lives do not all begin with the first member.
"""

from __future__ import annotations

from typing import Protocol


class Usable(Protocol):
    """Says whether a member may get an exchange now."""

    def __call__(self, position: int) -> bool:
        """Whether the member at this position of the list may."""


def always_usable(position: int) -> bool:
    """Every member may."""
    return True


class Balancer(Protocol):
    """Chooses among a fixed list of members."""

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """The position of the member that gets the next exchange; None if no member may.

        Args:
            usable: which members may.
            client: the client's address, for strategies that go by it.
        """


class Member:
    """A member as strategies see it.

    Attributes:
        key: its identity, by which it is found again after a reload.
        weight: its share; 0 and less is never picked.
    """

    __slots__ = ("key", "weight")

    def __init__(self, key: str, weight: int) -> None:
        self.key = key
        self.weight = weight
