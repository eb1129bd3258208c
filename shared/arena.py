"""State that belongs to the whole proxy: cells in shared memory, one writer each, read by everybody.

The master makes the arena and gives each worker process a column of it for that process's life. What a
worker counts it writes in its own column; who wants the figure of the proxy sums over columns. Nothing on the
path of a request locks, waits or calls the system.

    block      64 cells of one object (a service, a server, a middleware), found by the object's identity
    column     one process's cells of all blocks; column 0 is the master's
    retired    where the counters of workers that are gone are kept

A block belongs to an identity, so counts, positions and windows survive reloads and new workers. When an
identity is not configured any more its block is released, and given to another only when no process holds it
any more (each counts the objects that it holds in the cell ``USERS``), after every cell was zeroed.

``docs/arena.md`` draws the layout; ``shared.cells`` says what cells mean.
"""

from __future__ import annotations

import os
import time
from collections import deque

from shared import arena_layout as layout
from shared.arena_block import Block
from shared.arena_directory import Directory, Record
from shared.arena_fold import fold_column, fold_rates
from shared.arena_keyed import KeyedCells
from shared.arena_layout import CELLS_PER_BLOCK, Header
from shared.arena_memory import Memory
from shared.cells import Kept
from shared.errors import ArenaError

__all__ = ["CELLS_PER_BLOCK", "Arena"]

MASTER_COLUMN = 0


class Arena:
    """One process's view of the arena. Make it with ``create`` or ``attach``.

    Attributes:
        column: whose view it is.
        columns: how many processes, the master included, can have one.
    """

    def __init__(self, memory: Memory, column: int) -> None:
        if not 0 <= column < memory.columns:
            raise ArenaError(f"expected column 0 to {memory.columns - 1}, got {column}")
        self.column = column
        self.columns = memory.columns
        self._memory = memory
        self._directory = Directory(memory)
        self._blocks: dict[bytes, int] = {}
        self._leaving: dict[bytes, int] = {}
        self._free: deque[int] = deque()
        self._made = 0
        self._free_tables: list[int] = []
        self._rate_tables: set[int] = set()
        self._busy_columns = {MASTER_COLUMN}

    @classmethod
    def create(cls, columns: int) -> Arena:
        """A new arena, seen by the master.

        Args:
            columns: most processes at a time, the master included.

        Raises:
            ArenaError: that many cannot be.
        """
        memory = Memory.create(columns)
        memory.head.integers[Header.USED_COLUMNS] = 1
        return cls(memory, MASTER_COLUMN)

    @classmethod
    def attach(cls, fd: int, column: int) -> Arena:
        """The master's arena, seen by another process.

        Args:
            fd: of the memory file; duplicated, so the caller's stays the caller's.
            column: given by the master.

        Raises:
            ArenaError: that is no arena, or has no such column.
        """
        arena = cls(Memory(os.dup(fd)), column)
        arena._use_column(column)
        return arena

    @property
    def fd(self) -> int:
        """Of the memory file, to pass to workers."""
        return self._memory.fd

    def clock(self) -> float:
        """Seconds by the clock that all processes of a machine share (clock_gettime(2), CLOCK_MONOTONIC)."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def find(self, kind: str, name: str) -> Block | None:
        """The block of an identity, or None."""
        number = self._directory.find(layout.digest_of(kind, name))
        return None if number is None else self._open(number)

    def keyed(self, kind: str, name: str) -> KeyedCells | None:
        """The keyed tables of an identity that was claimed with some, or None."""
        number = self._directory.find(layout.digest_of(kind, name))
        if number is None:
            return None
        table = self._directory.read_record(number).keyed
        return None if table is None else KeyedCells(self._memory, table, self.column, self._open(number))

    def claim(self, kind: str, name: str, *, keyed: bool = False, kept: int = Kept.NOTHING) -> Block:
        """The block of an identity, made if need be. For the master.

        Args:
            kind: of the object.
            name: qualified.
            keyed: whether it needs keyed tables too; it keeps them until it is released.
            kept: what outlives processes beyond counters.

        Raises:
            ArenaError: there is no room for one more.
        """
        self._require_master()
        digest = layout.digest_of(kind, name)
        number = self._blocks.get(digest)
        if number is None and (number := self._leaving.pop(digest, None)) is not None:
            self._blocks[digest] = number  # back before it was given to another: nothing is lost
            self._directory.add(digest, number)
        if number is None:
            number = self._take_block()
            self._directory.write_record(number, Record(digest, None, kept), f"{kind} {name}")
            self._blocks[digest] = number
            self._directory.add(digest, number)
        record = self._directory.read_record(number)
        table = self._take_table() if keyed and record.keyed is None else record.keyed
        if (table, kept) != (record.keyed, record.kept):
            self._directory.write_record(number, Record(digest, table, kept), f"{kind} {name}")
        if table is not None:
            (self._rate_tables.add if kept == Kept.RATES else self._rate_tables.discard)(table)
        return self._open(number)

    def release(self, kind: str, name: str) -> None:
        """Nobody is to find this identity any more. Its block is used again once nobody holds it. For the
        master, when no worker has a generation in which the identity exists; unknown identities are fine."""
        self._require_master()
        digest = layout.digest_of(kind, name)
        number = self._blocks.pop(digest, None)
        if number is not None:
            self._directory.remove(digest, number)
            self._leaving[digest] = number

    def reclaim(self) -> int:
        """Take back the blocks that were released and that no process holds; returns how many still wait."""
        self._require_master()
        for digest, number in list(self._leaving.items()):
            if self._count_users(number) == 0:
                del self._leaving[digest]
                self._empty(number)
                self._free.append(number)
        return len(self._leaving)

    def take_column(self) -> int:
        """A column for a new process. For the master.

        Raises:
            ArenaError: all are taken.
        """
        self._require_master()
        for column in range(1, self.columns):
            if column not in self._busy_columns:
                self._busy_columns.add(column)
                self._use_column(column)
                return column
        raise ArenaError(f"all {self.columns} columns of the arena belong to processes")

    def retire_column(self, column: int) -> None:
        """The process of this column is gone: keep its counts, forget the rest, give the column to another.

        Raises:
            ArenaError: the column is nobody's.
        """
        self._require_master()
        if column == MASTER_COLUMN or column not in self._busy_columns:
            raise ArenaError(f"column {column} belongs to no worker")
        for segment in range(self._segments_made()):
            fold_column(self._memory, segment, column)
        for table in range(self._memory.head.integers[Header.KEYED_TABLES]):
            if table in self._rate_tables:
                fold_rates(self._memory, table, column, MASTER_COLUMN, self.clock())
            self._memory.zero_keyed(table, column)
        self._busy_columns.discard(column)

    def close(self) -> None:
        """Close the descriptor. Blocks that somebody still holds stay usable."""
        self._memory.close()

    def _open(self, number: int) -> Block:
        segment, place = divmod(number, layout.BLOCKS_PER_SEGMENT)
        return Block(self._memory.head, self._memory.segment(segment), place, self.column, number)

    def _use_column(self, column: int) -> None:
        """Have readers look at a column. No effect in a worker whose column the master gave it."""
        header = self._memory.head.integers
        if header[Header.USED_COLUMNS] <= column:
            header[Header.USED_COLUMNS] = column + 1

    def _require_master(self) -> None:
        if self.column != MASTER_COLUMN:
            raise ArenaError("only the master gives blocks and columns")

    def _take_block(self) -> int:
        if not self._free and self._leaving:
            self.reclaim()
        if self._free:
            return self._free.popleft()
        if self._made == layout.MAX_BLOCKS:
            raise ArenaError(f"the arena is full: {layout.MAX_BLOCKS} objects have blocks")
        self._made += 1
        return self._made - 1

    def _take_table(self) -> int:
        if self._free_tables:
            return self._free_tables.pop()
        header = self._memory.head.integers
        if header[Header.KEYED_TABLES] == layout.MAX_KEYED:
            raise ArenaError(f"the arena is full: {layout.MAX_KEYED} objects have keyed tables")
        header[Header.KEYED_TABLES] += 1
        return header[Header.KEYED_TABLES] - 1

    def _segments_made(self) -> int:
        return -(-self._made // layout.BLOCKS_PER_SEGMENT)

    def _count_users(self, number: int) -> int:
        segment, place = divmod(number, layout.BLOCKS_PER_SEGMENT)
        words = self._memory.segment(segment).integers
        first = (layout.IDENTITIES_BYTES + place * layout.BLOCK_BYTES) // layout.WORD + layout.USERS
        return sum(words[first : first + (self.columns + 1) * layout.COLUMN_WORDS : layout.COLUMN_WORDS])

    def _empty(self, number: int) -> None:
        """Zero a block in all columns, and its keyed tables: the next identity starts from nothing."""
        segment, place = divmod(number, layout.BLOCKS_PER_SEGMENT)
        words = self._memory.segment(segment).raw
        for column in range(self._memory.head.integers[Header.USED_COLUMNS] + 1):
            at = layout.IDENTITIES_BYTES + column * layout.COLUMN_BYTES + place * layout.BLOCK_BYTES
            words[at : at + layout.BLOCK_BYTES] = bytes(layout.BLOCK_BYTES)
        table = self._directory.read_record(number).keyed
        if table is not None:
            for column in range(self.columns):
                self._memory.zero_keyed(table, column)
            self._rate_tables.discard(table)
            self._free_tables.append(table)
