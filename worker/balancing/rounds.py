"""Places in rounds, by service: what TCP and UDP services keep from one generation to the next."""

from __future__ import annotations

from collections.abc import Sequence

from worker.balancing.base import Member
from worker.balancing.interleaved import InterleavedRoundRobin

MAX_REMEMBERED = 65_536
"""Services whose place is kept, also when a table does not have them any more."""


class Rounds:
    """The rounds of a worker's services."""

    def __init__(self) -> None:
        self._known: dict[str, InterleavedRoundRobin] = {}

    def go_on(self, service: str, members: Sequence[Member], picks: int) -> InterleavedRoundRobin:
        """The round of a service, from where it stood.

        Args:
            service: its qualified name.
            members: in order.
            picks: how many it had before, in any worker: where a new worker begins.
        """
        made = InterleavedRoundRobin(members, self._known.pop(service, None), picks)
        self._known[service] = made
        if len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return made
