"""Least time: the member that answers soonest, by its average time to first byte and what it has in flight.

``score = average * (1 + in flight) / weight``; the lowest wins, and equal ones take turns, earliest deadline
first. A member without a sample scores 0, so it is tried soon.

Source: spec v2 section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.balancing.base import Member, Usable, always_usable


class Turns:
    """Who had a turn when: what a balancer hands on to the next generation's."""

    __slots__ = ("deadlines", "now")

    def __init__(self) -> None:
        self.deadlines: dict[str, float] = {}
        self.now = 0.0


class LeastTime:
    """The strategy ``leasttime``.

    Args:
        members: in order; those without a positive weight are never picked.
        in_flight: exchanges that a member has now, over all workers.
        average_ms: its average time to first byte; 0 without a sample.
        turns: of the generation before, to go on with; changed by picks.
    """

    def __init__(
        self,
        members: Sequence[Member],
        in_flight: Callable[[int], int],
        average_ms: Callable[[int], float],
        turns: Turns | None = None,
    ) -> None:
        self._members = [(position, member) for position, member in enumerate(members) if member.weight > 0]
        self._in_flight = in_flight
        self._average_ms = average_ms
        self._turns = Turns() if turns is None else turns
        before, now = self._turns.deadlines, self._turns.now
        self._turns.deadlines = {
            member.key: before.get(member.key, now + 1 / member.weight) for _, member in self._members
        }

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``."""
        best: tuple[int, Member] | None = None
        lowest = (0.0, 0.0)
        turns = self._turns
        for position, member in self._members:
            if not usable(position):
                continue
            score = self._average_ms(position) * (1 + self._in_flight(position)) / member.weight
            rank = (score, turns.deadlines[member.key])
            if best is None or rank < lowest:
                best, lowest = (position, member), rank
        if best is None:
            return None
        position, member = best
        turns.now = max(turns.now, turns.deadlines[member.key])
        turns.deadlines[member.key] = turns.now + 1 / member.weight
        return position
