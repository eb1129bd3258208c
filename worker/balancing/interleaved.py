"""Weighted round robin as Traefik 1 does it: rounds in which only the heavy members take part at first.

Weights 3, 1, 2 give a a c a b c. Bursts are what it is: it is not smooth, and sequences are documented.
A reload keeps the place: the member whose turn it was by name, and how far the round had come in proportion.

Source: spec v1 section 4.2; the TCP and UDP balancers of v2 use it too (spec v2 section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd

from worker.balancing.base import Member, Usable, always_usable

MAX_CATCH_UP = 1024
"""As for ``WeightedRoundRobin``."""


class InterleavedRoundRobin:
    """The strategy ``v1-wrr``.

    Args:
        members: in order; those without a positive weight are never picked.
        previous: the balancer of the generation before.
        start: picks to pass over when there is none before.
    """

    def __init__(
        self, members: Sequence[Member], previous: InterleavedRoundRobin | None = None, start: int = 0
    ) -> None:
        self._members = list(members)
        self._set_weights([max(member.weight, 0) for member in members])
        if previous is not None:
            self._go_on_from(previous)
        elif self._largest:
            for _ in range(start % min(sum(self._weights) // self._unit, MAX_CATCH_UP)):
                self._advance()

    def set_weights(self, weights: Sequence[int]) -> None:
        """Begin a new round with other weights, as Traefik 1 does when its rebalancer changes them."""
        self._set_weights(weights)

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``. Members that are not usable lose their turn."""
        if not self._largest:
            return None
        for _ in range(len(self._weights)):
            position = self._advance()
            if usable(position):
                return position
        return self._pick_rarely(usable)

    def _pick_rarely(self, usable: Usable) -> int | None:
        """When the usable ones are light: run the rounds of these alone, so that the wait is bounded."""
        weights = [
            weight if weight and usable(position) else 0 for position, weight in enumerate(self._weights)
        ]
        if not any(weights):
            return None
        rest = InterleavedRoundRobin([Member("", weight) for weight in weights])
        rest._index, rest._level = self._index, min(self._level, rest._largest)
        return rest._advance()

    def _set_weights(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._largest = max(weights, default=0)
        self._unit = reduce(gcd, weights, 0) or 1
        self._index = -1
        self._level = 0

    def _go_on_from(self, previous: InterleavedRoundRobin) -> None:
        if not self._largest or not previous._largest or previous._index < 0:
            return
        key = previous._members[previous._index].key
        keys = [member.key for member in self._members]
        self._index = keys.index(key) if key in keys else previous._index % len(keys)
        reached = previous._level * self._largest / previous._largest
        self._level = max(self._unit, round(reached / self._unit) * self._unit)

    def _advance(self) -> int:
        while True:
            self._index = (self._index + 1) % len(self._weights)
            if self._index == 0:
                self._level -= self._unit
                if self._level <= 0:
                    self._level = self._largest
            if self._weights[self._index] >= self._level:
                return self._index
