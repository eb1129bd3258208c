"""The byte format of a routing table: header, sections, digest.

A table is a header and fourteen sections, each aligned to eight bytes so that arrays can be read in place:

    magic, version, byte order mark, generation, size, header check, digest, (offset, size) of each section

Each kind of entry has an array of byte offsets (one more than there are entries) and the entries as msgpack
behind each other. ``WORDS`` holds the lists and the index (``shared.table.index_writer``); ``LISTS`` says
where each list begins in it. ``STREAMS`` is one entry, decoded whole: what happens to connections before HTTP
(``shared.table.streams``). Integers are in the byte order of the machine; one of the other order refuses the
table.

The digest covers everything but generation and header check, so that equal content has an equal digest; the
header check covers the header alone, generation included, so that opening need not read the whole.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import IntEnum

import msgspec

from shared.errors import TableError

MAGIC = b"PENSTOCK"
VERSION = 2
ALIGNMENT_BYTES = 8
_BYTE_ORDER_MARK = 0x01020304
_FIXED = struct.Struct("=8sIIQQII32s")
_PLACE = struct.Struct("=QQ")


class Section(IntEnum):
    """The sections, in the order of the header."""

    ROUTERS_AT = 0
    ROUTERS = 1
    MIDDLEWARES_AT = 2
    MIDDLEWARES = 3
    SERVICES_AT = 4
    SERVICES = 5
    TRANSPORTS_AT = 6
    TRANSPORTS = 7
    TEXTS_AT = 8
    TEXTS = 9
    LISTS = 10
    WORDS = 11
    SERVICE_NAMES = 12
    STREAMS = 13


HEADER_BYTES = _FIXED.size + len(Section) * _PLACE.size


class Header(msgspec.Struct, frozen=True):
    """What the header says. ``places`` has (offset, size) in bytes of each section."""

    generation: int
    size: int
    digest: bytes
    places: tuple[tuple[int, int], ...]


class ListPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where one list of routers is.

    Attributes:
        entrypoint, tls: which connections it is for.
        start, count: where its router indexes begin in ``WORDS``, and how many there are.
        root: the reference of its index's first node.
    """

    entrypoint: str
    tls: bool
    start: int
    count: int
    root: int


class Lists(msgspec.Struct, frozen=True, array_like=True):
    """The content of ``LISTS``: the lists, and where the index has combined expressions."""

    places: tuple[ListPlace, ...]
    pattern_splits: tuple[int, ...]


def assemble(sections: list[bytes], generation: int) -> bytes:
    """Put sections behind a header.

    Args:
        sections: their content, in the order of ``Section``.
        generation: the number of this table.
    """
    places: list[tuple[int, int]] = []
    parts: list[bytes] = []
    offset = HEADER_BYTES
    for content in sections:
        places.append((offset, len(content)))
        padding = -len(content) % ALIGNMENT_BYTES
        parts += (content, bytes(padding))
        offset += len(content) + padding
    body = b"".join(parts)
    digest = _digest(_pack(0, offset, 0, bytes(32), places), memoryview(body))
    check = zlib.crc32(_pack(generation, offset, 0, digest, places))
    return _pack(generation, offset, check, digest, places) + body


def read_header(view: memoryview) -> Header:
    """Check and read the header: constant time, whatever the size of the table.

    Raises:
        TableError: these bytes are no table, or not one that this program can read, or are cut off.
    """
    if view.nbytes < HEADER_BYTES:
        raise TableError(f"{view.nbytes} bytes are too few for a routing table's header of {HEADER_BYTES}")
    magic, version, order, generation, size, check, reserved, digest = _FIXED.unpack_from(view)
    if magic != MAGIC:
        raise TableError("these bytes are no routing table (wrong magic)")
    if order != _BYTE_ORDER_MARK:
        raise TableError("this routing table was written on a machine of the other byte order")
    if version != VERSION:
        raise TableError(f"routing table format {version} is unknown; this program reads {VERSION}")
    if size != view.nbytes:
        raise TableError(f"the routing table should have {size} bytes but has {view.nbytes}")
    places = list(_PLACE.iter_unpack(view[_FIXED.size : HEADER_BYTES]))
    if reserved or zlib.crc32(_pack(generation, size, 0, digest, places)) != check:
        raise TableError("the routing table's header is damaged")
    for section, (offset, length) in zip(Section, places, strict=True):
        if offset % ALIGNMENT_BYTES or offset < HEADER_BYTES or offset + length > size:
            raise TableError(f"section {section.name} of the routing table is outside of it")
    return Header(generation, size, digest, tuple(places))


def verify_digest(view: memoryview) -> None:
    """Check every byte against the digest. Hashing releases the GIL, so a worker runs this in a thread.

    Raises:
        TableError: the content is damaged.
    """
    view = memoryview(view).cast("B")
    header = read_header(view)
    blank = _pack(0, header.size, 0, bytes(32), list(header.places))
    if _digest(blank, view[HEADER_BYTES:]) != header.digest:
        raise TableError("the routing table's content does not fit its digest")


def _pack(generation: int, size: int, check: int, digest: bytes, places: list[tuple[int, int]]) -> bytes:
    fixed = _FIXED.pack(MAGIC, VERSION, _BYTE_ORDER_MARK, generation, size, check, 0, digest)
    return fixed + b"".join(_PLACE.pack(*place) for place in places)


def _digest(header: bytes, body: memoryview) -> bytes:
    hashing = hashlib.blake2b(header, digest_size=32)
    hashing.update(body)
    return hashing.digest()
