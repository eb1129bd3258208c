"""What becomes of the cells of a process that is gone: counts and latest events stay, the rest is zeroed.

The master moves counts from the dead column to the retired one, block by block. A sum in between would count
them twice or not at all, so a number in the header is odd meanwhile and readers look again.
"""

from __future__ import annotations

import os
from typing import Final

from shared import arena_layout as layout
from shared.arena_layout import Header
from shared.arena_memory import Memory, Words

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
    words.raw[own * layout.WORD : own * layout.WORD + layout.BLOCK_BYTES] = _EMPTY
    header[Header.FOLDS] += 1
