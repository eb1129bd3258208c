"""The arena's memory file as views of words: made, grown, mapped part by part.

Parts are mapped when first needed and never moved, so growing never invalidates a view that a block holds.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Final

from shared import arena_layout as layout
from shared.errors import ArenaError

_PUNCH_HOLE_KEEP_SIZE: Final = 0x02 | 0x01
_libc = ctypes.CDLL(None, use_errno=True)


class Words:
    """One mapped part, as signed integers and as floats over the same bytes."""

    __slots__ = ("floats", "integers", "raw")

    def __init__(self, mapping: mmap.mmap) -> None:
        self.raw = memoryview(mapping)
        self.integers = self.raw.cast("q")
        self.floats = self.raw.cast("d")


class Memory:
    """The file.

    Args:
        fd: of the memory file; owned from now on, and closed with this object at the latest.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._close = weakref.finalize(self, os.close, fd)
        if os.fstat(fd).st_size < layout.SEGMENTS_AT:
            raise ArenaError("the descriptor is not that of an arena: it is too short")
        self.head = Words(mmap.mmap(fd, layout.SEGMENTS_AT))
        magic, version, columns = layout.PREFIX.unpack_from(self.head.raw)
        if (magic, version) != (layout.MAGIC, layout.VERSION):
            raise ArenaError(f"not an arena of version {layout.VERSION}: {magic!r} {version}")
        self.columns: int = columns
        self.salt = bytes(self.head.raw[layout.SALT_AT : layout.SALT_AT + layout.SALT_BYTES])
        self._segments: dict[int, Words] = {}
        self._keyed: dict[tuple[int, int], Words] = {}

    @classmethod
    def create(cls, columns: int) -> Memory:
        """A new, empty file for this many columns."""
        if not 1 <= columns <= layout.MAX_COLUMNS:
            raise ArenaError(f"expected 1 to {layout.MAX_COLUMNS} columns, got {columns}")
        fd = os.memfd_create("penstock-arena", os.MFD_CLOEXEC)
        os.ftruncate(fd, layout.SEGMENTS_AT)
        os.pwrite(fd, layout.PREFIX.pack(layout.MAGIC, layout.VERSION, columns), 0)
        os.pwrite(fd, os.urandom(layout.SALT_BYTES), layout.SALT_AT)
        made = cls(fd)
        made.segment(0)  # everybody needs that one: better now than during an exchange
        return made

    def segment(self, number: int) -> Words:
        """A segment, mapped; the file grows to hold it."""
        known = self._segments.get(number)
        if known is None:
            start, size = layout.segment_at(number, self.columns), layout.segment_bytes(self.columns)
            known = self._segments[number] = self._map(start, size)
        return known

    def keyed(self, table: int, column: int) -> Words:
        """A column's part of a keyed table, mapped; the file grows to hold it."""
        known = self._keyed.get((table, column))
        if known is None:
            start = layout.keyed_at(table, column, self.columns)
            known = self._keyed[table, column] = self._map(start, layout.KEYED_TABLE_BYTES)
        return known

    def zero_keyed(self, table: int, column: int) -> None:
        """Empty a column's part of a keyed table and give its memory back."""
        self.zero(layout.keyed_at(table, column, self.columns), layout.KEYED_TABLE_BYTES)

    def zero(self, start: int, size: int) -> None:
        """Zero a range; whole pages of it are given back to the system (fallocate(2))."""
        result = _libc.fallocate(self.fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(size))
        if result != 0:
            number = ctypes.get_errno()
            raise ArenaError(f"cannot empty a part of the arena: {os.strerror(number)}")

    def close(self) -> None:
        """Close the descriptor; views that somebody still holds stay valid."""
        self._close()
        self.fd = -1

    def _map(self, start: int, size: int) -> Words:
        try:
            if os.fstat(self.fd).st_size < start + size:
                os.ftruncate(self.fd, start + size)
            return Words(mmap.mmap(self.fd, size, offset=start))
        except (OSError, ValueError) as error:
            raise ArenaError(f"cannot map {size} bytes of the arena: {error}") from error
