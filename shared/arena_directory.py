"""Which block belongs to which identity: open addressing inside the arena.

Only the master writes. Anyone may look meanwhile: a number in the header is odd while entries move, and who
meets that looks again. An entry says a hash and a block; the block's identity record is compared before the
answer counts.
"""

from __future__ import annotations

from typing import Final

from shared import arena_layout as layout
from shared.arena_layout import Header
from shared.arena_memory import Memory
from shared.errors import ArenaError

MAX_LOOKS: Final = 10_000
"""Looks at a directory that is being changed; a change takes microseconds."""

_MASK: Final = layout.DIRECTORY_SLOTS - 1


class Record:
    """The identity of a block: its digest, its keyed table, if it has one, and what is ``Kept``."""

    __slots__ = ("digest", "kept", "keyed")

    def __init__(self, digest: bytes, keyed: int | None, kept: int) -> None:
        self.digest = digest
        self.keyed = keyed
        self.kept = kept


class Directory:
    """The directory of an arena.

    Args:
        memory: the arena's.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._header = memory.head.integers
        directory = memory.head.raw[layout.DIRECTORY_AT : layout.SEGMENTS_AT]
        self._entries = directory.cast("Q")

    def find(self, digest: bytes) -> int | None:
        """The block of an identity.

        Raises:
            ArenaError: the directory does not come to rest: the master died while it changed it.
        """
        for _ in range(MAX_LOOKS):
            changes = self._header[Header.DIRECTORY_CHANGES]
            number = self._probe(digest)
            if not changes & 1 and self._header[Header.DIRECTORY_CHANGES] == changes:
                return number
        raise ArenaError("the arena's directory does not come to rest")

    def add(self, digest: bytes, number: int) -> None:
        """Enter an identity that is not there. For the master."""
        hashed, entries = layout.hash_of(digest), self._entries
        slot = hashed & _MASK
        while entries[2 * slot + 1]:
            slot = (slot + 1) & _MASK
        self._header[Header.DIRECTORY_CHANGES] += 1
        entries[2 * slot] = hashed
        entries[2 * slot + 1] = number + 1
        self._header[Header.DIRECTORY_CHANGES] += 1

    def remove(self, digest: bytes, number: int) -> None:
        """Take an identity out; entries behind it move up, so no tombstones pile up. For the master."""
        entries = self._entries
        slot = layout.hash_of(digest) & _MASK
        while entries[2 * slot + 1] != number + 1:
            slot = (slot + 1) & _MASK
        self._header[Header.DIRECTORY_CHANGES] += 1
        hole = slot
        while entries[2 * (slot := (slot + 1) & _MASK) + 1]:
            home = entries[2 * slot] & _MASK
            if (slot - home) & _MASK >= (slot - hole) & _MASK:
                entries[2 * hole], entries[2 * hole + 1] = entries[2 * slot], entries[2 * slot + 1]
                hole = slot
        entries[2 * hole] = entries[2 * hole + 1] = 0
        self._header[Header.DIRECTORY_CHANGES] += 1

    def read_record(self, number: int) -> Record:
        """The identity of a block."""
        segment, at = self._record_at(number)
        digest, keyed, kept, _, _ = layout.IDENTITY.unpack_from(segment, at)
        return Record(digest, keyed - 1 if keyed else None, kept)

    def write_record(self, number: int, record: Record, text: str) -> None:
        """Say whose a block is. For the master, before ``add``."""
        segment, at = self._record_at(number)
        shown = text.encode("utf-8", "surrogateescape")
        keyed = 0 if record.keyed is None else record.keyed + 1
        length = min(len(shown), layout.MAX_TEXT_LENGTH)
        layout.IDENTITY.pack_into(segment, at, record.digest, keyed, record.kept, length, shown)

    def _record_at(self, number: int) -> tuple[memoryview, int]:
        segment, place = divmod(number, layout.BLOCKS_PER_SEGMENT)
        return self._memory.segment(segment).raw, place * layout.IDENTITY.size

    def _probe(self, digest: bytes) -> int | None:
        hashed, entries = layout.hash_of(digest), self._entries
        slot = hashed & _MASK
        for _ in range(layout.DIRECTORY_SLOTS):
            number = entries[2 * slot + 1]
            if number == 0:
                return None
            if entries[2 * slot] == hashed and self.read_record(number - 1).digest == digest:
                return number - 1
            slot = (slot + 1) & _MASK
        return None
