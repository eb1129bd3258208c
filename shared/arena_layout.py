"""Where things lie in the arena's memory file. Only arithmetic; ``docs/arena.md`` draws it.

::

    header                      one page: magic, version, columns, and the words of ``Header``
    directory                   open addressing: hash -> block number; only the master writes it
    segment 0, 1, ...           BLOCKS_PER_SEGMENT blocks each: their identities, then column after column
    keyed tables                table after table, in each column after column

A segment holds its columns one after the other, the retired one first, so a worker's cells lie together and
the cells of two workers never share a cache line. The file is sparse: what nobody touched costs no memory.
Every word is 8 bytes, aligned; x86-64 and arm64 store and load such a word at once.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import Final

MAGIC: Final = b"PENARENA"
VERSION: Final = 2
WORD: Final = 8
PAGE: Final = 4096

CELLS_PER_BLOCK: Final = 64
BLOCK_BYTES: Final = CELLS_PER_BLOCK * WORD

INT_COUNTERS: Final = range(28)
LATEST: Final = range(28, 32)
FLOAT_COUNTERS: Final = range(32, 40)
OWN_CELLS: Final = range(40, 63)
USERS: Final = 63
"""Kinds of cells, see ``shared.cells``."""

BLOCKS_PER_SEGMENT: Final = 1024
MAX_SEGMENTS: Final = 1024
MAX_BLOCKS: Final = BLOCKS_PER_SEGMENT * MAX_SEGMENTS
"""A million services, servers and middlewares together: ten times the largest configuration we test."""

MAX_COLUMNS: Final = 2048
"""More processes than any machine runs: twice the most workers, and some that drain."""

DIRECTORY_SLOTS: Final = 2 * MAX_BLOCKS
DIRECTORY_ENTRY_BYTES: Final = 2 * WORD
DIRECTORY_AT: Final = PAGE
SEGMENTS_AT: Final = DIRECTORY_AT + DIRECTORY_SLOTS * DIRECTORY_ENTRY_BYTES

IDENTITY: Final = struct.Struct("<32sIHH216s")
"""Digest of the whole identity, number of the keyed table plus 1 (0 for none), what is kept of a process that
is gone (``shared.cells.Kept``), length of the text, and as much of the text as there is room for, for people
with a debugger. What counts is the digest."""
MAX_TEXT_LENGTH: Final = 0xFFFF
"""A longer text is said to be so long."""
IDENTITIES_BYTES: Final = BLOCKS_PER_SEGMENT * IDENTITY.size
COLUMN_BYTES: Final = BLOCKS_PER_SEGMENT * BLOCK_BYTES
COLUMN_WORDS: Final = COLUMN_BYTES // WORD

KEYED_SLOTS: Final = 65_536
"""Live keys in one worker's table; a key beyond them displaces the one that would expire first nearby."""
KEYED_ENTRY_WORDS: Final = 8
KEYED_CELLS: Final = 5
KEYED_TABLE_BYTES: Final = KEYED_SLOTS * KEYED_ENTRY_WORDS * WORD
MAX_KEYED: Final = 4096
"""Middlewares with keys of their own (rate limits, in-flight limits)."""

SALT_AT: Final = 64
SALT_BYTES: Final = 16
"""Makes the hashes of keys, which clients choose, unknown to clients."""

PREFIX: Final = struct.Struct("<8sII")
HEADER_WORDS_AT: Final = 128


class Header(IntEnum):
    """Words of the header that change, as numbers of 8-byte words from the start of the file."""

    FOLDS = HEADER_WORDS_AT // WORD
    USED_COLUMNS = FOLDS + 1
    DIRECTORY_CHANGES = FOLDS + 2
    KEYED_TABLES = FOLDS + 3


def segment_bytes(columns: int) -> int:
    """Size of a segment: identities, the retired column, and the columns."""
    return IDENTITIES_BYTES + (columns + 1) * COLUMN_BYTES


def segment_at(number: int, columns: int) -> int:
    """Where a segment begins."""
    return SEGMENTS_AT + number * segment_bytes(columns)


def column_at(segment: int, column: int, columns: int) -> int:
    """Where a column of a segment begins; -1 is the retired one."""
    return segment_at(segment, columns) + IDENTITIES_BYTES + (column + 1) * COLUMN_BYTES


def keyed_at(table: int, column: int, columns: int) -> int:
    """Where a column's part of a keyed table begins."""
    return segment_at(MAX_SEGMENTS, columns) + (table * columns + column) * KEYED_TABLE_BYTES


def digest_of(kind: str, name: str) -> bytes:
    """What stands for an identity: 32 bytes."""
    text = f"{kind}\0{name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=32).digest()


def hash_of(digest: bytes) -> int:
    """The 64 bits by which the directory finds an identity; never 0, which marks an empty entry."""
    return int.from_bytes(digest[:WORD], "little") or 1
