"""Weighted round robin: earliest deadline first.

Each member has a deadline; the earliest is picked and moves on by one over its weight. Over any run the
shares are exact within one pick. The heap is the original's to the letter (Go's ``container/heap``), because
with equal deadlines its shape decides, and documented sequences (a c b c b a for three equal members) follow
from it.

A reload rescales: what a member still has to wait is stretched or shrunk with its weight, so the round goes
on where it was, however often weights change.

Source: spec v2 section 3.3; Go package container/heap.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.balancing.base import Member, Usable, always_usable

MAX_CATCH_UP = 1024
"""Picks that a new balancer passes over to begin where the others are; a fraction of a millisecond."""


class _Entry:
    __slots__ = ("deadline", "key", "position", "step")

    def __init__(self, key: str, position: int, weight: int) -> None:
        self.key = key
        self.position = position
        self.step = 1 / weight
        self.deadline = self.step


class WeightedRoundRobin:
    """The strategy ``wrr``.

    Args:
        members: in order; those without a positive weight are left out.
        previous: the balancer of the generation before: members that stay keep their place in the round.
        start: picks to pass over when there is none before.
    """

    def __init__(
        self, members: Sequence[Member], previous: WeightedRoundRobin | None = None, start: int = 0
    ) -> None:
        self._heap: list[_Entry] = []
        self._now: float = previous._now if previous is not None else 0.0
        earlier = {entry.key: entry for entry in previous._heap} if previous is not None else {}
        for position, member in enumerate(members):
            if member.weight > 0:
                entry = _Entry(member.key, position, member.weight)
                before = earlier.get(member.key)
                left = 1.0 if before is None else (before.deadline - self._now) / before.step
                entry.deadline = self._now + left * entry.step
                self._push(entry)
        if previous is None and self._heap:
            for _ in range(start % MAX_CATCH_UP):
                self._advance()

    def pick(self, usable: Usable = always_usable, client: str = "") -> int | None:
        """See ``Balancer``. Members that are not usable lose their turn."""
        for _ in range(len(self._heap)):
            entry = self._advance()
            if usable(entry.position):
                return entry.position
        return self._pick_far(usable)

    def _pick_far(self, usable: Usable) -> int | None:
        """When the usable members are light ones among heavy ones that are not: do not wait for each turn."""
        able = [entry.deadline for entry in self._heap if usable(entry.position)]
        if not able:
            return None
        entries, self._heap, soonest = self._heap, [], min(able)
        for entry in entries:
            if entry.deadline < soonest:
                entry.deadline = soonest + entry.step  # its turns until then are lost
            self._push(entry)
        while not usable((entry := self._advance()).position):
            pass  # only those with the very same deadline
        return entry.position

    def _advance(self) -> _Entry:
        entry = self._pop()
        self._now = entry.deadline
        entry.deadline += entry.step
        self._push(entry)
        return entry

    def _push(self, entry: _Entry) -> None:
        heap = self._heap
        heap.append(entry)
        child = len(heap) - 1
        while child:
            parent = (child - 1) // 2
            if not heap[child].deadline < heap[parent].deadline:
                return
            heap[child], heap[parent] = heap[parent], heap[child]
            child = parent

    def _pop(self) -> _Entry:
        heap = self._heap
        heap[0], heap[-1] = heap[-1], heap[0]
        entry = heap.pop()
        parent, size = 0, len(heap)
        while (child := 2 * parent + 1) < size:
            if child + 1 < size and heap[child + 1].deadline < heap[child].deadline:
                child += 1
            if not heap[child].deadline < heap[parent].deadline:
                break
            heap[child], heap[parent] = heap[parent], heap[child]
            parent = child
        return entry
