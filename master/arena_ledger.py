"""Keeps the arena's identities in step with the tables: claimed before an offer, released after it.

An offer that fails releases what only it needed; one that succeeds releases what only the table before
needed. So at any time the arena holds what is live and what is on its way.
"""

from __future__ import annotations

import trio

from shared.arena import Arena
from shared.identities import Identity

CLAIMS_PER_TURN = 1000
"""Claims between two chances for others to run; about 10 ms."""


class ArenaLedger:
    """Which identities are claimed.

    Args:
        arena: the master's.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._claimed: frozenset[Identity] = frozenset()

    async def claim(self, wanted: frozenset[Identity]) -> None:
        """Claim what is missing.

        Raises:
            ArenaError: there is no room; what was claimed stays until ``keep_only``.
        """
        done: set[Identity] = set()
        try:
            for identity in wanted - self._claimed:
                self._arena.claim(identity.kind, identity.name, keyed=identity.keyed, kept=identity.kept)
                done.add(identity)
                if len(done) % CLAIMS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
        finally:
            self._claimed |= done

    def keep_only(self, wanted: frozenset[Identity]) -> None:
        """Release everything else; its memory is used again when no worker holds it any more."""
        kept = {(each.kind, each.name) for each in wanted}
        for identity in self._claimed - wanted:
            if (identity.kind, identity.name) not in kept:
                self._arena.release(identity.kind, identity.name)
        self._claimed &= wanted
        self._arena.reclaim()
