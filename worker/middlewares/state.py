"""Where a step keeps what belongs to the whole proxy: the arena's cells under the name of its use."""

from __future__ import annotations

from typing import NamedTuple

from shared.arena_block import Block
from shared.arena_keyed import KeyedCells
from shared.identities import MIDDLEWARE, WINDOW, window_name
from worker.blocks import Blocks


class StepState(NamedTuple):
    """The state of one middleware in one router's chain, or of all its uses if it is shared.

    Attributes:
        name: see ``shared.identities.state_name``.
        blocks: finds blocks.
    """

    name: str
    blocks: Blocks

    def block(self) -> Block:
        """Its own block."""
        return self.blocks.get(MIDDLEWARE, self.name)

    def keyed(self) -> KeyedCells:
        """Its keyed tables."""
        return self.blocks.keyed(MIDDLEWARE, self.name)

    def window(self, number: int) -> Block:
        """The block of one of its rolling counters."""
        return self.blocks.get(WINDOW, window_name(self.name, number))

    def clock(self) -> float:
        """Seconds by the clock that all workers share."""
        return self.blocks.arena.clock()
