"""How soon a server answered lately, over all workers: each publishes count and sum of its last answers."""

from __future__ import annotations

from collections import deque

from shared.arena_block import Block
from shared.cells import ServerCell

SAMPLES = 100
"""Answers of one worker that count (spec v2 section 3.3, leasttime)."""


class FirstBytes:
    """Times to first byte of one server.

    Args:
        block: of the server.
    """

    __slots__ = ("_block", "_is_asked", "_samples", "_sum")

    def __init__(self, block: Block) -> None:
        self._block = block
        count = int(block.get_own_f(ServerCell.FIRST_BYTE_GROUP + 1))
        self._sum = block.get_own_f(ServerCell.FIRST_BYTE_GROUP + 2)
        known = [self._sum / count] * count if count else []  # what we published before a reload goes on
        self._samples: deque[float] = deque(known, maxlen=SAMPLES)
        self._is_asked = False

    def note(self, first_byte_s: float) -> None:
        """An answer began. Costs nothing for services that do not balance by it."""
        if not self._is_asked:
            return
        if len(self._samples) == SAMPLES:
            self._sum -= self._samples[0]
        self._samples.append(first_byte_s)
        self._sum += first_byte_s
        self._block.publish_f(ServerCell.FIRST_BYTE_GROUP, (float(len(self._samples)), self._sum))

    def average_ms(self) -> float:
        """Over the last answers of all workers; 0 without any. From the first call on, answers are noted."""
        self._is_asked = True
        said = [values for _, values in self._block.read_published_f(ServerCell.FIRST_BYTE_GROUP, 2)]
        count = sum(values[0] for values in said)
        return 1000 * sum(values[1] for values in said) / count if count else 0.0
