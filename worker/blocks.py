"""Finds the arena blocks and keyed tables of what this worker serves."""

from __future__ import annotations

import logging

from shared.arena import Arena
from shared.arena_block import Block
from shared.arena_keyed import KeyedCells

logger = logging.getLogger(__name__)


class Blocks:
    """Blocks by identity.

    Args:
        arena: the proxy's; None where there is no master (tests, ``explain``): then one of our own.
    """

    def __init__(self, arena: Arena | None = None) -> None:
        self.arena = arena if arena is not None else Arena.create(1)
        self._private = self.arena if arena is None else None

    def get(self, kind: str, name: str) -> Block:
        """The block of an object.

        One that the master did not claim is a defect of ours; serving goes on with a private block, so
        that its figures are this worker's only.
        """
        found = self.arena.find(kind, name)
        if found is not None:
            return found
        return self._own(kind, name).claim(kind, name)

    def keyed(self, kind: str, name: str) -> KeyedCells:
        """The keyed tables of an object, private ones as for ``get``."""
        found = self.arena.keyed(kind, name)
        if found is not None:
            return found
        own = self._own(kind, name)
        own.claim(kind, name, keyed=True)
        cells = own.keyed(kind, name)
        assert cells is not None, "it was just claimed with keys"
        return cells

    def _own(self, kind: str, name: str) -> Arena:
        if self._private is None:
            logger.error("the arena has no block for %s %s; counting it in this worker only", kind, name)
            self._private = Arena.create(1)
        return self._private
