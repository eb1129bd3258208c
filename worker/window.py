"""One rolling counter of the whole proxy: how many in the last so many seconds, over all workers.

Each worker keeps a ring of buckets in its own column of a ``window`` block and everybody adds up those that
are recent. A bucket says when it began, so nothing has to be cleared: what is too old, or from before the
last reset, does not count. What a worker counted that is gone is kept (``shared.cells.Kept``). (The original
forgets to expire some buckets after a pause; spec v1 section 4.5 advises against it.)
"""

from __future__ import annotations

from typing import Final

from shared.arena_block import Block
from shared.cells import WindowCell

MAX_BUCKETS: Final = WindowCell.BEGAN_FIRST - WindowCell.COUNTS_FIRST
MICROSECONDS: Final = 1_000_000


class Window:
    """A rolling counter.

    Args:
        block: of the counter.
        buckets: how many, at most ``MAX_BUCKETS``.
        width_s: of one bucket.
    """

    __slots__ = ("_block", "_buckets", "_width_us")

    def __init__(self, block: Block, buckets: int, width_s: int) -> None:
        self._block = block
        self._buckets = buckets
        self._width_us = width_s * MICROSECONDS

    def add(self, now_us: int, reset_us: int) -> None:
        """Count one.

        Args:
            now_us: by the shared clock.
            reset_us: what came before is forgotten.
        """
        epoch = now_us // self._width_us
        place = epoch % self._buckets
        began = max(epoch * self._width_us, reset_us, 1)
        block = self._block
        if block.get_own(WindowCell.BEGAN_FIRST + place) != began:
            block.set(WindowCell.BEGAN_FIRST + place, 0)  # readers take a bucket with its beginning only
            block.set(WindowCell.COUNTS_FIRST + place, 0)
            block.set(WindowCell.BEGAN_FIRST + place, began)
        block.add(WindowCell.COUNTS_FIRST + place)

    def total(self, now_us: int, reset_us: int) -> int:
        """How many all workers counted within the window and since the reset."""
        oldest = max((now_us // self._width_us - self._buckets + 1) * self._width_us, reset_us, 1)
        return self._block.read_at_rest(lambda: self._sum_since(oldest))

    def _sum_since(self, oldest: int) -> int:
        total = 0
        for place in range(self._buckets):
            counts = self._block.marked_values(WindowCell.COUNTS_FIRST + place)
            began = self._block.marked_values(WindowCell.BEGAN_FIRST + place)
            total += sum(count for count, since in zip(counts, began, strict=False) if since >= oldest)
        return total
