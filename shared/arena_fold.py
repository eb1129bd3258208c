"""What becomes of the cells of a process that is gone: counts and latest events stay, the rest is zeroed.

Two things more are kept, of blocks that say so (``shared.cells.Kept``): counts that belong to a moment, of
the latest moment; and what a rate limit knows of its sources, which the master says on in its own column.

The master moves counts from the dead column to the retired one, block by block. A sum in between would count
them twice or not at all, so a number in the header is odd meanwhile and readers look again.
"""

from __future__ import annotations

import os
from typing import Final

from shared import arena_layout as layout
from shared.arena_keyed import live_entries, take_cells
from shared.arena_layout import Header
from shared.arena_memory import Memory, Words
from shared.cells import MARKED
from shared.rate_cells import inherit

_EMPTY: Final = bytes(layout.BLOCK_BYTES)


def fold_column(memory: Memory, segment: int, column: int) -> None:
    """Fold one column of one segment; costs next to nothing where nothing was counted."""
    start = layout.column_at(segment, column, memory.columns)
    content = os.pread(memory.fd, layout.COLUMN_BYTES, start)  # unlike a mapping, gives holes no memory
    if not content.strip(b"\0"):
        return
    words = memory.segment(segment)
    for place in range(layout.BLOCKS_PER_SEGMENT):
        at = place * layout.BLOCK_BYTES
        if content[at : at + layout.BLOCK_BYTES] != _EMPTY:
            _fold_block(memory, words, place, column)


def _fold_block(memory: Memory, words: Words, place: int, column: int) -> None:
    header = memory.head.integers
    retired = layout.IDENTITIES_BYTES // layout.WORD + place * layout.CELLS_PER_BLOCK
    own = retired + (column + 1) * layout.COLUMN_WORDS
    header[Header.FOLDS] += 1
    for cell in layout.INT_COUNTERS:
        words.integers[retired + cell] += words.integers[own + cell]
    for cell in layout.LATEST:
        words.integers[retired + cell] = max(words.integers[retired + cell], words.integers[own + cell])
    for cell in layout.FLOAT_COUNTERS:
        words.floats[retired + cell] += words.floats[own + cell]
    *_, kept, _, _ = layout.IDENTITY.unpack_from(words.raw, place * layout.IDENTITY.size)
    for mark, cells in MARKED.get(kept, ()):
        _fold_marked(words, retired, own, mark, cells)
    words.raw[own * layout.WORD : own * layout.WORD + layout.BLOCK_BYTES] = _EMPTY
    header[Header.FOLDS] += 1


def _fold_marked(words: Words, retired: int, own: int, mark: int, cells: tuple[int, ...]) -> None:
    """Counts of one moment go to those of the same moment; those of an earlier one are forgotten."""
    integers = words.integers
    moment, known = integers[own + mark], integers[retired + mark]
    if not moment or moment < known:
        return
    for cell in cells:
        integers[retired + cell] = integers[own + cell] + (integers[retired + cell] if moment == known else 0)
    integers[retired + mark] = moment


def fold_rates(memory: Memory, table: int, column: int, into: int, now: float) -> None:
    """Have another process say on what one that is gone knew of the sources of a rate limit.

    Args:
        memory: the arena's.
        table: of the limit.
        column: of the process that is gone; it is not changed.
        into: of the process that calls.
        now: by the shared clock.
    """
    for high, low, view in live_entries(memory, table, column, now):
        inherit(take_cells(memory.keyed(table, into), high, low), view, now)
