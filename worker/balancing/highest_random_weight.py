"""Rendezvous hashing: a client's address and a member's name decide, so every worker decides alike.

When a member goes, only its clients move. The score is ``weight / -ln(h)``, where *h* is the hash of address
and name as a fraction of 1.

Source: spec v2 section 3.3; FNV-1a with 64 bits, draft-eastlake-fnv section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from worker.balancing.base import Member, Usable, always_usable

_OFFSET_BASIS = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF


class HighestRandomWeight:
    """The strategy ``hrw``.

    Args:
        members: in order; those without a positive weight are never picked.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = [
            (position, member.key.encode(), member.weight)
            for position, member in enumerate(members)
            if member.weight > 0
        ]

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``. Of equal scores the first wins."""
        best, best_score = None, -math.inf
        seed = fnv1a(client.encode())
        for position, name, weight in self._members:
            if usable(position):
                score = _score(fnv1a(name, seed), weight)
                if score > best_score:
                    best, best_score = position, score
        return best


def fnv1a(data: bytes, start: int = _OFFSET_BASIS) -> int:
    """FNV-1a, 64 bits; ``start`` is the hash of what comes before."""
    value = start
    for byte in data:
        value = (value ^ byte) * _PRIME & _MASK
    return value


def _score(value: int, weight: int) -> float:
    share = value / 2**64
    if share <= 0.0:
        return 0.0  # -ln(0) is infinite
    if share >= 1.0:
        return math.inf
    return weight / -math.log(share)
