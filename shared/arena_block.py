"""One block of the arena, as one process sees it: its own cells to write, everybody's to read.

Nothing here locks or waits. A cell has one writer, the process whose column it is in. A reader of sums may
meet the master while it moves a dead worker's counts into the retired column; a number in the arena's header,
odd meanwhile, tells, and the reader looks again.

Cells that must be read together are *published*: the group's first cell is a sequence number, odd while its
owner writes. x86-64 keeps stores in order; elsewhere the interpreter's own work between two stores does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from shared import arena_layout as layout
from shared.arena_layout import Header
from shared.arena_memory import Words

MAX_FOLD_RETRIES: Final = 1000
"""Looks at a sum during folds, each of which takes microseconds. Then the last sum counts: the master died in
the middle of a fold, and workers that drain do not mind."""

MAX_GROUP_RETRIES: Final = 64
"""Looks at a published group. A group that is still being written then belongs to a process that died or is
stopped, and is left out."""

_STRIDE: Final = layout.COLUMN_WORDS
_N = TypeVar("_N", int, float)


class Block:
    """The cells of one object.

    Args:
        head: the arena's header.
        segment: the segment that holds the block.
        place: which block of the segment.
        column: the caller's.
        number: of the block, in the whole arena.
    """

    __slots__ = ("__weakref__", "_first", "_floats", "_header", "_integers", "_own", "column", "number")

    def __init__(self, head: Words, segment: Words, place: int, column: int, number: int) -> None:
        self._header = head.integers
        self._integers = segment.integers
        self._floats = segment.floats
        self._first = layout.IDENTITIES_BYTES // layout.WORD + place * layout.CELLS_PER_BLOCK
        self._own = self._first + (column + 1) * _STRIDE
        self.column = column
        self.number = number
        self._integers[self._own + layout.USERS] += 1

    def __del__(self) -> None:
        self._integers[self._own + layout.USERS] -= 1

    def add(self, cell: int, amount: int = 1) -> None:
        """Count in our column."""
        self._integers[self._own + cell] += amount

    def add_f(self, cell: int, amount: float) -> None:
        """Add to a float in our column."""
        self._floats[self._own + cell] += amount

    def set(self, cell: int, value: int) -> None:
        """Say a value in our column."""
        self._integers[self._own + cell] = value

    def set_f(self, cell: int, value: float) -> None:
        """Say a float in our column."""
        self._floats[self._own + cell] = value

    def get_own(self, cell: int) -> int:
        """What our column says."""
        return self._integers[self._own + cell]

    def get_own_f(self, cell: int) -> float:
        """What our column says, as a float."""
        return self._floats[self._own + cell]

    def get_master(self, cell: int) -> int:
        """What the master says (column 0)."""
        return self._integers[self._first + _STRIDE + cell]

    def get_master_f(self, cell: int) -> float:
        """What the master says, as a float."""
        return self._floats[self._first + _STRIDE + cell]

    def sum(self, cell: int) -> int:
        """Over all processes, those that are gone included if the cell is a counter."""
        header, start, total = self._header, self._first + cell, 0
        for _ in range(MAX_FOLD_RETRIES):
            folds = header[Header.FOLDS]
            end = start + (header[Header.USED_COLUMNS] + 1) * _STRIDE
            total = sum(self._integers[start:end:_STRIDE])
            if not folds & 1 and header[Header.FOLDS] == folds:
                break
        return total

    def sum_f(self, cell: int) -> float:
        """As ``sum``, of floats."""
        header, start, total = self._header, self._first + cell, 0.0
        for _ in range(MAX_FOLD_RETRIES):
            folds = header[Header.FOLDS]
            end = start + (header[Header.USED_COLUMNS] + 1) * _STRIDE
            total = sum(self._floats[start:end:_STRIDE], 0.0)
            if not folds & 1 and header[Header.FOLDS] == folds:
                break
        return total

    def latest(self, cell: int) -> int:
        """The largest value of a cell that tells of the latest event, from processes that are gone too."""
        start = self._first + cell
        return max(
            self._integers[start : start + (self._header[Header.USED_COLUMNS] + 1) * _STRIDE : _STRIDE]
        )

    def column_values(self, cell: int) -> list[int]:
        """What every column says, by its number; those no process has say 0. The retired one is left out."""
        start = self._first + _STRIDE + cell
        return self._integers[start : start + self._header[Header.USED_COLUMNS] * _STRIDE : _STRIDE].tolist()

    def column_values_f(self, cell: int) -> list[float]:
        """As ``column_values``, of floats."""
        start = self._first + _STRIDE + cell
        return list(self._floats[start : start + self._header[Header.USED_COLUMNS] * _STRIDE : _STRIDE])

    def marked_values(self, cell: int) -> list[int]:
        """As ``column_values``, of a cell that is ``Kept``: the retired column comes first. Ask within
        ``read_at_rest``."""
        start = self._first + cell
        return self._integers[
            start : start + (self._header[Header.USED_COLUMNS] + 1) * _STRIDE : _STRIDE
        ].tolist()

    def read_at_rest(self, read: Callable[[], int]) -> int:
        """What ``read`` finds while nothing moves into the retired column; it may be asked several times."""
        header, found = self._header, 0
        for _ in range(MAX_FOLD_RETRIES):
            folds = header[Header.FOLDS]
            found = read()
            if not folds & 1 and header[Header.FOLDS] == folds:
                break
        return found

    def publish(self, first_cell: int, values: Sequence[int]) -> None:
        """Say several values at once.

        Args:
            first_cell: holds the group's sequence number; the values follow in the cells after it. All of
                them must be own cells.
            values: as many as the readers ask for.
        """
        self._publish(self._integers, first_cell, values)

    def publish_f(self, first_cell: int, values: Sequence[float]) -> None:
        """As ``publish``, of floats."""
        self._publish(self._floats, first_cell, values)

    def read_published(self, first_cell: int, count: int) -> list[tuple[int, tuple[int, ...]]]:
        """What every process said last in a group: (column, values), of those that ever did."""
        return self._published(self._integers, first_cell, count)

    def read_published_f(self, first_cell: int, count: int) -> list[tuple[int, tuple[float, ...]]]:
        """As ``read_published``, of floats."""
        return self._published(self._floats, first_cell, count)

    def _publish(
        self,
        view: memoryview[int] | memoryview[float],
        first_cell: int,
        values: Sequence[int] | Sequence[float],
    ) -> None:
        _check_group(first_cell, len(values))
        sequence = self._own + first_cell
        before = self._integers[sequence] | 1  # a new sequence: odd, whatever a predecessor left
        self._integers[sequence] = before
        for offset, value in enumerate(values, sequence + 1):
            view[offset] = value  # type: ignore[call-overload]  # ints to ints, floats to floats
        self._integers[sequence] = before + 1

    def _published(
        self, view: memoryview[_N], first_cell: int, count: int
    ) -> list[tuple[int, tuple[_N, ...]]]:
        _check_group(first_cell, count)
        start = self._first + _STRIDE + first_cell
        found: list[tuple[int, tuple[_N, ...]]] = []
        for column in range(self._header[Header.USED_COLUMNS]):
            sequence = start + column * _STRIDE
            for _ in range(MAX_GROUP_RETRIES):
                before = self._integers[sequence]
                values = tuple(view[sequence + 1 : sequence + 1 + count])
                if not before & 1 and self._integers[sequence] == before:
                    if before:
                        found.append((column, values))
                    break
        return found


def _check_group(first_cell: int, count: int) -> None:
    last = first_cell + count
    if first_cell not in layout.OWN_CELLS or last not in layout.OWN_CELLS:
        raise ValueError(f"a published group lies in own cells, not in cells {first_cell} to {last}")
