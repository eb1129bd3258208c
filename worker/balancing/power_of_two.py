"""Power of two choices: of two members drawn at random, the one with fewer exchanges in flight.

Nearly as even as asking all of them, at the cost of two. In-flight exchanges are those of the whole proxy.
Weights do not count.

Source: spec v2 section 3.3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from worker.balancing.base import Member, Usable, always_usable


class PowerOfTwoChoices:
    """The strategy ``p2c``.

    Args:
        members: in order; their weights do not matter.
        in_flight: exchanges that a member has now, over all workers.
        draw: a random number below its argument.
    """

    def __init__(
        self,
        members: Sequence[Member],
        in_flight: Callable[[int], int],
        draw: Callable[[int], int] = random.randrange,
    ) -> None:
        self._count = len(members)
        self._in_flight = in_flight
        self._draw = draw

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``."""
        able = [position for position in range(self._count) if usable(position)]
        if len(able) < 2:
            return able[0] if able else None
        first = self._draw(len(able))
        second = self._draw(len(able) - 1)
        one, other = able[first], able[second if second < first else second + 1]
        return other if self._in_flight(other) < self._in_flight(one) else one
