"""Cells under keys that clients choose (addresses, hosts): a table per worker, bounded.

Each worker writes its own table and looks a key up in everybody's. A table is an array of entries with open
addressing: a key lives in one of the PROBES entries from its home. An entry belongs to its key until it
expires; then whoever needs it takes it. If all entries in reach are alive, the one that would expire first is
taken: nothing grows, and a flood of keys costs the flood's own memory.

Keys are compared by 128 bits of a keyed hash that clients cannot compute. An entry that changes hands loses
its hash first and gets the new one last, so a reader that finds the same hash before and after has read one
key.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from array import array
from collections.abc import Iterator
from typing import Final

from shared import arena_layout as layout
from shared.arena_block import Block
from shared.arena_layout import Header
from shared.arena_memory import Memory, Words

PROBES: Final = 32
"""Entries in reach of a key: at half load a key is displaced once in billions, at full load it is bounded."""

_ENTRY: Final = struct.Struct("=qqd5q")
_HIGH, _LOW, _EXPIRES, _FIRST = 0, 1, 2, 3
_MASK: Final = layout.KEYED_SLOTS - 1


class Cells:
    """This worker's cells of one key. Valid until the key expires; ask again for each exchange.

    Attributes:
        is_new: whether the key had no cells before; they are all zero then.
    """

    __slots__ = ("_at", "_floats", "_integers", "is_new")

    def __init__(self, integers: memoryview[int], floats: memoryview[float], at: int, is_new: bool) -> None:
        self._integers = integers
        self._floats = floats
        self._at = at + _FIRST
        self.is_new = is_new

    def get(self, cell: int) -> int:
        """The value of cell 0 to 4."""
        return self._integers[self._at + _checked(cell)]

    def get_f(self, cell: int) -> float:
        """The value of a cell, as a float."""
        return self._floats[self._at + _checked(cell)]

    def set(self, cell: int, value: int) -> None:
        """Set a cell."""
        self._integers[self._at + _checked(cell)] = value

    def set_f(self, cell: int, value: float) -> None:
        """Set a cell to a float."""
        self._floats[self._at + _checked(cell)] = value

    def add(self, cell: int, amount: int = 1) -> None:
        """Count."""
        self._integers[self._at + _checked(cell)] += amount

    @property
    def expires_at(self) -> float:
        """When the key expires, or expired."""
        return self._floats[self._at - _FIRST + _EXPIRES]

    def keep_until(self, moment_s: float) -> None:
        """When the key expires, by ``Arena.clock``; infinite while something is in flight."""
        self._floats[self._at - _FIRST + _EXPIRES] = moment_s


class CellsView:
    """What another worker said about one key at one moment."""

    __slots__ = ("_floats", "_integers", "column", "expires_at")

    def __init__(self, column: int, integers: list[int], floats: list[float], expires_at: float) -> None:
        self.column = column
        self._integers = integers
        self._floats = floats
        self.expires_at = expires_at

    def get(self, cell: int) -> int:
        """The value of cell 0 to 4."""
        return self._integers[cell]

    def get_f(self, cell: int) -> float:
        """The value of a cell, as a float."""
        return self._floats[cell]


class KeyedCells:
    """The tables of one object.

    Args:
        memory: the arena's.
        table: number of the table.
        column: the caller's.
        block: of the same object; it is not given to another one while this lives.
    """

    def __init__(self, memory: Memory, table: int, column: int, block: Block) -> None:
        self._memory = memory
        self._table = table
        self._column = column
        self.block = block

    def own(self, key: bytes) -> Cells:
        """Our cells of a key, made if need be.

        A new key may be displaced at once unless ``keep_until`` says otherwise. One that has expired and was
        not displaced yet is found with its values: whether they still count is for the caller to say.
        """
        high, low = self._hash(key)
        return take_cells(self._memory.keyed(self._table, self._column), high, low)

    def others(self, key: bytes) -> Iterator[CellsView]:
        """What every other worker says about a key, of those that know it."""
        high, low = self._hash(key)
        for column in range(self._memory.head.integers[Header.USED_COLUMNS]):
            if column == self._column:
                continue
            found = self._look_up(column, high, low)
            if found is not None:
                yield found

    def _look_up(self, column: int, high: int, low: int) -> CellsView | None:
        words = self._memory.keyed(self._table, column)
        integers, floats = words.integers, words.floats
        for at in _reach(low):
            if integers[at + _LOW] != low or integers[at + _HIGH] != high:
                if not integers[at + _LOW] and not integers[at + _HIGH]:
                    return None
                continue
            first, end = at + _FIRST, at + _FIRST + layout.KEYED_CELLS
            view = CellsView(
                column, list(integers[first:end]), list(floats[first:end]), floats[at + _EXPIRES]
            )
            if integers[at + _LOW] == low and integers[at + _HIGH] == high:
                return view
        return None

    def _hash(self, key: bytes) -> tuple[int, int]:
        digest = hashlib.blake2b(key, digest_size=16, key=self._memory.salt).digest()
        low = int.from_bytes(digest[8:], "little", signed=True) or 1  # 0 marks an entry without a key
        return int.from_bytes(digest[:8], "little", signed=True), low


def take_cells(words: Words, high: int, low: int) -> Cells:
    """The cells of a key in a table of our own, made if need be; see ``KeyedCells.own``.

    Args:
        words: the table.
        high, low: the key's hash.
    """
    integers, floats = words.integers, words.floats
    victim, earliest = -1, float("inf")
    for at in _reach(low):
        if integers[at + _LOW] == low and integers[at + _HIGH] == high:
            return Cells(integers, floats, at, is_new=False)
        if not integers[at + _LOW] and not integers[at + _HIGH]:
            victim = at  # never used, so neither is anything behind it on this way
            break
        if victim < 0 or floats[at + _EXPIRES] < earliest:
            victim, earliest = at, floats[at + _EXPIRES]
    integers[victim + _LOW] = 0
    for offset in range(_EXPIRES, layout.KEYED_ENTRY_WORDS):
        integers[victim + offset] = 0
    integers[victim + _HIGH] = high
    integers[victim + _LOW] = low
    return Cells(integers, floats, victim, is_new=True)


def live_entries(memory: Memory, table: int, column: int, now: float) -> Iterator[tuple[int, int, CellsView]]:
    """Every key that has not expired in another process's table, as the two words of its hash, and its cells.

    Only what the file holds is read: a table that nobody touched costs one call.
    """
    start = layout.keyed_at(table, column, memory.columns)
    end = start + layout.KEYED_TABLE_BYTES
    for at in _pages_with_data(memory.fd, start, end):
        page = os.pread(memory.fd, layout.PAGE, at)
        for words in _ENTRY.iter_unpack(page[: len(page) - len(page) % _ENTRY.size]):
            high, low, expires_at, *integers = words
            if (high or low) and expires_at > now:
                cells = integers[: layout.KEYED_CELLS]
                yield high, low, CellsView(column, cells, _as_floats(cells), expires_at)


def _pages_with_data(fd: int, at: int, end: int) -> Iterator[int]:
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but holes up to the end of the file
            raise
        hole = min(os.lseek(fd, at, os.SEEK_HOLE), end) if at < end else end
        yield from range(at, hole, layout.PAGE)
        at = max(hole, at + 1)


def _as_floats(integers: list[int]) -> list[float]:
    return list(memoryview(array("q", integers)).cast("B").cast("d"))


def _reach(low: int) -> range | list[int]:
    home = low & _MASK
    if home + PROBES <= layout.KEYED_SLOTS:
        first = home * layout.KEYED_ENTRY_WORDS
        return range(first, first + PROBES * layout.KEYED_ENTRY_WORDS, layout.KEYED_ENTRY_WORDS)
    return [((home + step) & _MASK) * layout.KEYED_ENTRY_WORDS for step in range(PROBES)]


def _checked(cell: int) -> int:
    if not 0 <= cell < layout.KEYED_CELLS:
        raise IndexError(f"expected a cell of 0 to {layout.KEYED_CELLS - 1}, got {cell}")
    return cell
